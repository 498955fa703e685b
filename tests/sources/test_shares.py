"""Adapters on the shares of two Environments, brought by a daemon from a real local Azure: each its
own bytes, and what is wrong with one costs that one.
"""

import asyncio
import json
import shutil

import pytest

from reconciler.api.source import SourceRef
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.composition.environment import share_of
from reconciler.composition.world import Registered
from reconciler.daemon import Daemon
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from tests.e2e.stage import Stage, environment
from tests.tiny_model import make_adapter, make_model

ENVIRONMENTS = ("dev", "prod")
STYLE = "share://adapters/style"
pytestmark = pytest.mark.e2e


def service(name, where, source=STYLE):
    return {
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "environment": where,
            "model": {"source": "./model"},
            "adapters": [{"name": "style", "source": source}],
        },
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Two Environments with a share each, and no service yet."""
    with Stage(tmp_path_factory.mktemp("shares")) as stage:
        make_model(stage.root / "model")
        for word in ("red", "green"):
            make_adapter(stage.root / word, word, model=stage.root / "model")
        stage.save(*(environment(name) for name in ENVIRONMENTS))
        stage.once()
        yield stage


@pytest.fixture
async def daemon(stage):
    stage.save(
        *(environment(name) for name in ENVIRONMENTS),
        *(service(name, name) for name in ENVIRONMENTS),
    )
    shutil.rmtree(stage.state / "cache", ignore_errors=True)
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state)
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        daemon.remote.quiet_period.seconds = 0.0
        await daemon.load()
        for name in ENVIRONMENTS:
            await files.delete_tree(share(daemon, name), "adapters")
        yield daemon


def share(daemon, name) -> Share:
    return daemon.shares.open(share_of(daemon.composition.names[name]))


async def put(daemon, name, folder, path="adapters/style"):
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        below = file.relative_to(folder).as_posix()
        await files.create(share(daemon, name), f"{path}/{below}", file.read_bytes())


def digests(composition):
    """The adapter version that each service is to serve."""
    return {
        item.key.name: item.spec.adapters[0].digest
        for item in composition.desired
        if item.key.kind == "AdapterCatalogue"
    }


def refusal(composition, name):
    found = composition.refusals.get(DocumentRef("InferenceService", name))
    return (found.reason, found.message) if found else None


async def test_each_environment_serves_the_bytes_of_its_own_share(daemon, stage):
    """Two services whose sources read alike get two adapters."""
    await put(daemon, "dev", stage.root / "red")
    await put(daemon, "prod", stage.root / "green")
    found = digests(await daemon.load())
    assert len(set(found.values())) == 2


@pytest.mark.parametrize(
    "held",
    [{".gitattributes": b"*.safetensors lfs"}, {}],
    ids=["only what no replica reads", "nothing"],
)
async def test_an_empty_folder_costs_its_own_service(daemon, stage, held):
    """Only the service that names it waits, and is told why in a sentence; it is taken up as soon
    as the folder holds something.
    """
    await put(daemon, "prod", stage.root / "green")
    for name, data in held.items():
        await files.create(share(daemon, "dev"), f"adapters/style/{name}", data)
    found = await daemon.load()
    assert refusal(found, "dev")[0] == "Missing"
    assert "holds no files" in refusal(found, "dev")[1]
    assert "/cache/" not in refusal(found, "dev")[1]
    assert refusal(found, "prod") is None
    assert set(digests(found)) == {"prod"}
    await put(daemon, "dev", stage.root / "red")
    assert set(digests(await daemon.load())) == {"dev", "prod"}


@pytest.mark.parametrize(
    "held",
    [{"adapter_config.json": b"{"}, {"README.md": b"soon"}],
    ids=["half a file", "no adapter"],
)
async def test_a_bad_adapter_costs_itself_alone(daemon, stage, held):
    """Its service is deployed without it, so that the base model and the good adapters answer; what
    is wrong is told at once.
    """
    await put(daemon, "prod", stage.root / "green")
    for name, data in held.items():
        await files.create(share(daemon, "dev"), f"adapters/style/{name}", data)
    before = len(told(daemon))
    found = await daemon.load()
    assert refusal(found, "dev") is None
    assert (digests(found)["dev"], bool(digests(found)["prod"])) == ("", True)
    (event,) = told(daemon)[before:]
    assert event.document == DocumentRef("InferenceService", "dev")
    assert "share://adapters/style is not served: " in event.message
    assert "adapter_config.json" in event.message
    await daemon.load()
    assert len(told(daemon)) == before + 1


def told(daemon):
    return [event for event in daemon.store.events() if event.reason == "AdapterFailed"]


async def test_a_bad_version_changes_nothing_of_the_engine(daemon, stage):
    """Also one whose rank cannot be read: the engine keeps what the version before it needed, and
    a daemon that starts again knows it.
    """
    wide = make_adapter(stage.root / "wide", "red", model=stage.root / "model", rank=48)
    await put(daemon, "dev", wide)
    await put(daemon, "prod", stage.root / "green")
    before = engine(await daemon.load())
    path = "adapters/style/adapter_config.json"
    await files.delete(share(daemon, "dev"), path)
    await files.create(share(daemon, "dev"), path, b"{")
    found = await daemon.load()
    assert told(daemon)
    assert engine(found) == before
    assert "64" in before["dev"]
    assert "64" not in before["prod"]


def engine(composition):
    """vLLM's arguments of each service."""
    return {
        item.key.name: item.spec.template["containers"][0]["args"]
        for item in composition.desired
        if item.key.kind == "ContainerApp"
    }


