"""What people point at in place of an adapter or of a model."""

import pytest

from serving.preflight import check_adapter, model_fault
from tests.tiny_model import make_adapter, make_model


@pytest.fixture
def adapter(tmp_path):
    model = make_model(tmp_path / "model")
    return lambda: make_adapter(tmp_path / "adapter", "red", model=model)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f, a: a.rename(f / "checkpoint-20"), "checkpoint-20"),
        (lambda f, a: a.rename(f / "default"), "name there/default"),
        (lambda f, _: (f / "config.json").write_text("{}"), "a whole model and not an adapter"),
        (lambda f, _: (f / "notes.txt").write_text(""), "not a PEFT adapter"),
    ],
    ids=["only checkpoints", "a named adapter", "a model", "something else"],
)
def test_a_folder_that_is_no_adapter_is_told_where_the_adapter_is(
    adapter, tmp_path, make, sentence
):
    """What people point at by mistake is named for what it is."""
    folder = tmp_path / "there"
    folder.mkdir()
    make(folder, adapter())
    assert sentence in check_adapter(folder).problems[0]


def test_an_adapter_in_the_place_of_a_model_is_named(adapter, tmp_path):
    """A folder that holds an adapter is no base, and neither is an empty one."""
    assert "is an adapter and not a model" in model_fault(adapter())
    assert "has no config.json" in model_fault(tmp_path)
    assert model_fault(tmp_path / "model") == ""
