"""Keys while serving: found by their text, limited to requests a minute, replaced without
forgetting what was used.
"""

import hashlib

import pytest

from serving.catalogue import ApiKey
from serving.keys import Keys


def key(name="default", text="sk", **options):
    return ApiKey(name=name, sha256=hashlib.sha256(text.encode()).hexdigest().upper(), **options)


def bearer(text):
    return [(b"authorization", b"Bearer " + text.encode())]


@pytest.fixture
def clock():
    return [1000.0]


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
    assert [keys.wait(mine) for _ in range(3)] == [0, 0, 0]
    assert keys.wait(mine) == pytest.approx(20)
    clock[0] += 19
    assert keys.wait(mine) == pytest.approx(1)
    clock[0] += 1.001
    assert keys.wait(mine) == 0
    assert keys.wait(mine) > 19
    clock[0] += 3600
    assert [keys.wait(mine) for _ in range(3)] == [0, 0, 0], (
        "an hour of silence is worth one minute"
    )
    assert keys.wait(mine) > 0


def test_a_limit_survives_what_happens_to_other_keys_and_starts_anew_when_it_changes(clock):
    """A rotation is no way around a limit."""
    keys = keys_of(clock, key(requests_per_minute=1))
    assert keys.wait(keys.find(bearer("sk"))) == 0
    keys.replace([key(requests_per_minute=1), key("other", "sk-2")])
    assert keys.wait(keys.find(bearer("sk"))) > 0
    keys.replace([key(text="sk-new", requests_per_minute=1)])
    assert keys.wait(keys.find(bearer("sk-new"))) > 0
    keys.replace([key(requests_per_minute=2)])
    assert keys.wait(keys.find(bearer("sk"))) == 0
    keys.replace([key()])
    assert [keys.wait(keys.find(bearer("sk"))) for _ in range(100)] == [0] * 100
