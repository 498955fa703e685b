"""The runtime's decisions without processes: scale, status, probes' defaults, images, names,
console log.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.local_azure.runtime import observation, placement, probes
from infra.local_azure.runtime.console import Console
from infra.local_azure.runtime.images import ImagePullError, find
from infra.local_azure.runtime.memory import Memory
from infra.local_azure.runtime.record import new_record
from infra.local_azure.runtime.scale import Demand, desired
from infra.local_azure.runtime.schedule import CronRule, scheduled
from infra.local_azure.runtime.status import Observed, revision_status
from infra.local_azure.runtime.workload import ReplicaStatus, Workload


def _wanted(demand, now, *, minimum=0, maximum=5, concurrency=10, cooldown_s=300.0):
    return desired(
        demand,
        now,
        minimum=minimum,
        maximum=maximum,
        concurrency=concurrency,
        cooldown_s=cooldown_s,
    )


def test_the_first_request_wakes_a_revision_at_once():
    """One request in flight is enough to leave zero."""
    demand = Demand()
    assert _wanted(demand, 0.0) == 0
    demand.observe(1.0, 1)
    assert _wanted(demand, 1.0) == 1


def test_scaling_out_follows_the_mean_of_fifteen_seconds():
    """A burst does not start replicas, a lasting load does, and maxReplicas caps it."""
    demand = Demand()
    demand.observe(100.0, 40)
    assert _wanted(demand, 100.5) == 1
    assert _wanted(demand, 108.0) == 3  # 40 requests during 8 of 15 s
    assert _wanted(demand, 115.0) == 4
    assert _wanted(demand, 115.0, maximum=2) == 2


def test_scaling_in_waits_for_the_cooldown():
    """What was needed within the cooldown period is kept, then the minimum is reached."""
    demand = Demand()
    demand.observe(0.0, 40)
    assert _wanted(demand, 20.0) == 4
    demand.observe(21.0, 0)
    assert _wanted(demand, 100.0) == 4
    assert _wanted(demand, 321.0) == 0
    assert _wanted(demand, 321.0, minimum=1) == 1


def test_the_cooldown_is_of_the_last_replica_alone():
    """From many to one takes HPA's five minutes whatever the cooldown says; from one to none takes
    the cooldown.
    """
    demand = Demand()
    demand.observe(0.0, 40)
    assert _wanted(demand, 20.0) == 4
    demand.observe(21.0, 0)
    assert _wanted(demand, 330.0, cooldown_s=900) == 1
    assert _wanted(demand, 919.0, cooldown_s=900) == 1
    assert _wanted(demand, 921.0, cooldown_s=900) == 0
    demand.observe(1000.0, 40)
    assert _wanted(demand, 1020.0, cooldown_s=30) == 4
    demand.observe(1021.0, 0)
    assert _wanted(demand, 1045.0, cooldown_s=30) == 4
    assert _wanted(demand, 1051.0, cooldown_s=30) == 0


def test_a_boot_longer_than_the_cooldown_is_killed():
    """The cooldown runs from the moment the replica was scheduled, as in Azure."""
    demand = Demand()
    demand.need(0.0, 1)
    assert _wanted(demand, 10.0, cooldown_s=15) == 1
    assert _wanted(demand, 16.0, cooldown_s=15) == 0


def _observed(*, ready=False, reason="", message="", crashes=0, age_s=5.0, placed=True):
    status = ReplicaStatus(
        "r", datetime.now(UTC), ready, ready, crashes, "Running", "", 1, Path("log")
    )
    return Observed(status, reason, message, crashes, age_s, placed)


CRASHING, LATE = (
    "Container crashing: phi",
    "Deployment Progress Deadline Exceeded. 0/1 replicas ready.",
)
ASLEEP = (
    "Deployment Progress Deadline Exceeded. The revision was scaled to zero before a replica became"
    " ready."
)


@pytest.mark.parametrize(
    ("why", "replicas", "known", "expected"),
    [
        ("a booting revision has no verdict yet", [_observed()], {}, ("None", "Activating", None, "")),
        ("nothing is placed yet", [], {"booted": False}, ("None", "Processing", None, "")),
        ("no GPU for its only replica", [_observed(placed=False)], {}, ("None", "Processing", None, "")),
        ("no GPU for ten minutes", [_observed(placed=False, age_s=601)], {}, ("Unhealthy", "ActivationFailed", LATE, LATE)),
        ("no GPU for the second", [_observed(ready=True), _observed(placed=False)], {}, ("Healthy", "Running", None, "")),
        ("one ready replica is health", [_observed(ready=True)], {}, ("Healthy", "Running", None, "")),
        ("all ready at the maximum", [_observed(ready=True)] * 3, {}, ("Healthy", "RunningAtMaxScale", None, "")),
        ("a new revision that crashes", [_observed(crashes=1)], {}, ("Unhealthy", "Failed", CRASHING, f"1/1 {CRASHING}")),
        ("one crash of a proven revision is a restart", [_observed(crashes=1)], {"proven": True}, ("None", "Activating", None, "")),
        ("a crash loop", [_observed(crashes=3)], {"proven": True}, ("Unhealthy", "Degraded", CRASHING, f"1/1 {CRASHING}")),
        ("one of two broken", [_observed(ready=True), _observed(crashes=2)], {"proven": True}, ("Healthy", "Degraded", CRASHING, f"1/2 {CRASHING}")),
        ("the image's own reason", [_observed(reason="ImagePullBackOff", message="no such image")], {}, ("Unhealthy", "Failed", "no such image", "1/1 no such image")),
        ("asleep after it was proven", [], {"proven": True, "booted": True}, ("Healthy", "ScaledToZero", None, "")),
        ("scaled to zero before it was ready", [], {"booted": True}, ("Unhealthy", "ActivationFailed", ASLEEP, ASLEEP)),
        ("slow beyond ten minutes", [_observed(age_s=601)], {}, ("Unhealthy", "ActivationFailed", LATE, LATE)),
        ("deactivated", [], {"active": False, "proven": True}, ("Healthy", "Stopped", None, "")),
        ("deactivated and still ending", [_observed()], {"active": False}, ("None", "Deprovisioning", None, "")),
    ],
)  # fmt: skip
def test_a_revisions_health_is_told_in_azures_words(why, replicas, known, expected):
    """Healthy needs a ready replica (or proof and sleep); everything else says why."""
    facts = {"active": True, "proven": False, "booted": True} | known
    workload = _workload(max_replicas=3) if facts.pop("active") else None
    status = revision_status(workload, replicas, **facts)
    assert (
        status.health_state,
        status.running_state,
        status.provisioning_error,
        status.details,
    ) == expected, why


def _workload(**changes):
    return replace(
        Workload("phi", "/g/phi", "phi--abc", "i", (), (), {}, (), (), None, None, "", ""),
        **changes,
    )


def test_quota_is_taken_first_come_first_served_and_held_to_the_end():
    """Each replica takes one of every quota it claims; a claim on a quota that is not set has no
    limit.
    """

    @dataclass
    class Waiting:
        claims: tuple[str, ...]
        placed: bool = False

    holder, first, second, other = (
        Waiting(("gpu",), placed=True),
        Waiting(("gpu",)),
        Waiting(("gpu",)),
        Waiting(("cpu",)),
    )
    assert list(placement.place([holder, first, second, other], {"gpu": 2})) == [first, other]
    assert list(placement.place([holder, first], {"gpu": 1})) == []
    assert list(placement.place([first], {"gpu": 0})) == []
    assert list(placement.place([Waiting(("gpu", "region"))], {"gpu": 5, "region": 0})) == []
    assert placement.used([holder, first]) == {"gpu": 1}


def test_container_apps_adds_tcp_probes_when_ingress_is_on():
    """A missing kind gets Azure's default, a declared one replaces it, without ingress nothing is
    added.
    """
    declared = [
        {
            "type": "readiness",
            "httpGet": {"path": "/ok", "port": 9000, "httpHeaders": [{"name": "A", "value": "b"}]},
        }
    ]
    chosen = probes.effective(declared, 8000)
    assert chosen["Startup"] == probes.Probe(
        "Startup", 8000, initial_delay_s=1, period_s=1, timeout_s=3, failures=240
    )
    assert chosen["Readiness"] == probes.Probe("Readiness", 9000, path="/ok", headers=(("A", "b"),))
    assert chosen["Liveness"].path is None
    assert probes.effective([], None) == {}
    fast = probes.effective([], 8000, speed=10)["Readiness"]
    assert (fast.initial_delay_s, fast.period_s, fast.timeout_s, fast.failures) == (0.3, 0.5, 5, 48)


def test_command_and_args_replace_the_images_own_as_in_kubernetes(tmp_path):
    """A command drops the image's entrypoint and cmd, args alone replace the cmd."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").touch()
    images = tmp_path / "images.yaml"
    images.write_text(
        f"- {{image: ['*/tool:1.*'], environment: {tmp_path}, entrypoint: [tool], cmd: [serve]}}"
    )
    image = find(images, "docker.io/tool:1.2")
    assert image.argv((), ()) == ("tool", "serve")
    assert image.argv((), ("-v",)) == ("tool", "-v")
    assert image.argv(("sh",), ()) == ("sh",)
    assert image.argv(("sh",), ("-c",)) == ("sh", "-c")


