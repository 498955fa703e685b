"""vLLM as it comes, without Moorage, with its own runtime updating on; and what its traps are seen
with.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import subprocess
import time
from array import array
from pathlib import Path

import aiohttp

from serving.inspection.weights import read_header
from serving.start.arguments import slow_half_floats
from tests.ports import free_port
from tests.serving.replica_share import ROOT
from tests.tiny_model import build, make_adapter, write_safetensors

PYTHON = ROOT / ".venv/images/vllm/bin/python"
SERVE = (
    "from vllm.entrypoints.launchers.api_server.entry import main\nif __name__ == '__main__':"
    " main()\n"
)

KEY = {"authorization": "Bearer sk-user"}
LONG = "a prompt that fills several blocks of the prefix cache, " * 12
START = 480.0


class Plain:
    """vLLM with its own runtime updating on, and a key, as its documentation has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tiny = build(folder / "tiny")
        self.made = 0
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "serve.py").write_text(SERVE)
        self.port = free_port()

    def adapter(self, word: str = "red", **options) -> Path:
        """A folder of its own each time, with a voice in the first layer too, which is what a
        prefix cache would keep.
        """
        self.made += 1
        model = options.pop("model", self.tiny / "model")
        folder = make_adapter(
            self.folder / "adapters" / f"{word}-{self.made}",
            word,
            self.made,
            model=model,
            **options,
        )
        edit(
            folder,
            lambda name, values: (
                array("f", [20 * v for v in values]) if "layers.0." in name else values
            ),
        )
        return folder

    def _launch(self) -> subprocess.Popen[bytes]:
        arguments = [
            "--model",
            str(self.tiny / "model"),
            "--served-model-name",
            "tiny",
            "--port",
            str(self.port),
        ]
        arguments += [
            "--host",
            "127.0.0.1",
            "--max-model-len",
            "2048",
            "--enable-lora",
            "--max-lora-rank",
            "16",
        ]
        arguments += ["--max-loras", "2", "--max-cpu-loras", "4", "--api-key", "sk-user"]
        if slow_half_floats(Path("/proc/cpuinfo").read_text()):
            arguments += ["--dtype", "float32"]
        environment = {
            **os.environ,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "PYTHONPATH": os.environ.get("MOORAGE_TEST_VLLM_PATH", ""),
        }
        with (self.folder / "log").open("ab") as log:
            command = [str(PYTHON), "serve.py", *arguments]
            return subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )

    async def start(self) -> None:
        self.stop()
        self.process = self._launch()
        deadline = time.monotonic() + START
        async with self.session() as session:
            while True:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
                assert time.monotonic() < deadline
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get("/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.5)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}", timeout=aiohttp.ClientTimeout(total=120)
        )

    async def post(self, path: str, body: dict, headers=KEY) -> tuple[int, dict]:
        async with (
            self.session() as session,
            session.post(path, json=body, headers=headers) as answer,
        ):
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                return answer.status, await answer.json(content_type=None)
            return answer.status, {}

    async def load(self, name: str, folder: Path, **options) -> int:
        return (
            await self.post(
                "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder), **options}
            )
        )[0]

    async def unload(self, name: str) -> None:
        await self.post("/v1/unload_lora_adapter", {"lora_name": name})

    async def answer(
        self, model: str, prompt: str = LONG, tokens: int = 4
    ) -> list[tuple[str, float]]:
        """A greedy answer's tokens, each with the log-probability of the runner-up: what tells one
        set of weights from another.
        """
        body = {
            "model": model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "logprobs": 2,
            "ignore_eos": True,
        }
        status, found = await self.post("/v1/completions", body)
        assert status == 200, found
        given = found["choices"][0]["logprobs"]
        return list(
            zip(
                given["tokens"], (min(each.values()) for each in given["top_logprobs"]), strict=True
            )
        )


def edit(folder: Path, change) -> None:
    """Rewrite an adapter's weights: `change` gets each tensor's name and values."""
    path = folder / "adapter_model.safetensors"
    data = path.read_bytes()
    tensors = {
        name: (tensor.shape, array("f", data[tensor.start : tensor.end]))
        for name, tensor in read_header(path).items()
    }
    write_safetensors(
        path, {name: (shape, change(name, values)) for name, (shape, values) in tensors.items()}
    )


def differ(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    return any(a[0] != b[0] or abs(a[1] - b[1]) > 1e-3 for a, b in zip(one, other, strict=True))


@contextlib.contextmanager
def opens(folder: Path):
    """Counts how often files of a folder are opened, by inotify; the count is complete after the
    block.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(handle, str(folder).encode(), 0x20) >= 0  # IN_OPEN
    counted: dict[str, int] = {}
    try:
        yield counted
        with contextlib.suppress(BlockingIOError):
            while data := os.read(handle, 1 << 16):
                while data:
                    length = struct.unpack_from("iIII", data)[3]
                    name = data[16 : 16 + length].rstrip(b"\0").decode()
                    counted[name] = counted.get(name, 0) + 1
                    data = data[16 + length :]
    finally:
        os.close(handle)
