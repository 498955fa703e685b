"""`syncPolicy.automated: false`: nothing is written before a person has approved what the documents
come to.
"""

import json

from tests.e2e.stage import ask, environment, service


def manual(**spec):
    return environment("dev", syncPolicy={"automated": False}), service(
        "web", environment="dev", **spec
    )


def web(stage):
    return stage.document("web")


def test_nothing_is_made_before_a_yes(stage):
    """From nothing: the plan says what waits, `up --once` ends with 4 and the reason, one approval
    is enough for all of it.
    """
    stage.code("web")
    stage.save(*manual())
    plan = stage.moorage(
        "plan", "-f", str(stage.manifest), "--detailed-exitcode", "-o", "json", code=3
    )
    assert {(line["action"], line["problem"]) for line in json.loads(plan.stdout)["changes"]} == {
        ("create", "waits for approval")
    }
    done = stage.once(code=4)
    assert "would create ResourceGroup/dev" in done.stdout
    assert stage.writes() == []
    listed = stage.moorage("approve", code=4)
    assert "Environment/dev" in listed.stdout
    assert "InferenceService/web" in listed.stdout
    stage.moorage("approve", "-y")
    stage.once()
    assert ask(web(stage)["endpoint"], stage.ca)["version"] == "one"


async def test_each_version_is_asked_for(stage):
    """A changed document and changed code wait each, with the old version serving; drift of what
    was approved does not.
    """
    with stage.watching(resync=2) as up:
        await up.settled_on("web", version="one")
        before = len(stage.journal())
        stage.save(*manual(env=[{"name": "COLOUR", "value": "green"}]))
        await up.until(
            lambda: up.condition("web", "Synced")["reason"] == "AwaitingApproval",
            20,
            "asked for the document",
        )
        assert (
            "properties.template.containers[app].env[COLOUR]"
            in up.condition("web", "Synced")["message"]
        )
        assert stage.writes(since=before) == []
        lines = stage.moorage("approve", "web", "-y").stdout.splitlines()
        assert "  ~ ContainerApp/web   new revision" in lines
        field = "properties.template.containers[app].env[COLOUR]"
        assert [line for line in lines if field in line and "green" in line]
        assert "  web keeps serving meanwhile" in lines
        await up.settled_on("web", colour="green")
        before = len(stage.journal())
        stage.code("web", "two")
        await up.until(
            lambda: up.condition("web", "Synced")["reason"] == "AwaitingApproval",
            20,
            "asked for the code",
        )
        assert ask(up.document("web")["endpoint"], stage.ca)["version"] == "one"
        assert stage.writes(since=before) == []
        stage.moorage("approve", "-y")
        await up.settled_on("web", version="two", colour="green")
        stage.save(*manual(rollout={"strategy": "Recreate"}))
        await up.until(lambda: told(stage, "web stops serving: no replica serves until"), 20)
        stage.moorage("approve", "-y")
        await up.settled_on("web", version="two", colour=None)
    stage.moorage("approve", "-y", code=1)  # nothing is left to approve


def told(stage, words):
    """Whether `approve`, which gets no answer here, would say so; it writes nothing."""
    done = stage.moorage("approve", "web", code=None)
    return done.returncode == 4 and words in done.stdout
