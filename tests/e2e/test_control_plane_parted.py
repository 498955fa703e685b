"""Two daemons with the same documents, of which only one is cut off: from the share, or from all of
Azure. The other one takes over, and the one that was cut off comes back as the second.
"""

import time
import urllib.error
import urllib.request

import pytest

from tests.e2e.ground import is_write
from tests.e2e.two_daemons import TAKEOVER, cloud, save, user  # noqa: F401 - two fixtures

SOON = 30.0
CUTS = {
    "its share resets": {"fault": "ShareUnreachable", "plane": "files"},
    "its share hangs": {"fault": "Slow", "plane": "files", "seconds": 90},
    "all of Azure hangs": {"fault": "Slow", "seconds": 90},
}


def daemon(stage, name):
    own = {"MOORAGE_STATE_DIR": str(stage.root / name), "AZURE_HTTP_USER_AGENT": name}
    return stage.up("-y", resync=10, **own)


def writers(cloud, since):
    """Who changed Azure, in the order of the journal; what a fault kept out changed nothing."""
    entries = [each for each in cloud.journal()[since:] if each["client"].startswith("moorage/")]
    return [each["client"].split()[1] for each in entries if is_write(each) and each["status"] > 0]


async def wrote(cloud, up, who, since):
    """Until this daemon has written, and what the documents ask for is there."""
    await up.until(lambda: who in writers(cloud, since), TAKEOVER, f"a write of {who}")
    await up.converged("web")


def may_write(up):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/readyz", timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.timeout(400)
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_a_leader_that_is_cut_off_is_replaced_and_comes_back(user, cloud, cut):
    """The other one writes within a minute, and the first sends nothing more. When the first is
    back it only looks, until the second is cut off: then it leads again.
    """
    names = ("first", "second")
    ups = {"first": daemon(user, "first")}
    await ups["first"].converged("web")
    ups["second"] = daemon(user, "second")
    await ups["second"].until(
        lambda: ups["second"].condition("web", "Ready")["status"] == "True", SOON
    )
    for (leads, waits), colour in ((names, "green"), (names[::-1], "blue")):
        cloud.script({**cut, "client": f"*{leads}*"})
        since, began = len(cloud.journal()), time.monotonic()
        save(user, f"{colour}-at-once")  # the leader may begin with it, and even end it
        await ups[leads].until(lambda who=leads: not may_write(ups[who]), SOON, "the lease's end")
        save(user, colour)
        await ups[waits].until(lambda who=waits: may_write(ups[who]), TAKEOVER, "a new leader")
        assert time.monotonic() - began < TAKEOVER
        await wrote(cloud, ups[waits], waits, since)
        assert ups[leads].condition("web", "Synced")["status"] != "True"
        order = writers(cloud, since)
        assert order == sorted(order, key=(leads, waits).index), "the loser wrote after the winner"
        cloud.script()
        await ups[leads].converged("web")  # it looks again, and finds what the other one wrote
        since = len(cloud.journal())
        save(user, f"{colour}-again")
        await wrote(cloud, ups[waits], waits, since)
        await ups[leads].converged("web")
        assert set(writers(cloud, since)) == {waits}
