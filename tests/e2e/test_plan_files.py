"""A kept plan is approved as long as the world is what it was."""

import json

from tests.e2e.stage import ask, environment, service


def test_a_kept_plan_is_approved_as_long_as_nothing_else_would_be_done(stage, tmp_path):
    """Before any daemon has run; refused when a document changed; and a deletion names the service
    that stops serving.
    """
    kept, manual = tmp_path / "plan.json", environment("dev", syncPolicy={"automated": False})
    web = service("web", environment="dev")
    stage.code("web")
    stage.save(manual, web)
    stage.moorage("plan", "-f", str(stage.manifest), "--out", str(kept))
    assert kept.stat().st_mode & 0o077 == 0
    assert {each["problem"] for each in json.loads(kept.read_text())["changes"]} == {
        "waits for approval"
    }
    stage.save(manual, service("web", environment="dev", env=[{"name": "COLOUR", "value": "red"}]))
    refused = stage.moorage("approve", str(kept), "-y", code=1)
    assert "is out of date: something else would be done now" in refused.stderr
    assert "ContainerApp/web" in refused.stderr
    assert "ResourceGroup" not in refused.stderr
    stage.save(manual, web)
    assert "+ ContainerApp/web" in stage.moorage("approve", str(kept), code=4).stdout
    stage.once(code=4)
    stage.moorage("approve", str(kept), "-y")
    stage.once()
    (found,) = [d for d in stage.json("status")["documents"] if d["name"] == "web"]
    assert ask(found["endpoint"], stage.ca)["version"] == "one"
    the_documents_differ_from_what_is_there(stage, manual)
    stage.save(manual)
    stage.moorage("plan", "-f", str(stage.manifest), "--out", str(kept))
    approved = stage.moorage("approve", str(kept), "-y")
    assert "web stops serving" in approved.stdout
    stage.once()
    assert [d["name"] for d in stage.json("status")["documents"]] == ["dev"]


def the_documents_differ_from_what_is_there(stage, manual):
    """`diff` of a document names each field, who wrote last, and nothing while all is the same."""
    same = stage.moorage("diff", "web", "-f", str(stage.manifest), "--detailed-exitcode")
    assert same.stdout.endswith("nothing differs\n")
    red = service("web", environment="dev", env=[{"name": "COLOUR", "value": "red"}])
    stage.save(manual, red)
    before = len(stage.journal())
    options = "-f", str(stage.manifest), "--detailed-exitcode"
    told = stage.moorage("diff", "InferenceService/web", *options, "-o", "json", code=3).stdout
    (change,) = json.loads(told)["changes"]
    assert (change["object"], change["path"], change["found"]) == (
        "ContainerApp/web",
        "properties.template.containers[app].env[COLOUR]",
        None,
    )
    assert set(change["lastWrite"]) == {"by", "at"}
    assert "env[COLOUR]: (unset) ->" in stage.moorage("diff", "web", *options, code=3).stdout
    assert stage.writes(since=before) == []
    assert "No document is named other" in stage.moorage("diff", "other", *options, code=2).stderr


def test_what_holds_no_plan_is_refused(stage, tmp_path):
    """With code 2, and nothing else happens."""
    other = tmp_path / "other.json"
    for text in ("[]", '{"kind": "Status"}', "{", '{"kind": "Plan", "changes": [1], "files": []}'):
        other.write_text(text)
        ended = stage.moorage("approve", str(other), "-y", code=2)
        assert f"{other} holds no plan" in ended.stderr
