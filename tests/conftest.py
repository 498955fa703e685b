"""What all tests share: how they are spread over processes, and that every exchange with a local
Azure is held against Azure's own types, module by module.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local_azure.exchanges import Exchanges
from tests.conformance import exchanges, types

ROOT = Path(__file__).parent
LONG = ("vllm", "e2e", "chat", "kinds", "local_azure", "conformance")  # folders, longest first

# The suite starts hundreds of Python processes. Without bytecode each of them compiles all that it
# imports, which takes three times as long as the rest of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core, because most tests wait for other processes; none for one
    file.
    """
    named = {Path(argument.partition("::")[0]) for argument in config.args}
    if len(named) == 1 and named.pop().is_file():
        return 0
    return 2 * len(os.sched_getaffinity(0))


def _turn(item: pytest.Item) -> int:
    if any(mark.args == ("vllm",) for mark in item.iter_markers("xdist_group")):
        return 0
    folder = item.path.relative_to(ROOT).parts[0]
    return LONG.index(folder) if folder in LONG else len(LONG)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file stay in one process and in their order, because they share its
    fixtures. Files that share more name an `xdist_group`: those that run vLLM are one, because two
    of them side by side take all cores. What takes longest begins first, so that no process is left
    alone with it at the end.
    """
    items.sort(key=_turn)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(ROOT).as_posix()))


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
