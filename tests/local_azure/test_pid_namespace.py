"""Containers as process 1 of a PID namespace: what they see and how they end, and what happens where
the kernel refuses such a namespace.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As a shim does it: in namespaces of its own, with one thread.
_SHIM = """
import json, os, sys
from pathlib import Path
from infra.local_azure.runtime import container, kernel, namespace, processes, rootfs

folder, code = Path(sys.argv[1]), sys.argv[2]
plan = rootfs.Plan(str(folder / "root"), "label", "host", sys.argv[3:], (), ())
command = container.Command((sys.executable, "-c", code), {"PATH": "/usr/bin:/bin"}, plan)

def enter():
    namespace.enter("host")
    kernel.adopt_orphans()

def run():
    started = container.start(command)
    out = b""
    while data := os.read(started.stdout, 65536):
        out += data
    errors = os.read(started.stderr, 65536).decode()
    _, status = os.waitpid(started.pid, 0)
    left = len(list(processes.labelled("label")))
    return {"out": out.decode(), "errors": errors, "code": os.waitstatus_to_exitcode(status), "left": left}
"""


def _shim(folder, code, script):
    done = subprocess.run(
        [sys.executable, "-c", _SHIM + script, str(folder), code, sys.prefix, sys.base_prefix],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


_SEES = "import os; print(os.getpid(), *[name for name in os.listdir('/proc') if name.isdigit()])"
_RUN = "enter()\nprint(json.dumps(run()))"


def test_a_container_sees_its_own_processes(tmp_path):
    """Its first process is number 1, and /proc has no other."""
    found, _ = _shim(tmp_path, _SEES, _RUN)
    assert (found["out"], found["code"]) == ("1 1\n", 0), found["errors"]


def test_the_end_of_the_first_process_is_the_end_of_all(tmp_path):
    """Whatever it leaves behind ends with it, detached or not, and its exit code is told."""
    code = (
        "import os, subprocess\n"
        "subprocess.Popen(['sleep', '300'], start_new_session=True, stdout=2)\n"
        "os._exit(7)"
    )
    found, _ = _shim(tmp_path, code, _RUN)
    assert (found["code"], found["left"]) == (7, 0)


def test_a_second_container_of_the_same_shim_has_its_own(tmp_path):
    """A restart is possible after the first namespace has ended."""
    script = "enter()\nrun()\nprint(json.dumps(run()))"
    found, _ = _shim(tmp_path, _SEES, script)
    assert (found["out"], found["code"]) == ("1 1\n", 0)


# Where a part of /proc is covered, as in Docker, no user may mount another one.
_COVERED = (
    "namespace.enter('outer')\n"
    "kernel.unshare(kernel.CLONE_NEWNS)\n"
    "kernel.mount('', '/', flags=kernel.MS_REC | kernel.MS_PRIVATE)\n"
    "kernel.mount('cover', '/proc/fs', 'tmpfs')\n"
)
_FORBIDDEN = (
    "import errno\n"
    "def refuse():\n"
    "    raise OSError(errno.EPERM, 'Operation not permitted')\n"
    "kernel.fork_alone = refuse\n"
)


@pytest.mark.parametrize("refused", [_COVERED, _FORBIDDEN])
def test_a_container_starts_where_the_kernel_refuses(tmp_path, refused):
    """Where there is no PID namespace, or no /proc for it, containers start as part of this
    machine's processes, and one line says so once.
    """
    script = refused + "enter()\nrun()\nprint(json.dumps(run()))"
    found, said = _shim(tmp_path, _SEES, script)
    assert found["code"] == 0
    assert int(found["out"].split()[0]) > 1
    assert said.count("the kernel refuses") == 1
    assert "see those of this machine" in said
