"""Sources from elsewhere: adapters arrive in the cache, models are asked about; a hub is stood in
for by its HTTP interface.
"""

import asyncio

import pytest

from reconciler.api.digest import digest_tree
from reconciler.api.manifest import load
from reconciler.api.source import SourceRef
from reconciler.sources import hub as hubs
from reconciler.sources.remote import RemoteSources
from tests.hub import HubStandIn

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"\x00" * 1000,
    "pytorch_model.bin": b"pickle",
}
MODEL = SourceRef("default", "hf://org/tiny@main")
ADAPTER = SourceRef("default", "hf://org/tiny@v1")


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
    async with asyncio.timeout(90):
        while (found := await sources.fetch(wanted, {})).missing:
            await sources.arrived.wait()
            sources.arrived.clear()
    return found


async def test_a_model_is_asked_about_and_not_fetched(tmp_path):
    """Commit and size of the files a model needs; a daemon that starts without the hub still knows
    them.
    """
    wanted, known = documents(tmp_path), {MODEL: ("a" * 40, len(FILES["config.json"]) + 1000)}
    with HubStandIn("org/tiny", FILES, {"main": "a" * 40}).serving() as hub:
        sources = RemoteSources(tmp_path / "cache", hub.endpoint)
        found = await sources.fetch(wanted, {})
        assert found.models == {}
        assert "looked up" in found.missing[MODEL].message
        assert (await settled(sources, wanted)).models == known
        assert hub.asked == {}
        await sources.close()
    again = RemoteSources(tmp_path / "cache", hub.endpoint)
    assert (await again.fetch(wanted, {})).models == known


async def test_two_hubs_have_a_repository_of_one_name(tmp_path):
    """What one hub gave does not stand for what the other has, with one cache for both."""
    wanted, folders = documents(tmp_path, ADAPTER), []
    for commit in ("b", "c"):
        files = {**FILES, "model.safetensors": commit.encode() * 1000}
        revisions = {"main": commit * 40, "v1": commit * 40}
        with HubStandIn("org/tiny", files, revisions).serving() as hub:
            sources = RemoteSources(tmp_path / "cache", hub.endpoint)
            found = await settled(sources, wanted)
            assert found.models[MODEL].commit == commit * 40
            folders.append(found.folders[ADAPTER])
            await sources.close()
    assert [(each / "model.safetensors").read_bytes()[:1] for each in folders] == [b"b", b"c"]


async def test_an_adapter_of_a_hub_is_fetched_once(tmp_path, hub):
    """It becomes a local folder without pickles, and is not asked for again."""
    sources, wanted = RemoteSources(tmp_path / "cache", hub.endpoint), documents(tmp_path, ADAPTER)
    folder = (await settled(sources, wanted)).folders[ADAPTER]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (folder / "pytorch_model.bin").exists()
    before = dict(hub.asked)
    await RemoteSources(tmp_path / "cache", hub.endpoint).fetch(wanted, {})
    assert hub.asked == before
    await sources.close()


async def test_the_same_commit_fetched_twice_is_the_same_version(tmp_path, hub):
    """The digest covers what a replica reads, not what the hub's client notes beside it."""
    digests = set()
    for name in ("one", "other"):
        sources = RemoteSources(tmp_path / name, hub.endpoint)
        found = await settled(sources, documents(tmp_path, ADAPTER))
        folder = found.folders[ADAPTER]
        assert list(folder.glob(".cache/huggingface/download/*.metadata"))
        digests.add(digest_tree(folder).digest)
        await sources.close()
    assert len(digests) == 1


async def test_one_source_may_be_a_model_and_an_adapter(tmp_path, hub):
    """Both are brought, although one text names them."""
    wanted = documents(tmp_path, MODEL)
    sources = RemoteSources(tmp_path / "cache", hub.endpoint)
    found = await settled(sources, wanted)
    assert (found.models.keys(), found.folders.keys()) == ({MODEL}, {MODEL})
    await sources.close()


async def test_a_token_opens_what_is_closed(tmp_path, hub):
    """Without it the sentence says what is missing; with it the model is known."""
    hub.token, wanted = "hf_secret", documents(tmp_path)
    closed = RemoteSources(tmp_path / "closed", hub.endpoint)
    await closed.fetch(wanted, {})
    await asyncio.wait_for(closed.arrived.wait(), 30)
    assert "401" in (await closed.fetch(wanted, {})).missing[MODEL].message
    await settled(RemoteSources(tmp_path / "open", hub.endpoint, "hf_secret"), wanted)


async def test_an_unreachable_hub_is_a_sentence(tmp_path):
    """The problem names the source; nothing is raised, and a later look tries again."""
    sources, wanted = RemoteSources(tmp_path / "cache", "http://127.0.0.1:9"), documents(tmp_path)
    await sources.fetch(wanted, {})
    await asyncio.wait_for(sources.arrived.wait(), 60)
    missing = (await sources.fetch(wanted, {})).missing[MODEL]
    assert missing.reason == "FetchFailed"
    assert missing.message.startswith(MODEL.text)
    assert "looked up" not in missing.message
    await sources.close()


async def test_a_hub_that_refuses_is_asked_less_and_less_often(tmp_path, hub, monkeypatch):
    """A failure is followed by a pause that doubles, however often the documents are looked at."""
    now, asked, wanted = [0.0], [], documents(tmp_path)
    monkeypatch.setattr(hubs, "_describe", lambda *_: asked.append(now[0]) or 1 / 0)
    monkeypatch.setattr(hubs, "FIRST_PAUSE", 2.0)
    sources = RemoteSources(tmp_path / "cache", hub.endpoint)
    sources.hub._clock = lambda: now[0]
    for second in range(40):
        now[0] = float(second)
        for _ in range(3):
            found = await sources.fetch(wanted, {})
            while any(each.task for each in sources.hub._asked.values()):
                await asyncio.sleep(0.001)
    assert "division" in found.missing[MODEL].message
    assert asked == [0.0, 2.0, 6.0, 14.0, 30.0]
    await sources.close()
