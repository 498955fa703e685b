"""Leadership by a share's lease: who may write, and until when. The clock is the test's."""

import asyncio
import json
import time

import pytest

from reconciler.arm.lease import DURATION, RENEW_EVERY, Leader
from reconciler.arm.share import Share
from reconciler.arm.sharedkey import key_fingerprint
from reconciler.engine.errors import NotReadyYet, WaitingForHuman
from reconciler.engine.permit import permit

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg"
ACCOUNTS = f"{GROUP}/providers/Microsoft.Storage/storageAccounts"
KEYS = {"keys": [{"keyName": "key1", "value": "a2V5a2V5"}]}
SHARE = "/acct/phi"
ME = "11111111-2222-3333-4444-555555555555"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def share(arm, scripted):
    account = {
        "name": "acct",
        "properties": {"primaryEndpoints": {"file": f"{scripted.url}/acct/"}},
    }
    scripted.on("GET", ACCOUNTS, 200, {"value": [account]})
    scripted.on("POST", f"{ACCOUNTS}/acct/listKeys", 200, KEYS)
    return Share(arm, "rg", "acct", "phi")


def refused(code):
    return (
        (
            "<?xml"
            f' version="1.0"?><Error><Code>{code}</Code><Message>no.\nRequestId:1</Message></Error>'
        ),
        {"x-ms-error-code": code},
    )


def script(scripted, status, code=""):
    body, headers = refused(code) if code else (None, {"x-ms-lease-id": ME, "ETag": '"1"'})
    scripted.on("PUT", SHARE, status, body, headers)


async def test_the_holder_may_write_for_two_thirds_of_the_lease(share, scripted):
    """Then it must have renewed; a renewal gives the time again, counted from when it was
    asked for.
    """
    clock = Clock()
    leader = Leader(share, ME, clock)
    script(scripted, 201)
    assert not leader.may_write()
    assert await leader.step() == RENEW_EVERY
    clock.now += DURATION * 2 / 3 - 0.1
    assert leader.may_write()
    clock.now += 0.2
    assert not leader.may_write()
    await leader.step()
    assert leader.may_write()
    proposed = {
        headers.get("x-ms-proposed-lease-id")
        for headers in scripted.headers
        if "x-ms-lease-action" in headers
    }
    assert proposed == {ME}


async def test_another_holder_means_no_write(share, scripted):
    """409 LeaseAlreadyPresent; when it has run out, the next step takes over."""
    leader = Leader(share, ME, Clock())
    script(scripted, 409, "LeaseAlreadyPresent")
    script(scripted, 201)
    await leader.step()
    assert not leader.may_write()
    assert leader.why_not().reason == "NotLeader"
    assert "another daemon holds the lease" in leader.why_not().message
    await leader.step()
    assert leader.may_write()
    assert leader.why_not() is None


async def test_a_failed_renewal_does_not_end_the_lease_early(share, scripted):
    """The lease is good until its time is over; meanwhile steps come sooner."""
    clock = Clock()
    leader = Leader(share, ME, clock)
    script(scripted, 201)
    script(scripted, 503, "ServerBusy")
    await leader.step()
    clock.now += RENEW_EVERY
    assert await leader.step() < RENEW_EVERY
    assert leader.may_write()
    clock.now += RENEW_EVERY + 1
    assert not leader.may_write()


async def test_a_lease_that_was_taken_ends_at_once(share, scripted):
    """Somebody broke it and took it: no write is issued any more."""
    leader = Leader(share, ME, Clock())
    script(scripted, 201)
    script(scripted, 409, "LeaseAlreadyPresent")
    await leader.step()
    await leader.step()
    assert not leader.may_write()


async def test_releasing_lets_the_next_one_in(share, scripted):
    """After it nothing may be written, and Azure is told once."""
    leader = Leader(share, ME, Clock())
    script(scripted, 201)
    script(scripted, 200)
    await leader.step()
    await leader.release()
    await leader.release()
    assert not leader.may_write()
    actions = [headers.get("x-ms-lease-action") for headers in scripted.headers]
    assert [action for action in actions if action][-2:] == [
        "acquire",
        "release",
    ]


async def test_no_share_yet_is_a_reason_and_not_an_error(share, scripted):
    """Before the share exists nobody leads."""
    leader = Leader(share, ME, Clock())
    script(scripted, 404, "ShareNotFound")
    await leader.step()
    assert (leader.may_write(), leader.reason) == (False, "Azure:ShareNotFound")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AuthenticationFailed", "AuthenticationFailed"),
        (403, "AuthorizationFailure", "AuthorizationFailure"),
        (404, "ShareNotFound", "ShareNotFound"),
        (503, "ServerBusy", "ServerBusy"),
        (500, "InternalError", "InternalError"),
    ],
    ids=["key refused", "firewall", "share missing", "throttled", "broken"],
)
async def test_a_failed_renewal_says_its_own_cause(share, scripted, status, code, told):
    """Only a lease that another daemon really holds is told as that."""
    leader = Leader(share, ME, Clock())
    script(scripted, status, code)
    await leader.step()
    refusal = leader.why_not()
    assert refusal.reason == f"Azure:{told}"
    assert "the lease on share phi of storage account acct is not held: no." in refusal.message
    assert "another daemon" not in refusal.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("KeyBasedAuthenticationNotPermitted", WaitingForHuman),
        ("LeaseIdMismatchWithLeaseOperation", NotReadyYet),
    ],
)
async def test_a_renewal_that_a_person_must_make_possible_waits_for_one(
    share, scripted, code, kind
):
    """A command that runs once then ends with 4, instead of waiting until its time is over."""
    leader = Leader(share, ME, Clock())
    script(scripted, 403, code)
    await leader.step()
    assert type(leader.why_not()) is kind


