"""A changed adapter, from the save to the first answer of the new weights, against a restart of the same replica."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import tiny_model
from tests.benchmarks.report import Figure, Section, median
from tests.e2e.chat import Chat
from tests.e2e.stage import Stage, Up

WORDS = ("violet", "amber", "white", "black", "north", "south", "east")
BOOT = 500.0
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
    async with Chat(document["endpoint"], key, stage.ca, ("red",), streams=0) as chat:
        swaps = [await _swap(stage, chat, word) for word in WORDS]
        os.kill(document["replicas"][0]["pid"], signal.SIGKILL)
        began = time.monotonic()
        restart = await _until(chat, WORDS[-1], began, dead_first=True)
    ratio = restart / median(swaps)
    rows: list[tuple[str, float]] = [(f"save {number}", seconds) for number, seconds in enumerate(swaps, 1)]
    rows += [("median", median(swaps)), ("replica restart", restart)]
    notes = [
        "A save writes new weights under the same name; the clock stops at the first whole answer of the new weights.",
        "The restart is kill -9 of vLLM until the same question is answered again; vLLM itself takes nearly all of it.",
    ]
    figures = [Figure("adapter change sooner than a restart by", ratio, "times", 20, "at least")]
    return Section("Changed adapter to served", figures, ("what", "seconds"), rows, notes)


async def _swap(stage: Stage, chat: Chat, word: str) -> float:
    tiny_model.make_adapter(stage.root / "adapters" / "red", word, model=stage.root / "model")
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
