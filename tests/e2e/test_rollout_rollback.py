"""A rollout that fails goes back by itself, with one GPU too: what served before serves again, the
document's version is held, and the cause is told.
"""

import pytest

from tests.e2e.stage import ask, environment, service

CRASHING = ["python3", "-c", "raise SystemExit('no such table: models')"]
ANSWERS_500 = [
    "python3",
    "-c",
    "from http.server import *\n"
    "class H(BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_error(500)\n"
    "HTTPServer(('', 9000), H).serve_forever()",
]
GPU = {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC8as-T4"}
ONE_GPU = ("--quota", "ManagedEnvironmentConsumptionT4Gpus=1")


def documents(strategy="Auto", **spec):
    home = environment("dev", workloadProfiles=[GPU])
    rollout = {"strategy": strategy, **spec.pop("rollout", {})}
    web = service("web", environment="dev", workloadProfileName="gpu", rollout=rollout, **spec)
    return home, web


def web(stage):
    return stage.document("web")


def conditions(document):
    return {c["type"]: c for c in document["conditions"]}


def spec_line(stage):
    """Where the spec of the last document begins."""
    lines = stage.manifest.read_text().splitlines()
    return max(number for number, line in enumerate(lines, 1) if line.startswith('  "spec"'))


@pytest.fixture(scope="module")
def one_gpu(make_stage):
    """A stage whose only GPU is taken by a service that serves."""
    stage = make_stage(*ONE_GPU)
    stage.code("web")
    return stage


BROKEN = {
    "it crashes": {"command": CRASHING},
    "it answers 500 to everything": {"command": ANSWERS_500},
    "it does not listen by its deadline": {
        "command": ["python3", "-c", "import time; time.sleep(1000)"],
        "progressDeadlineSeconds": 10,
    },
}


CASES = [
    pytest.param(
        strategy,
        broken,
        id=f"{strategy}: {name}",
        marks=() if strategy == "Auto" and "500" in name else pytest.mark.slow,
    )
    for strategy in ("Auto", "Surge")
    for name, broken in BROKEN.items()
]


@pytest.mark.parametrize(("strategy", "broken"), CASES)
def test_a_revision_that_fails_is_rolled_back(one_gpu, strategy, broken):
    """With a quota of one GPU: the old revision serves again, the command ends by itself with 1 and
    the cause, and the service is Ready and not Synced.
    """
    stage = one_gpu
    stage.save(*documents(strategy))
    stage.once("-y")
    good = web(stage)["revisions"][0]["name"]
    if strategy == "Surge":  # no GPU is free for it, so it never runs
        broken = {**broken, "progressDeadlineSeconds": 10}
    stage.save(*documents(strategy, **broken))
    gap = "no replica serves until the new revision is ready, at most"
    assert (gap in stage.moorage("plan", "-f", str(stage.manifest)).stdout) is (strategy == "Auto")
    done = stage.once("-y", "--timeout", "90", code=1)
    after = web(stage)
    assert [(r["name"], r["trafficWeight"]) for r in after["revisions"]] == [(good, 100)]
    assert ask(after["endpoint"], stage.ca)["version"] == "one"
    told = conditions(after)
    assert (told["Synced"]["status"], told["Synced"]["reason"]) == ("False", "RolledBack")
    assert told["Ready"]["status"] == "True", (told, done.stdout)
    assert good in told["Synced"]["message"]
    place, cause = f"moorage.yaml:{spec_line(stage)}", told["Synced"]["message"].split(";")[0]
    assert cause.startswith(f"{place}: ")
    assert place in done.stdout
    # Told once: first by the revision itself, where it has failed before it is given up.
    assert cause.removeprefix(f"{place}: ") in done.stdout


@pytest.fixture(scope="module")
def two(make_stage):
    """A stage with a service on no GPU, so that two revisions have room."""
    stage = make_stage()
    stage.code("web")
    return stage


def plain(**spec):
    return service("web", **spec)


def test_the_decision_outlives_the_daemon_and_its_memory(two):
    """A rollback holds without state.db; another spec is tried, the refused one only when it is
    asked for again.
    """
    two.save(plain())
    two.once("-y")
    good = web(two)["revisions"][0]["name"]
    two.save(plain(command=ANSWERS_500))
    two.once("-y", code=1)
    for file in (two.state / "daemon" / "local").glob("state.db*"):
        file.unlink()
    before = len(two.journal())
    done = two.once("-y", code=1)
    assert not [w for w in two.writes(since=before) if "containerapps" in w.lower()]
    assert "answers 500" in done.stdout
    assert [r["name"] for r in web(two)["revisions"]] == [good]
    two.save(plain())
    two.once("-y")
    assert conditions(web(two))["Synced"]["status"] == "True"
    two.save(plain(env=[{"name": "COLOUR", "value": "green"}]))
    two.once("-y")
    assert ask(web(two)["endpoint"], two.ca)["colour"] == "green"


def test_the_smoke_request_asks_what_the_document_says(two):
    """`rollout.smoke` names the path and the status; before it is answered so the old revision has
    all the traffic.
    """
    two.save(plain(env=[{"name": "COLOUR", "value": "red"}]))
    two.once("-y")
    changed = [{"name": "COLOUR", "value": "blue"}]
    two.save(plain(env=changed, rollout={"smoke": {"path": "/health", "expectStatus": 204}}))
    done = two.once("-y", code=1)
    assert "GET /health answers 200, and rollout.smoke wants 204" in done.stdout
    assert ask(web(two)["endpoint"], two.ca)["colour"] == "red"


def test_a_first_version_that_fails_ends_the_command(make_stage):
    """There is nothing to go back to: the command ends with 1 and the cause instead of waiting."""
    stage = make_stage()
    stage.code("web")
    stage.save(plain(command=CRASHING))
    done = stage.once("-y", code=1)
    assert "Container crashing" in done.stdout
    told = conditions(web(stage))
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("False", "RevisionFailed")