async def test_an_unreachable_share_is_told_as_that(share, scripted):
    """The network's own words, not another daemon."""
    script(scripted, 201)
    leader = Leader(share, ME, Clock())
    await share.fingerprint()
    share._client = share._connect("https://127.0.0.1:1/acct", "a2V5a2V5")
    await leader.step()
    assert leader.why_not().reason == "AzureUnreachable"


async def test_who_holds_it_is_told_with_host_and_time(share, scripted):
    """The holder has written its name on the share; the file of somebody else's lease is never
    believed to be ours.
    """
    found = {"lease": "0123456789ab", "host": "gpu-box-2", "process": 77}
    text = json.dumps({**found, "since": "2026-03-01T12:00:00+00:00"})
    size = {"Content-Range": f"bytes 0-{len(text) - 1}/{len(text)}", "x-ms-type": "File"}
    scripted.on("GET", f"{SHARE}/leader.json", 206, text, size)
    script(scripted, 409, "LeaseAlreadyPresent")
    leader = Leader(share, ME, Clock())
    await leader.step()
    told = leader.why_not().message
    assert "host gpu-box-2 (process 77, since 2026-03-01 12:00:00 UTC)" in told


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "\\u001b[31mroot"}', "x" * 5000])
async def test_a_holder_file_that_is_none_is_not_shown(share, scripted, text):
    """Anybody with the key can write it: half a file, another form or an escape sequence."""
    size = {"Content-Range": f"bytes 0-{len(text) - 1}/{len(text)}", "x-ms-type": "File"}
    scripted.on("GET", f"{SHARE}/leader.json", 206, text, size)
    script(scripted, 409, "LeaseAlreadyPresent")
    leader = Leader(share, ME, Clock())
    await leader.step()
    assert leader.why_not().message.startswith("another daemon holds the lease on share phi")


async def test_a_lease_does_not_outlive_a_suspended_machine(share, scripted, monkeypatch):
    """Nothing ran for an hour and the monotonic clock stood still: the lease is over all the same,
    and a write that waits to be sent is not sent.
    """
    boot, sent = [5000.0], len(scripted.asked)
    monkeypatch.setattr(time, "clock_gettime", lambda _: boot[0])
    leader = Leader(share, ME)
    script(scripted, 201)
    await leader.step()
    scripted.on("PUT", f"{SHARE}/late", 201)

    def check():
        if refusal := leader.why_not():
            raise refusal

    with permit(check):
        await share.request("PUT", "late", {})
        boot[0] += 3600.0
        sent = len(scripted.asked)
        with pytest.raises(NotReadyYet, match="LeaseExpired: the lease on share phi"):
            await share.request("PUT", "late", {})
        with pytest.raises(NotReadyYet, match="LeaseExpired"):
            await share.arm.post_json(f"{ACCOUNTS}/acct/regenerateKey", "2025-01-01", {})
        assert await share.arm.get_json("/subscriptions/x", "2025-01-01") is None
    assert [method for method, _, _ in scripted.asked[sent:]] == ["GET"]


async def test_a_renewal_that_hangs_leaves_time_for_another(share, scripted, monkeypatch):
    """A packet that is lost must not cost the lease."""
    leader = Leader(share, ME, Clock())
    script(scripted, 201)
    await leader.step()
    monkeypatch.setattr("reconciler.arm.lease._PATIENCE", 0.05)

    async def hang(_):
        await asyncio.sleep(60)

    monkeypatch.setattr(share, "call", hang)
    assert await leader.step() == 2.0
    assert leader.may_write()


async def test_a_refused_key_is_fetched_anew_once(share, scripted):
    """After a rotation the first request is refused, the keys are listed again, and the request
    goes through.
    """
    leader = Leader(share, ME, Clock())
    script(scripted, 403, "AuthenticationFailed")
    script(scripted, 201)
    await leader.step()
    assert leader.may_write()
    assert sum("listKeys" in url for _, url, _ in scripted.asked) == 2


async def test_a_key_that_stays_refused_is_said_so(share, scripted):
    """Two tries, then the reason."""
    leader = Leader(share, ME, Clock())
    script(scripted, 403, "AuthenticationFailed")
    await leader.step()
    assert leader.reason == "Azure:AuthenticationFailed"
    assert sum("listKeys" in url for _, url, _ in scripted.asked) == 2


async def test_the_fingerprint_follows_a_rotated_key_without_asking_for_it(share, scripted):
    """It is that of the key in use: known without a call, another one as soon as the old key has
    been refused.
    """
    scripted.on(
        "POST",
        f"{ACCOUNTS}/acct/listKeys",
        200,
        {"keys": [{"keyName": "key1", "value": "bmV3a2V5"}]},
    )
    script(scripted, 403, "AuthenticationFailed")
    script(scripted, 201)
    before = [await share.fingerprint() for _ in range(5)]
    assert before == [key_fingerprint("a2V5a2V5")] * 5
    assert sum("listKeys" in url for _, url, _ in scripted.asked) == 1
    await Leader(share, ME, Clock()).step()
    assert await share.fingerprint() == key_fingerprint("bmV3a2V5")
