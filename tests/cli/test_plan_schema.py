"""The shape of a plan as JSON is the published one, and docs/status.md names all of it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from reconciler.api.kinds import Kind
from reconciler.cli.foresight import Foreseen
from reconciler.cli.output.envelope import envelope
from reconciler.cli.output.subject import Subject
from reconciler.engine.external import Change, Impact, Transfer
from reconciler.engine.plan import WAITS, Action, PlanLine
from reconciler.kinds.foreseen import ServedAfter
from reconciler.kinds.impact import impact_of
from reconciler.kinds.prices import Price
from tests.cli.test_plan_view import DOCUMENT, REPLICA, line

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "manifests/schema/plan.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)
CHANGE = SCHEMA["$defs"]["change"]["properties"]
LINES = (
    line(Kind.RESOURCE_GROUP, "no-op"),
    line(Kind.CATALOGUE, "update", Change("adapters[a].digest", None, "1" * 64, "hot")),
    line(Kind.WORKSPACE, "update", Change("tags.a", "1", "2")),
    line(Kind.APP, "update", Change("x.args", ["--a"], ["--b"], "no replica", Impact.RESTART)),
    line(Kind.APP, "create", problem=WAITS),
    line(Kind.STORAGE, "replace", Change("a", {"b": [1]}, None, "replace")),
    line(Kind.APP, "delete"),
    line(Kind.SHARE, "delete"),
    line(Kind.FOLDER, "create", transfer=Transfer(1, 2, 3, 4, 5)),
    line(Kind.FOLDER, "create", transfer=Transfer(1, 2, 3, 4)),
    line(Kind.APP, "adopt"),
    line(Kind.APP, "release"),
    line(Kind.APP, "wait"),
    PlanLine(DOCUMENT, DOCUMENT, "refuse", problem="no"),  # type: ignore[arg-type]
)


def plan(*lines: PlanLine) -> dict[str, object]:
    """Of all lines, each with everything that a line can have."""
    keys = {each.key for each in lines}
    foreseen = Foreseen(
        lines,
        {DOCUMENT: "v"},
        "local",
        dict.fromkeys(keys, Price("EUR", 0, 2.16, ("D4",))),
        Subject("local Azure", None),
        dict.fromkeys(keys, (REPLICA,)),
        dict.fromkeys(keys, ServedAfter(9, 9, "measured")),
        {},
    )
    text = json.dumps({**envelope("Plan", foreseen.subject), **foreseen.as_value()}, default=str)
    found: dict[str, object] = json.loads(text)
    return found


def test_every_class_of_effect_has_the_published_shape():
    """All classes and all actions, with and without what is optional."""
    assert {str(impact_of(each)) for each in LINES} == {str(each) for each in Impact}
    assert {each.action for each in LINES} == set(get_args(Action))
    VALID.validate(plan(*LINES))
    VALID.validate(
        {**plan(replace(LINES[0], document=("Environment", "x"))), "files": ["/moorage.yaml"]}
    )


@pytest.mark.parametrize(
    "change",
    [{"more": 1}, {"class": "hotter"}, {"action": "destroy"}, {"price": 1}, {"object": None}],
    ids=str,
)
def test_another_shape_is_none(change):
    """A field that comes, goes or has another type is a change of the contract."""
    value = plan(LINES[0])
    value["changes"][0] |= change
    assert not VALID.is_valid(value)


def test_the_schema_has_the_words_of_the_code():
    """And the page has the fields of the schema."""
    assert CHANGE["action"]["enum"] == list(get_args(Action))
    assert SCHEMA["$defs"]["class"]["enum"] == [str(each) for each in Impact]
    page = (ROOT / "docs/status.md").read_text()
    part = page.partition("## `moorage plan -o json`")[2].partition("\n## ")[0]
    told = {
        name for row in re.findall(r"^\| (`.+?) \|", part, re.MULTILINE) for name in row.split(", ")
    }
    assert {name.strip("`") for name in told} == set(CHANGE)
