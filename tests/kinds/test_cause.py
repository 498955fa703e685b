"""Output of somebody else's container is shown short, printable, and without secrets."""

from datetime import UTC, datetime

import pytest

from reconciler.api.decided import WAY_OUT, is_decided
from reconciler.api.outputs import ArmView, Revision
from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.service.cause import LONGEST, Causes, plain, without_repeats
from reconciler.kinds.service.diagnosis import Situation, diagnose
from reconciler.kinds.service.hold import Hold
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Action, Step


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-11-29T10:00:00.1Z ValueError: no such model", "ValueError: no such model"),
        ("\x1b[31mred\x1b[0m\x07 alarm", "red alarm"),
        ('{"Msg": "Back-off pulling image", "Reason": "Pending", "Count": 3}',
         "Pending: Back-off pulling image"),
        ("connect password=hunter22 to db", "connect (secret) to db"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: (secret)"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", "(secret)"),
        ("the value is s3cr3t-value", "the value is (secret)"),
        ("ReplicaAssigned: Replica 'a'", "ReplicaAssigned: Replica 'a'"),
        ("GET /f?sv=2024&sig=abc%2Fdef", "GET /f?sv=2024&(secret)"),
        ("{broken json", "{broken json"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_line(line, shown):
    """Colours and control characters go, JSON gives its message, secrets are masked."""
    assert plain(line, ["s3cr3t-value", ""]) == shown


def test_a_line_is_bounded():
    """A line of a megabyte is shown as two hundred characters."""
    assert len(plain("x y " * 300_000)) <= LONGEST


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("-----BEGIN KEY-----\nMIIBVgIBADANBg\nqhkiG9w0BAQEFA\n", "key MIIBVgIBADANBg"),
        ('quo"ted-\\value', 'sent {"it": "quo\\"ted-\\\\value"}'),
        ("quo'ted-value\n", "failed with 'quo\\'ted-value'"),
        ("line-one\nline-two", "repr 'line-one\\nline-two'"),
        ("  spaces around  ", "got spaces around"),
        ("umlaut-ü-value", '{"it": "umlaut-\\u00fc-value"}'),
    ],
)
def test_a_value_is_hidden_in_every_form_in_which_programs_print_it(value, line):
    """One of its lines, quoted, escaped and stripped."""
    shown = plain(line, [value])
    assert "(secret)" in shown
    for part in ("MIIB", "ted", "line-", "spaces", "umlaut"):
        assert part not in shown


async def test_a_rollback_that_cannot_start_says_why():
    """The revision that is to serve again crashes: its own words and what serves meanwhile follow
    the decision, for it would be waited for in silence.
    """
    spec = ContainerAppSpec("web", "rg", "dev", {}, template={"scale": {}}, suffix="r1")
    back = Revision("web--r1", True, 0, "Unhealthy", "ActivationFailed", 0)
    serves = Revision("web--r2", True, 100, "Healthy", "Running", 1)
    now = datetime(2026, 11, 29, tzinfo=UTC)
    seen = Seen.of(spec, ArmView((back, serves)), [], None, None, now)
    causes = Causes(None, lambda: 100.0)
    causes._known = {"web--r1 fails": (100.0, "Azure's last events: no such storage")}
    causes._known["web--r1 lacks"] = (100.0, "")
    held = Hold("web--r2", "web--r1", "`moorage rollback` asked for it")
    found = await diagnose(causes, Situation(spec, {}, seen, Step(Action.NONE), held=held))
    assert found.reason == "RolledBack"
    assert found.message.startswith(
        "`moorage rollback` asked for it; revision web--r1 is to serve again until"
    )
    assert "Azure's last events: no such storage" in found.message
    assert found.message.endswith(WAY_OUT)
    assert not is_decided(found.reason, found.message), "somebody has to mend it"
    assert is_decided(found.reason, found.message.removesuffix(WAY_OUT))


def test_a_hold_keeps_what_names_the_fault():
    """A tag has 256 characters: Azure's opening words must not crowd out the image."""
    said = (
        "moorage.yaml:48: ImageNotFound: Failed to provision revision for container app 'web'. Error"
        " details: The following field(s) are either invalid or missing. Field"
        " 'template.containers.app.image' is invalid with details: 'Invalid value:"
        ' "acme.azurecr.io/reports:9": GET https:: MANIFEST_UNKNOWN: manifest unknown'
    )
    kept = Hold("web--r2", "web--r1", said).text
    assert '"acme.azurecr.io/reports:9"' in kept
    assert kept.startswith("r2 r1 moorage.yaml:48: ImageNotFound: Field")


