"""`--target azure` is the same code: pointed by settings at a local Azure that somebody else runs,
it does the same.
"""

import re

import pytest

from tests.e2e.stage import ROOT, Stage, ask, environment, service


@pytest.fixture(scope="module")
def cloud(make_stage):
    """An Azure of its own, in another state directory."""
    return make_stage()


@pytest.fixture(scope="module")
def user(tmp_path_factory, cloud):
    """A stage without a local Azure, whose settings say where Azure is; nothing is shared but the
    CA file.
    """
    stage = Stage(tmp_path_factory.mktemp("user"))
    stage.aim_at(cloud.facts)
    stage.code("web")
    stage.save(
        environment("dev", subscriptionId=cloud.facts["subscriptionId"]),
        service("web", environment="dev"),
    )
    yield stage
    stage.close()


def test_the_plan_comes_first(user, cloud):
    """Without -y and without a terminal: the plan is shown, nothing is written, exit code 4."""
    done = user.once(code=4)
    assert "target: Azure subscription " in done.stdout
    assert "+ ResourceGroup/dev" in done.stdout
    assert "+ ContainerApp/web" in done.stdout
    assert "-y" in done.stderr
    assert cloud.writes() == []


def test_with_a_yes_it_does_the_same(user, cloud):
    """The service runs there, status and key commands name the target, a second run
    writes nothing.
    """
    done = user.once("-y")
    assert "everything matches the documents" in done.stdout
    status = user.json("status")
    assert status["target"].startswith("Azure subscription ")
    web = next(document for document in status["documents"] if document["name"] == "web")
    assert ask(web["endpoint"], cloud.ca)["version"] == "one"
    before = len(cloud.journal())
    user.once()  # nothing is to be changed, so nobody is asked
    assert cloud.writes(since=before) == []
    assert not (user.state / "local-azure").exists()


def test_what_is_missing_is_said_at_once(user):
    """Every missing or wrong setting in one answer, exit code 2, no traceback."""
    done = user.once(code=2, MOORAGE_CREDENTIAL="", MOORAGE_SUBSCRIPTION_ID="mine")
    assert "MOORAGE_CREDENTIAL" in done.stderr
    assert "MOORAGE_SUBSCRIPTION_ID" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_secret_waits_for_a_person(user, cloud):
    """A credential that is refused is a person's to mend: exit code 4 with the reason, and no
    write.
    """
    before = len(cloud.journal())
    done = user.once("-y", code=4, AZURE_CLIENT_SECRET="wrong-secret")
    assert "SignInFailed" in done.stderr
    assert "wrong-secret" not in done.stdout + done.stderr
    assert cloud.writes(since=before) == []


def test_two_targets_share_no_state(user, cloud):
    """The same state directory remembers each target on its own."""
    folders = sorted(path.name for path in (user.state / "daemon").iterdir())
    assert folders == [f"azure-{cloud.azure('start')['subscriptionId']}"]


def test_down_there_too(user, cloud):
    """What was created there goes from there."""
    user.moorage("down", "-y", "--purge-data")
    assert user.json("status")["documents"] == []
    done = user.moorage("plan", "-f", str(user.manifest), "--detailed-exitcode", code=3)
    assert "+ ResourceGroup/dev" in done.stdout


BRANCHES = re.compile(
    r"""\.target\b\s*(==|!=|\bin\b|\bis\b)|(==|!=)\s*['"](local|azure)['"]|['"](local|azure)['"]\s*(==|!=)|match .*\.target\b"""
)


def test_nothing_branches_on_the_target():
    """Outside the settings no line of the reconciler asks which target it is."""
    found = {}
    for path in sorted((ROOT / "reconciler").rglob("*.py")):
        name = path.relative_to(ROOT / "reconciler").as_posix()
        if lines := [
            line.strip() for line in path.read_text().splitlines() if BRANCHES.search(line)
        ]:
            found[name] = lines
    assert set(found) == {"settings.py"}, found
