"""One answer that asks to wait holds back all requests of its kind, and no others."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.arm.throttle import Throttle
from reconciler.engine.errors import Throttled
from reconciler.engine.urgency import urgency
from tests.arm.conftest import SUBSCRIPTION

OTHER = "00000000-0000-0000-0000-000000000002"
AT_GATEWAY = {"Retry-After": "30", "x-ms-failure-cause": "gateway"}
REFUSED = {"error": {"code": "SubscriptionRequestsThrottled", "message": "Too many."}}


def path(provider="Microsoft.App", subscription=SUBSCRIPTION):
    return f"/subscriptions/{subscription}/resourceGroups/rg/providers/{provider}/things"


def url(*arguments, **named):
    return "https://management.azure.com" + path(*arguments, **named)


def closed(throttle, method, where):
    """Seconds until a request may be sent; 0 when it may now."""
    try:
        asyncio.run(throttle.enter(method, where))
    except Throttled as error:
        return error.retry_after
    return 0.0


def test_the_gateway_speaks_for_the_subscription():
    """Reads wait, whatever of; writes, other subscriptions and shares go on."""
    now = [100.0]
    throttle = Throttle(lambda: now[0])
    throttle.saw("GET", url(), 429, AT_GATEWAY)
    assert closed(throttle, "GET", url()) == 30.0
    assert closed(throttle, "HEAD", url("Microsoft.Storage")) == 30.0
    assert closed(throttle, "PUT", url()) == 0.0
    assert closed(throttle, "GET", url(subscription=OTHER)) == 0.0
    assert closed(throttle, "GET", "https://acct.file.core.windows.net/share/a") == 0.0
    now[0] += 30.1
    assert closed(throttle, "GET", url()) == 0.0


def test_a_provider_speaks_for_itself():
    """`ResourceRequestsThrottled` of Microsoft.App does not stop storage."""
    throttle = Throttle(lambda: 100.0)
    throttle.saw("PUT", url(), 429, {"Retry-After": "30"})
    assert closed(throttle, "PATCH", url()) == 30.0
    assert closed(throttle, "PUT", url("Microsoft.Storage")) == 0.0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_share_holds_back_itself(status):
    """Storage says so with 503; Resource Manager's 503 is a failure and no wish."""
    throttle, share = Throttle(lambda: 100.0), "https://acct.file.core.windows.net/share"
    throttle.saw("PUT", f"{share}/a/b", status, {"Retry-After": "7"})
    assert closed(throttle, "GET", f"{share}/c") == 7.0
    assert closed(throttle, "GET", "https://other.file.core.windows.net/share/c") == 0.0
    throttle.saw("GET", url(), 503, {"Retry-After": "7"})
    assert closed(throttle, "GET", url()) == 0.0


def test_a_shorter_wish_does_not_cut_a_longer_one_short():
    """Answers under way may arrive in any order."""
    throttle = Throttle(lambda: 100.0)
    for seconds in ("30", "3"):
        throttle.saw("GET", url(), 429, {**AT_GATEWAY, "Retry-After": seconds})
    assert closed(throttle, "GET", url()) == 30.0


def test_a_login_is_never_held_back():
    """It belongs to no subscription."""
    throttle, login = Throttle(lambda: 100.0), "https://login/tenant/oauth2/v2.0/token"
    throttle.saw("POST", login, 429, {"Retry-After": "9"})
    assert closed(throttle, "POST", login) == 0.0


@pytest.mark.looptime
async def test_where_few_requests_are_left_they_go_as_fast_as_they_come_back():
    """25 reads a second, ten writes; with more left again there is no pause."""
    loop = asyncio.get_running_loop()
    throttle = Throttle(loop.time)

    async def took(count):
        began = loop.time()
        for _ in range(count):
            await throttle.enter("GET", url())
        return round(loop.time() - began, 2)

    header = "x-ms-ratelimit-remaining-subscription-reads"
    throttle.saw("GET", url(), 200, {header: "249"})
    assert await took(50) == 0.0
    throttle.saw("GET", url(), 200, {header: "3"})
    assert await took(51) == 2.0
    throttle.saw("GET", url(), 200, {header: "100"})
    assert await took(50) == 0.0


@pytest.mark.looptime
async def test_what_a_person_waits_for_goes_ahead_of_a_resync():
    """Where a resync has left few requests, they are for a save: it waits for none of those that
    queue. The last five go as slowly as all others, so that Azure refuses nobody.
    """
    loop = asyncio.get_running_loop()
    throttle = Throttle(loop.time)
    throttle.saw("GET", url(), 200, {"x-ms-ratelimit-remaining-subscription-reads": "20"})
    resync = [asyncio.create_task(throttle.enter("GET", url())) for _ in range(100)]
    await asyncio.sleep(0)
    with urgency(waited_for=True):
        for _ in range(15):
            await throttle.enter("GET", url())
        assert loop.time() == 0.0
        await throttle.enter("GET", url())
    assert loop.time() == 4.0
    await asyncio.gather(*resync)


async def test_one_worker_is_told_and_the_others_send_nothing(arm, scripted):
    """Through the real pipeline: the second read is refused here, a write is sent."""
    scripted.on("GET", path(), 429, REFUSED, AT_GATEWAY)
    scripted.on("POST", path() + "/start", 200, {})
    for sent in (1, 1):
        with pytest.raises(Throttled) as told:
            await arm.get_json(path(), "2025-01-01")
        assert 29 < told.value.retry_after <= 30
        assert len(scripted.asked) == sent
    await arm.post_json(f"{path()}/start", "2025-01-01", {})
    assert len(scripted.asked) == 2
