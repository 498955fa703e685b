"""What the commands end with and what they print for machines."""

import json
import re
import signal
import subprocess
import time

import pytest

from tests.e2e.stage import MOORAGE, ROOT, Stage, service

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")


@pytest.fixture(scope="module")
def done(stage):
    """A service that ran once; no daemon runs."""
    stage.code("web")
    stage.save(service("web"))
    stage.once()
    return stage


def test_status_before_anything_was_observed(tmp_path):
    """An empty list of documents and exit code 0; nothing is started for it."""
    stage = Stage(tmp_path)
    assert stage.json("status") == {
        "apiVersion": "moorage.dev/v1alpha1", "kind": "Status", "set": None,
        "target": "local Azure", "daemon": {"running": False, "pid": None}, "documents": [],
    }  # fmt: skip
    assert "nothing has been observed" in stage.moorage("status").stdout
    assert stage.json("events")["events"] == []
    stage.moorage("approve", "-y", code=1)
    assert not stage.azure_dir.exists()


def test_the_status_contract(done):
    """Every field that docs/status.md promises, with its type."""
    status = done.json("status")
    assert status["target"] == "local Azure"
    assert status["daemon"] == {"running": False, "pid": None}
    for document in status["documents"]:
        assert {"kind", "name", "generation", "observedGeneration", "conditions"} <= document.keys()
        assert document["generation"] == document["observedGeneration"] == 1
        for condition in document["conditions"]:
            assert {"type", "status", "reason", "message", "lastTransitionTime"} <= condition.keys()
            assert condition["status"] in ("True", "False", "Unknown")
            assert re.fullmatch(r"[A-Z][A-Za-z]+", condition["reason"])
            assert TIME.fullmatch(condition["lastTransitionTime"])
    web = next(
        document for document in status["documents"] if document["kind"] == "InferenceService"
    )
    assert web["endpoint"].startswith("https://")
    assert web["models"] == []
    (revision,) = web["revisions"]
    assert {"name", "trafficWeight", "healthState", "serving"} <= revision.keys()
    assert (revision["trafficWeight"], revision["healthState"], revision["serving"]) == (
        100,
        "Healthy",
        True,
    )
    (replica,) = web["replicas"]
    assert {"name", "revision", "ready", "pid", "startedAt", "adapters"} <= replica.keys()
    assert (replica["revision"], replica["ready"], replica["adapters"]) == (
        revision["name"],
        True,
        [],
    )
    assert TIME.fullmatch(replica["startedAt"])


def test_zero_and_three(done):
    """0 when all is as desired; 3 from `plan --detailed-exitcode` when something would change."""
    done.once()
    done.moorage("plan", "-f", str(done.manifest), "--detailed-exitcode", code=0)
    done.save(service("web", env=[{"name": "COLOUR", "value": "green"}]))
    before = len(done.journal())
    plan = done.moorage(
        "plan", "-f", str(done.manifest), "--detailed-exitcode", "-o", "json", code=3
    )
    (line,) = [line for line in json.loads(plan.stdout)["changes"] if line["action"] != "no-op"]
    assert (line["object"], line["action"]) == ("ContainerApp/web", "update")
    assert "properties.template.containers[app].env[COLOUR]" in [
        field["path"] for field in line["fields"]
    ]
    assert done.writes(since=before) == []
    done.save(service("web"))


def test_one(done):
    """1 when a command cannot do what it is for: no key where there is none, no service of that
    name.
    """
    assert "has no API keys" in done.moorage("key", "web", code=1).stderr
    ended = done.moorage("key", "none", code=1)
    assert "'none'" in ended.stderr
    assert "web" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "-f", "$UNSET_FOLDER/x.yaml"),
        ("up", "-f", "nowhere.yaml", "--once"),
        ("validate", "-f", "nowhere.yaml"),
        ("plan", "-f", "nowhere.yaml"),
        ("status", "-o", "xml"),
        ("status", "--target", "mars"),
        ("nonsense",),
        ("up", "--nonsense"),
        ("up", "-f", "x", "--listen", "here"),
    ],
    ids=" ".join,
)
def test_two(done, arguments):
    """2 for usage and documents, with a sentence and no traceback."""
    ended = done.moorage(*arguments, code=2)
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr + ended.stdout


