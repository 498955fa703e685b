"""Why adapters are not changed over vLLM's own runtime interface: its traps, reproduced on vLLM as
it comes, without Moorage.

When one of these fails, vLLM has changed: then look whether serving/ can become simpler. The two
that end the server are last.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from array import array

import aiohttp
import pytest

from serving.preflight import check_adapter
from tests.serving.plain_vllm import KEY, PYTHON, Plain, differ, edit, opens
from tests.tiny_model import make_adapter, make_model

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


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
