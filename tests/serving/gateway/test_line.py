"""The line before a service that starts, against a plain list."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway import line as lines
from serving.gateway.line import WINDOW, Line, LineFullError

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 50)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["open", "fail", "sent"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, most=st.integers(1, 6))
def test_everybody_is_let_on_in_the_order_of_tickets(steps, most):
    """Whoever joins, leaves and comes again: at most `most` wait, an opened line lets all on by
    ticket and has one sent at a time, and nobody is forgotten.
    """
    asyncio.run(_walk(steps, most))


async def _walk(steps, most):
    line, waiting, leaving = Line(most), [], []
    for step, value in steps:
        if step == "join":
            if len(waiting) == most and not leaving:
                with pytest.raises(LineFullError):
                    line.join(value)
                continue
            place = line.join(value)
            if leaving:  # the line moves: nobody is to be woken for whoever comes now
                leaving.append(place)
            else:
                waiting.append((value, place))
        elif step == "leave" and value < len(waiting):
            line.leave(waiting.pop(value)[1])
        elif step == "leave" and value - len(waiting) < len(leaving):
            line.leave(leaving.pop(value - len(waiting)))
        elif step == "sent" and leaving:
            leaving.pop(0).result().sent()
        elif step in ("open", "fail"):
            places = [place for _, place in sorted(waiting, key=lambda one: one[0])]
            line.open() if step == "open" else line.fail(OSError("gone"))
            if step == "open":
                leaving += places
            else:
                assert all(place.exception() for place in places)
            waiting = []
        turns = [place.result() for place in leaving]
        assert [turn._first.is_set() for turn in turns] == [True, *[False] * len(turns)][
            : len(turns)
        ]
        assert len(line) == len(waiting)
        assert line.moving == bool(leaving)


async def test_a_long_line_is_let_on_by_windows():
    """Of a herd no more than a window's requests connect at the same time; each that was sent lets
    the next on.
    """
    line = Line(500)
    places = [line.join(number) for number in range(100)]
    line.open()
    for number, place in enumerate(places):
        assert sum(each.done() for each in places) == min(100, number + WINDOW)
        turn = place.result()
        await turn.come()
        turn.sent()
        turn.sent()  # said twice, it counts once
    assert not line.moving


async def test_a_request_that_hangs_holds_nobody_up_for_long(monkeypatch):
    """Whoever stands behind a request that is never sent goes after the longest turn."""
    monkeypatch.setattr(lines, "LONGEST_TURN", 0.05)
    line = Line(5)
    hangs, behind = line.join(1), line.join(2)
    line.open()
    async with asyncio.timeout(30):
        await behind.result().come()
    behind.result().sent()
    assert line.moving
    hangs.result().sent()
    assert not line.moving


async def test_who_waits_again_comes_before_who_came_later():
    """A request whose try failed has the place of its arrival, not a new one."""
    line = Line(5)
    late, early = line.join(7), line.join(2)
    order = []
    for place in (late, early):
        place.add_done_callback(order.append)
    line.open()
    await asyncio.sleep(0)
    assert order == [early, late]
