"""A changed adapter, from the save to the first answer of the new weights, against a restart of the
same replica.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import tiny_model
from tests.benchmarks.report import Figure, Section, median, p95, ratio
from tests.e2e.chat import Chat
from tests.e2e.machine import machine_pid
from tests.e2e.stage import Stage, Up

WORDS = ("violet", "amber", "white", "black", "north", "south", "east")
BOOT = 500.0
RESTARTS = 3
SERVICE: dict[str, Any] = {
    "apiVersion": "moorage.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "tiny"},
    "spec": {
        "model": {"source": "./model"},
        "adapters": [{"name": "red", "source": "./adapters/red"}],
        "engine": {"args": {"max-model-len": 512}},
        "scale": {"minReplicas": 1, "maxReplicas": 1},
    },
}


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        try:
            stage.start_azure()
            tiny_model.build(stage.root)
            stage.save(SERVICE)
            up = stage.up()
            await up.converged("tiny", seconds=BOOT)
            return await _compare(stage, up)
        finally:
            stage.close()


async def _compare(stage: Stage, up: Up) -> Section:
    document = up.document("tiny") or {}
    key = stage.moorage("key", "tiny").stdout.strip()
    swaps, restarts = [], []
    async with Chat(document["endpoint"], key, stage.ca, ("red",), streams=0) as chat:
        for block in range(RESTARTS):
            swaps.append([await _swap(stage, chat, word, block) for word in WORDS])
            document = up.document("tiny") or {}
            os.kill(machine_pid(stage.azure_dir, document["replicas"][0]), signal.SIGKILL)
            restarts.append(await _until(chat, WORDS[-1], time.monotonic(), dead_first=True))
            await up.converged("tiny", seconds=BOOT)
    every = [seconds for block in swaps for seconds in block]
    sooner = ratio(
        [(restart, median(block)) for restart, block in zip(restarts, swaps, strict=True)]
    )
    rows = [
        (what, median(seconds), p95(seconds))
        for what, seconds in (("save", every), ("replica restart", restarts))
    ]
    notes = [
        (
            f"{len(every)} saves and {RESTARTS} restarts in turns; a restart takes {sooner} times"
            " as long (geometric mean, 95 % interval)."
        ),
        (
            "A save writes new weights under the same name; the clock stops at the first whole"
            " answer of the new weights."
        ),
        (
            "The restart is kill -9 of vLLM until the same question is answered again; vLLM itself"
            " takes nearly all of it."
        ),
    ]
    figures = [
        Figure(
            "adapter change sooner than a restart, lower end", sooner.low, "times", 20, "at least"
        )
    ]
    return Section("Changed adapter to served", figures, ("what", "median s", "p95 s"), rows, notes)


async def _swap(stage: Stage, chat: Chat, word: str, seed: int) -> float:
    tiny_model.make_adapter(stage.root / "adapters" / "red", word, seed, model=stage.root / "model")
    return await _until(chat, word, time.monotonic())


async def _until(chat: Chat, word: str, began: float, *, dead_first: bool = False) -> float:
    died = not dead_first
    while time.monotonic() - began < BOOT:
        try:
            if await chat.ask("red") == word and died:
                return time.monotonic() - began
        except Exception:  # while it is down, every kind of error is an answer
            died = True
        await asyncio.sleep(0.02)
    raise TimeoutError(f"the adapter did not answer {word!r}")
