"""What vLLM's own load generator, `vllm bench serve`, unmodified, measures at a replica's endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path

from serving.preflight import SUPPORTED_VLLM
from tests.benchmarks.replica import PYTHON, Replica
from tests.benchmarks.report import Figure, Section
from tests.serving.replica_share import KEY

PROMPTS, PARALLEL = 96, 8
INPUT, OUTPUT = 128, 48  # tokens


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.share.write(replica.adapter("red", "red"))
        replica.start()
        try:
            async with replica.session() as http:
                await replica.ready(http)
            found = {name: await _bench(replica, name) for name in ("tiny", "red")}
        finally:
            replica.stop()
    columns = ("model", "requests", "failed", "tokens/s", "TTFT ms (median)", "p99", "TPOT ms")
    names = (
        "completed",
        "failed",
        "output_throughput",
        "median_ttft_ms",
        "p99_ttft_ms",
        "median_tpot_ms",
    )
    rows = [(model, *(one[name] for name in names)) for model, one in found.items()]
    failed = sum(one["failed"] + PROMPTS - one["completed"] for one in found.values())
    figures = [
        Figure("requests of `vllm bench serve` that failed", failed, "requests", 0, "at most")
    ]
    told = (
        f"{PROMPTS} chats of {INPUT} tokens, {PARALLEL} at a time, {OUTPUT} tokens of answer each."
    )
    return Section("vllm bench serve", figures, columns, rows, [told])


async def _bench(replica: Replica, model: str) -> dict[str, float]:
    """The result that the command saves."""
    command = [str(PYTHON), "-m", "vllm.entrypoints.cli.main", "bench", "serve"]
    options = {
        "backend": "openai-chat",
        "base-url": f"http://127.0.0.1:{replica.port}",
        "endpoint": "/v1/chat/completions",
        "model": model,
        "tokenizer": str(replica.model),
        "dataset-name": "random",
        "num-prompts": str(PROMPTS),
        "max-concurrency": str(PARALLEL),
        "random-input-len": str(INPUT),
        "random-output-len": str(OUTPUT),
        "result-dir": str(replica.folder),
        "result-filename": f"{model}.json",
    }
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = {
        **os.environ,
        "OPENAI_API_KEY": KEY,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(_named(replica.folder)),
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        "--save-result",
        "--disable-tqdm",
        env=environment,
        cwd=replica.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    path = replica.folder / f"{model}.json"
    if process.returncode or not path.exists():
        raise RuntimeError(output.decode(errors="replace")[-2000:])
    result: dict[str, float] = json.loads(path.read_text())
    return result


def _named(folder: Path) -> Path:
    """The command asks for the version of the package `vllm`, which its CPU build is not called."""
    info = folder / "named" / f"vllm-{SUPPORTED_VLLM[-1]}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {SUPPORTED_VLLM[-1]}\n"
    (info / "METADATA").write_text(text)
    return info.parent
