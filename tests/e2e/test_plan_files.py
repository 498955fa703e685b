"""A kept plan is approved as long as the world is what it was; a document is compared with what is
there.
"""

import json

import pytest

from tests.cli.test_plan_schema import VALID
from tests.e2e.stage import ask, environment, service

MANUAL = environment("dev", syncPolicy={"automated": False})
WEB = service("web", environment="dev")
RED = service("web", environment="dev", env=[{"name": "COLOUR", "value": "red"}])


def plan(stage, kept, *options):
    return stage.moorage("plan", "-f", str(stage.manifest), "--out", str(kept), *options).stdout


def test_a_kept_plan_is_refused_when_something_else_would_be_done(stage, tmp_path):
    """Before any daemon has run: the file is its owner's, says what it costs, and is out of date
    when a document changed.
    """
    kept, table = tmp_path / "plan.json", tmp_path / "prices.json"
    table.write_text('{"currency": "EUR", "perReplicaHour": {}, "perCoreHour": 1, "perGiBHour": 0}')
    stage.code("web")
    stage.save(MANUAL, WEB)
    told = plan(stage, kept, "--prices", str(table))
    assert "web will cost 0.50 EUR an hour\n" in told
    assert told.endswith("the local Azure is free\n")
    assert kept.stat().st_mode & 0o077 == 0
    VALID.validate(json.loads(kept.read_text()))
    assert {each["problem"] for each in json.loads(kept.read_text())["changes"]} == {
        "waits for approval"
    }
    other = tmp_path / "other.json"
    other.write_text(kept.read_text().replace('"apiVersion": "moorage.dev/', '"apiVersion": "x/'))
    assert "another version of Moorage" in stage.moorage("approve", str(other), code=2).stderr
    stage.save(MANUAL, RED)
    refused = stage.moorage("approve", str(kept), "-y", code=1)
    assert "is out of date: something else would be done now" in refused.stderr
    assert (
        "  ContainerApp/web: its document, or a folder that the document names, was changed\n"
        in refused.stderr
    )
    assert "ResourceGroup" not in refused.stderr
    assert stage.writes() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_kept_plan_is_approved(stage, tmp_path):
    """What it lists goes ahead, and nothing before; a deletion names the service that stops
    serving.
    """
    kept = tmp_path / "plan.json"
    stage.code("web")
    stage.save(MANUAL, WEB)
    plan(stage, kept)
    assert "+ ContainerApp/web" in stage.moorage("approve", str(kept), code=4).stdout
    stage.once(code=4)
    stage.moorage("approve", str(kept), "-y")
    stage.once()
    found = stage.document("web")
    assert ask(found["endpoint"], stage.ca)["version"] == "one"
    the_document_differs_from_what_is_there(stage)
    stage.save(MANUAL)
    plan(stage, kept)
    assert "web stops serving" in stage.moorage("approve", str(kept), "-y").stdout
    stage.once()
    assert [d["name"] for d in stage.documents()] == ["dev"]


def the_document_differs_from_what_is_there(stage):
    """`diff` of a document names each field, who wrote last, and nothing while all is the same."""
    options = "-f", str(stage.manifest), "--detailed-exitcode"
    assert stage.moorage("diff", "web", *options).stdout.endswith("nothing differs\n")
    stage.save(MANUAL, RED)
    before = len(stage.journal())
    told = stage.moorage("diff", "InferenceService/web", *options, "-o", "json", code=3).stdout
    (change,) = json.loads(told)["changes"]
    assert (change["object"], change["path"], change["found"]) == (
        "ContainerApp/web",
        "properties.template.containers[app].env[COLOUR]",
        None,
    )
    assert set(change["lastWrite"]) == {"by", "name", "at"}
    assert (
        "env[COLOUR].value: (unset) -> red" in stage.moorage("diff", "web", *options, code=3).stdout
    )
    assert stage.writes(since=before) == []


def test_a_document_is_compared_before_anything_is_there(stage):
    """Each object is missing; a document of another name is none."""
    stage.code("web")
    stage.save(MANUAL, WEB)
    options = "-f", str(stage.manifest)
    told = stage.moorage("diff", "web", *options, "--detailed-exitcode", "-o", "json", code=3)
    changes = json.loads(told.stdout)["changes"]
    assert {"object": "ContainerApp/web", "path": "", "asked": "(present)"}.items() <= changes[
        -1
    ].items()
    assert "No document is named other" in stage.moorage("diff", "other", *options, code=2).stderr


@pytest.mark.slow
def test_a_plan_of_other_files_of_the_set_deletes_nothing(make_stage):
    """One identity, two folders: each plans its own documents, until the other folder is gone."""
    stage = make_stage()
    one, two = (stage.root / name for name in ("one", "two"))
    for folder, name in ((one, "dev"), (two, "test")):
        folder.mkdir()
        sync = {"prune": True, "automated": True}
        stage.save(environment(name, owner="team", syncPolicy=sync), path=folder / "a.yaml")
    stage.moorage("up", "--once", "-f", str(one))
    told = stage.moorage("plan", "-f", str(two)).stdout
    assert f"not read: {one}, of the same set; nothing is deleted\n" in told
    assert "delete\n" not in told
    assert told.startswith("target: ")  # and no line of a log
    assert stage.json("plan", "-f", str(two))["changes"]
    assert "delete" not in stage.moorage("plan", "-f", str(two), "-f", str(one)).stdout
    (one / "a.yaml").unlink()
    assert "- ManagedEnvironment/dev" in stage.moorage("plan", "-f", str(two)).stdout


def test_what_holds_no_plan_is_refused(stage, tmp_path):
    """With code 2, and nothing else happens; a table of prices that is none as well."""
    other = tmp_path / "other.json"
    for text in ("[]", '{"kind": "Plan", "changes": [1], "files": []}'):
        other.write_text(text)
        ended = stage.moorage("approve", str(other), "-y", code=2)
        assert f"{other} holds no plan" in ended.stderr
    stage.save(environment("dev"))
    ended = stage.moorage("plan", "-f", str(stage.manifest), "--prices", str(other), code=2)
    assert f"{other}:1:1: a table has currency" in ended.stderr