def test_four_and_an_approval(done):
    """4 when a person must decide: a document that is gone may not take its app along. It is
    remembered since when.
    """
    done.code("api")
    done.save(service("web"), service("api"))
    done.once()
    done.save(service("web"))
    began = time.monotonic()
    ended = done.once(code=4)
    assert "AwaitingApproval" in ended.stdout
    first, began = time.monotonic() - began, time.monotonic()
    done.once(code=4)
    assert time.monotonic() - began < first - 10, "it waited for the grace once more"
    assert "ContainerApp/api" in done.moorage("approve", code=4).stdout
    done.moorage("approve", "api", "-y")
    done.once()
    assert {document["name"] for document in done.json("status")["documents"]} == {"default", "web"}


def test_one_for_an_image_that_no_registry_has(done):
    """1 at once, with Azure's words about the image, when nothing but another document can help;
    a corrected image heals it.
    """
    done.code("broken")
    done.save(service("web"), service("broken", engine={"image": "nobody/nothing:1"}))
    ended = done.once("--timeout", "60", code=1)
    assert 'template.containers.app.image: "nobody/nothing:1"' in ended.stdout, ended.stdout
    conditions = conditions_of(done, "broken")
    assert conditions["Synced"]["reason"] == "ImageNotFound"
    assert conditions["Stalled"]["status"] == "True"
    assert "nobody/nothing:1" in conditions["Synced"]["message"]
    done.save(service("web"), service("broken"))
    done.once("--timeout", "60")


def test_five(done):
    """5 when the time is over before everything is as desired, with the reason: here a container
    that does not listen.
    """
    done.code("deaf")
    sleeps = ["python3", "-c", "import time; time.sleep(900)"]
    done.save(service("web"), service("deaf", command=sleeps))
    ended = done.once("--timeout", "5", code=5)
    assert "deaf" in ended.stdout
    assert "the time is over" in ended.stdout
    conditions = conditions_of(done, "deaf")
    assert conditions["Ready"]["status"] == "False"
    assert "deaf" in conditions["Ready"]["message"], conditions
    done.save(service("web"))
    done.once("--timeout", "5", code=5)  # both linger: their documents have just gone
    for name in ("broken", "deaf"):
        done.moorage("approve", name, "-y")
    done.once()


def conditions_of(done, name):
    documents = done.json("status")["documents"]
    found = next(document for document in documents if document["name"] == name)
    return {condition["type"]: condition for condition in found["conditions"]}


async def test_an_interrupt_ends_quickly_and_says_so(done):
    """Ctrl-C: 0 from a watch that was in sync, 130 from `--once`; within seconds, with a line about
    what stays.
    """
    up = done.up()
    await up.until(lambda: "watching" in up.output, 30, "watching")
    began = time.monotonic()
    assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 30
    assert "stopped watching. What is deployed keeps running" in up.output
    up = done.up()
    await up.until(lambda: "watching" in up.output, 30, "watching")
    assert up.end(signal.SIGTERM) == 0
    done.save(service("web", env=[{"name": "COLOUR", "value": "interrupted"}]))
    up = done.up("--once")
    await up.until(lambda: "revision" in up.output, 30, "at work")
    began = time.monotonic()
    assert up.end(signal.SIGINT) == 130
    assert time.monotonic() - began < 30
    assert "interrupted. Azure finishes the operations it has begun" in up.output
    assert "Traceback" not in up.output


