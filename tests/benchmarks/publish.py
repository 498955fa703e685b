"""Publishing a folder against the plain SDK upload loop: 2,000 small files, one large file, and an unchanged folder.

    python -m tests.benchmarks.publish [--files 2000] [--size 4096] [--large-mib 256]

Starts a local Azure of its own in a temporary folder. Client and server share the machine, so times say less than CPU does.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
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

from reconciler.arm import operations, resources, storage
from reconciler.arm.clients import Arm
from reconciler.arm.publish import LocalFile, publish, verify
from reconciler.arm.share import Share
from reconciler.settings import Settings

GROUP, ACCOUNT, SHARE = "rg-bench", "stbench01", "bench"


@dataclass(frozen=True)
class Row:
    """One measurement: wall and CPU seconds of this process, requests to the share, and the process's peak memory after it."""

    name: str
    wall: float
    cpu: float
    requests: int
    files: int
    megabytes: float
    peak: float

    def text(self) -> str:
        rate = f"{self.files / self.wall:9.0f} {self.megabytes / self.wall:9.1f}"
        return f"{self.name:42} {self.wall:8.2f} {self.cpu:8.2f} {self.requests:9} {rate} {self.peak:8.0f}"


async def measure(options: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        small = make_tree(Path(folder) / "small", options.files, options.size)
        large = make_tree(Path(folder) / "large", 1, options.large_mib * 1024 * 1024)
        async with connected(Path(folder) / "state") as share:
            rows = [
                await timed(share, f"SDK loop, {options.files} files", small, lambda: sdk_loop(share, small, "plain-small")),
                await timed(share, f"publish, {options.files} files", small, lambda: publish(share, small, "fast-small", "d")),
                await timed(share, "publish again, unchanged", small, lambda: publish(share, small, "fast-small", "d")),
                await timed(share, "verify", small, lambda: verify(share, "fast-small", small)),
                await timed(
                    share, f"SDK loop, one file of {options.large_mib} MiB", large, lambda: sdk_loop(share, large, "plain-large")
                ),
                await timed(
                    share,
                    f"publish, one file of {options.large_mib} MiB",
                    large,
                    lambda: publish(share, large, "fast-large", "d"),
                ),
            ]
            for prefix, tree in (("fast-small", small), ("fast-large", large)):
                if not (await verify(share, prefix, tree)).sound:
                    raise SystemExit(f"{prefix} is not what was published")
    return rows


async def sdk_loop(share: Share, tree: Mapping[str, LocalFile], prefix: str) -> None:
    """What one writes first: make the folders, then `upload_file` for each file in turn, with the SDK's own settings."""

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


async def timed(share: Share, name: str, tree: Mapping[str, LocalFile], action: Callable[[], Awaitable[object]]) -> Row:
    requests, cpu, wall = share.arm.calls["files"], time.process_time(), time.perf_counter()
    await action()
    seconds = time.perf_counter() - wall
    megabytes = sum(local.size for local in tree.values()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Row(name, seconds, time.process_time() - cpu, share.arm.calls["files"] - requests, len(tree), megabytes, peak)


def make_tree(root: Path, count: int, size: int) -> dict[str, LocalFile]:
    """`count` files of `size` random bytes, a hundred to a folder."""
    tree = {}
    for number in range(count):
        path = root / f"part-{number // 100:02}" / f"file-{number:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        hashed = hashlib.sha256()
        with path.open("wb") as target:
            for start in range(0, size, 1 << 22):
                block = os.urandom(min(1 << 22, size - start))
                hashed.update(block)
                target.write(block)
        tree[str(path.relative_to(root))] = LocalFile(path, size, hashed.hexdigest())
    return tree


@asynccontextmanager
async def connected(state: Path) -> AsyncIterator[Share]:
    """A share in a fresh local Azure, which is stopped afterwards."""
    server = [sys.executable, "-m", "infra.local_azure"]
    begun = await asyncio.to_thread(
        subprocess.run, [*server, "start", "--state-dir", state, "-o", "json"], check=True, capture_output=True, text=True
    )
    try:
        async with Arm(Settings.for_local(json.loads(begun.stdout))) as arm:
            await resources.put_resource_group(arm, GROUP, {"location": "swedencentral"})
            body = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}}
            token = await storage.put_storage_account(arm, GROUP, ACCOUNT, body)
            while token:
                progress = await operations.poll(arm, token)
                if progress.done:
                    break
                await asyncio.sleep(progress.retry_after or 0.1)
            await storage.put_share(arm, GROUP, ACCOUNT, SHARE, {"properties": {"shareQuota": 100}})
            yield Share(arm, GROUP, ACCOUNT, SHARE)
    finally:
        await asyncio.to_thread(subprocess.run, [*server, "stop", "--state-dir", state], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--size", type=int, default=4096, help="bytes of each small file")
    parser.add_argument("--large-mib", type=int, default=256)
    rows = asyncio.run(measure(parser.parse_args()))
    print(f"{'':42} {'wall s':>8} {'CPU s':>8} {'requests':>9} {'files/s':>9} {'MB/s':>9} {'peak MiB':>8}")
    for row in rows:
        print(row.text())
    print(f"\nsmall files: {rows[0].wall / rows[1].wall:.1f} times the plain loop (target: 3)")
    print(f"large file:  {rows[4].wall / rows[5].wall:.1f} times the plain loop")


if __name__ == "__main__":
    main()
