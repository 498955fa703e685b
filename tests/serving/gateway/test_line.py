"""The line before a service that starts, against a plain list."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.line import Line, LineFullError

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 50)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("open"), st.just(0)),
        st.tuples(st.just("fail"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, most=st.integers(1, 6))
def test_everybody_is_let_on_in_the_order_of_tickets(steps, most):
    """Whoever joins, leaves and comes again: at most `most` wait, an opened line lets all on by
    ticket, and nobody is forgotten.
    """
    asyncio.run(_walk(steps, most))


async def _walk(steps, most):
    line, waiting, order = Line(most), [], []
    for step, value in steps:
        if step == "join":
            if len(waiting) == most:
                with pytest.raises(LineFullError):
                    line.join(value)
                continue
            place = line.join(value)
            place.add_done_callback(lambda _, place=place: order.append(place))
            waiting.append((value, place))
        elif step == "leave" and value < len(waiting):
            line.leave(waiting.pop(value)[1])
        elif step in ("open", "fail"):
            line.open() if step == "open" else line.fail(OSError("gone"))
            order.clear()
            await asyncio.sleep(0)
            expected = [place for _, place in sorted(waiting, key=lambda one: one[0])]
            assert order == expected
            assert all((place.exception() is None) == (step == "open") for place in order)
            waiting = []
        assert len(line) == len(waiting)
    line.open()
    await asyncio.sleep(0)
    assert all(place.done() for _, place in waiting)


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
