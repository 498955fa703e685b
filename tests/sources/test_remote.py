"""Sources from elsewhere: adapters arrive in the cache, models are asked about; a hub is stood in
for by its HTTP interface.
"""

import asyncio

import pytest

from reconciler.api.manifest import load
from reconciler.sources.remote import RemoteSources
from tests.hub import HubStandIn

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"\x00" * 1000,
    "pytorch_model.bin": b"pickle",
}
MODEL, ADAPTER = "hf://org/tiny@main", "hf://org/tiny@v1"


@pytest.fixture
def hub():
    with HubStandIn("org/tiny", FILES, {"main": "a" * 40, "v1": "b" * 40}).serving() as standing:
        yield standing


def documents(tmp_path, adapter=""):
    file = tmp_path / "service.yaml"
    adapters = f", adapters: [{{name: red, source: '{adapter}'}}]" if adapter else ""
    file.write_text(
        "kind: InferenceService\nmetadata: {name: phi}\nspec: {model: {source:"
        f" '{MODEL}'}}{adapters}}}\n"
    )
    return load([file]).documents


async def settled(sources, wanted):
    """Look until nothing is on its way."""
    async with asyncio.timeout(30):
        found = await sources.ready(wanted, {})
        while sources.problems:
            await sources.arrived.wait()
            sources.arrived.clear()
            found = await sources.ready(wanted, {})
    return found


async def test_a_model_is_asked_about_and_not_fetched(tmp_path, hub):
    """Commit and size of the files a model needs; a daemon that starts without the hub still knows
    them.
    """
    sources, wanted = RemoteSources(tmp_path / "cache", hub.endpoint), documents(tmp_path)
    assert await sources.ready(wanted, {}) == {}
    assert "looked up" in sources.problems[MODEL]
    assert await settled(sources, wanted) == {}
    assert sources.models[MODEL] == ("a" * 40, len(FILES["config.json"]) + 1000)
    assert hub.asked == {}
    again = RemoteSources(tmp_path / "cache", "http://127.0.0.1:9")
    await again.ready(wanted, {})
    assert again.models == sources.models
    await sources.close()


async def test_an_adapter_of_a_hub_is_fetched_once(tmp_path, hub):
    """It becomes a local folder without pickles, and is not asked for again."""
    sources, wanted = RemoteSources(tmp_path / "cache", hub.endpoint), documents(tmp_path, ADAPTER)
    folder = (await settled(sources, wanted))[ADAPTER]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (folder / "pytorch_model.bin").exists()
    before = dict(hub.asked)
    await RemoteSources(tmp_path / "cache", hub.endpoint).ready(wanted, {})
    assert hub.asked == before
    await sources.close()


async def test_a_token_opens_what_is_closed(tmp_path, hub):
    """Without it the sentence says what is missing; with it the model is known."""
    hub.token, wanted = "hf_secret", documents(tmp_path)
    closed = RemoteSources(tmp_path / "closed", hub.endpoint)
    await closed.ready(wanted, {})
    await asyncio.wait_for(closed.arrived.wait(), 30)
    await closed.ready(wanted, {})
    assert "401" in closed.problems[MODEL]
    await settled(RemoteSources(tmp_path / "open", hub.endpoint, "hf_secret"), wanted)


async def test_an_unreachable_hub_is_a_sentence(tmp_path):
    """The problem names the source; nothing is raised, and a later look tries again."""
    sources, wanted = RemoteSources(tmp_path / "cache", "http://127.0.0.1:9"), documents(tmp_path)
    await sources.ready(wanted, {})
    await asyncio.wait_for(sources.arrived.wait(), 60)
    assert await sources.ready(wanted, {}) == {}
    assert sources.problems[MODEL].startswith(MODEL)
    assert "looked up" not in sources.problems[MODEL]
    await sources.close()
