"""What the callers of a gateway have used lately, followed in files on a real share."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.engine.errors import ReconcileError
from reconciler.kinds.gateway import recent_usage
from reconciler.kinds.gateway.recent_usage import EVERY, RecentUsage
from serving.gateway.routes import UsageLine

DATA = "gateway/dev/data"
NOON = datetime.now(UTC).replace(hour=12)  # files carry the time of their write
TODAY, YESTERDAY, BEFORE = ((NOON - timedelta(days=n)).date().isoformat() for n in range(3))


def line(key, day=TODAY, **used):
    return UsageLine(day=day, key=key, model="phi", **used).model_dump_json().encode() + b"\n"


class Follower:
    """Reads at a time that the test sets."""

    def __init__(self, share):
        self.now, self.share = NOON, share
        shares = SimpleNamespace(open=lambda _: self.share, now=lambda: self.now)
        self.usage = RecentUsage(shares)
        self.ref = ShareRef("dev", share.group, share.account, share.name)

    async def write(self, path, content):
        await files.write(self.share, f"{DATA}/usage/{path}", content)

    async def read(self):
        self.now += EVERY
        found = await self.usage.read(self.ref, DATA)
        return {each.caller: (each.requests, each.output_tokens, each.errors) for each in found}


@pytest.fixture
def follower(share):
    return Follower(share)


async def test_lines_are_added_up_by_key_and_each_is_counted_once(follower):
    """Of all replicas and of both days; an older day and a state are no usage; a line that is not
    whole yet is counted when it is; one that cannot be read is left out.
    """
    assert await follower.read() == {}
    await follower.write("gw--a/state.json", b"{}")
    assert await follower.read() == {}, "a replica that nobody has called yet"
    one = line("team", requests=2, output_tokens=5)
    await follower.write(f"gw--a/{BEFORE}.jsonl", line("team", requests=100))
    await follower.write(f"gw--a/{YESTERDAY}.jsonl", line("team", YESTERDAY, requests=1))
    await follower.write(f"gw--a/{TODAY}.jsonl", one + b'{"key": "te')
    await follower.write(f"gw--b/{TODAY}.jsonl", line("app", requests=4, errors=1))
    assert await follower.read() == {"team": (3, 5, 0), "app": (4, 0, 1)}
    assert await follower.read() == {"team": (3, 5, 0), "app": (4, 0, 1)}
    cut = b'{"key": "te\n'
    await follower.write(f"gw--a/{TODAY}.jsonl", one + cut + line("team", requests=10))
    assert await follower.read() == {"team": (13, 5, 0), "app": (4, 0, 1)}


async def test_a_day_that_is_over_leaves_the_sums(follower):
    """They are of today and of yesterday."""
    await follower.write(f"gw--a/{YESTERDAY}.jsonl", line("team", YESTERDAY, requests=1))
    await follower.write(f"gw--a/{TODAY}.jsonl", line("team", requests=2))
    assert await follower.read() == {"team": (3, 0, 0)}
    follower.now += timedelta(days=1)
    assert await follower.read() == {"team": (2, 0, 0)}
    follower.now += timedelta(days=1)
    assert await follower.read() == {}


async def test_a_long_file_is_read_in_bounded_looks(follower, monkeypatch):
    """One look reads no more than its budget; the rest follows; bytes without a line end do not
    stop it.
    """
    monkeypatch.setattr(recent_usage, "PIECE", 1000)
    monkeypatch.setattr(recent_usage, "BUDGET", 4)
    lines = line("team", requests=1) * 30
    await follower.write(f"gw--a/{TODAY}.jsonl", b"x" * 2000 + b"\n" + lines)
    first = (await follower.read()).get("team", (0,))[0]
    assert first < 30
    for _ in range(5):
        last = await follower.read()
    assert last == {"team": (30, 0, 0)}


async def test_a_share_that_fails_leaves_the_last_sums(follower, share, monkeypatch):
    """The routes of the gateway do not depend on it."""
    await follower.write(f"gw--a/{TODAY}.jsonl", line("team", requests=2))
    before = await follower.read()
    monkeypatch.setattr(follower, "share", Share(share.arm, share.group, "stnone01", "none"))
    with pytest.raises(ReconcileError):
        await files.list_directory(follower.share, DATA)
    assert await follower.read() == before != {}
