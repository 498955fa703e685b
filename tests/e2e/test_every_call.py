"""Each call of a service's whole life, and the daemon killed before it, after it took effect, and
after its answer: the daemon that is started next reaches the same end, and nothing is there twice.
"""

import random
import subprocess
import sys
from collections import Counter

import pytest

from tests.e2e.killed import MOMENTS
from tests.e2e.stage import ROOT, Stage, ask, environment, service

MOST = 60  # more calls than any step of the life makes; checked by the last test
SEED = 20261129


def documents(name, colour, *, public=True, there=True):
    """The Environment, and the service unless it is to go."""
    place = environment(name, syncPolicy={"prune": True})
    web = service(
        f"web-{name}",
        environment=name,
        code="./code-web",
        env=[{"name": "COLOUR", "value": colour}],
        ingress={"external": public},
    )
    return (place, web) if there else (place,)


# A step: what the documents say, which version of the code there is, and what is true at its end.
LIFE = (
    ("create", {"colour": "red"}, "one"),
    ("hot change", {"colour": "red", "public": False}, "one"),
    ("rollout", {"colour": "green", "public": True}, "one"),
    ("new code", {"colour": "green"}, "two"),
    ("delete", {"colour": "green", "there": False}, "two"),
)


def moorage_killed(stage: Stage, moment: str, number: int) -> bool:
    """Run `up --once`, killed at that call; whether it came so far."""
    call = [sys.executable, "-m", "tests.e2e.killed", moment, str(number)]
    call += ["up", "-f", str(stage.manifest), "--once", "-y"]
    environ = {**stage.env, "MOORAGE_STATE_DIR": str(stage.state)}
    done = subprocess.run(
        call, cwd=ROOT, env=environ, capture_output=True, timeout=120, check=False
    )
    assert done.returncode in (0, -9), done.stdout.decode() + done.stderr.decode()
    return done.returncode == -9


def live(stage: Stage, name: str, moment: str | None, number: int) -> dict[str, int]:
    """One life of a service called after `name`, killed at the call `number` of every step; the
    calls that each step made.
    """
    made = {}
    for step, said, version in LIFE:
        stage.code("web", version)
        stage.save(*documents(name, **said))
        since = len(stage.journal())
        if moment is not None:
            moorage_killed(stage, moment, number)
        stage.once("-y")
        made[step] = len(stage.writes(since=since))
        before = len(stage.journal())
        stage.once("-y")
        assert stage.writes(since=before) == [], f"{step}: another run writes again"
        assert_end(stage, name, said, version)
        assert_once(stage, since, moment)
    return made


def assert_end(stage: Stage, name: str, said: dict, version: str) -> None:
    """What the documents say is true, and there is nothing else."""
    found = [d for d in stage.json("status")["documents"] if d["name"] == f"web-{name}"]
    if not said.get("there", True):
        assert found == []
        return
    revisions = [(r["trafficWeight"], r["serving"]) for r in found[0]["revisions"] if r["active"]]
    assert revisions == [(100, True)]
    if said.get("public", True):
        answer = ask(found[0]["endpoint"], stage.ca)
        assert (answer["colour"], answer["version"]) == (said["colour"], version)


def assert_once(stage: Stage, since: int, moment: str | None) -> None:
    """Nothing is written twice. A write whose answer was never read may be sent once more, which
    Azure takes for the same.
    """
    made = Counter(
        (entry["method"], entry["path"].lower(), entry["query"])
        for entry in stage.journal()[since:]
        if entry["plane"] == "arm" and entry["method"] == "PUT" and entry["status"] < 300
    )
    allowed = 1 if moment in (None, "before") else 2
    assert {what: count for what, count in made.items() if count > allowed} == {}
    assert sum(count > 1 for count in made.values()) <= 1


def moments():
    """Every call and moment; a seeded few of them in `make test`."""
    chosen = random.Random(SEED)
    few = {(moment, chosen.randrange(12)) for moment in MOMENTS}
    for number in range(MOST):
        for moment in MOMENTS:
            marks = () if (moment, number) in few else pytest.mark.slow
            yield pytest.param(moment, number, marks=marks, id=f"{moment}-{number}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("moment", "number"), moments())
def test_a_daemon_killed_at_any_call_reaches_the_same_end(stage, moment, number):
    """The next daemon finds what is there, makes the rest, and makes nothing twice."""
    live(stage, f"{moment[:2]}{number}", moment, number)


@pytest.mark.timeout(300)
def test_every_call_of_a_life_is_one_of_those(stage):
    """No step makes more calls than the table above kills at."""
    made = live(stage, "whole", None, 0)
    assert max(made.values()) < MOST, made
