"""What a save costs does not grow with the services that it leaves as they were."""

import asyncio
import cProfile
import json
import pstats
import shutil
from collections import Counter
from pathlib import Path

import pytest

from reconciler.api import path_stamps
from reconciler.daemon import Daemon
from reconciler.settings import Settings
from tests.e2e.stage import Stage, environment, service
from tests.tiny_model import make_adapter, make_model

SIZES = (10, 300)
# By file and function: what must be done for the saved document alone.
WORK = {
    "documents parsed": ("yaml_tree.py", "read_documents"),
    "documents hashed": ("loaded.py", "digests"),
    "folders judged": ("manifest.py", "_judged_now"),
    "folders listed": ("digest.py", "digest_tree"),
    "files opened": ("regular_files.py", "open_regular"),
    "services expanded": ("expansions.py", "_expand"),
    "questions to the store": ("database.py", "rows"),
    "conditions stated": ("conclusion.py", "refresh"),
    "calls to Azure": ("clients.py", "_send"),
}
LOOK = 900  # function calls by which the documents and folders of another service are looked at
pytestmark = pytest.mark.e2e


def save(folder: Path, number: int, replicas: int) -> None:
    """Write the document of one service with a model that all share and an adapter of its own."""
    name = f"web-{number:04}"
    document = service(name, scale={"minReplicas": 0, "maxReplicas": replicas})
    for field in ("code", "command", "targetPort"):
        del document["spec"][field]
    document["spec"] |= {
        "model": {"source": "./model"},
        "adapters": [{"name": "style", "source": f"./adapter-{name}"}],
    }
    (folder / f"{name}.yaml").write_text(json.dumps(document))


def write(folder: Path, services: int) -> None:
    make_model(folder / "model")
    make_adapter(folder / "adapter", "red", model=folder / "model")
    (folder / "default.yaml").write_text(json.dumps(environment()))
    for number in range(services):
        shutil.copytree(folder / "adapter", folder / f"adapter-web-{number:04}")
        save(folder, number, 1)


async def inline(function, *arguments):
    return function(*arguments)


async def work_of_a_save(stage: Stage, services: int) -> tuple[Counter[str], int]:
    """The counts of WORK, and all function calls."""
    folder = stage.root / f"documents-{services}"
    folder.mkdir()
    write(folder, services)
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.root / f"state-{services}")
    async with Daemon(settings, [folder]) as daemon:
        root = next(iter(daemon.files._manifests.values()))
        for _ in range(2):  # adapters are rewritten in the first, and known in the second
            root.fingerprint()
            await daemon.load()
        save(folder, services // 2, 3)
        profile = cProfile.Profile()
        profile.enable()
        root.fingerprint()
        await daemon.load()
        profile.disable()
    counts: Counter[str] = Counter()
    stats = pstats.Stats(profile).stats
    for (file, _, function), (_, calls, *_) in stats.items():
        counts.update(
            {what: calls for what, place in WORK.items() if place == (Path(file).name, function)}
        )
    return counts, sum(calls for _, calls, *_ in stats.values())


async def test_a_save_does_its_own_work_alone(tmp_path, monkeypatch):
    """Of ten services and of three hundred, one is parsed, judged, hashed and expanded. At the
    others it only looks.
    """
    monkeypatch.setattr(asyncio, "to_thread", inline)  # so that the profile sees it
    monkeypatch.setattr(path_stamps, "YOUNG_NS", 0)  # all files are seconds old
    with Stage(tmp_path) as stage:
        few, many = [await work_of_a_save(stage, size) for size in SIZES]
    assert few[0].keys() == WORK.keys() - {"calls to Azure"}  # each was seen, where it is now
    assert many[0] == few[0]
    assert (many[1] - few[1]) / (SIZES[1] - SIZES[0]) < LOOK
