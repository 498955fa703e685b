"""An adapter's way from the save to all of three replicas, stage by stage; against restarts, as
people do it without Moorage.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.cli.apps import find_app
from reconciler.settings import Settings
from tests import tiny_model
from tests.benchmarks.adapter_change import BOOT, SERVICE, WORDS
from tests.benchmarks.publish import local_files, sdk_loop
from tests.benchmarks.report import Figure, Section, median, p95, ratio
from tests.e2e.model_service import starts
from tests.e2e.stage import Stage, Up

REPLICAS, SAVES, RESTARTS = 3, 21, 3


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        # One more than there are: a changed template boots its replica before the old ones go.
        quotas = (
            f"{scope}ConsumptionNCA100Gpus={REPLICAS + 1}"
            for scope in ("ManagedEnvironment", "Subscription")
        )
        stage = Stage(Path(folder), *(word for quota in quotas for word in ("--quota", quota)))
        try:
            stage.start_azure()
            tiny_model.build(stage.root)
            scale = {"minReplicas": REPLICAS, "maxReplicas": REPLICAS}
            resources = {"cpu": 0.5, "memory": "4Gi"}
            stage.save(
                {**SERVICE, "spec": {**SERVICE["spec"], "scale": scale, "resources": resources}}
            )
            up = stage.up()
            await up.converged("tiny", seconds=2 * BOOT)
            await up.until(
                lambda: len(up.document("tiny")["replicas"]) == REPLICAS, BOOT, "three replicas"
            )
            saves, restarts = [], []
            for block in range(RESTARTS):
                turns = range(block * SAVES // RESTARTS, (block + 1) * SAVES // RESTARTS)
                saves.append(
                    [await _save(stage, WORDS[turn % len(WORDS)], turn + 1) for turn in turns]
                )
                restarts.append(await _publish_and_restart(stage, up, block))
            return _section(saves, restarts)
        finally:
            stage.close()


async def _save(stage: Stage, word: str, seed: int) -> dict[str, float]:
    """Seconds from the save to the publication's end, to the catalogue, and to the report of the
    first and the last replica.
    """
    mark, began = len(stage.journal()), time.time()
    tiny_model.make_adapter(stage.root / "adapters" / "red", word, seed, model=stage.root / "model")
    before = _served(stage)
    while True:
        now = _served(stage)
        digests = {digest for digest, _ in now.values()}
        if (
            len(now) == REPLICAS
            and len(digests) == 1
            and now != before
            and all(at > began for _, at in now.values())
        ):
            break
        if time.time() - began > 120:
            raise TimeoutError(f"not served by all: {now}")
        await asyncio.sleep(0.02)
    written = [
        e
        for e in stage.journal()[mark:]
        if e["plane"] == "files" and e["method"] == "PUT" and e["status"] < 300
    ]
    published = max(_time(e) for e in written if e["path"].endswith(".moorage.json"))
    catalogue = max(_time(e) for e in written if "/catalogue/" in e["path"])
    loaded = sorted(at for _, at in now.values())
    return {
        "published": published - began,
        "catalogue": catalogue - began,
        "first replica": loaded[0] - began,
        "all replicas": loaded[-1] - began,
    }


async def _publish_and_restart(stage: Stage, up: Up, number: int) -> tuple[float, float]:
    """The way of the AI Toolkit: the folder is uploaded file by file, and the revision is
    restarted. Seconds until it is uploaded and until every replica is new and ready.
    """
    document = up.document("tiny") or {}
    before = starts(document)
    began = time.time()
    async with Arm(Settings.for_local(stage.facts, {}, state_dir=stage.state)) as arm:
        group, app = await find_app(arm, "tiny")
        account, share = next(stage.azure_dir.glob("files/*/*/services")).parts[-3:-1]
        adapter = local_files(stage.root / "adapters" / "red", None)
        await sdk_loop(Share(arm, group, account, share), adapter, f"by-hand-{number}")
        uploaded = time.time() - began
        await apps.restart_revision(arm, group, str(app["name"]), document["revisions"][0]["name"])
    await up.until(
        lambda: _renewed(up.document("tiny"), before), 3 * BOOT, "all replicas new and ready"
    )
    whole = time.time() - began
    await up.converged("tiny", seconds=BOOT)
    return uploaded, whole


def _renewed(document: dict[str, Any] | None, before: set[tuple[str, str]]) -> bool:
    replicas = [each for each in (document or {}).get("replicas", ()) if each["ready"]]
    return len(replicas) == REPLICAS and not before & starts({"replicas": replicas})


def _served(stage: Stage) -> dict[str, tuple[str, float]]:
    """By replica: the digest of `red` that answers and when it was loaded, from the reports on the
    share.
    """
    found = {}
    for path in stage.azure_dir.glob("files/*/*/services/tiny/*/replicas/*.json"):
        try:
            report = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        for adapter in report["adapters"]:
            if (
                adapter["digest"]
                and adapter["loadedAt"]
                and time.time() - path.stat().st_mtime < 45
            ):
                found[report["replica"]] = (
                    adapter["digest"],
                    datetime.fromisoformat(adapter["loadedAt"]).timestamp(),
                )
    return found


def _time(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["time"]).timestamp()


def _section(saves: list[list[dict[str, float]]], restarts: list[tuple[float, float]]) -> Section:
    every = [save for block in saves for save in block]
    stages = {f"save: {stage}": [save[stage] for save in every] for stage in every[0]}
    stages |= {
        "by hand: uploaded": [uploaded for uploaded, _ in restarts],
        "by hand: restarted": [whole for _, whole in restarts],
    }
    rows = [(stage, median(seconds), p95(seconds)) for stage, seconds in stages.items()]
    served = [median([save["all replicas"] for save in block]) for block in saves]
    restarted = ratio(
        [(whole - uploaded, mine) for (uploaded, whole), mine in zip(restarts, served, strict=True)]
    )
    by_hand = ratio([(whole, mine) for (_, whole), mine in zip(restarts, served, strict=True)])
    figures = [
        Figure(
            "all of three replicas sooner than by upload and restart, lower end",
            by_hand.low,
            "times",
            20,
            "at least",
        )
    ]
    notes = [
        (
            f"{len(every)} saves of a retrained adapter; seconds since the save, by the journal and"
            " the replicas' own reports."
        ),
        (
            f"A restart alone takes {restarted} times as long; upload and restart, the AI Toolkit's"
            f" way, {by_hand} times."
        ),
        (
            f"{len(restarts)} blocks of saves and a restart; geometric means of the blocks with a"
            " 95 % bootstrap interval."
        ),
    ]
    return Section(
        "An adapter on three replicas", figures, ("until", "median s", "p95 s"), rows, notes
    )