@pytest.mark.parametrize(
    ("room", "reason"),
    [
        ("the quota X is used up: 0 of 0, 0 left", "ReplicasMissing"),
        ("the quota X is used up: 1 of 1, 0 left", "Starting"),
        ("", "Starting"),
    ],
)
async def test_a_quota_of_none_is_a_persons_work(room, reason):
    """A GPU that another replica holds may become free; one that was never granted does not come by
    itself.
    """
    body = {"properties": {"workloadProfileName": "gpu"}}
    spec = ContainerAppSpec("web", "rg", "dev", body, template={"scale": {}}, suffix="r1")
    starts = Revision("web--r1", True, 100, "None", "Processing", 0)
    now = datetime(2026, 11, 29, tzinfo=UTC)
    seen = Seen.of(spec, ArmView((starts,)), [], None, None, now)
    causes = Causes(None, lambda: 100.0)
    causes._known = {"web--r1 lacks": (100.0, room)}
    found = await diagnose(causes, Situation(spec, {}, seen, Step(Action.WAIT)))
    assert found.reason == reason
    assert found.message.endswith(room)


class Shown:
    """An Azure that shows one container app and nothing else."""

    def __init__(self, **properties):
        self.properties = properties

    async def get_json(self, *_):
        return {"properties": self.properties}


@pytest.mark.parametrize(
    ("suffix", "ready", "asked"),
    [("r3", "web--r1", False), ("r2", "web--r2", False), ("r2", "web--r1", True)],
    ids=["refused", "healthy", "failed"],
)
async def test_a_refused_write_is_not_explained_by_an_earlier_revision(suffix, ready, asked):
    """The newest revision is one that failed before: its events are no cause of the refusal."""
    shown = Shown(
        latestRevisionName="web--r2",
        latestReadyRevisionName=ready,
        template={"revisionSuffix": suffix},
    )
    causes, looked = Causes(shown, lambda: 100.0), []

    async def words(_group, _name, revision, _found):
        looked.append(revision)
        return "Azure's last events: Back-off restarting failed container app"

    causes._words = words
    app = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps/web"
    assert bool(await causes._words_of_newest(app)) is asked
    assert looked == ["web--r2"] * asked


@pytest.mark.parametrize(
    ("room", "reason"),
    [("the quota X is used up: 0 of 0, 0 left", "ReplicasMissing"), ("", "RevisionFailed")],
)
async def test_a_revision_that_no_gpu_was_free_for_asks_for_quota(room, reason):
    """No file is wrong: the remedy of the reason is to ask for quota."""
    body = {"properties": {"workloadProfileName": "gpu"}}
    spec = ContainerAppSpec("web", "rg", "dev", body, template={"scale": {}}, suffix="r1")
    failed = Revision("web--r1", True, 100, "Unhealthy", "ActivationFailed", 0)
    now = datetime(2026, 11, 29, tzinfo=UTC)
    seen = Seen.of(spec, ArmView((failed,)), [], None, None, now)
    causes = Causes(None, lambda: 100.0)
    causes._known = {"web--r1 lacks": (100.0, room), "web--r1 fails": (100.0, "")}
    found = await diagnose(causes, Situation(spec, {}, seen, Step(Action.NONE)))
    assert found.reason == reason
    assert found.message.startswith(room)
    assert ("quota" in found.reason.remedy) == bool(room)


PULL = 'Failed to pull image "acme/web:1": no such image in the registry acme.azurecr.io'
EVENTS = f"Azure's last events: PullingImage: Pulling 'acme/web:1' | ImagePullBackOff: {PULL}"
WAITING = "Container is waiting with reason: ImagePullBackOff"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            [f"revision web--r1: {PULL}", EVENTS, f"{WAITING}. {PULL}."],
            f"revision web--r1: {PULL}. Azure's last events: PullingImage: Pulling 'acme/web:1'."
            f" {WAITING}",
        ),
        (["a.", "", "a.", "app's last output: x"], "a. app's last output: x"),
        ([f"x: {PULL}", f"Azure's last events: Failed: {PULL}"], f"x: {PULL}"),
        ([], ""),
    ],
    ids=["a pull", "short words stay", "nothing new", "nothing"],
)
def test_a_cause_is_told_once(parts, told):
    """In Azure's event, the state of the replica and that of the revision it is the same text."""
    assert without_repeats(parts) == told
