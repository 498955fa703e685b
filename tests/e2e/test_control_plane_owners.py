"""Two sets of documents in one subscription: neither lists, changes, deletes or replaces what the
other made, unless a person says so.
"""

import json

import pytest

from tests.e2e.stage import Stage, ask, environment, service


def documents(place="dev", colour="red", name="web"):
    return environment(place), service(
        name, environment=place, env=[{"name": "COLOUR", "value": colour}]
    )


@pytest.fixture(scope="module")
def teams(make_stage, tmp_path_factory):
    """Two folders with state folders of their own; one local Azure is the subscription of both."""
    one, two = make_stage(), Stage(tmp_path_factory.mktemp("two"))
    two.state.mkdir()
    two.azure_dir.symlink_to(one.azure_dir)
    for team in (one, two):
        team.code("web")
    one.save(*documents())
    one.once("-y")
    return one, two


def actions(plan):
    return {line["action"] for line in plan["changes"] if line["action"] != "no-op"}


def test_the_same_names_in_another_folder_are_refused_and_nothing_is_written(teams):
    """Plan, up, approve and down of the second set leave the first one's service as it is, and say
    whose it is.
    """
    one, two = teams
    two.save(*documents(colour="green"))
    plan = two.json("plan", "-f", str(two.manifest))
    assert not actions(plan) & {"delete", "replace", "update", "adopt", "release"}
    told = [line["problem"] for line in plan["changes"] if "OwnedByAnother" in line["problem"]]
    assert any("moorage take-over moorage-" in problem for problem in told)
    apps = [problem for problem in told if "container app web" in problem]
    assert "last applied 20" in apps[0]
    since = len(one.journal())
    two.once("-y", "--timeout", "20", code=1)
    assert one.writes(since=since) == []
    assert "OwnedByAnother" in two.moorage("status").stdout
    assert "Nothing waits" in two.moorage("approve", "-y", code=1).stderr
    for more in ((), ("--purge-data",)):
        lines = two.moorage("down", "--dry-run", *more).stdout
        assert "nothing to do" in lines, lines
    assert ask(served(one), one.ca)["colour"] == "red"


def test_other_names_live_side_by_side(teams):
    """A set whose Environment has another name is served beside the first, sees nothing of it, and
    takes only its own away.
    """
    one, two = teams
    two.save(*documents("staging", "blue"))
    two.once("-y")
    assert ask(served(two), two.ca)["colour"] == "blue"
    assert ask(served(one), one.ca)["colour"] == "red"
    for team in teams:
        assert actions(team.json("plan", "-f", str(team.manifest))) == set()
    lines = two.moorage("down", "--dry-run", "--purge-data").stdout
    assert "staging" in lines
    assert "dev" not in lines.replace(str(two.root), "")
    two.moorage("down", "-y", "--purge-data")
    assert ask(served(one), one.ca)["colour"] == "red"
    assert actions(one.json("plan", "-f", str(one.manifest))) == set()


def test_two_files_run_from_one_state_folder_are_two_sets(teams):
    """The second file's plan offers nothing of the first for deletion, and its status shows its
    own service.
    """
    one, _ = teams
    other = one.root / "other.yaml"
    one.save(*documents("qa", "grey", "app"), path=other)
    one.code("app")
    plan = one.json("plan", "-f", str(other))
    assert actions(plan) == {"create"}
    one.moorage("up", "-f", str(other), "--once", "-y")
    assert {d["name"] for d in one.json("status")["documents"]} == {"qa", "app"}
    assert actions(one.json("plan", "-f", str(one.manifest))) == set()
    one.moorage("down", "-y", "--purge-data")
    assert ask(served_of(one.json, one.manifest, one), one.ca)["colour"] == "red"


def test_a_file_of_a_folder_is_a_part_of_its_set(teams):
    """What the other files hold is not offered for deletion, and down refuses half a set."""
    _, two = teams
    folder = two.root / "docs"
    folder.mkdir()
    for name in ("web", "api"):
        two.save(service(name, code="../code-web"), path=folder / f"{name}.yaml")
    two.moorage("up", "-f", str(folder), "--once", "-y")
    plan = two.json("plan", "-f", str(folder / "web.yaml"))
    assert "delete" not in actions(plan)
    refused = two.moorage("down", "-f", str(folder / "web.yaml"), "-y", code=2)
    assert "a part of the set docs-" in refused.stderr
    two.moorage("down", "-f", str(folder), "-y", "--purge-data")


def test_down_without_documents_says_so_and_does_nothing(teams, tmp_path):
    """An empty folder with an empty state folder has nothing to take away."""
    one, _ = teams
    since = len(one.journal())
    empty = Stage(tmp_path)
    empty.state.mkdir()
    empty.azure_dir.symlink_to(one.azure_dir)
    for more in (("--dry-run",), ("-y", "--purge-data")):
        refused = empty.moorage("down", *more, code=2)
        assert "No documents were given" in refused.stderr
    assert one.writes(since=since) == []


def test_a_person_takes_over_what_documents_name(teams):
    """The tag changes hands by the next run, nothing restarts, and the former set is refused."""
    one, two = teams
    owner = json.loads(one.moorage("status", "-o", "json").stdout) and owner_of(one)
    two.save(*documents())
    revision = ask(served_of(one.json, one.manifest, one), one.ca)["revision"]
    listed = two.moorage("take-over", owner, "-f", str(two.manifest), "-y").stdout
    assert "ContainerApp/web" in listed
    two.once("-y")
    assert ask(served(two), two.ca)["revision"] == revision
    assert actions(two.json("plan", "-f", str(two.manifest))) == set()
    plan = one.json("plan", "-f", str(one.manifest))
    assert any("OwnedByAnother" in line["problem"] for line in plan["changes"])
    assert "Nothing there belongs" in two.moorage("take-over", "nobody", code=1, timeout=60).stderr


def owner_of(stage):
    """The tag of the stage's container app, as Azure has it."""
    done = stage.moorage("plan", "-f", str(stage.manifest), "-o", "json")
    assert done.returncode == 0
    from reconciler.sources.identity import identity_of

    return identity_of([stage.manifest]).id


def served(stage):
    found = stage.document("web")
    return found["endpoint"]


def served_of(read, manifest, stage):
    """The endpoint of `web` after the set of `manifest` is the one that was last run again."""
    stage.moorage("up", "-f", str(manifest), "--once", "-y")
    return served(stage)
