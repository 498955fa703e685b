"""The CPU's LoRA operations against plain matrix products, row by row."""

from types import SimpleNamespace

import pytest

from serving.patches import cpu_lora

pytestmark = pytest.mark.timeout(300)  # a busy machine reads torch for a minute


@pytest.fixture(scope="module")
def torch():
    """Imported by the process that runs these tests alone, because it takes seconds."""
    return pytest.importorskip("torch")


@pytest.fixture
def case(torch):
    """Five rows on slots 1, 1, none, 2, none; the last slot is full, which is where vLLM's own code
    goes wrong.
    """
    torch.manual_seed(0)
    return SimpleNamespace(
        x=torch.randn(5, 12),
        a=torch.randn(3, 1, 4, 12),
        b=torch.randn(3, 1, 10, 4),
        slots=torch.tensor([1, 1, -1, 2, -1]),
        prefill=(
            torch.tensor([0, 2, 3, 4]),
            torch.tensor([2, 1, 1, 1]),
            torch.tensor([1, -1, 2, -1]),
            4,
            2,
            5,
        ),
    )


def _wanted(torch, case, scale=0.5):
    shrunk, out = torch.zeros(5, 4), torch.zeros(5, 10)
    for row, slot in enumerate(case.slots.tolist()):
        if slot >= 0:
            shrunk[row] = scale * (case.a[slot, 0] @ case.x[row])
            out[row] = case.b[slot, 0] @ shrunk[row]
    return shrunk, out


def test_rows_without_an_adapter_are_left_alone_while_decoding(torch, case):
    """Index -1 means no adapter, never the last one."""
    shrunk, out = torch.full((5, 4), 9.0), torch.ones(5, 10)
    cpu_lora.bgmv_shrink(case.x, case.a, shrunk, case.slots, 0.5)
    cpu_lora.bgmv_expand(shrunk, case.b, out, case.slots, add_inputs=True)
    torch.testing.assert_close(shrunk, _wanted(torch, case)[0])
    torch.testing.assert_close(out, _wanted(torch, case)[1] + 1)


def test_rows_without_an_adapter_are_left_alone_while_prefilling(torch, case):
    """The same through vLLM's prefill metadata, into a slice of the output."""
    shrunk, out = torch.zeros(5, 4), torch.ones(5, 30)
    cpu_lora.sgmv_shrink(case.x, case.a, shrunk, *case.prefill, 0.5)
    cpu_lora.sgmv_expand_slice(shrunk, case.b, out, *case.prefill, 10, 10, True)
    torch.testing.assert_close(out[:, 10:20], _wanted(torch, case)[1] + 1)
    assert (out[:, :10] == 1).all()
    assert (out[:, 20:] == 1).all()
    whole = torch.zeros(5, 10)
    cpu_lora.sgmv_expand(shrunk, case.b, whole, *case.prefill, True)
    torch.testing.assert_close(whole, _wanted(torch, case)[1])


def test_half_precision_and_padded_outputs(torch, case):
    """A model's output may be narrower than the adapter's padding and of another type."""
    shrunk, out = torch.zeros(5, 4), torch.ones(5, 8, dtype=torch.bfloat16)
    cpu_lora.bgmv_shrink(case.x.bfloat16(), case.a.bfloat16(), shrunk, case.slots, 0.5)
    cpu_lora.bgmv_expand(shrunk, case.b.bfloat16(), out, case.slots)
    torch.testing.assert_close(out.float(), _wanted(torch, case)[1][:, :8] + 1, atol=0.2, rtol=0.05)
