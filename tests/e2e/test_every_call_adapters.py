"""A person goes back to earlier adapters, and the daemon is killed at each call of that: before it,
after it took effect, and after its answer. The next daemon reaches the same end.
"""

import itertools
import random

import pytest

from tests import tiny_model
from tests.benchmarks.models import images
from tests.e2e.killed import MOMENTS, Processes
from tests.e2e.stage import Stage, condition_of
from tests.e2e.test_rollout_adapters import document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # a minute; an hour when much else runs
HELD = 4  # the exit code of `up --once` while a document waits for a person
KILLED = -9
SEED = 20261129
NAMES = ("red", "green")


class Life:
    """A service with two adapters, of which a person lets the versions before serve again and
    again.
    """

    def __init__(self, stage, processes):
        self.stage, self.processes = stage, processes
        self.environ = {**stage.env, "MOORAGE_STATE_DIR": str(stage.state)}
        self.log = stage.root / "up.log"
        self.saves = 0
        self.save()
        assert self.up() == 0, self.log.read_text()
        self.save()
        assert self.up() == 0, self.log.read_text()

    def save(self):
        """Another version of an adapter, as a training run leaves it."""
        self.saves += 1
        root = self.stage.root
        tiny_model.make_adapter(root / "adapters/red", "red", self.saves, model=root / "model")
        self.stage.save(document(*NAMES))

    def go_back(self, moment="", number=0):
        """Roll back, killed as `moment` and `number` say; whether it was killed, and the number of
        calls that the rollback made in all. Nothing gets its final name twice.
        """
        before, since = self.loaded(), len(self.stage.journal())
        generation = self.stage.json("history", "phi")["generations"][1]
        self.stage.moorage("rollback", "phi")
        kill = {"moment": moment, "number": number} if moment else {}
        killed = bool(kill) and self.up(**kill) == KILLED
        assert self.up() == HELD, self.log.read_text()
        assert self.loaded() == {(each["name"], each["digest"]) for each in generation["adapters"]}
        assert self.loaded() != before
        synced = condition_of(self.stage.document("phi"), "Synced")
        assert (synced["status"], synced["reason"]) == ("False", "RolledBack")
        made = len(self.stage.writes(since=since))
        named = [e["path"] for e in self.stage.journal()[since:] if "comp=rename" in e["query"]]
        assert len(set(named)) == len(named)
        again = len(self.stage.journal())
        assert self.up() == HELD
        assert self.stage.writes(since=again) == []
        return killed, made

    def go_on(self, **kill):
        """Save what comes next, which ends the rollback; whether the daemon was killed in it."""
        self.save()
        killed = bool(kill) and self.up(**kill) == KILLED
        assert self.up() == 0, self.log.read_text()
        assert condition_of(self.stage.document("phi"), "Synced")["status"] == "True"
        return killed

    def loaded(self):
        return {
            (adapter["name"], adapter["digest"])
            for replica in self.stage.document("phi")["replicas"]
            for adapter in replica["adapters"]
        }

    def up(self, **kill):
        self.log.unlink(missing_ok=True)
        words = ("up", "-f", str(self.stage.manifest), "--once", "-y")
        return self.processes.run(words, self.environ, self.log, **kill)


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    root = tmp_path_factory.mktemp("e")
    stage = Stage(root, "--images", str(images(root / "image")))
    tiny_model.build(root, NAMES)
    try:
        stage.start_azure()
        with Processes() as processes:
            yield Life(stage, processes)
    finally:
        stage.close()


@pytest.fixture(scope="module")
def calls(life):
    """How many calls a rollback makes when nothing happens to it."""
    killed, made = life.go_back()
    life.go_on()
    assert not killed
    assert made > 0
    return made


def test_a_rollback_of_adapters_killed_at_some_calls_reaches_the_same_end(life, calls):
    """A seeded few of what the slow test does."""
    chosen, killed = random.Random(SEED), []
    for moment in MOMENTS:
        killed.append(life.go_back(moment, chosen.randrange(calls))[0])
        life.go_on()
    assert sum(killed) >= len(MOMENTS) - 1, "two calls that run side by side may change places"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rollback_of_adapters_killed_at_any_call_reaches_the_same_end(life, calls, moment):
    """The adapters of then serve, held until the next save; the daemon that makes the next save
    true is killed as well.
    """
    killed = []
    for number in itertools.count():  # after the first few rollbacks, old generations go as well
        killed.append(life.go_back(moment, number)[0])
        if number >= calls and not killed[-1]:
            break
        life.go_on(moment=moment, number=number)
    life.go_on()
    assert sum(killed) >= calls - 1
