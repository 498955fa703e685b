"""How long `stop` waits for a server with many replicas. Time is a number, and the server is a lock
and folders.
"""

from types import SimpleNamespace

import pytest

from infra.local_azure import lifecycle
from infra.local_azure.options import Options


@pytest.fixture
def ending(tmp_path, monkeypatch):
    """A server with replicas of which one ends every `pace` seconds."""
    started = SimpleNamespace(now=0.0, pace=20.0, told=[])
    for number in range(10):
        (tmp_path / "replicas" / f"web-{number}").mkdir(parents=True)

    def sleep(seconds):
        started.now += 1.0
        gone = int(started.now // started.pace)
        for folder in sorted((tmp_path / "replicas").iterdir())[: max(0, gone - (10 - _left()))]:
            folder.rmdir()

    def _left():
        return len(list((tmp_path / "replicas").iterdir()))

    monkeypatch.setattr(
        lifecycle, "time", SimpleNamespace(monotonic=lambda: started.now, sleep=sleep)
    )
    monkeypatch.setattr(lifecycle, "running", lambda _: 7 if _left() else None)
    monkeypatch.setattr(lifecycle.os, "kill", lambda *_: None)
    started.stop = lambda: lifecycle.stop(Options(tmp_path), tell=started.told.append)
    return started


def test_stop_waits_as_long_as_replicas_end(ending):
    """200 s for ten of them are not too long, and what is left is told."""
    assert ending.stop()
    assert ending.now >= 200
    assert ending.told[0] == 10
    assert ending.told[-1] == 1


def test_stop_gives_up_when_none_has_ended_for_a_minute(ending):
    """The error says how many are left."""
    ending.pace = 90.0
    with pytest.raises(lifecycle.NotStarted, match="10 replicas did not end"):
        ending.stop()
    assert ending.now < 70
