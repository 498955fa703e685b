"""A plan as people and as programs read it."""

from pathlib import Path

import pytest

from reconciler.api.kinds import Kind
from reconciler.cli.plan_view import as_value, show
from reconciler.cli.subject import Subject
from reconciler.engine.external import Change, DocumentRef, Impact, ObjectKey, Transfer
from reconciler.engine.plan import PlanLine

DOCUMENT = DocumentRef("InferenceService", "web")
ARGS = "properties.template.containers[app].args"


def line(kind: Kind, action: str, *changes: Change, **rest: object) -> PlanLine:
    return PlanLine(ObjectKey(kind, "web"), DOCUMENT, action, changes, **rest)  # type: ignore[arg-type]


CASES = [
    (line(Kind.APP, "no-op", Change("a", 1, 2)), "none", "arm", "nothing is done"),
    (line(Kind.APP, "wait"), "none", "arm", "nothing is done yet"),
    (
        line(Kind.CATALOGUE, "update", Change("a", 1, 2, "hot")),
        "hot",
        "replicas",
        "replicas take it",
    ),
    (line(Kind.FOLDER, "create"), "hot", "files", "files alone change nothing that runs"),
    (line(Kind.APP, "update", Change("tags.a", 1, 2)), "configuration", "arm", "no new revision"),
    (
        line(Kind.APP, "update", Change("a", 1, 2), Change("b", 1, 2, "new revision")),
        "new revision",
        "arm",
        "the gravest counts",
    ),
    (
        line(Kind.APP, "update", Change("a", 1, 2, "nobody serves", Impact.RESTART)),
        "restart",
        "arm",
        "nobody serves",
    ),
    (line(Kind.APP, "create"), "new revision", "arm", "a first revision"),
    (line(Kind.APP, "delete"), "delete", "arm", "it holds no data"),
    (line(Kind.SHARE, "delete"), "data loss", "arm", "it holds data"),
    (
        line(Kind.ENVIRONMENT, "replace", Change("a", 1, 2, "replace")),
        "replace",
        "arm",
        "made again",
    ),
    (line(Kind.STORAGE_ACCOUNT, "replace"), "data loss", "arm", "made again without its data"),
]


@pytest.mark.parametrize(
    ("planned", "impact", "plane", "reason"), CASES, ids=[case[3] for case in CASES]
)
def test_each_line_has_its_class_and_its_plane(planned, impact, plane, reason):
    """The gravest of what it does to what runs, and where it is written."""
    value = as_value(planned)
    assert (value["class"], value["plane"]) == (impact, plane), reason


def test_a_person_reads_flags_files_and_classes(capsys):
    """Command lines flag by flag, what is uploaded, and what the change does."""
    show(
        [
            line(Kind.FOLDER, "create", transfer=Transfer(1, 2, 0, 3 * 2**20)),
            line(
                Kind.APP,
                "update",
                Change(ARGS, ["--port", "80"], ["--port", "81"], "new revision"),
                effect="new revision",
            ),
            line(Kind.SHARE, "delete", effect="delete", problem="waits for approval"),
            line(Kind.WORKSPACE, "no-op"),
        ],
        Subject("local Azure", None, [Path("moorage.yaml")]),
    )
    assert capsys.readouterr().out.splitlines() == [
        "target: local Azure   documents: moorage.yaml (not run yet)",
        "+ PublishedFolder/web   files: 1 added, 2 changed; 3 MiB to upload",
        "~ ContainerApp/web   new revision",
        f"      {ARGS}[--port]: 80 -> 81",
        "- FileShare/web   data loss; waits for approval",
        "1 to create, 1 to update, 1 to delete",
    ]
