"""Deploys code to a container app that somebody else provisioned: copies the project to the root of
the share and restarts the container app. AI Toolkit's own deployment does the same, but copies all
files.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.api.digest import Tree, digest_tree
from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.api.stat_cache import StatCache
from reconciler.arm import apps, files, ids, publish
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.engine.errors import TerminalError

LEFT_OUT = ("cache", "infra")  # downloads, and files about Azure
LOOK = 1.0


@dataclass(frozen=True)
class Deployed:
    """`sent` of `files` were uploaded; `restarted` are the restarted revisions; `replicas` is the
    number of replicas that ran before.
    """

    endpoint: str
    files: int
    sent: int
    restarted: tuple[str, ...]
    replicas: int


async def deploy(arm: Arm, root: Path, config: Mapping[str, str], cache: Path) -> Deployed:
    """Upload the changed files of `root`, restart the container app, and wait until its replicas
    are ready again, without a time limit. `config` are the values of inference.config.json; `cache`
    records the uploaded files.

    Raises:
        TreeError: a share cannot hold a file of the project.
        ReconcileError: Azure refuses; `TerminalError` if there is no such app.
    """
    group, name = config["RESOURCE_GROUP_NAME"], config["ACA_APP_NAME"]
    app = await arm.inventory.get(Kind.APP, ids.resource_group(arm.subscription_id, group), name)
    if app is None:
        raise TerminalError(
            Reason.MISSING,
            f"resource group {group} holds no container app {name}; provision it first",
        )
    share = Share(arm, group, config["STORAGE_ACCOUNT_NAME"], config["FILE_SHARE_NAME"])
    trees = await asyncio.to_thread(lambda: dict(_trees(root, StatCache(cache / "hashes.db"))))
    sent = await _send(share, trees, cache / f"deployed-{share.account}-{share.name}.json")
    active = [
        each["name"]
        for each in await apps.list_revisions(arm, group, name)
        if each["properties"].get("active")
    ]
    before = {
        replica for revision in active for replica, _ in await _replicas(arm, group, name, revision)
    }
    for revision in active:
        await apps.restart_revision(arm, group, name, revision)
    while before and not await _ready_again(arm, group, name, active, before):
        await asyncio.sleep(LOOK)
    fqdn = ((app["properties"].get("configuration") or {}).get("ingress") or {}).get("fqdn") or ""
    return Deployed(
        fqdn, sum(len(tree.files) for tree in trees.values()), sent, tuple(active), len(before)
    )


def _trees(root: Path, stats: StatCache) -> Iterator[tuple[str, Tree]]:
    for folder in sorted(root.iterdir()):
        if (
            folder.is_dir()
            and not folder.name.startswith(".")
            and folder.name not in LEFT_OUT
            and any(folder.iterdir())
        ):
            yield folder.name, digest_tree(folder, stats)


async def _send(share: Share, trees: Mapping[str, Tree], record: Path) -> int:
    """Upload each file that changed locally or on the share since the last upload; return their
    number.
    """
    known: dict[str, list[str]] = json.loads(record.read_text("utf-8")) if record.exists() else {}
    count = 0
    for folder, tree in trees.items():
        present = await files.list_tree(share, folder)
        todo = {
            path: publish.LocalFile(file.path, file.size, file.sha256)
            for path, file in tree.files.items()
            if path not in present
            or known.get(f"{folder}/{path}") != [file.sha256, present[path].etag]
        }
        await publish.send(share, folder, todo, present)
        count += len(todo)
        now = await files.list_tree(share, folder) if todo else present
        known |= {
            f"{folder}/{path}": [file.sha256, now[path].etag]
            for path, file in tree.files.items()
            if path in now
        }
    await asyncio.to_thread(record.write_text, json.dumps(known))
    return count


async def _ready_again(
    arm: Arm, group: str, name: str, revisions: list[str], before: set[str]
) -> bool:
    arm.inventory.invalidate(ids.app(arm.subscription_id, group, name))
    now = [found for revision in revisions for found in await _replicas(arm, group, name, revision)]
    return any(replica not in before for replica, _ in now) and all(
        ready for replica, ready in now if replica not in before
    )


async def _replicas(arm: Arm, group: str, name: str, revision: str) -> list[tuple[str, bool]]:
    listed: list[dict[str, Any]] = await apps.list_replicas(arm, group, name, revision)
    return [
        (
            str(each["name"]),
            all(container.get("ready") for container in each["properties"].get("containers") or ()),
        )
        for each in listed
    ]
