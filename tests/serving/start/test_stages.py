"""The stages of a start: marked by vLLM's workers, told by the replica, timed by launch."""

import sys
from types import ModuleType

import pytest

from serving.start import stages
from serving.start.stages import MARKS_VARIABLE, StartStages


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_start_goes_through_its_stages_and_is_timed(tmp_path):
    """Each stage ends where the next begins; the first worker that reaches one counts for all, and
    what was ready once has no stage any more.
    """
    clock, marks = Clock(), tmp_path / "stages"
    start = StartStages(marks, clock)
    assert (start.stage, start.seconds) == ("runtime", {})
    marks.write_text("weights 110.0\nweights 111.5\ncompile 140.0\n")
    start.look()
    assert (start.stage, start.seconds) == ("compile", {"runtime": 10.0, "weights": 30.0})
    clock.now = 150.0
    start.reach("first_token")
    clock.now = 151.0
    start.reach("adapters")  # another worker is late: the start does not go back
    assert start.stage == "first_token"
    clock.now = 152.0
    start.reach(None)
    start.reach(None)
    assert start.stage is None
    assert sum(start.seconds.values()) == 52.0
    assert list(start.seconds) == ["runtime", "weights", "compile", "first_token"]


@pytest.mark.parametrize(
    "text", ["", "weights", "weights x", "nonsense 120", "weights 1.0", "weights nan", "\xff\x00"]
)
def test_marks_that_are_none_are_left_out(tmp_path, text):
    """A torn line, a foreign word, and a mark of an earlier run change nothing."""
    marks = tmp_path / "stages"
    marks.write_text(text)
    start = StartStages(marks, Clock())
    start.look()
    assert start.stage == "runtime"


def test_a_worker_marks_when_it_reads_and_when_it_compiles(tmp_path, monkeypatch):
    """Whatever class the platform chose; a worker that fails to load has marked where it was."""
    marks = tmp_path / "stages"

    class Worker:
        def load_model(self, *, load_dummy_weights=False):
            assert "weights" in marks.read_text()
            if load_dummy_weights:
                raise RuntimeError
            return "loaded"

    class WorkerWrapperBase:
        def init_device(self):
            self.worker = Worker()

        def __getattr__(self, name):
            return getattr(self.worker, name)

    module = ModuleType("worker_base")
    module.WorkerWrapperBase = WorkerWrapperBase
    monkeypatch.setitem(sys.modules, "vllm.v1.worker.worker_base", module)
    monkeypatch.setenv(MARKS_VARIABLE, str(marks))
    stages.follow_worker()
    stages.follow_worker()  # the plugin is registered again: nothing is wrapped twice
    one, other = WorkerWrapperBase(), WorkerWrapperBase()
    one.init_device()
    other.init_device()
    assert one.load_model() == "loaded"
    assert [line.split()[0] for line in marks.read_text().splitlines()] == ["weights", "compile"]
    with pytest.raises(RuntimeError):
        other.load_model(load_dummy_weights=True)
    assert [line.split()[0] for line in marks.read_text().splitlines()][2:] == ["weights"]


def test_a_start_does_not_fail_for_a_mark(tmp_path, monkeypatch):
    """Without a worker class, without a file, and where the file cannot be written."""
    monkeypatch.setitem(sys.modules, "vllm.v1.worker.worker_base", ModuleType("other"))
    stages.follow_worker()
    monkeypatch.delenv(MARKS_VARIABLE, raising=False)
    stages.mark("weights")
    monkeypatch.setenv(MARKS_VARIABLE, str(tmp_path / "absent" / "stages"))
    stages.mark("weights")
    assert not list(tmp_path.iterdir())