def test_an_unmapped_image_is_a_pull_failure_that_says_where_to_map_it(tmp_path):
    """The message names the image and the file."""
    images = tmp_path / "images.yaml"
    images.write_text("[]")
    with pytest.raises(ImagePullError, match=r'"nginx:1".*images\.yaml'):
        find(images, "nginx:1")


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("vllm/vllm-openai:v0.32.0", "vllm"),
        ("docker.io/vllm/vllm-openai:v0.32.0-cu129", "vllm"),
        ("python:3.11-slim", "python"),
        ("docker.io/library/python:3.11", "python"),
    ],
)
def test_the_shipped_images_map_the_two_images_that_moorage_uses(name, environment):
    """Short and registry-qualified names lead to the same environment, which make
    install creates.
    """
    images = Path(find.__code__.co_filename).parents[1] / "images.yaml"
    try:
        found = str(find(images, name).environment)
    except ImagePullError as missing:
        found = str(missing)
    assert f".venv/images/{environment}" in found


def test_replica_names_look_like_container_apps_own():
    """`{revision}-{hash}-{id}`: the hash is the revision's, the id the replica's."""
    first, second = new_record(_workload(), 0), new_record(_workload(), 0)
    elsewhere = new_record(_workload(app_id="/another/phi"), 0)
    assert elsewhere.name.split("-")[3] != first.name.split("-")[3]
    assert first.name != second.name
    assert first.name.rpartition("-")[0] == second.name.rpartition("-")[0]
    assert first.name.startswith("phi--abc-")
    assert first.label != second.label


