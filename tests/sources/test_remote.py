"""Sources from elsewhere arrive in the cache and are then local folders; a hub is stood in for by its HTTP interface."""

import asyncio

import pytest
from aiohttp import web

from reconciler.api.manifest import load
from reconciler.sources.remote import RemoteSources

FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"\x00" * 1000, "pytorch_model.bin": b"pickle"}
COMMIT = "a" * 40


@pytest.fixture
async def hub(monkeypatch):
    """The routes of a model hub that a download uses."""
    asked = []

    async def info(request):
        siblings = [{"rfilename": name} for name in FILES]
        return web.json_response({"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False})

    async def tree(request):
        return web.json_response([{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in FILES.items()])

    async def resolve(request):
        name = request.match_info["name"]
        asked.append((request.method, name))
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
        return web.Response(body=FILES[name], headers=headers)

    app = web.Application()
    app.router.add_get("/api/models/org/tiny/revision/{revision}", info)
    app.router.add_get("/api/models/org/tiny/tree/{revision}", tree)
    app.router.add_route("*", "/org/tiny/resolve/{revision}/{name}", resolve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield asked
    await runner.cleanup()


def documents(tmp_path):
    file = tmp_path / "service.yaml"
    file.write_text("kind: InferenceService\nmetadata: {name: phi}\nspec: {model: {source: 'hf://org/tiny@main'}}\n")
    return load([file]).documents


async def test_a_hub_model_is_fetched_once(tmp_path, hub):
    """It is said to be on its way, then it is a local folder without pickles, and is not asked for again."""
    sources = RemoteSources(tmp_path / "cache")
    wanted = documents(tmp_path)
    assert await sources.ready(wanted, {}) == {}
    assert "being fetched" in sources.problems["hf://org/tiny@main"]
    await asyncio.wait_for(sources.arrived.wait(), 30)

    folder = (await sources.ready(wanted, {}))["hf://org/tiny@main"]

    assert sources.problems == {}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (folder / "pytorch_model.bin").exists()
    before = len(hub)
    await RemoteSources(tmp_path / "cache").ready(wanted, {})
    assert len(hub) == before
    await sources.close()


async def test_an_unreachable_hub_is_a_sentence(tmp_path, monkeypatch):
    """The problem names the source; nothing is raised, and a later look tries again."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    sources = RemoteSources(tmp_path / "cache")
    wanted = documents(tmp_path)
    await sources.ready(wanted, {})
    await asyncio.wait_for(sources.arrived.wait(), 60)
    assert await sources.ready(wanted, {}) == {}
    assert sources.problems["hf://org/tiny@main"].startswith("hf://org/tiny@main")
    await sources.close()
