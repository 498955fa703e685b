"""A process in namespaces of its own that has a share mounted as SMB shows it, and does there what
a test asks.

`python -m tests.local_azure.smb_mount SOURCE MOUNTPOINT OPTIONS` reads one JSON string of Python a
line, runs it with `share` as the mount, and answers with what it left in `result`, or with the
errno it failed with.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from infra.local_azure.runtime import kernel, namespace, share_view

ROOT = Path(__file__).parents[2]
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)


class Refused(Exception):
    """The mount said no; `code` is the name of its errno."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SmbMount:
    """A mounted share; `close` ends the process, and the mount with it."""

    def __init__(self, source: Path, mountpoint: Path, options: str = "actimeo=0") -> None:
        mountpoint.mkdir()
        command = [
            sys.executable,
            "-m",
            "tests.local_azure.smb_mount",
            str(source),
            str(mountpoint),
            options,
        ]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self("result = 'ready'") == "ready"

    def __call__(self, code: str, **values: Any) -> Any:
        """Run `code` in there and return its `result`; Refused when an OSError came of it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([code, values]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "errno" in answer:
            raise Refused(answer["errno"])
        return answer["result"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def main(source: str, mountpoint: str, options: str) -> None:
    namespace.enter("smb-test")
    device = share_view.attach(source, options)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    share_view.mount(device, mountpoint)
    os.close(device)
    kept: dict[str, Any] = {"share": Path(mountpoint)}
    for line in sys.stdin:
        code, values = json.loads(line)
        kept |= {"result": None, **values}
        try:
            exec(code, kept)
            answer = {"result": kept["result"]}
        except OSError as error:
            answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
