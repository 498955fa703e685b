"""Fault scripts: mistakes are told at their place, draws depend on the seed, states end in time."""

import json
from contextlib import closing

import pytest

from infra.local_azure.faults import script as script_module
from infra.local_azure.faults.events import of_request
from infra.local_azure.faults.fault import Event, Fault
from infra.local_azure.faults.fault_store import FaultStore
from infra.local_azure.faults.kinds import KINDS
from tests.local_azure.fault_scripts import (
    faults,
    none_left,  # noqa: F401 - fixtures
    script,
)

MISTAKES = [
    ("faults:\n  - fault: Explode\n", "2:5", "must be one of", "no such fault"),
    (
        "- fault: Slow\n  seconds: soon\n",
        "2:3",
        "seconds must be a number from 0 on",
        "not a number",
    ),
    (
        "- fault: Slow\n  status: 500\n",
        "2:3",
        "Slow has no field 'status'",
        "another fault's field",
    ),
    (
        "- fault: ShareFull\n  plane: arm\n",
        "2:3",
        "happens on files, not on arm",
        "a plane where it cannot happen",
    ),
    (
        "- fault: Error\n  probability: 2\n",
        "2:3",
        "probability must be a number from 0 to 1",
        "no probability",
    ),
    (
        "- fault: Slow\n  id: x\n- fault: Error\n  id: x\n",
        "4:3",
        "there is a fault 'x' already",
        "an id twice",
    ),
    (
        "- fault: Throttle\n  retryAfter: 0\n",
        "2:3",
        "retryAfter must be a whole number from 1",
        "Retry-After: 0 is a trap",
    ),
    ("- Slow\n", "1:", "must be a mapping", "no mapping"),
    ("seed: 1\n", "1:1", "must be a list of faults", "no faults"),
    ("seed: x\nfaults: []\n", "1:1", "seed must be a whole number", "no seed"),
    ("faults: [\n", "", "", "broken YAML"),
    ("- fault: [\n", "", "", "broken YAML in a list"),
    ("a: 1\nfaults: []\n", "1:1", "unknown field 'a'", "an unknown field at the top"),
]


@pytest.mark.parametrize(
    ("text", "place", "sentence", "reason"), MISTAKES, ids=[case[-1] for case in MISTAKES]
)
def test_a_mistake_in_a_script_is_told_at_its_place(tmp_path, text, place, sentence, reason):
    """file:line:column and a sentence."""
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(script_module.ScriptError) as wrong:
        script_module.read(file)
    assert str(wrong.value).startswith(f"{file}:{place}")
    assert sentence in str(wrong.value)


def test_a_wrong_script_changes_nothing(tmp_path):
    """Exit code 2 with the place of the mistake, from a file or the command line, and the script in
    force stays.
    """
    azure = type("Azure", (), {"state": tmp_path / "state"})
    faults(azure, "add", "Slow", "--id", "kept", "--seconds", "0.5")
    file = tmp_path / "faults.yaml"
    file.write_text(MISTAKES[0][0])
    assert faults(azure, "load", str(file), code=2).startswith(f"{file}:2:5: fault must be one of")
    assert "Slow has no field 'retryAfter'" in faults(
        azure, "add", "Slow", "--retry-after", "1", code=2
    )
    assert faults(azure, "list").startswith("kept: Slow seconds=0.5")


def test_every_fault_can_be_added_and_is_shown(tmp_path):
    """What the table holds, the command takes, and lists as it was given."""
    azure = type("Azure", (), {"state": tmp_path / "state"})
    script(azure, tmp_path, *({"fault": kind.lower(), "name": "web*"} for kind in KINDS))
    faults(azure, "add", "slow", "--name", "web*", "--seconds", "0.5", "--times", "2")
    shown = json.loads(faults(azure, "list", "-o", "json"))["faults"]
    assert [(entry["fault"], entry["name"]) for entry in shown] == [
        (kind, "web*") for kind in (*KINDS, "Slow")
    ]
    assert "no faults" in faults(azure, "clear")
    assert "there is no fault" in faults(azure, "clear", "Slow-1", code=2)


def test_draws_depend_on_the_seed_alone(tmp_path):
    """The same seed hits the same events whatever else is drawn in between; another seed hits
    others.
    """

    def hits(seed, file, *others):
        with closing(FaultStore(tmp_path / file)) as opened:
            opened.replace([Fault("half", "Slow", plane="arm", probability=0.5), *others], seed)
            drawn = [opened.pick(Event("arm", "GET", "x"), {"Slow", "Error"}) for _ in range(200)]
        return [fault is not None and fault.id == "half" for fault in drawn]

    first = hits(1, "a")
    assert first == hits(1, "b", Fault("other", "Error", probability=0.5))
    assert first != hits(2, "c")
    assert 60 < sum(first) < 140


def test_a_state_stands_until_its_time_is_over(tmp_path):
    """Faults of replicas have no events: they are in force from the moment they are scripted."""
    with closing(FaultStore(tmp_path / "book")) as opened:
        opened.replace(
            [Fault("a", "ReplicaHangs", name="web"), Fault("b", "ReplicaCrashes", lasts=0)], 0
        )
        assert [fault.id for fault in opened.standing({"ReplicaHangs", "ReplicaCrashes"})] == ["a"]


def test_a_fault_can_be_for_one_caller():
    """Its `User-Agent` is compared, whatever the plane; what has none is not meant."""
    fault = script_module.single({"fault": "ResetBefore", "client": "*First*"}, set())
    for plane in ("arm", "files", "login"):
        first = of_request(plane, "GET", "/acct/share", "", "moorage/1.0 first azsdk/2")
        second = of_request(plane, "GET", "/acct/share", "", "moorage/1.0 second azsdk/2")
        assert (fault.matches(first), fault.matches(second)) == (True, False)
    assert not fault.matches(Event("ingress", "GET", names=("web",)))
