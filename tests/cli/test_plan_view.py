"""A plan as people and as programs read it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, ReplicaRow, Startup
from reconciler.api.resources import ContainerAppSpec, RolloutStep, ShareRef
from reconciler.cli.output.field_lines import field_lines
from reconciler.cli.output.plan_view import as_value, loaded_value, show, times_value
from reconciler.cli.output.subject import Subject
from reconciler.engine.external import (
    Change,
    Desired,
    DocumentRef,
    Impact,
    ObjectKey,
    Transfer,
)
from reconciler.engine.plan import HOLDS, USED, PlanLine
from reconciler.engine.record import ObjectRecord
from reconciler.kinds.foreseen import ASSUMED, loaded_by, served_after, with_rates
from serving.catalogue import AdapterReport, ReplicaReport

DOCUMENT = DocumentRef("InferenceService", "web")
REPLICA = ReplicaRow(
    "web-1",
    "web--r1",
    ready=True,
    restarts=0,
    adapters=(
        AdapterReport(name="a", digest="1" * 64, desired="1" * 64, state="Loaded"),
        AdapterReport(name="b", digest=None, desired="2" * 64, state="Loading"),
    ),
)
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
        line(Kind.APP, "update", Change("a", 1, 2, "no replica serves", Impact.RESTART)),
        "restart",
        "arm",
        "no replica serves",
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


def app_spec(**fields):
    share = ShareRef("dev", "rg", "st", "share")
    given = {"deadline_seconds": 352, **fields}
    spec = ContainerAppSpec(
        "web", "rg", "dev", {}, service="web", template={}, suffix="r1", share=share, **given
    )
    return Desired(ObjectKey(Kind.APP, "web"), DOCUMENT, spec)


@pytest.mark.parametrize(
    ("planned", "spec", "expected"),
    [
        (line(Kind.APP, "create"), {"startup_seconds": 169}, (169, 0, "predicted", 100)),
        (line(Kind.APP, "create"), {"steps": (RolloutStep(10),)}, (352, 0, "limit", 100)),
        (
            line(Kind.APP, "update", Change("a", 1, 2, "new revision")),
            {"steps": (RolloutStep(10), RolloutStep(50))},
            (352, 0, "limit", 10),
        ),
        (
            line(
                Kind.APP,
                "update",
                Change("a", 1, 2, "no replica serves", Impact.RESTART),
                outputs=AppOutputs(
                    replicas=(replace(REPLICA, startup=Startup(169, seconds=80.4)),)
                ),
            ),
            {"startup_seconds": 169},
            (81, 81, "measured", 100),
        ),
        (line(Kind.APP, "update", Change("tags.a", 1, 2)), {}, None),
        (line(Kind.APP, "no-op"), {}, None),
    ],
    ids=["a model", "code", "in steps", "no replica serves meanwhile", "no revision", "nothing"],
)
def test_what_boots_a_revision_says_when_it_serves(planned, spec, expected):
    """As starts before took, else as predicted, else at most; and how long no replica serves."""
    found = served_after([planned], [app_spec(**spec)]).get(planned.key)
    value = times_value(found)
    assert (tuple(value.values()) if value else None) == expected


def test_a_person_reads_flags_files_and_classes(capsys):
    """Command lines flag by flag, what is uploaded, and what the change does."""
    show(
        [
            line(Kind.FOLDER, "create", transfer=Transfer(1, 2, 0, 3 * 2**20, 2**20)),
            line(Kind.FOLDER, "create", transfer=Transfer(0, 0, 1, 0, 2**20, measured=True)),
            line(Kind.CATALOGUE, "update", Change("adapters[a]", "1", "2", "hot")),
            line(
                Kind.APP,
                "update",
                Change(ARGS, ["--port", "80"], ["--port", "81"], "new revision"),
                effect="new revision",
            ),
            line(Kind.RESOURCE_GROUP, "update", Change("tags.a", 1, 2), effect="update in place"),
            line(Kind.ENVIRONMENT, "no-op", effect=USED),
            line(Kind.STORAGE_ACCOUNT, "replace", effect="replace", problem=HOLDS),
            line(Kind.SHARE, "delete", effect="delete", problem="waits for approval"),
            line(Kind.WORKSPACE, "no-op"),
        ],
        Subject("local Azure", None, [Path("moorage.yaml")]),
        {ObjectKey(Kind.CATALOGUE, "web"): (REPLICA,)},
    )
    assert capsys.readouterr().out.splitlines() == [
        "target: local Azure   documents: moorage.yaml (not run yet)",
        "+ PublishedFolder/web   files: 1 added, 2 changed; 3 MiB to upload, about 3 s"
        " (1 MiB/s, assumed)",
        "+ PublishedFolder/web   files: 1 removed; nothing to upload",
        "~ AdapterCatalogue/web   hot",
        "      adapters[a]: 1 -> 2",
        "      web-1 has a 11111111, b (Loading)",
        "~ ContainerApp/web   new revision",
        f"      {ARGS}[--port]: 80 -> 81",
        "~ ResourceGroup/web   configuration",
        "      tags.a: 1 -> 2",
        f"= ManagedEnvironment/web   {USED}",
        f"! StorageAccount/web   data loss; {HOLDS}",
        "- FileShare/web   data loss; waits for approval",
        "2 to create, 3 to update, 1 to delete, 1 not replaced, 1 used as before",
    ]


@pytest.mark.parametrize(
    ("rates", "seconds", "measured", "reason"),
    [
        ([], 4, False, "nothing was uploaded yet"),
        ([ASSUMED * 4], 1, True, "as the last upload"),
        ([ASSUMED, ASSUMED * 2, ASSUMED * 40], 2, True, "the median: one fast share is no rule"),
    ],
)
def test_a_plan_says_how_long_an_upload_takes(rates, seconds, measured, reason):
    """By the uploads before it, else by a rate that is called assumed."""
    planned = line(Kind.FOLDER, "create", transfer=Transfer(1, 0, 0, ASSUMED * 4))
    records = [
        ObjectRecord(ObjectKey(Kind.FOLDER, str(rate)), DOCUMENT, outputs={"bytesPerSecond": rate})
        for rate in (*rates, None)
    ]
    found = as_value(with_rates([planned], records)[0])["transfer"]
    assert (found["seconds"], found["measured"]) == (seconds, measured), reason
    assert as_value(planned)["transfer"]["seconds"] is None


def report(name, *adapters):
    now = datetime.now(UTC)
    return ReplicaReport(
        replica=name,
        revision="r",
        pid=1,
        started_at=now,
        heartbeat=now,
        generation=1,
        model_loaded=True,
        ready=True,
        adapters=adapters,
    )


def test_the_replicas_of_a_service_follow_its_catalogue():
    """What they report belongs to the catalogue's line; a service without a replica has none."""
    app = line(Kind.APP, "no-op", outputs=AppOutputs("id", replicas=(REPLICA,)))
    catalogue = line(Kind.CATALOGUE, "update")
    assert loaded_by([catalogue, app], {}) == {catalogue.key: (REPLICA,)}
    assert loaded_by([catalogue, line(Kind.APP, "create")], {}) == {catalogue.key: ()}
    assert loaded_by([line(Kind.CATALOGUE, "create"), app], {}) == {}  # nobody follows one yet
    engine = line(Kind.CATALOGUE, "create", Change("adapters[a].digest", "1", "2", "hot"))
    said = [report("web-1", *REPLICA.adapters[:1]), report("gone")]
    found = loaded_by([engine, app], {engine.key: said})  # they follow the one before
    assert found == {engine.key: (replace(REPLICA, adapters=REPLICA.adapters[:1]),)}
    assert loaded_by([engine, app], {}) == {engine.key: ()}  # nobody knows
    assert loaded_value((REPLICA,))[0]["adapters"][1] == {
        "name": "b",
        "digest": None,
        "state": "Loading",
    }


