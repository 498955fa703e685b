"""What a gateway leaves on the share, read by the daemon: its state, and what its callers used."""

from datetime import UTC, date, datetime, timedelta

import pytest

from reconciler.cli.exits import CommandError
from reconciler.cli.usage import _first_day
from reconciler.kinds.gateway.gateway_states import merged, state_of
from reconciler.kinds.gateway.gateway_usage import UsedLines, _parsed, day_of, totals
from serving.gateway.routes import GatewayState, RoutedState, UsageLine

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def state(replica="a", age=0, **services):
    return GatewayState(
        replica=replica,
        heartbeat=NOW - timedelta(seconds=age),
        services=tuple(
            RoutedState(name=name, state=word, held=held) for name, (word, held) in services.items()
        ),
    )


def dumped(value):
    return value.model_dump_json(by_alias=True).encode()


def test_a_fresh_state_of_the_replica_itself_counts():
    """One that is stale, another replica's, cut, nested or too long says nothing."""
    mine = state(phi=("asleep", 0))
    assert state_of(dumped(mine), "a", NOW, NOW) == mine
    assert state_of(dumped(mine), "b", NOW, NOW) is None
    assert state_of(dumped(mine), "a", NOW - timedelta(seconds=60), NOW) is None
    assert state_of(dumped(mine)[:-5], "a", NOW, NOW) is None
    assert state_of(b"[" * 100_000, "a", NOW, NOW) is None
    assert state_of(b"", "a", NOW, NOW) is None
    assert state_of(dumped(mine) + b" " * (3 << 20), "a", NOW, NOW) is None


def test_of_several_replicas_the_most_awake_counts_and_held_requests_add_up():
    """A service is one line, however many replicas of the gateway see it."""
    states = [
        state("a", phi=("starting", 2), chat=("asleep", 0)),
        state("b", phi=("ready", 3)),
        state("c", phi=("failed", 0)),
    ]
    assert [(each.name, each.state, each.held) for each in merged(states)] == [
        ("chat", "asleep", 0),
        ("phi", "ready", 5),
    ]


LINES = [
    UsageLine(day="2026-11-28", key="team", model="phi", requests=2, input_tokens=5),
    UsageLine(day="2026-11-29", key="team", model="red", requests=1, held_seconds=1.5),
    UsageLine(day="2026-11-29", key="app", model="phi", requests=4, errors=1),
]


@pytest.mark.parametrize(
    ("by", "sums"),
    [
        ("key", [("app", 4, 0, 1, 0), ("team", 3, 5, 0, 1.5)]),
        ("model", [("phi", 6, 5, 1, 0), ("red", 1, 0, 0, 1.5)]),
        ("day", [("2026-11-28", 2, 5, 0, 0), ("2026-11-29", 5, 0, 1, 1.5)]),
    ],
)
def test_usage_is_added_up(by, sums):
    """By key, model or day; every line counts once."""
    found = totals(LINES, by)
    assert [
        (getattr(each, by), each.requests, each.input_tokens, each.errors, each.held_seconds)
        for each in found
    ] == sums


def test_a_line_that_cannot_be_read_is_counted_and_left_out():
    """A crash may cut one, and anybody who mounts the share may write one."""
    usage = UsedLines([])
    texts = [dumped(LINES[0]), b'{"day": "2026-11-29", "key": "te', b'{"requests": -1}', b"[" * 90]
    assert [line for text in texts for line in _parsed(text, usage)] == [LINES[0]]
    assert usage.unreadable == 3


def test_files_are_taken_by_their_day():
    """A state or a temporary file is no day."""
    assert day_of("gw--r1/2026-11-29.jsonl") == "2026-11-29"
    assert day_of("gw--r1/state.json") == day_of("2026-11-29.jsonl") == ""


def test_since_is_a_day_or_a_number_of_days():
    """Anything else is refused with what would be right."""
    today = date(2026, 11, 29)
    assert _first_day("7d", today) == date(2026, 11, 22)
    assert _first_day("2026-11-01", today) == date(2026, 11, 1)
    for wrong in ("", "week", "7", "2026-13-01", "99999d"):
        with pytest.raises(CommandError, match="--since must be"):
            _first_day(wrong, today)
