"""The local Azure that a recording is replayed against, with a replica that stands in for every
image of the recordings.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .recordings import ROOT

OPERATION_SECONDS = "0.4"
SPEED = "5"  # of a replica's probes, whose ends a recording's client came late enough to see

# A real process, which is all that the control plane asks of a replica: it answers on the ports
# that the recorded images listen on.
STAND_IN = """
import select, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
doors = [socket.create_server(("", port)) for port in (80, 3000, 3500, 5000, 6379, 8000, 8080, 8888)]
print("listening", flush=True)
while True:
    for door in select.select(doors, [], [])[0]:
        talk = door.accept()[0]
        talk.settimeout(1)
        try:
            talk.recv(65536)
            talk.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
        except OSError:
            pass
        talk.close()
"""


@asynccontextmanager
async def local_azure(folder: Path) -> AsyncIterator[dict[str, str]]:
    state = str(folder / "local-azure")
    images = folder / "images.yaml"
    stand_in = {
        "image": ["*"],
        "environment": sys.base_prefix,
        "entrypoint": ["python3", "-c", STAND_IN],
    }
    images.write_text(json.dumps([stand_in]))
    options = (
        "--operation-seconds",
        OPERATION_SECONDS,
        "--retry-after",
        "1",
        "--images",
        str(images),
        "--speed",
        SPEED,
    )
    facts = json.loads(await _command("start", state, *options, "-o", "json"))
    try:
        yield facts
    finally:
        await _command("stop", state)


async def _command(name: str, state: str, *arguments: str) -> bytes:
    line = (sys.executable, "-m", "infra.local_azure", name, "--state-dir", state, *arguments)
    process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} failed: {process.returncode}")
    return out
