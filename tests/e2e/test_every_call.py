"""Each call of a service's whole life, and the daemon killed before it, after it took effect, and
after its answer: the daemon that is started next reaches the same end, and nothing is there twice.
"""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from reconciler.engine.store import Store
from reconciler.settings import Settings
from reconciler.web.status import status_of
from tests.e2e.ground import aimed_at
from tests.e2e.killed import MOMENTS, Processes
from tests.e2e.stage import Stage, ask, environment, service

SEED = 20261129
PARTS = 4  # of the slow tests of a moment, which run side by side


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
LIFE = {
    "create": ({"colour": "red"}, "one"),
    "hot change": ({"colour": "red", "public": False}, "one"),
    "rollout": ({"colour": "green", "public": True}, "one"),
    "rollback": ({"colour": "green"}, "one"),
    "new code": ({"colour": "green"}, "two"),
    "delete": ({"colour": "green", "there": False}, "two"),
}


# A person asks for the version before: that serves, and the document is not what runs.
ASKED_BACK = "rollback"
SERVED_THEN, HELD = "red", 4


@dataclass
class Life:
    """One life of a service called after `name`, in an Environment of that name."""

    stage: Stage
    processes: Processes
    name: str

    def __post_init__(self):
        """Documents and state of its own: nothing of another life is touched."""
        self.environ = {
            **self.stage.env,
            **aimed_at(self.stage.facts),
            "MOORAGE_STATE_DIR": str(self.stage.root / self.name),
            "MOORAGE_OWNER": self.name,
        }
        self.settings = Settings.from_environment(self.environ, target="azure")
        self.output = self.stage.root / f"{self.name}.log"

    def live(self, kills):
        """Go through every step, killed as `kills` says of it (moment and number); how many calls
        each step made.
        """
        made, ended = {}, []
        for step, (said, version) in LIFE.items():
            self.stage.code("web", version)
            self.stage.save(*documents(self.name, **said))
            since, code, colour = len(self.stage.journal()), 0, said["colour"]
            if step == ASKED_BACK:
                code, colour = HELD, SERVED_THEN
                assert self.run("rollback", f"web-{self.name}") == 0, self.log()
            if step in kills:
                moment, number = kills[step]
                ended.append(self.up(moment=moment, number=number))
                assert ended[-1] in (-9, code), (step, kills[step], self.log())
            assert self.up() == code, (step, kills, self.log())
            made[step] = len(self.stage.writes(since=since))
            self.assert_end({**said, "colour": colour}, version)
            self.assert_once(since, kills.get(step, ("before", 0))[0])
        # Two that make the same folder at the same time make a call more, or less.
        assert len(ended) - ended.count(-9) <= 1, f"not killed: {kills}"
        before = len(self.stage.journal())
        assert self.up() == 0
        assert self.stage.writes(since=before) == [], "another run writes again"
        return made

    def up(self, **kill):
        return self.run("up", "-f", str(self.stage.manifest), "--once", "-y", **kill)

    def run(self, *line, **kill):
        self.output.unlink(missing_ok=True)
        return self.processes.run((*line, "--target", "azure"), self.environ, self.output, **kill)

    def log(self):
        return self.output.read_text()

    def assert_end(self, said, version):
        """What the documents say is true, and there is nothing else."""
        found = self.document()
        if not said.get("there", True):
            assert found is None
            return
        active = [r for r in found["revisions"] if r["active"]]
        assert [(r["trafficWeight"], r["serving"]) for r in active] == [(100, True)]
        if said.get("public", True):
            answer = ask(found["endpoint"], self.stage.ca)
            assert (answer["colour"], answer["version"]) == (said["colour"], version)

    def document(self):
        """The service as `moorage status` shows it."""
        key = self.settings.target_key
        store = Store.read(self.settings.daemon_dir / "state.db", key)
        assert store is not None
        try:
            documents = status_of(store, "", {})["documents"]
        finally:
            store.close()
        return next((d for d in documents if d["name"] == f"web-{self.name}"), None)

    def assert_once(self, since, moment):
        """Nothing is written twice. One write whose answer was never read may be sent once more,
        which Azure takes for the same.
        """
        made = Counter(
            (entry["method"], entry["path"].lower(), entry["query"])
            for entry in self.stage.journal()[since:]
            if entry["plane"] == "arm" and entry["method"] == "PUT" and entry["status"] < 300
        )
        allowed = 1 if moment == "before" else 2
        assert {what: count for what, count in made.items() if count > allowed} == {}
        assert sum(count > 1 for count in made.values()) <= 1


@pytest.fixture(scope="module")
def lives(stage):
    """Makes lives, one after the other, on one local Azure."""
    with Processes() as processes:
        yield lambda name: Life(stage, processes, name)


@pytest.fixture(scope="module")
def calls(lives):
    """How many calls each step makes when nothing happens to it."""
    made = lives("whole").live({})
    assert set(made) == set(LIFE)
    assert all(made.values())
    return made


@pytest.mark.timeout(300)
def test_a_daemon_killed_at_a_call_of_every_step_reaches_the_same_end(lives, calls):
    """A seeded few of what the slow tests do: each step, killed somewhere."""
    chosen = random.Random(SEED)
    kills = {
        step: (MOMENTS[number % len(MOMENTS)], chosen.randrange(count))
        for number, (step, count) in enumerate(calls.items())
    }
    lives("some").live(kills)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "part",
    range(PARTS),
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_daemon_killed_at_any_call_reaches_the_same_end(lives, calls, moment, part):
    """Every call of every step: the next daemon finds what is there, makes the rest, and makes
    nothing twice.
    """
    for number in range(part, max(calls.values()), PARTS):
        kills = {step: (moment, number % count) for step, count in calls.items()}
        lives(f"{moment[:2]}{number}").live(kills)
