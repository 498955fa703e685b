"""docs/transcripts.md, out of commands that are run on a local Azure: `python -m
tests.docs.transcripts` writes it. What differs from run to run (times, ids, ports) is replaced.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.stage import Stage, service

PAGE = Path(__file__).parents[2] / "docs" / "transcripts.md"
HEAD = """\
# Transcripts

What the commands print, written by `python -m tests.docs.transcripts` and compared by a test. Times, ids and ports are replaced.
The service is a small web API of its own code, because it starts in a second; with a model the same lines have other numbers.
"""
BROKEN = ["python3", "-c", "raise SystemExit('no module named fancy')"]
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "2026-11-29T12:00:00Z"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "(id)"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b(?!Z)"), "12:00:00"),
    (re.compile(r"\bafter \d+(\.\d+)? s"), "after 6 s"),
    (re.compile(r"\bst[0-9a-f]{14}\b"), "st0123456789abcd"),
    (re.compile(r"localhost:\d+"), "localhost:20443"),
    (re.compile(r"pid \d+"), "pid 4711"),
    (re.compile(r"(--r[0-9a-f]{9}-)[a-z0-9]{9}-[a-z0-9]{5}"), r"\1k3v9x2m1q-7hw2p"),
    (re.compile(r"\b(moorage-)[0-9a-f]{12}\b"), r"\g<1>0123456789ab"),
    (re.compile(r"\bcode/web/[0-9a-f]{12}"), "code/web/0123456789ab"),
    (re.compile(r"\d+ B\b"), "1024 B"),
)


def plain(text: str, stage: Stage) -> str:
    """`text` without what differs from run to run."""
    text = text.replace(f"{stage.root}/", "").replace(str(stage.root), ".")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    revisions = dict.fromkeys(re.findall(r"--r[0-9a-f]{9}", text))
    for each in revisions:
        number = stage.revisions.setdefault(each, len(stage.revisions) + 1)
        text = text.replace(each, f"--r{number:09}")
    # a wait is only told if a look happens to meet it
    lines = [line for line in text.splitlines() if not _is_chance(line)]
    return "\n".join(lines).strip("\n")


def _is_chance(line: str) -> bool:
    waits = (
        r"is starting( \(\d+ s\))?$|is activating|PublishedFolder|waits for |replicas are ready$"
    )
    return line.startswith("12:00:00") and bool(re.search(waits, line))


class Scene(Stage):
    """A stage that remembers in which order revisions were met."""

    def __init__(self, root: Path, *options: str) -> None:
        super().__init__(root, *options)
        self.revisions: dict[str, int] = {}
        self.env |= {"PYTHONUNBUFFERED": "1"}

    def said(self, *arguments: str, code: int | None = 0) -> str:
        """The command line and what it printed, as the page shows it."""
        done = self.moorage(*arguments, code=code)
        ending = f"\n(exit code {done.returncode})" if done.returncode else ""
        printed = plain(done.stdout + done.stderr, self)
        return f"$ moorage {' '.join(arguments)}\n{printed}{ending}"


def scenes(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Title, explanation and blocks of each scene, in the order in which they are played."""
    root.mkdir()
    stage = Scene(root)
    try:
        stage.start_azure()
        stage.code("web")
        stage.save(service("web"))
        yield (
            "A first run",
            "`plan` writes nothing; `up --once` creates what is missing and ends.",
            [stage.said("plan"), stage.said("up", "--once"), stage.said("status")],
        )
        stage.save(service("web", env=[{"name": "COLOUR", "value": "green"}]))
        yield (
            "A change",
            "The plan names each field that differs, and what the change does.",
            [stage.said("plan"), stage.said("up", "--once")],
        )
        stage.save(service("web", command=BROKEN, progressDeadlineSeconds=10))
        yield (
            "A rollout that fails",
            "The new revision ends at its start. Moorage rolls it back by itself, and the former"
            " revision keeps serving.",
            [
                stage.said("up", "--once", "--timeout", "100", code=1),
                stage.said("status"),
                stage.said("explain", "RolledBack"),
            ],
        )
        stage.save(service("web", env=[{"name": "COLOUR", "value": "green"}]))
        stage.moorage("up", "--once")
        yield (
            "A rollback by hand",
            "An earlier generation serves until the document changes.",
            [
                stage.said("history", "web"),
                stage.said("rollback", "web", "--to", "1"),
                stage.said("up", "--once", code=None),
                stage.said("status"),
            ],
        )
    finally:
        stage.close()


def quota_scene(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """A subscription without GPUs."""
    root.mkdir()
    stage = Scene(root, "--quota", "SubscriptionConsumptionNCA100Gpus=0")
    try:
        stage.start_azure()
        document = service("phi", model={"source": "share://models/phi"})
        for field in ("code", "command", "targetPort"):
            del document["spec"][field]
        stage.save(document)
        yield (
            "A quota problem",
            "`doctor` finds it before the first write.",
            [stage.said("doctor", code=4)],
        )
    finally:
        stage.close()


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    with tempfile.TemporaryDirectory() as folder:
        for made in (scenes(Path(folder) / "one"), quota_scene(Path(folder) / "two")):
            for title, explanation, blocks in made:
                shown = "\n".join(f"\n```\n{block}\n```" for block in blocks)
                parts.append(f"\n## {title}\n\n{explanation}\n{shown}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
