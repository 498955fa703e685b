"""Everything with `--target azure` works where Linux is not: the commands run with what Windows lacks
hidden, on documents with Windows paths.
"""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.e2e.ground import ROOT, aimed_at
from tests.e2e.stage import Stage, service

pytestmark = [pytest.mark.slow, pytest.mark.vital, pytest.mark.timeout(1500)]
# Each command with the exit code that it has on Linux for this service.
COMMANDS = {
    "diff web": 0,
    "accept web": 0,
    "approve -y": 1,
    "pause web": 0,
    "resume web": 0,
    "reconcile web": 0,
    "promote web": 1,
    "rollback web": 1,
    "key web": 1,
    "logs web": 0,
    "logs web --system": 0,
    "usage": 1,
    "client web": 0,
    "wait web --timeout 1": 0,
    "diagnose web": 0,
    "doctor": 0,
    "restart web -y": 0,
    "warm web": 0,
    "open": 1,
    "export arm": 0,
    "adapter list": 0,
    "explain RolledBack": 0,
    "completion powershell": 2,
    "notify": 2,
    "take-over nobody": 1,
    "validate": 0,
    "plan --out plan.json": 0,
    "import azure rg-moorage-default --out docs": 0,
    "init .": 2,
}
PROGRAM = [sys.executable, "-X", "warn_default_encoding", "-m", "tests.e2e.other_system"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("windows"))
    facts = stage.start_azure()
    stage.env |= {
        **aimed_at(facts),
        "MOORAGE_STATE_DIR": str(stage.state),
        "PYTHONPATH": str(ROOT),
    }
    web = service("web", code=".\\code-web")
    stage.code("web")
    # As an editor of Windows saves it: with a byte order mark and its line ends.
    text = json.dumps(web, indent=1).replace("\n", "\r\n")
    stage.manifest.write_bytes(b"\xef\xbb\xbf" + text.encode())
    yield stage
    stage.close()


def moorage(stage, *arguments, code=0):
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=stage.root,
        env=stage.env,
        capture_output=True,
        timeout=240,
        check=False,
    )
    said = done.stdout.decode("cp1252"), done.stderr.decode("cp1252")
    assert done.returncode == code, said
    assert "Traceback" not in said[1]
    return said[0]


def ended(stage, line):
    """The exit code of a command, which met no error that it does not know."""
    done = subprocess.run(
        [*PROGRAM, *line.split()],
        cwd=stage.root,
        env=stage.env,
        capture_output=True,
        timeout=240,
        check=False,
    )
    said = done.stderr.decode("cp1252")
    assert "Traceback" not in said, said
    assert "does not know" not in said, said
    return done.returncode


def test_the_commands_work_without_what_windows_lacks(stage):
    """From validate to down: the folder in a Windows path is published, served, listed and
    deleted, and every other command between them ends as on Linux.
    """
    assert "Commands:" in moorage(stage, "--help")
    moorage(stage, "validate", "-f", "moorage.yaml")
    assert "ContainerApp/web" in moorage(stage, "plan", "-f", "moorage.yaml")
    moorage(stage, "up", "-f", "moorage.yaml", "--once", "-y")
    assert "web" in moorage(stage, "status")
    (document, *_) = json.loads(moorage(stage, "status", "-o", "json"))["documents"]
    assert document["generation"] == 1
    moorage(stage, "events")
    moorage(stage, "history", "web")
    moorage(stage, "schema")
    told = {line: code for line, code in COMMANDS.items() if ended(stage, line) != code}
    assert told == {}
    moorage(stage, "down", "-y")


def test_a_daemon_watches_and_ends_there(stage):
    """Without signal handlers of the loop an interrupt still ends it, and a second daemon is
    refused by the other kind of lock.
    """
    running = subprocess.Popen(
        [*PROGRAM, "up", "-f", "moorage.yaml", "-y"],
        cwd=stage.root,
        env=stage.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        place = next(iter((stage.state / "daemon").glob("azure-*"))) / "page.json"
        deadline = time.monotonic() + 60
        while not place.exists():
            assert running.poll() is None, running.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        moorage(stage, "up", "-f", "moorage.yaml", "-y", code=1)
        running.send_signal(signal.SIGINT)
        assert running.wait(90) in (0, 130)  # before or after everything has converged
        assert not place.exists()  # it has drained
    finally:
        running.kill()


def test_a_folder_of_a_windows_machine_is_refused_elsewhere(stage):
    """A drive means nothing here, and the message says what would be right."""
    other = stage.root / "other.yaml"
    other.write_text(json.dumps(service("web", code="C:\\Users\\me\\code")))
    done = stage.moorage("validate", "-f", str(other), code=2)
    assert "is a folder of a Windows machine" in done.stderr
