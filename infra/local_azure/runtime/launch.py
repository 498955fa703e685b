"""Starts our own detached processes (shims, the ingress) from the server, with nothing of its
environment but what they need.
"""

import asyncio
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parents[3]


class LaunchError(Exception):
    """A detached process did not come up; the message is its own last line."""


async def launch(module: str, *arguments: str) -> None:
    """Runs `python -m module`, which forks into the background, and waits until it says it is
    ready. Raises LaunchError.
    """
    environment = {
        "PYTHONPATH": str(_REPOSITORY),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd="/", env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        raise LaunchError(
            lines[-1] if lines else f"{module} ended with exit code {process.returncode}"
        )
