"""A replica's readers over a share as SMB shows it, while the publisher writes: nothing torn is
served, nothing valid is lost.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.arm import files
from reconciler.arm.publish import LocalFile, publish
from reconciler.arm.share import Share
from reconciler.composition.template import MOUNT_OPTIONS
from reconciler.settings import Settings
from serving.catalogue import Adapter, AdapterVersion, Catalogue
from tests.arm.conftest import finished, live, local_azure, share  # noqa: F401 - fixtures
from tests.local_azure.smb_mount import FUSE, SmbMount

pytestmark = pytest.mark.skipif(
    not FUSE, reason="/dev/fuse cannot be opened by this user; root can, or `chmod 666 /dev/fuse`"
)

FOLDER = "services/phi/abc/catalogue"
READER = """
from serving.watch import CatalogueWatch
from serving.local_copy import AdapterError, LocalCopies
from serving.catalogue import AdapterVersion
from pathlib import Path
watch = CatalogueWatch(share / "services/phi/abc/catalogue", "phi", "abc")
copies = LocalCopies(share, Path(local))
def read():
    found = watch.read()
    return [found.generation if found else None, watch.problem]
def fetch(digest):
    try:
        return sorted(path.name for path in copies.fetch("support", AdapterVersion(digest=digest, path=f"adapters/support/{digest}")).iterdir())
    except AdapterError as error:
        return error.reason
"""
# A mount may be behind by its actimeo.
UNTIL = """
import time
for _ in range(100):
    result = {0}
    if result != {1}: break
    time.sleep(0.1)
"""


def catalogue(generation: int) -> Catalogue:
    version = AdapterVersion(digest=f"d{generation}", path=f"adapters/support/d{generation}")
    return Catalogue(
        service="phi",
        engine="abc",
        epoch=1,
        generation=generation,
        adapters=(Adapter(name="support", desired=version),),
    )


def tree(folder: Path, size: int) -> dict[str, LocalFile]:
    folder.mkdir(exist_ok=True)
    contents = {
        "adapter_config.json": b"{}",
        "adapter_model.safetensors": bytes(range(251)) * (size // 251),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {
        name: LocalFile(folder / name, len(text), hashlib.sha256(text).hexdigest())
        for name, text in contents.items()
    }


@pytest.fixture
def replica(
    share: Share, local_azure: Settings, tmp_path: Path
) -> Iterator[Callable[..., SmbMount]]:
    """Mounts the share with the options of a template, or others, and prepares the
    readers there.
    """
    made = []

    def make(options: str = MOUNT_OPTIONS) -> SmbMount:
        source = local_azure.ca_file.parent.parent / "files" / share.account / share.name
        mount = SmbMount(source, tmp_path / f"mount{len(made)}", options)
        made.append(mount)
        (tmp_path / "local").mkdir(exist_ok=True)
        mount(READER, local=str(tmp_path / "local"))
        return mount

    yield make
    for mount in made:
        mount.close()


async def test_a_catalogue_is_followed_through_a_stale_listing(
    share: Share, replica: Callable[..., SmbMount]
) -> None:
    """A replica with an old listing keeps what it has; once the listing is renewed the highest
    generation wins.
    """
    await files.write(share, f"{FOLDER}/{catalogue(1).file_name}", catalogue(1).dump())
    stale, fresh = replica("actimeo=3600"), replica("actimeo=0")
    assert stale("result = read()") == fresh("result = read()") == [1, ""]
    await files.write(share, f"{FOLDER}/{catalogue(2).file_name}", catalogue(2).dump())
    await files.delete(share, f"{FOLDER}/{catalogue(1).file_name}")
    assert stale("result = read()") == [1, ""]
    assert fresh("result = read()") == [2, ""]


async def test_a_torn_catalogue_is_never_taken(
    share: Share, replica: Callable[..., SmbMount]
) -> None:
    """A catalogue of which half is there, or whose bytes changed, is named as the problem; the last
    valid one is kept.
    """
    mount = replica("actimeo=0")
    await files.write(share, f"{FOLDER}/{catalogue(1).file_name}", catalogue(1).dump())
    assert mount("result = read()") == [1, ""]
    whole, name = catalogue(2).dump(), f"{FOLDER}/{catalogue(2).file_name}"
    await share.request(
        "PUT", name, {"x-ms-type": "file", "x-ms-content-length": str(len(whole))}, b""
    )
    assert mount("result = read()") == [1, f"{catalogue(2).file_name} does not match its own hash"]
    await share.request(
        "PUT",
        name,
        {"x-ms-write": "update", "x-ms-range": "bytes=0-99"},
        whole[:100],
        {"comp": "range"},
    )
    assert mount("result = read()") == [1, f"{catalogue(2).file_name} does not match its own hash"]
    await files.write(share, name, whole)
    assert mount("result = read()") == [2, ""]
    await files.delete_tree(share, "services")
    assert mount("result = read()[0]") == 2


async def test_an_adapter_is_copied_whole_or_not_at_all(
    share: Share, replica: Callable[..., SmbMount], tmp_path: Path
) -> None:
    """Before its manifest is there a version is not published; a byte that does not match its hash
    is never loaded.
    """
    mount = replica()
    published = tree(tmp_path / "adapter", 5_000_000)
    assert mount("result = fetch('d1')") == "NotPublished"
    for name, local in published.items():
        await files.create(share, f"adapters/support/d1/{name}", local.path.read_bytes()[:1000])
    assert mount("result = fetch('d1')") == "NotPublished"
    await publish(share, published, "adapters/support/d2", "d2")
    assert mount(UNTIL.format("fetch('d2')", "'NotPublished'")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    await publish(share, published, "adapters/support/d3", "d3")
    torn = {"x-ms-write": "update", "x-ms-range": "bytes=4000000-4000003"}
    await share.request(
        "PUT", "adapters/support/d3/adapter_model.safetensors", torn, b"torn", {"comp": "range"}
    )
    assert mount("result = fetch('d3')") == "Corrupt"


async def test_a_replica_writes_its_report_where_smb_refuses_much(
    share: Share, replica: Callable[..., SmbMount]
) -> None:
    """The report lands whole under its name, again and again; while a reader has it open the
    writing is put off, not lost.
    """
    await files.make_parents(share, ["services/phi/abc/replicas/x"])
    mount = replica()
    write = """
from datetime import datetime, UTC
from serving.catalogue import ReplicaReport
from serving.report import Reporter
folder = share / "services/phi/abc/replicas"
now = datetime.now(UTC)
def report(generation):
    reporter = Reporter(folder)
    reporter.update(ReplicaReport(replica="r1", revision="phi--1", pid=1, started_at=now, heartbeat=now, generation=generation,
                                  model_loaded=True, ready=True))
    reporter.close()
"""
    mount(write)
    for generation in (1, 2):
        mount("report(generation)", generation=generation)
        told = json.loads(await files.read(share, "services/phi/abc/replicas/r1.json") or b"")
        assert told["generation"] == generation
    other = replica()
    other("file = open(share / 'services/phi/abc/replicas/r1.json')")
    mount("report(3)")
    assert (
        json.loads(await files.read(share, "services/phi/abc/replicas/r1.json") or b"")[
            "generation"
        ]
        == 2
    )
    other("file.close()")
    again = """(report(4), '"generation": 4' in (folder / "r1.json").read_text())[1]"""
    assert mount(UNTIL.format(again, False)) is True
    assert (
        json.loads(await files.read(share, "services/phi/abc/replicas/r1.json") or b"")[
            "generation"
        ]
        == 4
    )
