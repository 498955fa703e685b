"""However a file is saved, the last good version runs, and a bad one is told with its place."""

import json

import pytest

from tests.e2e.stage import ask, service

GOOD = "kind: InferenceService\napiVersion: moorage.dev/v1alpha1\nmetadata: {name: web}\nspec:\n"
BROKEN = {
    "syntax": (GOOD + "  code: [\n", "moorage.yaml:"),
    "unknown key": (
        GOOD + "  code: ./code-web\n  command: [a]\n  targetPort: 9000\n  replicas: 3\n",
        "moorage.yaml:8:3: ",
    ),
    "wrong type": (
        GOOD + "  code: ./code-web\n  command: [a]\n  targetPort: many\n",
        "moorage.yaml:7:15: ",
    ),
    "missing folder": (
        GOOD + "  code: ./nowhere\n  command: [a]\n  targetPort: 9000\n",
        "moorage.yaml:5:9: ",
    ),
    "no such environment profile": (
        GOOD + "  code: ./code-web\n  command: [a]\n  targetPort: 9000\n  workloadProfileName:"
        " nowhere\n",
        "moorage.yaml:8:24: ",
    ),
    "empty": ("", "moorage.yaml"),
    "two of one name": (
        "\n---\n".join([GOOD + "  code: ./code-web\n  command: [a]\n  targetPort: 9000\n"] * 2),
        "moorage.yaml:",
    ),
}


@pytest.fixture(scope="module")
def up(stage):
    stage.code("web")
    stage.save(coloured("red"))
    up = stage.up()
    yield up
    up.end()


def coloured(colour):
    return service("web", env=[{"name": "COLOUR", "value": colour}])


async def test_saves_of_every_kind_arrive(stage, up):
    """Written in place, renamed over, and taken away for a moment: each version is what runs in the
    end.
    """
    await up.settled_on("web", colour="red")
    stage.save(coloured("green"), in_place=True)
    await up.settled_on("web", colour="green")
    stage.manifest.unlink()
    problems = await up.until(lambda: up.status().get("problems"), 20, "the missing file is told")
    assert "moorage.yaml" in problems[0]
    stage.save(coloured("blue"))
    await up.settled_on("web", colour="blue")
    assert "problems" not in up.status()


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_save_changes_nothing(stage, up, case):
    """The problem is told with file, line and column, on `status` too; nothing is written, and a
    good save recovers.
    """
    stage.save(coloured("blue"))
    await up.settled_on("web", colour="blue")
    text, place = BROKEN[case]
    before = len(stage.journal())
    stage.save_text(text)
    problems = await up.until(lambda: up.status().get("problems"), 20, "the problem is told")
    assert place in problems[0], problems
    assert stage.json("status")["problems"] == problems
    done = stage.moorage("validate", "-f", str(stage.manifest), code=2)
    assert place in done.stderr
    assert "Traceback" not in done.stderr
    assert ask(up.document("web")["endpoint"], stage.ca)["colour"] == "blue"
    assert up.condition("web", "Ready")["status"] == "True"
    stage.save(coloured("blue"))
    await up.until(lambda: "problems" not in up.status(), 20, "the problem is gone")
    assert stage.writes(since=before) == []


async def test_many_saves_in_a_moment_become_one_revision(stage, up):
    """What is typed within the quiet period is one change."""
    await up.settled_on("web", colour="blue")
    before = len(stage.journal())
    for number in range(20):
        stage.save(coloured(f"colour{number}"))
    await up.settled_on("web", colour="colour19")
    templates = [write for write in stage.writes(since=before) if write.startswith("PATCH ")]
    assert len(templates) <= 4, (
        templates
    )  # at most two versions were seen, each a template and a move of the traffic


async def test_a_save_does_not_wait_for_the_list_of_all_apps(stage, up):
    """In a subscription of a thousand apps it is ten pages long. It is read afterwards, and tells
    of what no document asks for.
    """
    stage.save(coloured("blue"))
    await up.settled_on("web", colour="blue")
    slow = {"fault": "Slow", "plane": "arm", "method": "GET", "operation": "Microsoft.App/jobs"}
    stage.script({**slow, "seconds": 60})
    stage.save(coloured("yellow"))
    await up.settled_on("web", seconds=40, colour="yellow")
    stage.script()


def test_events_are_told_once(stage, up):
    """Every event is a sentence of its own with a count, and no secret is in them."""
    events = stage.json("events", "--limit", "1000")["events"]
    told = [(event["type"], event["reason"], event["object"], event["message"]) for event in events]
    assert len(told) == len(set(told))
    assert {"InvalidDocument", "Ready", "Creating", "Updating"} <= {
        event["reason"] for event in events
    }
    assert "DriftFound" not in {event["reason"] for event in events}
    keys = json.dumps(events).lower()
    assert "accountkey" not in keys