def test_the_console_log_is_cri_and_rotates(tmp_path):
    """Lines are timestamped whole, long ones in parts, and the file is replaced when it is full."""
    console = Console(tmp_path / "log", max_bytes=400)
    console.feed("stdout", b"hello\nwor")
    console.feed("stdout", b"ld\n")
    console.feed("stderr", b"unfinished")
    console.flush()
    lines = [line.split(" ", 3) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[1:] for line in lines] == [
        ["stdout", "F", "hello"],
        ["stdout", "F", "world"],
        ["stderr", "F", "unfinished"],
    ]
    assert lines[0][0].endswith("Z")
    console.feed("stdout", b"x" * 390 + b"\n")
    assert (tmp_path / "log.1").exists()
    assert "x" * 390 in (tmp_path / "log").read_text()
    console.feed("stdout", b"y" * 17000)
    assert " P " in (tmp_path / "log").read_text()


def test_memory_survives_and_forgets_that_an_inactive_revision_booted(tmp_path):
    """A deactivated revision keeps its proof and boots again when it is activated again; a torn
    file is an empty one.
    """
    memory = Memory(tmp_path / "revisions.json")
    memory.update("a", booted=True, proven=True, epoch=2)
    again = Memory(tmp_path / "revisions.json")
    assert again.of("a").epoch == 2
    again.keep_active([])
    assert (again.of("a").proven, again.of("a").booted) == (True, False)
    (tmp_path / "revisions.json").write_text("{")
    assert not Memory(tmp_path / "revisions.json").of("a").proven


@pytest.mark.parametrize(
    ("at", "replicas"),
    [
        ("2026-11-30T05:59:00+00:00", 0),  # Monday, 06:59 in Stockholm
        ("2026-11-30T06:00:00+00:00", 2),
        ("2026-11-30T17:59:00+00:00", 2),
        ("2026-11-30T18:00:00+00:00", 0),
        ("2026-11-29T12:00:00+00:00", 0),  # Sunday
        ("2026-07-06T05:00:00+00:00", 2),  # summer time
    ],
)
def test_a_cron_rule_asks_for_replicas_between_start_and_end(at, replicas):
    """In its own time zone; a rule that cannot be read asks for none."""
    rules = [
        CronRule("0 7 * * 1-5", "0 19 * * 1-5", "Europe/Stockholm", 2),
        CronRule("never", "0 19 * * *", "Europe/Stockholm", 9),
        CronRule("0 0 * * *", "59 23 * * *", "Nowhere/Else", 9),
    ]
    assert scheduled(rules, datetime.fromisoformat(at)) == replicas


@pytest.mark.parametrize(
    ("before", "pid", "last", "ended", "reason"),
    [
        ((7, None), None, "Error", True, "its run was seen"),
        ((7, None), 8, "Error", True, "the next run began meanwhile"),
        ((None, None), None, "Error", True, "it ended before anybody saw it run"),
        ((None, None), None, "Completed", True, "and so does one that is done at once"),
        ((None, None), None, "StartError", False, "it never ran"),
        ((None, "Error"), 8, "Error", False, "that end was told already"),
        ((None, None), 7, None, False, "its first run began"),
        ((7, None), 7, None, False, "it runs on"),
    ],
)
def test_each_run_of_a_container_ends_once(before, pid, last, ended, reason):
    """An end is told of runs that no state showed too, and never twice."""

    def state(pid, last):
        return {"pid": pid, **({"last": {"reason": last, "code": 1, "at": 1.0}} if last else {})}

    assert observation.has_ended(state(*before), state(pid, last)) is ended, reason