VOLUME = {
    "readOnly": None,
    "args": [],
    "volumeName": "share",
    "mountPath": "/mnt/x",
    "subPath": "code/web/03269026f879",
}
CONTAINER = {
    "name": "a",
    "command": ["serve", "--port", "80"],
    "env": [{"name": "B", "value": "1"}, {"name": "C", "secretRef": "s"}],
}
DIGESTS = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (Change("scale.maxReplicas", 1, 2), ["      scale.maxReplicas: 1 -> 2"]),
        (
            Change("properties.template.containers[vllm].args[--model]", "a" * 20, "b" * 20),
            [
                "      properties.template.containers[vllm].args[--model]:",
                f"        {'a' * 20} -> {'b' * 20}",
            ],
        ),
        (
            Change("containers[vllm].env[A].value", "a" * 40, "b" * 40),
            [
                "      containers[vllm].env[A].value:",
                f"        {'a' * 40}",
                f"        -> {'b' * 40}",
            ],
        ),
        (
            Change("containers[app].volumeMounts[/mnt/x]", None, VOLUME),
            [
                "      containers[app].volumeMounts[/mnt/x].volumeName: (unset) -> share",
                "      containers[app].volumeMounts[/mnt/x].subPath:",
                "        (unset) -> code/web/03269026f879",
            ],
        ),
        (
            Change("env[A]", {"name": "A", "value": "1"}, None),
            ["      env[A].value: 1 -> (unset)"],
        ),
        (
            Change("containers[a]", None, CONTAINER),
            [
                "      containers[a].command[0:]: (unset) -> serve",
                "      containers[a].command[--port]: (unset) -> 80",
                "      containers[a].env[B].value: (unset) -> 1",
                "      containers[a].env[C].secretRef: (unset) -> s",
            ],
        ),
        (
            Change("adapters[a].digest", *DIGESTS),
            ["      adapters[a].digest: 111111111111 -> 222222222222"],
        ),
    ],
    ids=[
        "short",
        "long path",
        "long values",
        "an entry comes",
        "an entry goes",
        "a container",
        "digests",
    ],
)
def test_a_field_fits_a_terminal(change, lines):
    """No value is torn at the end of a line of 80 columns, and no entry is cut."""
    assert [*field_lines(change, 80)] == lines


