"""The machine's clock jumps by days, and back to 1970, while a daemon watches."""

import os
import signal
import subprocess

import pytest

from tests.e2e.ground import is_write
from tests.e2e.stage import MOORAGE, environment, service

# Each third of the run has another time of day; the monotonic clock goes on.
CLOCK = """
import datetime, time
began, wall = time.monotonic(), time.time
def lie():
    elapsed = time.monotonic() - began
    return 0 if elapsed < 8 else 86400 if elapsed < 16 else -86400 if elapsed < 24 else 1000 - wall()
time.time = lambda: wall() + lie()
time.time_ns = lambda: int(time.time() * 1e9)
class Lying(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)
datetime.datetime = Lying
"""


@pytest.mark.slow
def test_a_clock_that_jumps_costs_nothing(make_stage):
    """Nothing is written or deleted, the lease is kept, and the daemon still ends in order."""
    stage = make_stage()
    stage.code("web")
    stage.save(environment("dev"), service("web", environment="dev"))
    stage.once("-y")
    (stage.root / "sitecustomize.py").write_text(CLOCK)
    mark = len(stage.journal())
    path = f"{stage.root}{os.pathsep}{stage.env['PYTHONPATH']}"
    env = {**stage.env, "PYTHONPATH": path, "MOORAGE_STATE_DIR": str(stage.state)}
    call = [*MOORAGE, "up", "-y", "--resync", "3s", "--listen", "none", "-f", str(stage.manifest)]
    with subprocess.Popen(
        call, cwd=stage.root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as daemon:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                daemon.wait(40)
        finally:
            daemon.send_signal(signal.SIGINT)
        output, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, output
    assert "stopped watching" in output
    seen = stage.journal()[mark:]
    assert [each["path"] for each in seen if is_write(each)] == []
    leases = [each for each in seen if "comp=lease" in each["query"]]
    assert len(leases) >= 3
    assert all(each["status"] < 400 for each in leases)
    assert sum(each["plane"] == "arm" for each in seen) < 200, "it asked without end"
