"""Keys while serving: found by their text, limited to requests a minute, replaced without
forgetting what was used.
"""

import hashlib

import pytest

from serving.catalogue import ApiKey, KeyLimits, Limits
from serving.request.keys import Keys
from serving.request.limits import Demand

ONE = Demand()


def key(name="default", text="sk", **options):
    return ApiKey(name=name, sha256=hashlib.sha256(text.encode()).hexdigest().upper(), **options)


def bearer(text):
    return [(b"authorization", b"Bearer " + text.encode())]


@pytest.fixture
def clock():
    return [1000.0]


def wait(keys, mine, order=ONE):
    """Seconds until the order is taken; 0 when it was, and is done."""
    refusal = keys.take(mine, order)
    if refusal is None:
        keys.settle(mine, order, order.tokens)
        return 0
    return refusal.wait


def keys_of(clock, *keys):
    return Keys(keys, lambda: clock[0])


def test_a_key_is_found_by_its_text_alone(clock):
    """Its name and options come with it; another text, another scheme or two headers
    find nothing.
    """
    keys = keys_of(
        clock, key("other", "sk-2"), key(models=("red",)), key("ops", "sk-3", admin=True)
    )
    found = keys.find(bearer("sk"))
    assert (found.name, found.models, found.admin) == ("default", {"red"}, False)
    assert keys.find(bearer("sk-3")).admin
    for headers in (
        bearer("no"),
        [],
        [*bearer("sk"), *bearer("sk")],
        [(b"authorization", b"Basic sk")],
    ):
        assert keys.find(headers) is None


def test_a_limit_lets_a_minutes_worth_through_and_then_one_at_a_time(clock):
    """Three at once, then one every twenty seconds; the wait that is told is the wait that is
    needed.
    """
    keys = keys_of(clock, key(requests_per_minute=3))
    mine = keys.find(bearer("sk"))
    assert [wait(keys, mine) for _ in range(3)] == [0, 0, 0]
    assert wait(keys, mine) == pytest.approx(20)
    clock[0] += 19
    assert wait(keys, mine) == pytest.approx(1)
    clock[0] += 1.001
    assert wait(keys, mine) == 0
    assert wait(keys, mine) > 19
    clock[0] += 3600
    assert [wait(keys, mine) for _ in range(3)] == [0, 0, 0], (
        "an hour of silence is worth one minute"
    )
    assert wait(keys, mine) > 0


def test_a_limit_survives_what_happens_to_other_keys_and_starts_anew_when_it_changes(clock):
    """A rotation is no way around a limit."""
    keys = keys_of(clock, key(requests_per_minute=1))
    assert wait(keys, keys.find(bearer("sk"))) == 0
    keys.replace([key(requests_per_minute=1), key("other", "sk-2")])
    assert wait(keys, keys.find(bearer("sk"))) > 0
    keys.replace([key(text="sk-new", requests_per_minute=1)])
    assert wait(keys, keys.find(bearer("sk-new"))) > 0
    keys.replace([key(requests_per_minute=2)])
    assert wait(keys, keys.find(bearer("sk"))) == 0
    keys.replace([key()])
    assert [wait(keys, keys.find(bearer("sk"))) for _ in range(100)] == [0] * 100


def test_a_request_for_several_sequences_counts_as_several(clock):
    """One request of five choices uses up a limit of five, and one of six is never taken."""
    keys = keys_of(clock, key(requests_per_minute=5))
    mine = keys.find(bearer("sk"))
    refusal = keys.take(mine, Demand(6))
    assert (refusal.wait, refusal.limit) == (None, "5 requests a minute")
    assert wait(keys, mine, Demand(5)) == 0
    assert wait(keys, mine) == pytest.approx(12)


def test_tokens_are_guessed_first_and_settled_when_they_are_counted(clock):
    """What was guessed too high is given back; what was guessed too low is waited for."""
    keys = keys_of(clock, key(tokens_per_minute=600))
    mine = keys.find(bearer("sk"))
    assert keys.take(mine, Demand(1, 500)) is None
    assert keys.take(mine, Demand(1, 200)).wait == pytest.approx(10)
    keys.settle(mine, Demand(1, 500), 100)
    assert keys.take(mine, Demand(1, 200)) is None
    keys.settle(mine, Demand(1, 200), 1100)
    assert keys.refusal(mine, Demand()).wait == pytest.approx(60)
    clock[0] += 120
    assert keys.take(mine, Demand(1, 10_000)) is None, "more than a minute's worth needs a full one"


