"""Seeded schedules of faults over a service's life. Each ends as the documents say; while a fault
that does not pass by itself stands, it stops in the reason that belongs to that fault.

`pytest tests/e2e/test_schedules.py -k seed-17` runs one again; a failure prints its script.
"""

import json
import random
import time
from dataclasses import dataclass, field

import pytest

from reconciler.cli.history import history_of
from reconciler.sources.orders import order_rollback
from tests.e2e.inside import inside
from tests.e2e.outside import outside
from tests.e2e.stage import ask, environment, is_converged, service

COUNT = 1000
SLICE = 5  # of them in `make test`
MOST_WRITES = 3  # times as many as without a fault
PATIENCE = 180.0  # seconds; on an idle machine nothing takes ten

ENVIRONMENTS = "Microsoft.App/managedEnvironments"
APPS = "Microsoft.App/containerApps"

# What passes by itself, or after so many times.
PASSING = [
    {"fault": "Throttle", "plane": "arm", "retryAfter": 1, "probability": 0.02},
    {"fault": "Throttle", "plane": "files", "probability": 0.03},
    {"fault": "Error", "status": 500, "plane": "arm", "probability": 0.03},
    {"fault": "Error", "status": 503, "plane": "arm", "probability": 0.03},
    {"fault": "Error", "status": 502, "operation": "*/locations/*", "probability": 0.1},
    {"fault": "Error", "plane": "login", "status": 503, "probability": 0.2},
    {"fault": "ResetBefore", "plane": "arm", "probability": 0.03},
    {"fault": "ResetBefore", "plane": "files", "probability": 0.03},
    {"fault": "ResetAfter", "plane": "arm", "method": "PUT", "probability": 0.1},
    {"fault": "ResetAfter", "plane": "arm", "method": "PATCH", "probability": 0.2},
    {"fault": "ResetAfter", "plane": "files", "method": "PUT", "probability": 0.05},
    {"fault": "Conflict", "plane": "arm", "method": "PATCH", "probability": 0.2},
    {"fault": "ExpiredToken", "plane": "arm", "probability": 0.02},
    {"fault": "StaleList", "plane": "arm", "probability": 0.5, "seconds": 1},
    {"fault": "StaleList", "plane": "files", "probability": 0.3, "seconds": 0.5},
    {"fault": "Slow", "plane": "arm", "probability": 0.03, "seconds": 0.3},
    {"fault": "OperationSlow", "probability": 0.3, "seconds": 0.5},
    {"fault": "OperationFails", "times": 1},
    {"fault": "OperationCanceled", "operation": APPS, "times": 1},
    {"fault": "OperationHangs", "times": 1, "seconds": 1},
    {"fault": "OperationDeceives", "operation": ENVIRONMENTS, "times": 1},
    {"fault": "EnvironmentFails", "times": 1},
    {"fault": "ShareFull", "times": 2},
    {"fault": "TornRead", "probability": 0.1},
    {"fault": "PolicyDenied", "times": 1},
    {"fault": "Forbidden", "plane": "arm", "times": 1},
    {"fault": "ReplicaKilled", "times": 1},
]


def denied(operation):
    """Refusals of writes that stand until somebody does something."""
    yield {"fault": "PolicyDenied", "operation": operation}, "Azure:RequestDisallowedByPolicy"
    for method in ("PUT", "PATCH"):
        where = {"plane": "arm", "operation": operation, "method": method}
        yield {"fault": "Forbidden", **where}, "Azure:AuthorizationFailed"
        for status, code in ((409, "ScopeLocked"), (400, "SomeQuotaExceeded")):
            yield {"fault": "Error", "status": status, "code": code, **where}, f"Azure:{code}"


