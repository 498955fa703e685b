"""Publishing a folder by its digest, against the local Azure."""

import hashlib
import json

import pytest

from reconciler.arm import files
from reconciler.arm.publish import MANIFEST, LocalFile, publish, verify
from reconciler.engine.errors import RetryableError, WaitingForHuman

PREFIX = "adapters/support/abc123"
MARK = f"{PREFIX}/{MANIFEST}"


def is_sound(found):
    return found.complete and not found.missing and not found.changed


def make(root, contents):
    tree = {}
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        tree[path] = LocalFile(root / path, len(content), hashlib.sha256(content).hexdigest())
    return tree


@pytest.fixture
def tree(tmp_path):
    large = bytes(range(256)) * 4 * 10_000  # 10 MB: three ranges, the last one shorter
    return make(
        tmp_path,
        {
            "adapter_config.json": b"{}",
            "deep/er/x.bin": b"x" * 5000,
            "empty": b"",
            "weights.safetensors": large,
        },
    )


async def test_what_is_published_is_what_was_there(share, tree):
    """Small, nested, empty and large files arrive byte for byte, with the manifest readers need,
    and nothing else.
    """
    done = []
    published = await publish(
        share, tree, PREFIX, "abc123", progress=lambda now, total: done.append((now, total))
    )
    assert (published.uploaded, published.kept) == (4, 0)
    for path, local in tree.items():
        assert await files.read(share, f"{PREFIX}/{path}") == local.path.read_bytes()
    told = json.loads(await files.read(share, f"{PREFIX}/{MANIFEST}"))
    assert told == {
        "digest": "abc123",
        "files": {path: [local.size, local.sha256] for path, local in tree.items()},
    }
    assert set(await files.list_tree(share, PREFIX)) == {*tree, MANIFEST}
    assert await files.exists(share, MARK)
    total = sum(local.size for local in tree.values())
    assert (done[0], done[-1]) == ((0, total), (total, total))


async def test_a_second_publish_writes_nothing(share, tree):
    """It costs one listing for each folder."""
    await publish(share, tree, PREFIX, "abc123")
    before = share.arm.calls["files"]
    published = await publish(share, tree, PREFIX, "abc123")
    assert (published.uploaded, published.kept, published.sent) == (0, 4, 0)
    assert share.arm.calls["files"] - before == 3


async def test_an_interrupted_publish_goes_on(share, tree):
    """Files that are there are kept, what was half sent is sent again and cleaned up, and only then
    is the folder complete.
    """
    part = {path: local for path, local in tree.items() if path != "weights.safetensors"}
    gone = dict(
        tree,
        **{
            "weights.safetensors": tree["weights.safetensors"]._replace(
                path=tree["empty"].path.parent / "gone"
            )
        },
    )
    with pytest.raises(RetryableError):
        await publish(share, gone, PREFIX, "abc123")
    await files.create(share, files.temporary_name(f"{PREFIX}/weights.safetensors"), b"half")
    assert not await files.exists(share, MARK)
    assert not (await verify(share, PREFIX, tree)).complete
    published = await publish(share, tree, PREFIX, "abc123")
    assert published.kept == len(part)
    assert set(await files.list_tree(share, PREFIX)) == {*tree, MANIFEST}


async def test_a_source_that_changes_meanwhile_never_becomes_complete(share, tree):
    """A digest stands for bytes: other bytes are refused, small file or large."""
    for path in ("deep/er/x.bin", "weights.safetensors"):
        tree[path].path.write_bytes(b"y" * tree[path].size)
        with pytest.raises(RetryableError) as refused:
            await publish(share, tree, PREFIX, "abc123")
        assert refused.value.reason == "SourceChanged"
        tree[path].path.write_bytes(b"x" * 5000)
    assert not await files.exists(share, MARK)


async def test_verify_finds_what_somebody_changed(share, tree):
    """Deleted, cut short, rewritten at the same size; publishing those again makes it sound."""
    stamps = (await publish(share, tree, PREFIX, "abc123")).stamps
    assert is_sound(await verify(share, PREFIX, tree, stamps))
    await files.delete(share, f"{PREFIX}/empty")
    await files.write(share, f"{PREFIX}/adapter_config.json", b"[]")
    await files.write(share, f"{PREFIX}/deep/er/x.bin", b"short")
    found = await verify(share, PREFIX, tree, stamps)
    assert found.missing == ("empty",)
    assert found.changed == ("adapter_config.json", "deep/er/x.bin")
    published = await publish(share, tree, PREFIX, "abc123", again=[*found.missing, *found.changed])
    assert published.uploaded == 3
    assert is_sound(await verify(share, PREFIX, tree, published.stamps))
    assert await files.read(share, f"{PREFIX}/adapter_config.json") == b"{}"


async def test_a_folder_without_its_manifest_is_not_complete(share, tree):
    """Deleting the manifest is drift like any other, and cheap to mend."""
    await publish(share, tree, PREFIX, "abc123")
    await files.delete(share, f"{PREFIX}/{MANIFEST}")
    assert not (await verify(share, PREFIX, tree)).complete
    assert (await publish(share, tree, PREFIX, "abc123")).uploaded == 0
    assert await files.exists(share, MARK)


async def test_a_full_share_is_told_as_that(share, tree):
    """A person is told to make room, not to look for a missing role; with room the same publish
    goes on.
    """
    filler = {"x-ms-type": "file", "x-ms-content-length": str(10 * 1024**3 - 1000)}
    await share.request("PUT", "filler", filler)
    with pytest.raises(WaitingForHuman, match="The share is full") as refused:
        await publish(share, tree, PREFIX, "abc123")
    assert refused.value.reason == "Azure:ShareSizeLimitReached"
    assert not await files.exists(share, MARK)
    await files.delete(share, "filler")
    await publish(share, tree, PREFIX, "abc123")
    assert await files.exists(share, MARK)


async def test_the_manifest_says_in_which_type_the_floats_are(share, tree):
    """A reader of the share sees why the hash of the weights is not that of the folder."""
    await publish(share, tree, PREFIX, "abc123", dtype="bfloat16")
    said = json.loads(await files.read(share, MARK))
    assert (said["digest"], said["dtype"]) == ("abc123", "bfloat16")