def test_parallel_requests_are_those_that_run(clock):
    """The next one is taken when one is done; the service's own limit is for all keys together."""
    keys = keys_of(clock, key(parallel_requests=2), key("other", "sk-2"))
    mine, other = keys.find(bearer("sk")), keys.find(bearer("sk-2"))
    assert keys.take(mine, Demand(2)) is None
    assert keys.take(mine, ONE).wait == 1
    assert keys.take(mine, Demand(3)).wait is None
    keys.settle(mine, Demand(2), 0)
    assert keys.take(mine, ONE) is None
    keys.replace([key(parallel_requests=2), key("other", "sk-2")], Limits(parallel_requests=3))
    assert keys.take(other, Demand(3)).whose == "The service"
    assert keys.take(other, Demand(2)) is None


def test_what_is_left_is_told_in_openais_headers(clock):
    """Limit, remaining and reset of requests and tokens; nothing for a key without limits."""
    keys = keys_of(clock, key(requests_per_minute=60, tokens_per_minute=600), key("o", "sk-2"))
    mine = keys.find(bearer("sk"))
    assert keys.take(mine, Demand(1, 300)) is None
    assert dict(keys.headers(mine)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1.000s",
        b"x-ratelimit-limit-tokens": b"600",
        b"x-ratelimit-remaining-tokens": b"300",
        b"x-ratelimit-reset-tokens": b"30.000s",
    }
    assert keys.headers(keys.find(bearer("sk-2"))) == []


def test_azure_clients_send_the_key_in_a_header_of_its_own(clock):
    """`api-key` alone opens; beside another key, or twice, it does not."""
    keys = keys_of(clock, key())
    assert keys.find([(b"api-key", b"sk")]).name == "default"
    assert keys.find([(b"api-key", b"sk"), *bearer("sk")]).name == "default"
    for headers in (
        [(b"api-key", b"no")],
        [(b"api-key", b"")],
        [(b"api-key", b"sk"), *bearer("other")],
        [(b"api-key", b"sk"), (b"api-key", b"sk")],
    ):
        assert keys.find(headers) is None


@pytest.mark.parametrize(
    ("name", "told", "shown"),
    [
        ("gateway", [b"team"], "gateway/team"),
        ("gateway", [], "gateway"),
        ("gateway", [b"a\nforged line"], "gateway"),
        ("gateway", [b"x" * 101], "gateway"),
        ("gateway", [b"one", b"two"], "gateway"),
        ("default", [b"team"], "default"),
    ],
)
def test_only_a_gateway_says_whose_request_it_is(name, told, shown):
    """Anybody else's word for it is ignored, and so is a name that no log should hold."""
    keys = Keys([key(name)])
    headers = [*bearer("sk"), *((b"x-moorage-key-name", each) for each in told)]
    assert keys.find(headers).name == shown
    assert keys.find(headers).use is keys.find(bearer("sk")).use


def test_only_a_gateway_says_what_its_caller_may_evaluate():
    """Routes that evaluate are open to the callers whose key the gateway knows to be for that."""
    headers = [*bearer("sk"), (b"x-moorage-key-evaluation", b"1")]
    assert Keys([key("gateway")]).find(headers).evaluation
    assert not Keys([key("gateway")]).find(bearer("sk")).evaluation
    assert not Keys([key("default")]).find(headers).evaluation


@pytest.mark.parametrize(
    ("told", "limits"),
    [
        ([b"50,20,2"], KeyLimits(prompt_tokens=50, output_tokens=20, sequences=2)),
        ([b",20,"], KeyLimits(output_tokens=20)),
        ([], None),
        ([b"50,20"], None),
        ([b"-1,20,2"], None),
        ([b"50,20,2", b"1,1,1"], None),
        (["٣,1,1".encode()], None),
    ],
)
def test_only_a_gateway_says_what_its_callers_key_is_limited_to(told, limits):
    """The service then enforces it where the tokens are counted; nonsense is no limit."""
    headers = [*bearer("sk"), *((b"x-moorage-key-limits", each) for each in told)]
    assert Keys([key("gateway")]).find(headers).limits == limits
    assert Keys([key("default")]).find(headers).limits is None
    if limits is not None:
        assert limits.header().encode() == told[0]
