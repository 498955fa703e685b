"""What is given to a start holds for the next one, whoever gives it; a running server tells what it
was not started with.
"""

import json
import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from infra.local_azure.lifecycle import runs_other_code
from infra.local_azure.options import Options
from infra.local_azure.store import Store
from tests.local_azure.conftest import IMAGES, ROOT, LocalAzure


def _tried(azure, *arguments):
    """Exit code and errors of a command that may fail."""
    words = arguments[:2] if arguments[0] == "faults" else arguments[:1]
    call = [sys.executable, "-m", "infra.local_azure", *words, "--state-dir", azure.state]
    call += arguments[len(words) :]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    return done.returncode, done.stderr


def _setting(azure, name):
    with closing(Store(azure.state / "azure.db")) as store:
        return store.read(name)


def test_options_hold_until_they_are_given_again(make_azure):
    """A restart without options, such as that of `moorage up`, keeps images and pace; `none` takes a
    file back; and a running server refuses options that it was not started with.
    """
    azure = make_azure("--operation-seconds", "0.2", "--rate-limits", "writes=9/1")
    assert _tried(azure, "start", "--images", str(IMAGES), "--page-size", "100") == (0, "")
    code, errors = _tried(azure, "start", "--pace", "real", "--images", str(IMAGES))
    assert (code, errors.count("\n")) == (1, 1)
    assert "without --pace real;" in errors
    quota = "ManagedEnvironmentConsumptionT4Gpus=5"
    assert f"without --quota {quota};" in _tried(azure, "start", "--quota", quota)[1]
    azure.stop()
    azure.command("start")
    kept = json.loads(_setting(azure, "options"))
    assert kept["images"] == str(IMAGES)
    assert kept["operation_seconds"] == "0.2"
    assert kept["rate_limits"].startswith("reads=250/25.0")
    azure.stop()
    azure.command("start", "--images", "none", "--quota", quota)
    assert "images" not in json.loads(_setting(azure, "options"))
    assert _setting(azure, f"quota:{quota.partition('=')[0]}") == "5"


def test_a_server_of_other_code_is_told_with_each_new_fault(make_azure):
    """It would ignore a fault that it does not know, without a word."""
    azure = make_azure()
    assert not runs_other_code(Options(azure.state))
    assert _tried(azure, "faults", "add", "NoGpuQuota") == (0, "")
    with closing(Store(azure.state / "azure.db")) as store:
        store.keep("code", "of yesterday")
    for command in (("faults", "add", "NoGpuQuota"), ("start",)):
        code, errors = _tried(azure, *command)
        assert code == 0
        assert "another version of this code" in errors
    azure.stop()
    assert _tried(azure, "faults", "add", "NoGpuQuota") == (0, "")


def test_a_server_ends_when_its_folder_moves_and_starts_at_the_new_place(make_azure):
    """Somebody renames the folder of a project: its files would be looked for at the old place."""
    azure = make_azure()
    moved = LocalAzure(azure.state.with_name("moved"), azure.options)
    azure.state.rename(moved.state)
    deadline = time.monotonic() + 60
    while moved.command("status")["running"]:
        assert time.monotonic() < deadline
    moved.start()
    assert not azure.state.exists()
    assert {**moved.facts, "caFile": ""} == {**azure.facts, "caFile": ""}
    assert len(_ingress_of(moved.state)) <= 1
    moved.stop()


def test_a_wrong_option_is_one_line(tmp_path):
    """The program may run under another command's name, whose user knows nothing of its usage."""
    code, errors = _tried(LocalAzure(tmp_path), "start", "--pace", "slow")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("local Azure: argument --pace: invalid choice: 'slow'")


def test_the_ingress_ends_with_its_folder(tmp_path, monkeypatch):
    """Somebody may remove the state of a server that was killed: nothing could reach the ingress
    any more, and its ports would stay taken.
    """
    folder = tmp_path / "state"
    folder.mkdir()
    call = ["-m", "infra.local_azure.ingress", "--state-dir", folder]
    tls = LocalAzure(tmp_path / "other")
    tls.start()
    tls.stop()
    pair = (
        "certificate",
        tls.state / "tls" / "server.pem",
        "key",
        tls.state / "tls" / "server.key",
    )
    call += [f"--{word}" if at % 2 == 0 else word for at, word in enumerate(pair)]
    subprocess.run([sys.executable, *call], cwd=ROOT, check=True, timeout=60)
    assert _ingress_of(folder)
    shutil.rmtree(folder)
    deadline = time.monotonic() + 60
    while _ingress_of(folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _ingress_of(folder):
    """The processes of the ingress that serves this folder."""
    words = f"ingress\0--state-dir\0{folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [process.name] if words in (process / "cmdline").read_bytes() else []
    return found
