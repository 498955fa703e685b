"""Fetching a model from a hub: whole, verified, resumed, and refused with the reason."""

import json
import random
import subprocess
import sys

import pytest

from reconciler.api.digest import digest_tree
from serving import hub as hub_module
from serving.fetch import MANIFEST, PROGRESS
from tests.hub import HubStandIn

WEIGHTS = random.Random(1).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "tokenizer/vocab.txt": b"a\nb\n",
    "pytorch_model.bin": b"pickled",
    "original/model.safetensors": WEIGHTS,
    "README.md": b"# words",
}
WANTED = {"config.json", "model.safetensors", "tokenizer/vocab.txt"}


@pytest.fixture
def hub():
    with HubStandIn("org/tiny", dict(FILES)).serving() as standing:
        yield standing


def fetch(hub, folder, **more):
    """The job's own command, as the job runs it."""
    environment = {
        "MOORAGE_REPOSITORY": "org/tiny",
        "MOORAGE_REVISION": "main",
        "MOORAGE_FOLDER": str(folder),
        "HF_ENDPOINT": hub.endpoint,
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "serving.fetch"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def last_line(folder):
    return json.loads((folder / PROGRESS).read_text().splitlines()[-1])


def there(folder):
    return {
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".tmp"
    }


def test_a_model_arrives_whole_with_its_manifest(hub, tmp_path):
    """Safe files only, each as the hub has it, and a manifest whose digest is the one that the
    reconciler computes.
    """
    ended = fetch(hub, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert there(tmp_path) == WANTED | {MANIFEST}
    assert all((tmp_path / path).read_bytes() == FILES[path] for path in WANTED)
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    assert manifest["digest"] == digest_tree(tmp_path).digest
    assert manifest["commit"] == hub.revisions["main"]
    total = sum(len(FILES[path]) for path in WANTED)
    assert last_line(tmp_path) == {"done": total, "total": total}


def test_an_interrupted_file_goes_on_where_it_stopped(hub, tmp_path):
    """Connections that break are taken up again within a run, and a run that died is taken up by
    the next.
    """
    (tmp_path / "model.safetensors.tmp").write_bytes(WEIGHTS[:50_000])
    hub.cuts["model.safetensors"] = [120_000, 200_000]
    assert fetch(hub, tmp_path).returncode == 0
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked["model.safetensors"] == 3
    (tmp_path / MANIFEST).unlink()
    assert fetch(hub, tmp_path).returncode == 0
    assert hub.asked["model.safetensors"] == 3  # what is there is not fetched again


def test_a_busy_hub_is_waited_for(hub, tmp_path):
    """429 with Retry-After is no failure."""
    hub.busy = 3
    assert fetch(hub, tmp_path).returncode == 0


def test_wrong_bytes_never_get_a_name(hub, tmp_path):
    """A file whose hash is not the hub's is thrown away, the manifest is not written, and the next
    run does it right.
    """
    hub.wrong.add("model.safetensors")
    ended = fetch(hub, tmp_path)
    assert ended.returncode == 1
    assert last_line(tmp_path)["error"]["reason"] == "Corrupt"
    assert "model.safetensors" not in there(tmp_path)
    assert MANIFEST not in there(tmp_path)
    hub.wrong.clear()
    assert fetch(hub, tmp_path).returncode == 0


REFUSED = [
    (
        "no such repository",
        {"repository": "org/other"},
        "RepoNotFound",
        "HF_TOKEN does not open it",
    ),
    ("no such revision", {"revisions": {"v1": "c0ffee"}}, "RevisionNotFound", "no such revision"),
    ("gated", {"token": "hf_secret", "gated": True}, "GatedRepo", "accept its terms"),
    (
        "pickles only",
        {"files": {"config.json": b"{}", "pytorch_model.bin": b"x"}},
        "NoWeights",
        "no safetensors",
    ),
    ("a path that leaves", {"files": {"../x.safetensors": b"x"}}, "BadName", "does not stay"),
]


@pytest.mark.parametrize(
    ("given", "reason", "sentence"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_the_hub_will_go_on_refusing_ends_with_two(hub, tmp_path, given, reason, sentence):
    """The reason is in the progress, in one sentence for a person, and trying again is known to be
    useless.
    """
    for name, value in given.items():
        setattr(hub, name, value)
    ended = fetch(hub, tmp_path / "model")
    assert ended.returncode == 2
    error = last_line(tmp_path / "model")["error"]
    assert error["reason"] == reason
    assert sentence in error["message"]
    assert "Traceback" not in ended.stderr


def test_a_token_opens_the_repository_and_stays_with_the_hub(hub, tmp_path):
    """The host that large files are redirected to never sees it, and no output does."""
    hub.token = "hf_secret"
    ended = fetch(hub, tmp_path, HF_TOKEN="hf_secret")
    assert ended.returncode == 0
    assert hub.leaked == []
    assert "hf_secret" not in ended.stdout + ended.stderr + (tmp_path / PROGRESS).read_text()


def test_a_hub_that_is_gone_is_worth_another_try(tmp_path, monkeypatch):
    """Exit code 1 and the address that did not answer."""
    monkeypatch.setattr(hub_module, "TRIES", 1)
    with pytest.raises(hub_module.HubError, match=r"127\.0\.0\.1:9") as raised:
        hub_module.Hub("http://127.0.0.1:9").files("org/tiny", "main")
    assert not raised.value.final
