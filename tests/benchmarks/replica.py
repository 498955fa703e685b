"""A replica without Azure around it, for the benchmarks of serving: launch and gate, or plain vLLM,
on a share written by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from serving.catalogue import Adapter
from serving.patches import nan
from serving.start.arguments import has_gpu, server_environment, slow_half_floats
from tests import tiny_model
from tests.serving.replica_share import KEY, ROOT, ReplicaShare

PYTHON = ROOT / ".venv/images/vllm/bin/python"
START = 600.0


@dataclass
class Answer:
    """One streamed answer: seconds to its first token and to its end, the longest silence within
    it, and its tokens.
    """

    first: float
    total: float
    gap: float
    tokens: int
    text: str = ""


@dataclass
class Replica:
    """One server in `folder`. `wrapped` is Moorage's; otherwise plain vLLM with the same arguments,
    the same LoRA arithmetic on a CPU, and static adapters.
    """

    folder: Path
    wrapped: bool = True
    slots: int = 4
    resident: int = 8
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    share: ReplicaShare = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.share = ReplicaShare(self.folder / "share")
        self.model = tiny_model.make_model(self.folder / "model")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def adapter(self, name: str, word: str, seed: int = 0) -> Adapter:
        """A published version of `name` that answers `word`."""
        folder = tiny_model.make_adapter(
            self.folder / "made" / f"{word}-{seed}", word, seed, model=self.model
        )
        return Adapter(name=name, desired=self.share.publish(folder, name))

    def start(self, static: dict[str, Path] | None = None) -> None:
        module = "serving.launch" if self.wrapped else "vllm.entrypoints.openai.api_server"
        command = [
            str(PYTHON),
            "-m",
            module,
            "--model",
            str(self.model),
            "--served-model-name",
            "tiny",
        ]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--max-model-len",
            "1024",
            "--enable-lora",
        ]
        command += [
            "--max-lora-rank",
            "16",
            "--max-loras",
            str(self.slots),
            "--max-cpu-loras",
            str(self.resident),
        ]
        command += (
            ["--lora-modules", *(f"{name}={path}" for name, path in static.items())]
            if static
            else []
        )
        if self.wrapped:
            environment = {**os.environ, **self.share.environment()}
        else:  # what launch does for a CPU's sake is no part of the comparison
            command += (
                ["--dtype", "float32"]
                if slow_half_floats(Path("/proc/cpuinfo").read_text())
                else []
            )
            environment = server_environment(os.environ, command, gpu=has_gpu()) | {
                "VLLM_PLUGINS": "cpu_lora",
                "PYTHONPATH": str(self._arithmetic()),
            }
            environment = {
                name: value for name, value in environment.items() if name not in nan.ENVIRONMENT
            }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _arithmetic(self) -> Path:
        """The one module of ours that plain vLLM has as well, as a plugin by itself: vLLM's own LoRA
        arithmetic for CPUs is slower and wrong, which is no matter of gate, plugin or adapter loop.
        """
        folder = self.folder / "arithmetic"
        info = folder / "cpu_lora-1.dist-info"
        patches = folder / "serving" / "patches"
        for made in (patches, info):
            made.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "serving" / "patches" / "cpu_lora.py", patches)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cpu_lora\nVersion: 1\n")
        point = "[vllm.general_plugins]\ncpu_lora = serving.patches.cpu_lora:correct\n"
        (info / "entry_points.txt").write_text(point)
        return folder

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def session(self) -> aiohttp.ClientSession:
        headers = {"authorization": f"Bearer {KEY}"}
        url = f"http://127.0.0.1:{self.port}"
        return aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(limit=0))

    async def ready(self, http: aiohttp.ClientSession) -> float:
        """Wait until it answers; seconds that took."""
        began = time.monotonic()
        path = "/ready" if self.wrapped else "/health"

        async def asked() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(
                    f"the server has ended: {(self.folder / 'log').read_text()[-2000:]}"
                )
            async with http.get(path) as answer:
                return answer.status == 200

        await until(asked, START, lambda: (self.folder / "log").read_text()[-2000:])
        return time.monotonic() - began

    def served(self) -> dict[str, str]:
        """Digest by adapter, from the replica's own report."""
        try:
            report = json.loads((self.share.reports / "tiny--r1-abc.json").read_text())
        except (OSError, ValueError):
            return {}
        return {adapter["name"]: adapter["digest"] for adapter in report["adapters"]}

    async def serves(self, *adapters: Adapter) -> None:
        wanted = {adapter.name: adapter.desired.digest for adapter in adapters}

        async def asked() -> bool:
            return self.served() == wanted

        await until(asked, 120, lambda: str(self.served()), every=0.02)

    def memory(self) -> float:
        """Proportional memory of the whole process tree, MB."""
        assert self.process is not None
        total = 0
        for pid in _tree(self.process.pid):
            with suppress(OSError):
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return total * 1024 / 1e6


async def stream(http: aiohttp.ClientSession, model: str, tokens: int) -> Answer:
    """One streamed completion of exactly so many tokens. Raises when it fails or is cut."""
    body = {
        "model": model,
        "prompt": "Go on",
        "stream": True,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
    }
    began = last = time.perf_counter()
    first, gap, count, text = 0.0, 0.0, 0, ""
    async with http.post("/v1/completions", json=body) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {(await answer.text())[:300]}")
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            now = time.perf_counter()
            chunk: dict[str, Any] = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(str(chunk["error"]))
            first, gap = first or now - began, max(gap, now - last) if first else 0.0
            last, count, text = now, count + 1, text + chunk["choices"][0]["text"]
    if not count:
        raise RuntimeError("the stream was empty")
    return Answer(first, time.perf_counter() - began, gap, tokens, text)


async def until(
    asked: Callable[[], Awaitable[bool]],
    seconds: float,
    told: Callable[[], str],
    every: float = 0.2,
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(aiohttp.ClientError, OSError):
            if await asked():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {told()}")
        await asyncio.sleep(every)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found