FAILING = [
    (
        {"fault": "OperationFails", "operation": APPS, "code": "ContainerAppOperationError"},
        "Azure:ContainerAppOperationError",
    ),
    ({"fault": "OperationCanceled", "operation": APPS}, "Azure:OperationCanceled"),
    ({"fault": "ReplicaCrashes"}, "RevisionFailed"),
]
FAILED = {reason for _, reason in FAILING}
HELD = "RolledBack"
SHARE = [
    ({"fault": "ShareFull"}, "Azure:ShareSizeLimitReached"),
    ({"fault": "ShareUnreachable"}, "AzureUnreachable"),
]
# What stands until somebody does something, and its reason; by the step that it stops.
STANDING = {
    "create": [
        *(each for each in denied(ENVIRONMENTS) if each[0].get("method") != "PATCH"),
        *(each for each in denied(APPS) if each[0].get("method") != "PATCH"),
        *SHARE,
        *FAILING,
        (
            {"fault": "NoCapacity", "operation": ENVIRONMENTS},
            "Azure:ManagedEnvironmentNoAvailableCapacityInRegion",
        ),
    ],
    "change": [each for each in denied(APPS) if each[0].get("method") != "PUT"],
    "rollout": [*(each for each in denied(APPS) if each[0].get("method") != "PUT"), *FAILING],
    "code": [*(each for each in denied(APPS) if each[0].get("method") != "PUT"), *SHARE],
    "rollback": [each for each in denied(APPS) if each[0].get("method") != "PUT"],
    "delete": [
        (
            {"fault": "Forbidden", "plane": "arm", "operation": APPS, "method": "DELETE"},
            "Azure:AuthorizationFailed",
        ),
        (
            {
                "fault": "Error",
                "status": 409,
                "code": "ScopeLocked",
                "plane": "arm",
                "operation": APPS,
                "method": "DELETE",
            },
            "Azure:ScopeLocked",
        ),
    ],
}


@dataclass
class Schedule:
    """What happens under one seed. `standing` is the step that a standing fault stops, the fault
    and its reason; a third of all seeds have one.
    """

    seed: int
    steps: list = field(default_factory=list)
    passing: list = field(default_factory=list)
    standing: tuple | None = None

    def __post_init__(self):
        chosen = random.Random(self.seed)
        self.steps = ["create", *chosen.sample(["change", "rollout", "code"], 2)]
        self.steps += [step for step in ("rollback", "delete") if chosen.random() < 0.5]
        self.passing = chosen.sample(PASSING, chosen.randint(2, 4))
        if self.seed % 3 == 0:
            step = chosen.choice(self.steps)
            self.standing = (step, *chosen.choice(STANDING[step]))

    def __str__(self):
        script = {"seed": self.seed, "faults": self.passing}
        standing = f"\nstanding at {self.standing}" if self.standing else ""
        return f"seed {self.seed}: {self.steps}{standing}\n{json.dumps(script, indent=1)}"


@dataclass
class World:
    """What the documents say now."""

    name: str
    colour: str = "red"
    public: bool = True
    version: str = "one"
    there: bool = True
    former: tuple[str, str] = ("", "")

    def take(self, step):
        if step in ("rollout", "code"):
            self.former = self.colour, self.version
        match step:
            case "change":
                self.public = not self.public
            case "rollout":
                self.colour = "green" if self.colour == "red" else "red"
            case "code":
                self.version = "two"
            case "delete":
                self.there = False

    def documents(self):
        place = environment(self.name, syncPolicy={"prune": True})
        web = service(
            f"web-{self.name}",
            environment=self.name,
            env=[{"name": "COLOUR", "value": self.colour}],
            ingress={"external": self.public},
        )
        return (place, web) if self.there else (place,)


