"""A kept plan against the plan of now: what moved is named."""

import json

import pytest

from reconciler.cli.app import run
from reconciler.cli.plan_file import moved

ASKED = {"path": "a.b", "before": 1, "after": 2, "class": "hot", "effect": ""}
PLANNED = {"object": "X/y", "action": "update", "class": "hot", "version": "v1", "fields": [ASKED]}


def plan_text(**changes):
    """A kept plan, edited by hand."""
    head = {"apiVersion": "moorage.dev/v1alpha1", "kind": "Plan", "target": "local Azure"}
    whole = {**head, "set": None, "files": ["/moorage.yaml"], "changes": []}
    return json.dumps({**whole, **changes})


NOTHING = {**PLANNED, "action": "no-op", "class": "none"}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([PLANNED], []),
        ([{**PLANNED, "effect": "serves once it is ready (limit 9 s)"}], []),
        ([NOTHING], ["X/y: the plan said update, and now it is nothing"]),
        ([], ["X/y: the plan said update, and now it is nothing"]),
        (
            [PLANNED, {**PLANNED, "object": "X/z", "action": "delete"}],
            ["X/z: the plan said nothing, and now it is delete"],
        ),
        ([{**PLANNED, "fields": []}], ["X/y: a.b would not change any more"]),
        (
            [{**PLANNED, "fields": [ASKED, {**ASKED, "path": "c"}]}],
            ["X/y: c would change too"],
        ),
        ([{**PLANNED, "fields": [{**ASKED, "before": 0}]}], ["X/y: a.b would change otherwise"]),
        (
            [{**PLANNED, "version": "v2"}],
            ["X/y: its document, or a folder that the document names, was changed"],
        ),
        ([{**PLANNED, "class": "restart"}], ["X/y: the plan said hot, and now it is restart"]),
    ],
)
def test_what_moved_is_named(now, said):
    """By object and path; words that may tell of seconds are not compared."""
    assert moved([PLANNED], now) == said


def test_what_was_and_is_nothing_has_not_moved():
    """Objects for which nothing would be done may come and go."""
    assert moved([NOTHING], []) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            json.dumps({"apiVersion": "moorage.dev/v9", "kind": "Plan"}),
            "another version of Moorage",
        ),
        (json.dumps({"apiVersion": "moorage.dev/v1alpha1", "kind": "Plan"}), "holds no plan"),
        ("{", "holds no plan"),
        (plan_text(files=[]), "holds no plan"),
        (plan_text(files="moorage.yaml"), "holds no plan"),
        (plan_text(changes=[None]), "holds no plan"),
        (None, "There is no file"),
    ],
    ids=[
        "another version",
        "half of one",
        "no JSON",
        "no files",
        "a text for files",
        "no change",
        "nothing there",
    ],
)
def test_a_file_that_is_no_plan_of_this_version_is_refused(
    tmp_path, monkeypatch, capsys, text, said
):
    """With exit code 2, before Azure is asked anything."""
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    assert run(["approve", "plan.json", "-y"]) == 2
    assert said in capsys.readouterr().err
