"""A real vLLM behind launch, plugin and gate, with the tiny model on a share written by hand; and how
it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from array import array
from pathlib import Path

import aiohttp

from serving.catalogue import Adapter
from tests.patience import patient
from tests.ports import free_port
from tests.serving.plain_vllm import edit
from tests.serving.replica_share import ROOT, ReplicaShare
from tests.tiny_model import build, make_adapter

PYTHON = ROOT / ".venv/images/vllm/bin/python"
START = 480.0  # two cores that everybody uses


class Server:
    """One replica: launch as a child process, its share, and an HTTP client's basics."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.share = ReplicaShare(folder / "share")
        self.tiny = build(folder / "tiny")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start it again, with `more` arguments of vLLM's."""
        self.stop()
        command = [
            str(PYTHON),
            "-m",
            "serving.launch",
            "--model",
            str(self.tiny / "model"),
            "--served-model-name",
            "tiny",
        ]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--max-model-len",
            "2048",
            "--enable-lora",
        ]
        command += ["--max-lora-rank", "16", "--max-loras", "4", "--max-cpu-loras", "6"]
        command += more
        environment = {**os.environ, **self.share.environment()}
        environment["PYTHONPATH"] += os.pathsep + os.environ.get("MOORAGE_TEST_VLLM_PATH", "")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def adapter(self, name: str, folder: str | Path, **options) -> Adapter:
        return Adapter(name=name, desired=self.share.publish(Path(folder), name), **options)

    def colour(self, word: str, name: str = "", seed: int = 0) -> Adapter:
        folder = make_adapter(
            self.folder / "made" / f"{word}-{seed}", word, seed, model=self.tiny / "model"
        )
        return self.adapter(name or word, folder)

    def report(self) -> dict:
        return json.loads((self.share.reports / "tiny--r1-abc.json").read_text())

    async def until(self, condition, seconds: float = 20.0):
        """Poll a condition (sync or async) until it gives something true; its value."""
        deadline = time.monotonic() + patient(seconds)
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError, aiohttp.ClientError):
                value = condition()
                if value := await value if asyncio.iscoroutine(value) else value:
                    return value
            assert self.process is None or self.process.poll() is None or seconds < START, (
                self.folder / "log"
            ).read_text()[-4000:]
            assert time.monotonic() < deadline, (
                f"not within {seconds} s; {(self.folder / 'log').read_text()[-3000:]}"
            )
            await asyncio.sleep(0.1)

    def state(self, name: str) -> dict:
        return {adapter["name"]: adapter for adapter in self.report()["adapters"]}.get(name, {})

    async def serves(self, *adapters: Adapter, seconds: float = 20.0) -> None:
        """Wait until the report says that exactly these versions answer."""
        wanted = {adapter.name: adapter.desired.digest for adapter in adapters}
        await self.until(
            lambda: {a["name"]: a["digest"] for a in self.report()["adapters"]} == wanted, seconds
        )


async def chat(client, model: str, **options):
    """(status, answer's text or error code, headers) of one chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say something"}], **options}
    async with client.post("/v1/chat/completions", json=body) as answer:
        data = await answer.json()
        if answer.status != 200:
            return answer.status, data["error"]["code"], answer.headers
        assert data["model"] == model
        return 200, data["choices"][0]["message"]["content"], answer.headers


async def stream(client, model: str, tokens: int, started: asyncio.Event | None = None) -> str:
    """A streamed answer of exactly `tokens` tokens; the tiny model repeats its word."""
    body = {"model": model, "messages": [{"role": "user", "content": "Go on"}], "stream": True}
    text = ""
    async with client.post(
        "/v1/chat/completions", json=body | {"ignore_eos": True, "max_tokens": tokens}
    ) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk
                assert chunk["model"] == model
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                if started and text:
                    started.set()
        return text


async def tokens(
    client, model: str, count: int, started: asyncio.Event | None = None
) -> list[tuple[str, float]]:
    """Each token of a streamed answer with the log-probability of the runner-up: the token's own is
    0, it is that sure.
    """
    body = {
        "model": model,
        "prompt": "Go on",
        "stream": True,
        "logprobs": 2,
        "ignore_eos": True,
        "max_tokens": count,
    }
    found: list[tuple[str, float]] = []
    async with client.post("/v1/completions", json=body | {"temperature": 0}) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    given = choice["logprobs"]
                    found += (
                        zip(
                            given["tokens"],
                            map(min, map(dict.values, given["top_logprobs"])),
                            strict=True,
                        )
                        if given
                        else []
                    )
                if started and len(found) > 10:
                    started.set()
    return found


async def models(client, **headers: str) -> list[str]:
    async with client.get("/v1/models", headers=headers) as answer:
        return [card["id"] for card in (await answer.json())["data"]]


def make_weaker(server: Server, word: str) -> Path:
    """An adapter of the same answer that is less sure of it."""
    return make_adapter(
        server.folder / "made" / f"{word}-weak", word, 0, model=server.tiny / "model", lora_alpha=7
    )


def scaled(server: Server, name: str, factor: float) -> Path:
    """An adapter whose lora_B is `factor` times what it would be to answer red."""
    folder = make_adapter(server.folder / "made" / name, "red", 7, model=server.tiny / "model")
    edit(
        folder,
        lambda key, values: (
            array("f", [factor * each for each in values]) if "lora_B" in key else values
        ),
    )
    return folder


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_below(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found[1:]
