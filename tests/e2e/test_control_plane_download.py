"""A model of a hub arrives on the share by a job inside the environment; the hub is a stand-in that
speaks its interface.
"""

import json
import random
import venv

import pytest

from reconciler.engine.store import Store
from tests.hub import HubStandIn

COMMIT = "c0ffee" + "0" * 34
FOLDER = f"models/org--tiny/{COMMIT[:12]}"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": random.Random(2).randbytes(3_000_000),
}
SERVICE = {
    "kind": "InferenceService",
    "metadata": {"name": "tiny"},
    # An image that nobody has: the model is fetched all the same, and no engine boots for it.
    "spec": {
        "model": {"source": "hf://org/tiny@v1"},
        "engine": {"image": "example.invalid/vllm:v0.32.0"},
        "scale": {"minReplicas": 0},
    },
}


@pytest.fixture
def hub():
    with HubStandIn(
        "org/tiny", dict(FILES), {"v1": COMMIT}, token="hf_secret"
    ).serving() as standing:
        yield standing


def job(stage):
    """What the daemon remembers of the job; None before there is one."""
    store = Store.read(stage.state / "daemon" / "local" / "state.db", "local")
    if store is None:
        return None
    try:
        return next((record for record in store.objects() if record.key.kind == "Job"), None)
    finally:
        store.close()


def on_share(stage, path):
    """Whether the share holds it, looked at where the local Azure keeps its files."""
    return next(iter(stage.azure_dir.glob(f"files/*/moorage/{FOLDER}/{path}")), None)


async def test_a_model_is_fetched_into_the_environment(stage, hub):
    """Whole, verified, with its manifest, without passing through the daemon; a second start
    fetches and writes nothing.
    """
    stage.env |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_secret"}
    stage.save(SERVICE)
    # The first plan waits for the hub's answer, instead of refusing the service.
    changes = stage.json("plan", "-f", str(stage.manifest))["changes"]
    assert {change["action"] for change in changes} == {"create"}
    with stage.watching(resync=2) as up:
        await up.until(lambda: on_share(stage, ".moorage.json"), 60, "the model was fetched")
        await up.until(lambda: job(stage).usable, 20, "the job is ready")
    assert on_share(stage, "model.safetensors").read_bytes() == FILES["model.safetensors"]
    manifest = json.loads(on_share(stage, ".moorage.json").read_text())
    assert manifest["commit"] == COMMIT
    uploads = [
        e
        for e in stage.journal()
        if e["plane"] == "files" and FOLDER in e["path"] and e["client"].startswith("moorage/")
    ]
    assert not [
        e for e in uploads if e["method"] == "PUT" and "restype=directory" not in e.get("query", "")
    ]
    everything = "".join(
        path.read_text(errors="replace")
        for path in (stage.state / "daemon").rglob("*")
        if path.is_file()
    )
    assert "hf_secret" not in everything
    asked, before = dict(hub.asked), len(stage.journal())
    with stage.watching(resync=2) as up:
        await up.until(lambda: len(stage.journal()) > before + 10, 30, "looked again")
    assert hub.asked == asked
    assert [write for write in stage.writes(since=before) if "/jobs/" in write.lower()] == []


async def test_a_hub_that_refuses_is_said_and_asked_again_when_the_token_is_there(make_stage, hub):
    """The condition names the reason; a daemon with another token goes on at once."""
    stage = make_stage()
    stage.env |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_secret"}
    stage.save(SERVICE)
    hub.job_token, hub.gated = "hf_new", True
    with stage.watching(resync=2) as up:
        await up.until(
            lambda: (found := job(stage)) and found.reason == "GatedRepo", 60, "told why not"
        )
        assert "accept its terms" in job(stage).message
    stage.env |= {"HF_TOKEN": "hf_new"}
    with stage.watching(resync=2) as up:
        await up.until(lambda: on_share(stage, ".moorage.json"), 60, "fetched with the new token")


async def test_a_job_that_crashes_is_told_in_its_own_words(make_stage, hub, tmp_path):
    """The container ends before it can leave an error on the share: its last output and Azure's
    reason are in the event and in the status.
    """
    image = tmp_path / "image"
    venv.create(image)
    python = image / "bin" / "python3"
    python.unlink()
    python.write_text("#!/bin/sh\necho 'OSError: no room, token=hf_abcdefghijklmnopqrst'\nexit 3\n")
    python.chmod(0o755)
    images = tmp_path / "images.yaml"
    images.write_text(f'- image: ["*python*"]\n  environment: {image}\n')
    stage = make_stage("--images", str(images))
    stage.env |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_secret"}
    stage.save(SERVICE)
    with stage.watching(resync=2) as up:
        await up.until(
            lambda: (found := job(stage)) and found.reason == "FetchFailed", 90, "told why not"
        )
        assert "last output: OSError: no room, (secret)" in job(stage).message
        assert "fetch ended with code 3 (Error)" in job(stage).message
        await up.until(lambda: "OSError: no room" in up.output, 20, "printed")
    # Each execution has run the container once, however soon it ended: another try is the daemon's.
    for console in stage.azure_dir.glob("executions/*/*/console.log"):
        assert console.read_text().count("OSError: no room") == 1
    told = [event.message for event in stage.events() if event.reason == "FetchFailed"]
    assert any("OSError: no room" in message for message in told)
    assert "OSError: no room" in stage.moorage("status").stdout
