"""Why adapters are not changed over vLLM's own runtime interface: its traps, reproduced on vLLM as
it comes, without Moorage.

When one of these fails, vLLM has changed: then look whether serving/ can become simpler. The two
that end the server are last.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import shutil
import socket
import struct
import subprocess
import time
from array import array
from pathlib import Path

import aiohttp
import pytest

from serving.arguments import slow_half_floats
from serving.preflight import check_adapter
from serving.weights import read_header
from tests.serving.replica_share import ROOT
from tests.tiny_model import build, make_adapter, make_model, write_safetensors

PYTHON = ROOT / ".venv/images/vllm/bin/python"
SERVE = (
    "from vllm.entrypoints.launchers.api_server.entry import main\nif __name__ == '__main__':"
    " main()\n"
)
KEY = {"authorization": "Bearer sk-user"}
LONG = "a prompt that fills several blocks of the prefix cache, " * 12
START = 480.0
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


class Plain:
    """vLLM with its own runtime updating on, and a key, as its documentation has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tiny = build(folder / "tiny")
        self.made = 0
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "serve.py").write_text(SERVE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

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


@pytest.fixture(scope="module")
def _plain(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    plain = Plain(tmp_path_factory.mktemp("plain"))
    yield plain
    plain.stop()


@pytest.fixture
async def plain(_plain):
    """Running, whatever the test before did to it."""
    if _plain.process is None or _plain.process.poll() is not None:
        await _plain.start()
    return _plain


async def test_reload_in_place_reads_the_adapter_again_at_every_token(plain):
    """A share would be asked for every token of every stream. We load each version once, from a
    local copy.
    """
    folder = plain.adapter()
    assert await plain.load("inplace", folder) == 200
    with opens(folder) as before:
        await plain.answer("inplace", tokens=50)
    assert before.get("adapter_model.safetensors", 0) == 0
    assert await plain.load("inplace", folder, load_inplace=True) == 200
    with opens(folder) as after:
        await plain.answer("inplace", tokens=50)
    print(f"opened {after} times for 50 tokens")
    assert after["adapter_model.safetensors"] >= 50
    await plain.unload("inplace")


@pytest.mark.parametrize("how", ["in place", "unloaded and loaded"])
async def test_new_weights_at_the_old_path_answer_from_the_old_prefix_cache(plain, how):
    """The cache's key is name and path: a prompt that was asked before is answered with the keys
    and values of the old weights. Our paths carry the digest, so that other weights have another
    path.
    """
    folder, new = plain.adapter("red"), plain.adapter("blue")
    name = f"stale-{how[0]}"
    assert await plain.load(name, folder) == 200
    old = await plain.answer(name)
    shutil.copy(new / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    if how == "in place":
        assert await plain.load(name, folder, load_inplace=True) == 200
    else:
        await plain.unload(name)
        assert await plain.load(name, folder) == 200
    got = await plain.answer(name)
    assert await plain.load(f"{name}-fresh", new) == 200
    right = await plain.answer(f"{name}-fresh")
    assert differ(old, right)
    assert differ(got, right), "vLLM answers with the new weights now"
    for one in (name, f"{name}-fresh"):
        await plain.unload(one)


async def test_the_key_does_not_guard_the_routes_that_change_adapters(plain):
    """Anybody who reaches the port can load a folder, unload it, and use the model. Our gate lets
    nothing through that is not listed, and these routes do not exist: the switch they need stays
    off.
    """
    folder = plain.adapter()
    assert (
        await plain.post(
            "/v1/completions", {"model": "tiny", "prompt": "x", "max_tokens": 1}, headers={}
        )
    )[0] == 401
    assert (await plain.post("/adapters", {"name": "open", "src": str(folder)}, headers={}))[
        0
    ] == 200
    body = {"model": "open", "prompt": "x", "max_tokens": 1}
    assert (await plain.post("/invocations", body, headers={}))[0] == 200
    async with plain.session() as session:
        async with session.delete("/adapters/open") as answer:
            assert answer.status == 200
        for path in ("/metrics", "/openapi.json"):
            async with session.get(path) as answer:
                assert answer.status == 200, path


def _nan(name, values):
    return array("f", [math.nan, *values[1:]])


@pytest.mark.parametrize(
    ("what", "options", "change"),
    [
        ("another hidden size", {"hidden": 64}, None),
        ("more layers than the base has", {"layers": 4}, None),
        ("NaN in the weights", {}, _nan),
        ("a rank that is not the tensors'", {"r": 4}, None),
    ],
)
async def test_broken_adapters_are_taken_with_200(plain, what, options, change):
    """vLLM says yes and serves garbage; our preflight refuses the same folder before an engine sees
    it.
    """
    sizes = {key: options.pop(key) for key in ("hidden", "layers") if key in options}
    model = (
        make_model(plain.folder / f"other-{sorted(sizes)}", **sizes)
        if sizes
        else plain.tiny / "model"
    )
    folder = plain.adapter(model=model, **options)
    if change:
        edit(folder, change)
    assert await plain.load("broken", folder) == 200, f"vLLM now refuses {what}"
    await plain.unload("broken")
    assert check_adapter(folder, plain.tiny / "model", 16).problems


async def test_what_overflows_is_answered_with_200_and_spoils_other_adapters_answers(plain):
    """NaN is the vocabulary's first token to vLLM, and stays in the blocks of the cache for whoever
    gets them next. We make it an error of the version that computed it, and have blocks zeroed.
    """
    assert (
        await plain.load(
            "healthy", make_adapter(plain.folder / "healthy", "green", model=plain.tiny / "model")
        )
        == 200
    )
    sick = make_adapter(plain.folder / "sick", "red", model=plain.tiny / "model", trips_on="~")
    assert not check_adapter(sick, plain.tiny / "model", 16).problems
    assert await plain.load("sick", sick) == 200

    async def ask(model: str, prompt: str) -> str:
        body = {"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0}
        status, found = await plain.post("/v1/completions", body)
        assert status == 200, found
        return found["choices"][0]["text"]

    spoilt = []
    for turn in range(40):
        assert await ask("sick", "x" * turn + "~~~~") == "", (
            "vLLM says now that these are no numbers"
        )
        spoilt.append(await ask("healthy", "x") != "green")
    print(f"{sum(spoilt)} of 40 answers of another adapter were spoilt")
    assert any(spoilt), "vLLM keeps NaN to itself now"
    for name in ("healthy", "sick"):
        await plain.unload(name)


async def test_an_adapter_that_was_evicted_and_is_gone_ends_the_server_with_0(plain):
    """What falls out of memory is read again inside the engine's loop; if that fails, everything
    ends, and says success. We never register more than fits, load from copies of our own, and take
    an end with 0 for the crash it is.
    """
    folders = [plain.adapter() for _ in range(6)]
    for number, folder in enumerate(folders):
        assert await plain.load(f"many-{number}", folder) == 200
    shutil.rmtree(folders[0])
    body = {"model": "many-0", "prompt": "x", "max_tokens": 1}
    with contextlib.suppress(aiohttp.ClientError):
        assert (await plain.post("/v1/completions", body))[0] == 500
    assert await asyncio.to_thread(plain.process.wait, 60) == 0


async def test_two_versions_under_one_name_at_a_time_end_the_server(plain):
    """An old and a new request of one name run together and one more adapter is loaded: the engine
    dies. Our names are `name@digest`, so that two versions never share one.
    """

    async def stream(model: str) -> None:
        body = {
            "model": model,
            "prompt": "x",
            "max_tokens": 1500,
            "ignore_eos": True,
            "stream": True,
        }
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                plain.session() as session,
                session.post("/v1/completions", json=body, headers=KEY) as answer,
            ):
                async for _ in answer.content:
                    pass

    assert await plain.load("twin", plain.adapter("red")) == 200
    old = asyncio.create_task(stream("twin"))
    await asyncio.sleep(1)
    await plain.unload("twin")
    assert await plain.load("twin", plain.adapter("blue")) == 200
    new = asyncio.create_task(stream("twin"))
    await asyncio.sleep(1)
    with contextlib.suppress(aiohttp.ClientError):
        await plain.load("other", plain.adapter("green"))
        await plain.post("/v1/completions", {"model": "other", "prompt": "x", "max_tokens": 4})
    assert await asyncio.to_thread(plain.process.wait, 60) is not None
    await asyncio.gather(old, new)
