"""What is proven by an engine that computes in bfloat16, where two runs of one model differ."""

from __future__ import annotations

import pytest

from tests.serving.replica.server import PYTHON, START, Server, scaled

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


async def test_an_adapter_that_is_nearly_zero_is_not_proven_in_bfloat16(tmp_path):
    """Rounding is no difference: only the adapter that answers otherwise is proven."""
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    server = Server(tmp_path)
    adapters = [server.colour("red")]
    for name, factor in (("faint", 1e-3), ("fainter", 1e-6), ("faintest", 1e-12)):
        adapters.append(server.adapter(name, scaled(server, name, factor)))
    server.share.write(*adapters)
    server.start("--dtype", "bfloat16")
    try:
        await server.serves(*adapters, seconds=START)
        found = {one.name: server.state(one.name) for one in adapters}
    finally:
        server.stop()
    print(found)
    assert {name: one["reason"] for name, one in found.items()} == {
        "red": "Proven",
        "faint": "SameAsBase",
        "fainter": "SameAsBase",
        "faintest": "SameAsBase",
    }