async def test_one_daemon_per_state_directory(done):
    """A second `up` and a `down` are refused with the pid of the first; `status` and `plan` work
    beside it.
    """
    with done.watching() as up:
        await up.until(lambda: "watching" in up.output, 60, "watching")
        for command in (("up", "-f", str(done.manifest)), ("down", "-y")):
            refused = done.moorage(*command, code=1)
            assert f"process {up.process.pid}" in refused.stderr
            assert "Traceback" not in refused.stderr
        assert done.json("status")["daemon"] == {"running": True, "pid": up.process.pid}
        done.moorage("plan", "-f", str(done.manifest))
    assert done.json("status")["daemon"] == {"running": False, "pid": None}


def test_logs_of_a_service(done):
    """`logs` reads the console through the Container Apps stream; a service that is not there is
    named with those that are.
    """
    assert "RevisionReady" in done.moorage("logs", "web", "--system").stdout
    done.moorage("logs", "web")
    ended = done.moorage("logs", "none", code=1)
    assert "web" in ended.stderr


AZURE = {
    "plan": "Plan",
    "diff web": "Diff",
    "doctor": "Checkup",
    "logs web --system": "LogLines",
    "down --dry-run": "Removal",
    "client web": "Client",
    "warm web": "Warm",
}


@pytest.mark.parametrize("line", AZURE)
def test_commands_that_ask_azure_answer_in_the_envelope(done, line):
    """The same envelope, with the target and the documents, on standard output alone."""
    value = done.json(*line.split())
    assert value["kind"] == AZURE[line]
    assert value["target"] == "local Azure"
    assert value["set"]["files"] == [str(done.manifest)]


async def test_a_person_pauses_wakes_and_restarts(done):
    """A paused document is observed and not written, and resuming writes it; `warm`, `restart` and
    `reconcile` say what came of them.
    """
    with done.watching() as up:
        await up.until(lambda: "watching" in up.output, 60, "watching")
        done.moorage("wait", "--for", "Converged")
        done.moorage("pause", "web")
        await up.until(lambda: up.document("web").get("pausedAt"), 20, "paused")
        since = len(done.journal())
        done.save(service("web", env=[{"name": "COLOUR", "value": "paused"}]))
        await up.until(
            lambda: up.condition("web", "Synced")["reason"] == "ObserveOnly", 30, "observed"
        )
        assert done.writes(since=since) == []
        assert "paused: web" in done.moorage("status").stdout
        planned = done.moorage("plan", "-f", str(done.manifest)).stdout
        assert "is paused, and `moorage resume web` ends that" in planned
        assert re.search("COLOUR.*paused", planned), "what waits"
        assert "before `moorage resume web`" in done.moorage("approve", "-y", code=1).stderr
        assert "is not paused" in done.moorage("resume", "default", code=1).stderr
        done.moorage("resume", "web")
        await up.settled_on("web", colour="paused")
        assert "web answers" in done.moorage("warm", "web").stdout
        before = up.document("web")["replicas"][0]["name"]
        assert "ready again" in done.moorage("restart", "web").stdout
        assert "looks at InferenceService/web now" in done.moorage("reconcile", "web").stdout
        await up.until(
            lambda: before not in [each["name"] for each in up.document("web")["replicas"]],
            30,
            "a new replica",
        )
        done.save(service("web"))
        await up.converged()
    assert "curl -s --cacert" in done.moorage("client", "web").stdout


def test_help_is_instant():
    """No heavy import for --help: measured against the interpreter's own start."""
    call = [*MOORAGE[:1], "-X", "importtime", *MOORAGE[1:], "--help"]
    ended = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert imported & {
        "azure.core",
        "pydantic",
        "aiohttp",
        "rich.console",
        "structlog",
        "asyncio",
    } <= {"rich.console", "asyncio"}


def test_local_azure_speaks_to_machines(done):
    """start, status and journal with -o json, as the contract says."""
    facts = done.json("local-azure", "start")
    promised = {
        "armEndpoint",
        "authority",
        "caFile",
        "tenantId",
        "clientId",
        "clientSecret",
        "subscriptionId",
    }
    assert promised <= facts.keys()
    entry = done.json("local-azure", "journal")["requests"][0]
    assert {"time", "client", "method", "path", "status"} <= entry.keys()
    assert done.json("local-azure", "status")["running"] is True
