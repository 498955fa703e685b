"""What is said of a service is so: a revision that fails tells its cause while the old one serves,
and the age of each look is told.
"""

from datetime import UTC, datetime

import pytest

from tests.e2e.stage import condition_of, service

RESYNC = 2.0
CRASHES = """
import sys
print("reading the model", flush=True)
print("token=hf_abcdefghijklmnopqrstuvwx", flush=True)
print("ValueError: no weights in /nowhere", file=sys.stderr, flush=True)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def up(stage):
    stage.code("web")
    stage.save(service("web"))
    up = stage.up(resync=RESYNC)
    yield up
    up.end()


async def test_the_cause_arrives_and_the_old_revision_serves(stage, up):
    """Ready stays True; the conditions, one event, `up` and the status carry the container's last
    output, without its secrets, and the name of what still serves.
    """
    await up.settled_on("web", version="one")
    old = up.document("web")["revisions"][0]["name"]
    (stage.root / "code-web" / "app.py").write_text(CRASHES)

    def told():
        document = up.document("web")
        synced = condition_of(document, "Synced")
        return synced["reason"] == "RolledBack" and "ValueError" in synced["message"]

    await up.until(told, 90, "the crash is told with its output, and rolled back")
    document = up.document("web")
    synced = condition_of(document, "Synced")
    assert f"revision {old} serves" in synced["message"]
    assert condition_of(document, "Ready")["status"] == "True"
    assert condition_of(document, "RevisionHealthy")["status"] == "True"
    events = [event for event in stage.events() if event.reason == "RevisionFailed"]
    told_with = [event.message for event in events]
    assert any("ValueError: no weights in /nowhere" in message for message in told_with)
    assert any(f"{old} still serves" in message for message in told_with)
    await up.until(lambda: "ValueError: no weights" in up.output, 10, "up prints the cause")
    for text in (up.output, str(document), *told_with):
        assert "hf_abc" not in text
    assert "NotReady" not in {event.reason for event in stage.events()}
    stage.code("web", version="two")
    await up.settled_on("web", version="two")


async def test_the_status_says_how_old_its_look_is(stage, up):
    """A field for programs, an age for people."""
    await up.settled_on("web")

    def is_recent():
        looked = datetime.fromisoformat(up.document("web")["lookedAt"])
        return abs((datetime.now(UTC) - looked).total_seconds()) < 3 * RESYNC + 5

    await up.until(is_recent, what="the last look is recent")
    assert "looked at" in stage.moorage("status").stdout
