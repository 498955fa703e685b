"""Copies of adapters on a replica's own disk."""

import hashlib
import json
from pathlib import Path

import pytest

from serving.catalogue import AdapterVersion
from serving.local_copy import MANIFEST, AdapterError, LocalCopies

WEIGHTS = b"weights" * 100


@pytest.fixture
def version(tmp_path):
    """A published adapter, as the share holds it."""
    folder = tmp_path / "share" / "adapters" / "red" / "c0ffee"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    files = {"adapter_model.safetensors": [len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()]}
    (folder / MANIFEST).write_text(json.dumps({"digest": "c0ffee", "files": files}))
    return AdapterVersion(digest="c0ffee", path="adapters/red/c0ffee")


def test_a_copy_that_gets_its_final_name_fails_no_other(tmp_path, version, monkeypatch):
    """Copies run side by side. What one counts on the disk may have been renamed by another."""
    root = tmp_path / "local"
    renamed = root / ".green@beef" / "adapter_model.safetensors"
    renamed.parent.mkdir(parents=True)
    renamed.write_bytes(WEIGHTS)
    looked = Path.stat

    def stat(path, **options):
        if path == renamed and renamed.parent.exists():
            renamed.parent.rename(root / "green@beef")
        return looked(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    copy = LocalCopies(tmp_path / "share", root).fetch("red", version)
    assert (copy / "adapter_model.safetensors").read_bytes() == WEIGHTS
    assert (root / "green@beef").is_dir()


def test_the_budget_counts_what_is_there(tmp_path, version):
    """A copy that does not fit beside the others is refused with what it needs."""
    with pytest.raises(AdapterError, match="adapters may take") as refused:
        LocalCopies(tmp_path / "share", tmp_path / "local", budget=10).fetch("red", version)
    assert refused.value.reason == "NoSpace"
