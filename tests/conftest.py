"""What all tests share: how they are spread over processes, and that every exchange with a local
Azure is held against Azure's own types, module by module.
"""

import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from infra.local_azure.exchanges import Exchanges
from tests.conformance import exchanges, types

ROOT = Path(__file__).parent
LONG = ("e2e", "chat", "kinds", "local_azure", "conformance")  # folders, longest first
VLLM = (
    "serving/replica/",
    "serving/test_lora_matrix.py",
    "serving/test_vllm_traps.py",
    "e2e/test_ai_toolkit.py",
    "e2e/test_model_service",
)
# Their tests share nothing; with the slow ones there are a thousand of them.
SPREAD = ("e2e/test_every_call.py", "e2e/test_schedules.py")
PARTS = 4

# The suite starts hundreds of Python processes. Without bytecode each of them compiles all that it
# imports, which takes three times as long as the rest of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core and one more, because most tests wait for other processes: with
    two for each, a sixth of the cores' time was idle. None for one file.
    """
    named = {Path(argument.partition("::")[0]) for argument in config.args}
    if len(named) == 1 and named.pop().is_file():
        return 0
    return 2 * len(os.sched_getaffinity(0)) + 1


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0].removeprefix("tests/")


def _starts_vllm(nodeid: str) -> bool:
    return _file(nodeid).startswith(VLLM)


class Groups(LoadScopeScheduling):
    """The tests of a file stay in one process and in their order, because they share its fixtures.
    Files that start vLLM are one group, because two of them side by side take all cores.

    The groups are found from the tests' names: xdist's own `loadgroup` writes a mark into a field
    that pytest 9.2 does not have any more, and then spreads every test by itself.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        if file in SPREAD and not self.config.option.markexpr:
            return f"{file} {zlib.crc32(nodeid.encode()) % PARTS}"
        return "vllm" if _starts_vllm(nodeid) else file


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if _starts_vllm(item.nodeid):
        return -1
    folder = _file(item.nodeid).partition("/")[0]
    return LONG.index(folder) if folder in LONG else len(LONG)


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
