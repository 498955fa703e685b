"""An adapter's way from the save to all of three replicas, stage by stage; against restarts, as people do it without Moorage."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import tiny_model
from tests.benchmarks.adapter_change import BOOT, SERVICE, WORDS
from tests.benchmarks.report import Figure, Section, median, p95
from tests.e2e.stage import Stage, Up

REPLICAS, SAVES = 3, 20


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        # One more than there are: a changed template boots its replica before the old ones go.
        quotas = (f"{scope}ConsumptionNCA100Gpus={REPLICAS + 1}" for scope in ("ManagedEnvironment", "Subscription"))
        stage = Stage(Path(folder), *(word for quota in quotas for word in ("--quota", quota)))
        try:
            stage.start_azure()
            tiny_model.build(stage.root)
            scale = {"minReplicas": REPLICAS, "maxReplicas": REPLICAS}
            resources = {"cpu": 0.5, "memory": "4Gi"}
            stage.save({**SERVICE, "spec": {**SERVICE["spec"], "scale": scale, "resources": resources}})
            up = stage.up()
            await up.converged("tiny", seconds=2 * BOOT)
            await up.until(lambda: len(up.document("tiny")["replicas"]) == REPLICAS, BOOT, "three replicas")
            saves = [await _save(stage, WORDS[turn % len(WORDS)], turn + 1) for turn in range(SAVES)]
            return _section(saves, await _restart(stage, up))
        finally:
            stage.close()


async def _save(stage: Stage, word: str, seed: int) -> dict[str, float]:
    """Seconds from the save to the publication's end, to the catalogue, and to the report of the first and the last replica."""
    mark, began = len(stage.journal()), time.time()
    tiny_model.make_adapter(stage.root / "adapters" / "red", word, seed, model=stage.root / "model")
    before = _served(stage)
    while True:
        now = _served(stage)
        digests = {digest for digest, _ in now.values()}
        if len(now) == REPLICAS and len(digests) == 1 and now != before and all(at > began for _, at in now.values()):
            break
        if time.time() - began > 120:
            raise TimeoutError(f"not served by all: {now}")
        await asyncio.sleep(0.02)
    written = [e for e in stage.journal()[mark:] if e["plane"] == "files" and e["method"] == "PUT" and e["status"] < 300]
    published = max(_time(e) for e in written if e["path"].endswith(".moorage.json"))
    catalogue = max(_time(e) for e in written if "/catalogue/" in e["path"])
    loaded = sorted(at for _, at in now.values())
    return {
        "published": published - began,
        "catalogue": catalogue - began,
        "first replica": loaded[0] - began,
        "all replicas": loaded[-1] - began,
    }


async def _restart(stage: Stage, up: Up) -> float:
    """The way of the AI Toolkit: the files are published, then the revision is restarted; until every replica is new and ready."""
    before = {replica["pid"] for replica in up.document("tiny")["replicas"]}
    revision = up.document("tiny")["revisions"][0]["name"]
    began = time.time()
    await _restart_revision(stage, revision)
    await up.until(lambda: _renewed(up.document("tiny"), before), 3 * BOOT, "all replicas new and ready")
    return time.time() - began


def _renewed(document: dict[str, Any] | None, before: set[int]) -> bool:
    replicas = [each for each in (document or {}).get("replicas", ()) if each["ready"]]
    return len(replicas) == REPLICAS and not before & {each["pid"] for each in replicas}


async def _restart_revision(stage: Stage, revision: str) -> None:
    from reconciler.arm import apps
    from reconciler.arm.clients import Arm
    from reconciler.cli.apps import find_app
    from reconciler.settings import Settings

    async with Arm(Settings.for_local(stage.facts, {}, state_dir=stage.state)) as arm:
        group, app = await find_app(arm, "tiny")
        await apps.restart_revision(arm, group, str(app["name"]), revision)


def _served(stage: Stage) -> dict[str, tuple[str, float]]:
    """By replica: the digest of `red` that answers and when it was loaded, from the reports on the share."""
    found = {}
    for path in stage.azure_dir.glob("files/*/*/services/tiny/*/replicas/*.json"):
        try:
            report = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        for adapter in report["adapters"]:
            if adapter["digest"] and adapter["loadedAt"] and time.time() - path.stat().st_mtime < 45:
                found[report["replica"]] = (adapter["digest"], datetime.fromisoformat(adapter["loadedAt"]).timestamp())
    return found


def _time(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["time"]).timestamp()


def _section(saves: list[dict[str, float]], restart: float) -> Section:
    rows = [(stage, median([s[stage] for s in saves]), p95([s[stage] for s in saves])) for stage in saves[0]]
    whole = median([save["all replicas"] for save in saves])
    published = median([save["published"] for save in saves])
    rows.append(("publish, then restart the revision (the AI Toolkit's way)", published + restart, published + restart))
    figures = [Figure("all of three replicas sooner than by a restart", (published + restart) / whole, "times", 20, "at least")]
    notes = [f"{SAVES} saves of a retrained adapter; seconds since the save, by the journal and the replicas' own reports."]
    return Section("An adapter on three replicas", figures, ("until", "median s", "p95 s"), rows, notes)