class Run:
    """One schedule against a local Azure."""

    def __init__(self, stage, name, schedule):
        self.stage, self.schedule, self.world = stage, schedule, World(name)
        self.service = f"web-{name}"
        self.writes = {}

    async def live(self):
        """The number of writes of each step is kept; those of a step whose fault stands are
        not: how often it is tried is a matter of time.
        """
        self.stage.code(self.service, self.world.version)
        self.stage.save(*self.world.documents())
        self.script(*self.schedule.passing)
        async with inside(self.stage, self.world.name) as up:
            self.up = up
            for step in self.schedule.steps:
                self.before, self.step = up.document(self.service), step
                self.world.take(step)
                since = len(self.stage.journal())
                await self.take(step)
                self.writes[step] = len(self.stage.writes(since=since))
            self.script()
            await self.wait(self.at_the_end, "the end")

    async def clean_up(self):
        """A thousand of them share a local Azure, and each would leave a running service."""
        self.script()
        async with outside(self.stage) as azure:
            group = f"rg-moorage-{self.world.name}"
            await azure.resources.resource_groups.begin_delete(group)

    async def take(self, step):
        if step == "rollback":
            await self.go_back()
            return
        standing = self.schedule.standing
        if standing and standing[0] == step:
            _, fault, reason = standing
            self.script(fault)
            await self.save()
            await self.wait(lambda: self.told(reason), f"{step}: {reason} is told")
            self.script()
            await self.wait(lambda: self.at_the_end() or self.told(HELD), f"{step} goes on")
            if not self.at_the_end():
                # The old revision serves, and the change is held until the spec changes.
                self.world.colour = "blue"
                await self.save()
        else:
            await self.save()
        await self.wait(self.at_the_end, f"{step} is done")

    async def go_back(self):
        """A person goes back to the revision before, which is held until the next save."""
        store = self.up.daemon.store
        history = history_of(store, self.service, "")
        former = history.older[0]
        order_rollback(store, self.service, history.decision(former), time.time())
        if self.schedule.standing and self.schedule.standing[0] == "rollback":
            _, fault, reason = self.schedule.standing
            self.script(fault)
            await self.up.daemon.load()
            await self.wait(lambda: self.told(reason), f"rollback: {reason} is told")
            self.script()
        await self.wait(lambda: self.is_back(former.revision), "it is back")
        self.world.colour = "blue"
        await self.save()
        await self.wait(self.at_the_end, "the save after the rollback is done")

    def is_back(self, revision):
        """The revision before serves alone, and that is said to be a rollback."""
        document = self.up.document(self.service)
        active = [each["name"] for each in document["revisions"] if each["active"]]
        held = self.up.condition(self.service, "Synced")["reason"] == HELD
        if not held or active != [revision]:
            return False
        return not self.world.public or self.served(self.world.former)

    async def wait(self, check, what):
        await self.up.until(check, what, PATIENCE)

    async def save(self):
        self.stage.code(self.service, self.world.version)
        self.stage.save(*self.world.documents())

    def script(self, *faults):
        self.stage.script(*faults, seed=self.schedule.seed)

    def told(self, reason):
        """The reason, or that what failed for it was taken back."""
        reasons = {reason, HELD} if reason in FAILED else {reason}
        return any(
            condition["reason"] in reasons
            for document in self.up.daemon.status()["documents"]
            for condition in document["conditions"]
        )

    def at_the_end(self):
        document = self.up.document(self.service)
        if not self.world.there:
            return document is None
        if document is None or not is_converged(document):
            return False
        if len(document["revisions"]) != 1 or not self.arrived(document):
            return False
        return not self.world.public or self.served()

    def arrived(self, document):
        """Whether what is shown is of the last step, and not still of the one before."""
        before = self.before
        if self.step == "create" or before is None:
            return True
        if self.step == "change":
            return document["generation"] > before["generation"]
        return document["revisions"][0]["name"] != before["revisions"][0]["name"]

    def served(self, expected=None):
        document = self.up.document(self.service)
        if document is None or not self.world.public:
            return True
        try:
            answer = ask(document["endpoint"], self.stage.ca)
        except OSError:
            return False
        wanted = expected or (self.world.colour, self.world.version)
        return (answer["colour"], answer["version"]) == wanted


@pytest.fixture(scope="module")
async def usual(stage):
    """The number of writes of each step when nothing goes wrong."""
    made = {}
    lives = (["create", "change", "rollout", "rollback"], ["create", "code", "delete"])
    for number, steps in enumerate(lives):
        schedule = Schedule(0)
        schedule.steps, schedule.passing, schedule.standing = steps, [], None
        run = Run(stage, f"usual{number}", schedule)
        await run.live()
        made |= run.writes
    return made


def seeds():
    for seed in range(1, COUNT + 1):
        marks = [pytest.mark.slow] if seed > SLICE else []
        yield pytest.param(seed, marks=marks, id=f"seed-{seed}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds())
async def test_a_schedule_of_faults_ends_as_the_documents_say(stage, usual, seed):
    """It converges, or stops in the reason of the fault that stands and converges when that is
    gone; the writes are not many more than without faults.
    """
    schedule = Schedule(seed)
    run = Run(stage, f"s{seed}", schedule)
    try:
        await run.live()
        standing = schedule.standing[0] if schedule.standing else ""
        steps = [step for step in schedule.steps if step != standing]
        made, expected = (sum(count[step] for step in steps) for count in (run.writes, usual))
        assert made <= MOST_WRITES * expected, (run.writes, usual)
    except AssertionError as error:
        raise AssertionError(f"{schedule}\n{error}") from None
    finally:
        await run.clean_up()
