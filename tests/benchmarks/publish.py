"""Publishing a folder against the plain SDK upload loop: 2,000 small files, one file of 1 GiB, and
an unchanged folder.

Client and server share the machine, so times say less than CPU does.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.storage.fileshare.aio import ShareClient

from reconciler.api.digest import digest_tree
from reconciler.api.stat_cache import StatCache
from reconciler.arm import operations, resources, storage
from reconciler.arm.clients import Arm
from reconciler.arm.publish import LocalFile, publish, verify
from reconciler.arm.share import Share
from reconciler.settings import Settings
from tests.benchmarks.report import Figure, Section

GROUP, ACCOUNT, SHARE = "rg-bench", "stbench01", "bench"


FILES, SIZE, LARGE = 2000, 4096, 1 << 30
COLUMNS = ("what", "wall s", "CPU s", "requests", "files/s", "MB/s", "files opened", "peak MB")


@dataclass(frozen=True)
class Row:
    """One measurement: wall and CPU seconds of this process, requests to the share, source files
    opened, peak memory after it.
    """

    name: str
    wall: float
    cpu: float
    requests: int
    files: int
    megabytes: float
    opened: int
    peak: float

    def cells(self) -> tuple[str | float, ...]:
        rates = (self.files / self.wall, self.megabytes / self.wall) if self.requests else ("", "")
        return (self.name, self.wall, self.cpu, self.requests, *rates, self.opened, self.peak)


def measure(files: int = FILES, size: int = SIZE, large: int = LARGE) -> Section:
    rows = asyncio.run(_measure(files, size, large))
    again = sum(row.requests for row in rows if "again" in row.name)
    figures = [
        Figure(
            "publish, small files, against the SDK loop",
            rows[0].wall / rows[2].wall,
            "times",
            3,
            "at least",
        ),
        Figure(
            "unchanged folder: source files read again",
            sum(row.opened for row in rows if "again" in row.name),
            "files",
            0,
            "at most",
        ),
    ]
    notes = [
        f"One large file: {rows[5].wall / rows[6].wall:.1f} times the plain loop.",
        (
            f"An unchanged folder costs {again} requests, all of them listings: one per directory"
            " of the tree."
        ),
        "Hashing is of local files, uploads go through HTTPS to a local Azure on the same machine.",
    ]
    return Section("Publishing a folder", figures, COLUMNS, [row.cells() for row in rows], notes)


async def _measure(files: int, size: int, large: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_files(root / "small", files, size)
        make_files(root / "large", 1, large)
        opened = count_opened(root)
        cache = StatCache(root / "hashes.db")
        async with connected(root / "state") as share:

            async def row(
                name: str, tree: Mapping[str, LocalFile], action: Callable[[], Awaitable[object]]
            ) -> Row:
                return await timed(share, name, tree, action, opened)

            async def digest(name: str) -> None:
                trees[name] = local_files(root / name, cache)

            trees: dict[str, dict[str, LocalFile]] = {
                name: local_files(root / name, None) for name in ("small", "large")
            }
            small, big = trees["small"], trees["large"]
            rows = [
                await row(
                    f"SDK loop, {files} files", small, lambda: sdk_loop(share, small, "plain-small")
                ),
                await row("hash", small, lambda: digest("small")),
                await row(
                    f"publish, {files} files",
                    small,
                    lambda: publish(share, small, "fast-small", "d"),
                ),
                await row("hash again, unchanged", small, lambda: digest("small")),
                await row(
                    "publish again, unchanged",
                    small,
                    lambda: publish(share, small, "fast-small", "d"),
                ),
                await row(
                    f"SDK loop, one file of {large >> 20} MiB",
                    big,
                    lambda: sdk_loop(share, big, "plain-large"),
                ),
                await row(
                    f"publish, one file of {large >> 20} MiB",
                    big,
                    lambda: publish(share, big, "fast-large", "d"),
                ),
            ]
            for prefix, tree in (("fast-small", small), ("fast-large", big)):
                found = await verify(share, prefix, tree)
                if not found.complete or found.missing or found.changed:
                    raise RuntimeError(f"{prefix} is not what was published")
        cache.close()
    return rows


async def sdk_loop(share: Share, tree: Mapping[str, LocalFile], prefix: str) -> None:
    """What one writes first: make the folders, then `upload_file` for each file in turn, with the
    SDK's own settings.
    """

    async def upload(client: ShareClient) -> None:
        made: set[str] = set()
        for path, local in tree.items():
            parts = f"{prefix}/{path}".split("/")
            for depth in range(1, len(parts)):
                if (parent := "/".join(parts[:depth])) not in made:
                    await client.create_directory(parent)
                    made.add(parent)
            with local.path.open("rb") as source:
                await client.get_file_client(f"{prefix}/{path}").upload_file(source)

    await share.call(upload)


async def timed(
    share: Share,
    name: str,
    tree: Mapping[str, LocalFile],
    action: Callable[[], Awaitable[object]],
    opened: list[str],
) -> Row:
    requests, before = share.arm.calls["files"], len(opened)
    cpu, wall = time.process_time(), time.perf_counter()
    await action()
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    megabytes = sum(local.size for local in tree.values()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    sent = share.arm.calls["files"] - requests
    return Row(name, seconds, used, sent, len(tree), megabytes, len(opened) - before, peak)


def make_files(root: Path, count: int, size: int) -> None:
    """`count` files of `size` random bytes, a hundred to a folder."""
    for number in range(count):
        path = root / f"part-{number // 100:02}" / f"file-{number:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            for start in range(0, size, 1 << 22):
                target.write(os.urandom(min(1 << 22, size - start)))


def local_files(folder: Path, cache: StatCache | None) -> dict[str, LocalFile]:
    return {
        path: LocalFile(file.path, file.size, file.sha256)
        for path, file in digest_tree(folder, cache).files.items()
    }


def count_opened(root: Path) -> list[str]:
    """A list that grows by every data file below `root` that this process opens from now on."""
    opened: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if (
            event == "open"
            and str(arguments[0]).startswith(str(root))
            and str(arguments[0]).endswith(".bin")
        ):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    return opened


@asynccontextmanager
async def connected(state: Path) -> AsyncIterator[Share]:
    """A share in a fresh local Azure, which is stopped afterwards."""
    server = [sys.executable, "-m", "infra.local_azure"]
    begun = await asyncio.to_thread(
        subprocess.run,
        [*server, "start", "--state-dir", state, "-o", "json"],
        check=True,
        capture_output=True,
        text=True,
    )
    try:
        async with Arm(Settings.for_local(json.loads(begun.stdout))) as arm:
            await resources.put_resource_group(arm, GROUP, {"location": "swedencentral"})
            body = {
                "location": "swedencentral",
                "kind": "StorageV2",
                "sku": {"name": "Standard_LRS"},
                "properties": {},
            }
            operation = await storage.put_storage_account(arm, GROUP, ACCOUNT, body)
            while operation:
                progress = await operations.poll(arm, operation.token)
                if progress.done:
                    break
                await asyncio.sleep(progress.retry_after or 0.1)
            await storage.put_share(arm, GROUP, ACCOUNT, SHARE, {"properties": {"shareQuota": 100}})
            yield Share(arm, GROUP, ACCOUNT, SHARE)
    finally:
        await asyncio.to_thread(
            subprocess.run, [*server, "stop", "--state-dir", state], check=True, capture_output=True
        )
