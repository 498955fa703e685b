"""litellm's proxy before the same stand-in, beside the gateway: the one that people know. Taken from
PATH, or from where MOORAGE_BENCH_LITELLM says; it is no dependency of this project.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.benchmarks.process import cpu_seconds
from tests.ports import free_port

ABSENT = (
    "litellm's proxy was not measured: there is no `litellm` on PATH. Install `litellm[proxy]` in an"
    " environment of its own and name its command in MOORAGE_BENCH_LITELLM."
)
_START = 180.0


def command() -> str | None:
    return os.environ.get("MOORAGE_BENCH_LITELLM") or shutil.which("litellm")


@asynccontextmanager
async def proxy(endpoint: str, key: str, folder: Path) -> AsyncIterator[tuple[str, int] | None]:
    """Its address and process, with one worker, before the model phi of `endpoint`; None where
    litellm is not installed.
    """
    found = command()
    if found is None:
        yield None
        return
    settings = {
        "model_list": [
            {
                "model_name": "phi",
                "litellm_params": {
                    "model": "openai/phi", "api_base": f"{endpoint}/v1", "api_key": "sk-behind",
                },
            }
        ],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }  # fmt: skip
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    port = free_port()
    arguments = ("--config", str(path), "--port", str(port), "--host", "127.0.0.1")
    environment = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (folder / "litellm.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            found, *arguments, "--num_workers", "1", stdout=log, stderr=log, env=environment
        )
    try:
        await _listens(f"http://127.0.0.1:{port}/health/liveliness", process, folder)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        await process.wait()


async def plain(
    session: aiohttp.ClientSession, pid: int, body: dict[str, object], count: int, at_once: int
) -> tuple[float, float]:
    """Plain requests a second, and a second of the process's CPU."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            async with session.post("/v1/chat/completions", json=body) as answer:
                await answer.read()
                assert answer.status == 200, await answer.text()

    cpu, began = cpu_seconds(pid), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return count / (time.perf_counter() - began), count / max(1e-9, cpu_seconds(pid) - cpu)


async def _listens(url: str, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(_START):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"litellm ended: {(folder / 'litellm.log').read_text()[-1500:]}")
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.5)