def test_what_stops_serving_is_named(capsys):
    """A container app that goes takes its service with it."""
    show([line(Kind.APP, "delete", effect="delete")], Subject("local Azure", None, []))
    assert "- ContainerApp/web   web stops serving\n" in capsys.readouterr().out


def test_a_plan_says_a_cause_once(capsys):
    """A catalogue and its document are both held up by one bad adapter."""
    cause = "m.yaml:9:28: adapter 'blue' cannot be served: adapter_model.safetensors is truncated"
    held = line(Kind.CATALOGUE, "no-op", effect="held", problem=cause)
    refused = line(Kind.APP, "refuse", problem=f"AdapterFailed: {cause}")
    show([held, refused], Subject("local Azure", None, [Path("m.yaml")]))
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("is truncated") == 1
    assert "x ContainerApp/web AdapterFailed (as above)" in told


def test_what_belongs_to_another_set_is_told_once(capsys):
    """With the number of objects, their names and one command; a single object keeps its line, and
    so does another set.
    """

    def foreign(name, owner):
        said = f"ResourceGroup {name} belongs to the set of documents {owner} (last applied x)"
        problem = f"OwnedByAnother: {said}; nothing is written to it. Choose another name"
        return PlanLine(ObjectKey(Kind.APP, name), DOCUMENT, "wait", problem=problem)

    show(
        [foreign("a", "one"), foreign("b", "one"), foreign("c", "two")],
        Subject("local Azure", None),
    )
    text = " ".join(capsys.readouterr().out.split())
    assert "OwnedByAnother: 2 objects belong to the set of documents one;" in text
    assert text.count("`moorage take-over one`") == 1
    assert "ContainerApp/a ContainerApp/b" in text
    assert "? ContainerApp/c OwnedByAnother: ResourceGroup c belongs" in text
    assert text.endswith("3 waiting")
