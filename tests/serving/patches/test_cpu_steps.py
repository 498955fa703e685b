"""A step of the engine is short on a CPU; elsewhere, and where arguments say it, it is vLLM's."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from serving.patches import cpu_steps


@pytest.fixture
def arguments(monkeypatch):
    """vLLM's module of arguments, with its numbers for a CPU, and the platform as asked for."""

    class EngineArgs:
        @classmethod
        def get_batch_defaults(cls, world_size):
            return {"server": 2048 * world_size, "small": 100}, {"server": 128 * world_size}

    def made(cpu):
        module, platforms = ModuleType("arg_utils"), ModuleType("platforms")
        module.EngineArgs = EngineArgs
        platforms.current_platform = SimpleNamespace(is_cpu=lambda: cpu)
        monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
        monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
        monkeypatch.setitem(sys.modules, "vllm.engine.arg_utils", module)
        return EngineArgs

    return made


def test_a_cpus_step_reads_fewer_tokens(arguments):
    """For each worker; a number that is smaller already stays, and so do the sequences."""
    found = arguments(cpu=True)
    cpu_steps.shorten()
    cpu_steps.shorten()
    assert found.get_batch_defaults(1) == ({"server": 512, "small": 100}, {"server": 128})
    assert found.get_batch_defaults(2)[0]["server"] == 1024


def test_a_gpu_keeps_vllms_own(arguments):
    """Its steps take milliseconds."""
    found = arguments(cpu=False)
    cpu_steps.shorten()
    assert found.get_batch_defaults(1)[0]["server"] == 2048


def test_a_process_that_reads_no_arguments_imports_nothing(monkeypatch, arguments):
    """Engines and workers start sooner."""
    arguments(cpu=True)
    monkeypatch.delitem(sys.modules, "vllm.engine.arg_utils")
    cpu_steps.shorten()
    assert "vllm.engine.arg_utils" not in sys.modules