async def test_half_an_upload_is_told(daemon, stage):
    """Weights that end too early are no reason to stop a service; it keeps what it had."""
    await put(daemon, "prod", stage.root / "green")
    await put(daemon, "dev", stage.root / "red")
    whole = (stage.root / "red" / "adapter_model.safetensors").read_bytes()
    path = "adapters/style/adapter_model.safetensors"
    await files.delete(share(daemon, "dev"), path)
    await files.create(share(daemon, "dev"), path, whole[: len(whole) // 2])
    found = await daemon.load()
    assert "truncated" in told(daemon)[-1].message
    assert set(digests(found)) == {"dev", "prod"}


async def test_a_file_may_become_a_folder(daemon, stage):
    """What has another shape on the share takes it here too, both ways; beside an adapter it makes
    no new version.
    """
    await put(daemon, "dev", stage.root / "red")
    await put(daemon, "prod", stage.root / "green")
    await files.create(share(daemon, "dev"), "adapters/style/notes", b"a file")
    await daemon.load()
    before = digests(daemon.composition)
    await files.delete(share(daemon, "dev"), "adapters/style/notes")
    await files.create(share(daemon, "dev"), "adapters/style/notes/one", b"in a folder")
    assert digests(await daemon.load()) == before
    assert len(list(stage.state.rglob("notes/one"))) == 2  # on the share and in the copy
    await files.delete_tree(share(daemon, "dev"), "adapters/style/notes")
    await files.create(share(daemon, "dev"), "adapters/style/notes", b"a file")
    assert digests(await daemon.load()) == before
    assert not list(stage.state.rglob("notes/one"))


async def test_an_adapter_that_is_being_written_waits(daemon, stage):
    """A copy that is there goes on; the new bytes are read when nobody has written for a while,
    whatever the share's clock says.
    """
    await put(daemon, "prod", stage.root / "green")
    await put(daemon, "dev", stage.root / "red")
    before = digests(await daemon.load())
    quiet_period, now = daemon.remote.quiet_period, [0.0]
    quiet_period.seconds, quiet_period.clock = 3600.0, lambda: now[0]
    path = "adapters/style/adapter_config.json"
    await files.delete(share(daemon, "dev"), path)
    changed = (stage.root / "red" / "adapter_config.json").read_bytes() + b"\n"
    await files.create(share(daemon, "dev"), path, changed)
    assert digests(await daemon.load()) == before
    now[0] = 3599.0
    assert digests(await daemon.load()) == before
    now[0] = 3600.0
    assert digests(await daemon.load())["dev"] != before["dev"]


async def test_a_cache_that_holds_nothing_costs_the_service(daemon, stage):
    """A full or broken cache is told of the source that it has no room for."""
    await put(daemon, "dev", stage.root / "red")
    await put(daemon, "prod", stage.root / "green")
    place = daemon.remote.mirror._place(share(daemon, "dev"), "adapters")
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"in the way")
    found = await daemon.load()
    assert refusal(found, "dev")[0] == "SourceUnreadable"
    assert set(digests(found)) == {"prod"}


async def test_a_refused_adapter_is_told_of_the_service_that_names_it(daemon, stage):
    """The newest below a folder is chosen for each service; what is refused for one is no word
    about another.
    """
    stage.save(
        *(environment(name) for name in ENVIRONMENTS),
        *(service(name, name, "share://adapters/**") for name in ENVIRONMENTS),
    )
    await put(daemon, "dev", stage.root / "red", "adapters/one")
    await put(daemon, "prod", stage.root / "green", "adapters/one")
    config = json.loads((stage.root / "red" / "adapter_config.json").read_text())
    torn = json.dumps(config | {"use_dora": True}).encode()
    await asyncio.sleep(1.1)  # the share's clock has seconds
    await files.create(share(daemon, "dev"), "adapters/two/adapter_config.json", torn)
    await daemon.load()
    told = {
        event.document.name for event in daemon.store.events() if "adapters/two" in event.message
    }
    assert told == {"dev"}
    refs = daemon.intake.snapshot.fetched.folders
    assert refs.keys() == {SourceRef(n, "share://adapters/**", n) for n in ENVIRONMENTS}
    # While a third one is being written the choice stays, and what it passed over.
    daemon.remote.quiet_period.seconds = 3600.0
    before = daemon.intake.snapshot.fetched.refused
    await put(daemon, "dev", stage.root / "red", "adapters/three")
    await daemon.load()
    assert daemon.intake.snapshot.fetched.refused == before
    assert any("adapters/two" in why for why in before.values())


async def test_a_rotation_counts_for_the_share_that_had_it(daemon, stage):
    """An Environment whose document names another account has nothing registered there yet,
    whatever was known of the former one; the other Environment's stays as it is.
    """
    daemon.registrations.found |= {name: Registered("aaaa1111") for name in ENVIRONMENTS}
    moved = environment("dev", storage={"accountName": "stmoved01"})
    stage.save(moved, environment("prod"))
    composition = await daemon.load()
    assert daemon.registrations.found["dev"] == Registered("")
    assert composition.names["dev"].storage == "moorage"
    assert daemon.registrations._places.keys() == set(ENVIRONMENTS)
    stage.save(environment("prod"))
    await daemon.load()
    assert daemon.registrations.found.keys() == {"prod"}
