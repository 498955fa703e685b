"""Steps of an installation: commands with their output in a log, and a line on the screen at least
every ten seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from environments import ROOT, VENV
from pins import size_text

UV = VENV / "bin" / "uv"
LOG = VENV / "install.log"
BEAT = 10.0  # seconds without a word at most


class InstallError(Exception):
    """One sentence that says what is missing and what to do."""


Command = list[str | Path]


def run(title: str, command: Sequence[str | Path], *, must: bool = True) -> bool:
    """Run one step with its output in the log, a line when it ends and one every ten seconds until
    then.
    """
    started = before = time.monotonic()
    used = shutil.disk_usage(ROOT).used
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONWARNINGS": "ignore",
        **uv_index(),
    }
    environment.pop("VIRTUAL_ENV", None)
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, cwd=ROOT, env=environment
        )
        while process.poll() is None:
            time.sleep(0.05)
            if time.monotonic() - before > BEAT:
                before = time.monotonic()
                grown = (shutil.disk_usage(ROOT).used - used) / 1e6
                say(f"  {title} ... {before - started:.0f} s, {size_text(max(grown, 0))} written")
    if process.returncode == 0:
        say(f"  {title}: {time.monotonic() - started:.1f} s")
    elif must:
        with LOG.open("rb") as log:
            log.seek(start)
            last = [
                line for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ][-12:]
        raise InstallError(
            "\n  ".join([f"{title} failed; the end of {LOG.relative_to(ROOT)}:", *last])
        )
    return process.returncode == 0


def uv_index() -> dict[str, str]:
    """Help uv, which does not read pip's configuration: a machine that names its package index
    there means it for both.
    """
    if "UV_DEFAULT_INDEX" in os.environ or "UV_INDEX_URL" in os.environ:
        return {}
    return {"UV_DEFAULT_INDEX": found[-1]} if (found := of_pip("index-url")) else {}


def of_pip(setting: str) -> list[str]:
    """The values that pip's configuration of this machine has for a setting."""
    if not (VENV / "bin" / "pip").exists():
        return []
    if not _LISTED:
        command = [VENV / "bin" / "pip", "config", "list"]
        _LISTED.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    lines = re.findall(rf"^(?:global|install|:env:)\.{setting}='(.+)'$", _LISTED[0], re.MULTILINE)
    return list(dict.fromkeys(value for line in lines for value in re.split(r"\s+|\\n", line)))


_LISTED: list[str] = []  # what pip said, once


def say(text: str) -> None:
    print(text, flush=True)
