"""What all tests share: every exchange with a local Azure is held against Azure's own types, module
by module.
"""

import os
from collections.abc import Iterator

import pytest

from infra.local_azure.exchanges import Exchanges
from tests.conformance import exchanges, types


@pytest.fixture(scope="module", autouse=True)
def typed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Servers that a module starts write their exchanges down; at its end each must be as the type
    data says.
    """
    if types.folder() is None or Exchanges.VARIABLE in os.environ:
        yield
        return
    path = tmp_path_factory.mktemp("exchanges") / "exchanges.jsonl"
    os.environ[Exchanges.VARIABLE] = str(path)
    try:
        yield
    finally:
        del os.environ[Exchanges.VARIABLE]
    wrong = exchanges.check(path)
    path.unlink(missing_ok=True)
    assert not wrong, f"{request.node.name}: not as Azure's types say:\n" + "\n".join(wrong)
