"""`moorage up --git`: documents and folders come from a repository, commit by commit."""

import hashlib
import hmac
import json
import subprocess

import aiohttp
import pytest

from tests.e2e.stage import MOORAGE, Stage, ask, service

pytestmark = [pytest.mark.slow, pytest.mark.vital]
WHO = ("-c", "user.name=a", "-c", "user.email=a@example.com")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("git"))
    stage.start_azure()
    stage.git = lambda *arguments: subprocess.run(
        ["git", "-C", stage.root / "origin", *WHO, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (stage.root / "origin" / "live").mkdir(parents=True)
    stage.git("init", "-q", "-b", "main")
    yield stage
    stage.close()


def _commit(stage, document, colour="blue"):
    live = stage.root / "origin" / "live"
    stage.code("web", colour)
    code = live / "code-web"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text((stage.root / "code-web" / "app.py").read_text())
    (live / "web.yaml").write_text(document if isinstance(document, str) else json.dumps(document))
    stage.git("add", "-A")
    stage.git("commit", "-q", "-m", "a change")
    return stage.git("rev-parse", "HEAD")


async def test_a_commit_is_what_is_served(stage):
    """A push changes what runs, and the status and the history name the commit; a broken one is
    refused with its place; one that names a folder outside of the repository as well.
    """
    first = _commit(stage, service("web"))
    call = ("--git", str(stage.root / "origin"), "--path", "live", "--git-every", "1")
    up = stage.up(*call, MOORAGE_OWNER="team")
    await up.converged("web")
    await up.until(lambda: up.status()["commit"] == first)

    second = _commit(stage, service("web", env=[{"name": "COLOUR", "value": "red"}]), "two")
    await up.settled_on("web", colour="red", version="two")
    await up.until(lambda: up.status()["commit"] == second)
    await up.until(lambda: commits(stage)[:2] == [second, first], what="the history names both")

    _commit(stage, "kind: [")
    await up.until(lambda: "web.yaml:1:" in "".join(up.status().get("problems", ())))
    _commit(stage, service("web", code=str(stage.root / "code-web")))
    await up.until(lambda: "outside the repository" in str(up.status().get("problems")))
    endpoint = up.document("web")["endpoint"]
    assert ask(endpoint, stage.ca)["version"] == "two"
    assert up.document("web")["generation"] == 2
    assert up.end() == 0


def commits(stage):
    history = stage.json("history", "web")["generations"]
    return [each.get("commit") for each in history]


async def test_a_signed_message_wakes_the_look_for_a_commit(stage):
    """Long before the poll would; a message without the secret is refused."""
    _commit(stage, service("web", env=[{"name": "COLOUR", "value": "black"}]))
    call = ("--git", str(stage.root / "origin"), "--path", "live", "--git-every", "600")
    secret = "a-secret-of-24-characters"
    (stage.root / "secret").write_text(f"{secret}\n")
    up = stage.up(
        *call,
        MOORAGE_OWNER="team",
        MOORAGE_GIT_WEBHOOK_SECRET_FILE=str(stage.root / "secret"),
    )
    await up.converged("web")
    await up.settled_on("web", colour="black")
    _commit(stage, service("web", env=[{"name": "COLOUR", "value": "white"}]))
    body = b'{"ref": "refs/heads/main"}'
    code = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    address = f"http://127.0.0.1:{up.port}/git"
    async with aiohttp.ClientSession() as http:
        async with http.post(address, data=body) as refused:
            assert refused.status == 401
        signed = {"X-Hub-Signature-256": f"sha256={code}"}
        async with http.post(address, data=body, headers=signed) as taken:
            assert taken.status == 202
    await up.settled_on("web", colour="white")
    assert up.end() == 0


def test_a_plan_of_a_branch_moves_nothing(stage):
    """`plan --git --branch` shows what that branch would change, beside what was run of another;
    the commit that a daemon follows stays, and nothing is written.
    """
    stage.git("checkout", "-q", "-b", "next")
    _commit(stage, service("web", env=[{"name": "COLOUR", "value": "green"}]))
    stage.git("checkout", "-q", "main")
    links = sorted((stage.root / "state" / "cache" / "git").glob("*/current"))
    before = [link.resolve() for link in links]
    since = len(stage.journal())
    call = ("plan", "--git", str(stage.root / "origin"), "--branch", "next", "--path", "live")
    planned = json.loads(stage.moorage(*call, "-o", "json", MOORAGE_OWNER="team").stdout)
    app = next(each for each in planned["changes"] if each["object"] == "ContainerApp/web")
    assert any("COLOUR" in field["path"] for field in app["fields"]), app
    assert [link.resolve() for link in links] == before
    assert stage.writes(since) == []
    both = stage.moorage(*call, "-f", "x.yaml", code=2, MOORAGE_OWNER="team")
    assert "not both" in both.stderr


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (("-f", "x"), "not both", 2),
        (("--path", "../x"), "leaves the repository", 2),
        (("--branch", "none"), "couldn't find remote ref", 1),
    ],
)
def test_what_cannot_be_is_one_sentence(stage, options, says, code):
    """No traceback, and nothing is changed."""
    call = [*MOORAGE, "up", "--once", "--git", str(stage.root / "origin"), *options]
    done = subprocess.run(
        call,
        cwd=stage.root,
        env={**stage.env, "MOORAGE_STATE_DIR": str(stage.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
