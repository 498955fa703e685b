"""The second start of an engine with what the first one compiled, and without: real vLLM, started by
launch, in pairs. With its own compiler on, which Moorage turns off on a CPU, and with
`--enforce-eager`, where nothing is compiled.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from serving.start.compile_cache import FOLDER
from tests import tiny_model
from tests.benchmarks.replica import PYTHON, START
from tests.benchmarks.report import Figure, Section, median
from tests.ports import free_port
from tests.serving.replica_share import ReplicaShare

PAIRS = int(os.environ.get("MOORAGE_BENCH_PAIRS", "2"))


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    rows: list[tuple[str | float, ...]] = []
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model.make_model(Path(folder) / "model")
        for name, more in (("compiled", ()), ("eager", ("--enforce-eager",))):
            share = ReplicaShare(Path(folder) / name / "share")
            share.write()
            first = _start(share, model, "first", *more)
            size = sum(path.stat().st_size for path in _archives(share))
            without, kept = [], []
            for _ in range(PAIRS):
                without.append(_start(share, model, "off", *more))
                kept.append(_start(share, model, "on", *more))
            rows.append((f"{name}, first start", *_columns([first]), size / 1e6))
            rows.append((f"{name}, without the cache", *_columns(without), 0.0))
            rows.append((f"{name}, with the cache", *_columns(kept), size / 1e6))
            if name == "compiled":
                ratio = _compile(without) / _compile(kept)
                text = "compiling without the kept cache, against with it"
                figures.append(Figure(text, ratio, "times", 1.5, "at least"))
    notes = [
        f"{PAIRS} pairs that take turns, each with an empty local disk; seconds by the replica's own"
        " report of its stages. The model is tiny: what a GPU compiles takes minutes.",
    ]
    columns = ("start", "ready s", "runtime s", "compile s", "cache MB")
    return Section("Starts with what an earlier one compiled", figures, columns, rows, notes)


def _columns(starts: list[dict[str, float]]) -> tuple[float, ...]:
    totals = [sum(stages.values()) for stages in starts]
    return (median(totals), median([each["runtime"] for each in starts]), _compile(starts))


def _compile(starts: list[dict[str, float]]) -> float:
    return median([stages["compile"] for stages in starts])


def _archives(share: ReplicaShare) -> list[Path]:
    return sorted((share.reports / FOLDER).glob("*.tar.gz"))


def _start(share: ReplicaShare, model: Path, cache: str, *more: str) -> dict[str, float]:
    """The seconds of the stages of one start, which ends as soon as it is ready and has kept what it
    compiled.
    """
    local = share.root.parent / "local"
    shutil.rmtree(local, ignore_errors=True)
    report = share.reports / "tiny--r1-abc.json"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        **share.environment(),
        "MOORAGE_LOCAL": str(local),
        "TORCHDYNAMO_DISABLE": "0",
        "MOORAGE_COMPILE_CACHE": "off" if cache == "off" else "on",
    }
    if cache == "off":  # nor what stays of an earlier start on this machine
        for name in ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
            environment[name] = str(local / name)
    arguments = ["--model", str(model), "--served-model-name", "tiny", "--host", "127.0.0.1"]
    arguments += ["--port", str(free_port()), "--max-model-len", "1024", *more]
    with (share.root / "log").open("ab") as log:
        command = ["nice", str(PYTHON), "-m", "serving.launch", *arguments]
        process = subprocess.Popen(
            command, env=environment, cwd=share.root, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START
        told: dict[str, Any] = {}
        while not told.get("ready") or (cache == "first" and not _archives(share)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no start: {(share.root / 'log').read_text()[-2000:]}")
            time.sleep(0.5)
            if report.exists():
                told = json.loads(report.read_text())
        stages: dict[str, float] = told["stages"]
        return stages
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
