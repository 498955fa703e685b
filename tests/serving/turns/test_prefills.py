"""The engine reads a bounded number of tokens of one key's prompts at a time, whatever the key sends."""

import asyncio
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.request.traffic import Call
from serving.turns.prefills import Prefills

ROOM = 100


class Processor:
    """What vLLM's output processor shows: the requests' states, and their outputs passing by."""

    def __init__(self):
        self.request_states, self.passed = {}, []

    def add(self, name, parent=None):
        parent_req = None if parent is None else SimpleNamespace(request_id=parent)
        self.request_states[name] = SimpleNamespace(
            request_id=name, parent_req=parent_req, is_prefilling=True
        )

    def process_outputs(self, outputs):
        self.passed.extend(outputs)


class Prompt:
    """One prompt on its way: `admission` once the engine may read it."""

    def __init__(self, prefills, tokens, key="k", name=""):
        self.call, self.tokens, self.admission = Call(key), tokens, None
        self.task = asyncio.create_task(self._run(prefills, name))

    async def _run(self, prefills, name):
        self.admission = await prefills.enter(self.call, self.tokens)
        if name:
            prefills.name(self.admission, name)

    @property
    def reading(self):
        return self.admission is not None and not self.admission.ended


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_twenty_long_prompts_of_a_key_are_read_two_at_a_time():
    """Each answer lets the next one in, in order; another key's small chat never waits."""
    prefills = Prefills(ROOM)
    hostile = [Prompt(prefills, 50) for _ in range(20)]
    await settle()
    for first in range(0, 20, 2):
        small = Prompt(prefills, 5, "other")
        await settle()
        assert [at for at, one in enumerate(hostile) if one.reading] == [first, first + 1]
        assert small.reading
        for one in hostile[first : first + 2]:
            one.call.end()
        await settle()


async def test_a_prompt_beyond_the_room_is_read_alone():
    """It is never refused, and small prompts behind it keep their order."""
    prefills = Prefills(ROOM)
    first, large, small = (Prompt(prefills, tokens) for tokens in (10, 500, 10))
    await settle()
    assert [one.reading for one in (first, large, small)] == [True, False, False]
    first.call.end()
    await settle()
    assert [one.reading for one in (large, small)] == [True, False]
    large.call.end()
    await settle()
    assert small.reading


async def test_the_first_output_of_the_engine_lets_the_next_prompt_in():
    """Not the end of the answer, which comes much later; of several choices the first counts."""
    prefills, processor = Prefills(ROOM), Processor()
    prefills.follow(processor)
    first = Prompt(prefills, 100, name="a")
    second = Prompt(prefills, 100, name="b")
    third = Prompt(prefills, 100)
    await settle()
    processor.add("a")
    processor.add("0_b", parent="b")
    outputs = [SimpleNamespace(request_id=name) for name in ("a", "unknown")]
    processor.process_outputs(outputs)
    await settle()
    assert processor.passed == outputs
    assert first.call.first_token is not None
    assert [one.reading for one in (first, second, third)] == [False, True, False]
    processor.process_outputs([SimpleNamespace(request_id="0_b")])
    await settle()
    assert third.reading


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 250), st.sampled_from("ab")),
            st.tuples(st.just("end"), st.integers(0, 30), st.just("")),
            st.tuples(st.just("cancel"), st.integers(0, 30), st.just("")),
        ),
        max_size=40,
    )
)
def test_no_order_of_requests_answers_and_hang_ups_breaks_the_bound(steps):
    """Of each key the room, or one prompt, is read; once all have left nothing is remembered."""

    async def run():
        prefills, asked = Prefills(ROOM), []
        for what, number, key in steps:
            if what == "ask":
                asked.append(Prompt(prefills, number, key))
            elif asked and what == "end":
                asked[number % len(asked)].call.end()
            elif asked:
                asked[number % len(asked)].task.cancel()
            if number % 3:  # otherwise several things happen in one turn of the loop
                await settle()
            for whose in "ab":
                read = [one.tokens for one in asked if one.reading and one.call.key == whose]
                assert sum(read) <= ROOM or sum(tokens > 0 for tokens in read) == 1
        for _ in asked:
            await settle()
            for one in asked:
                one.call.end()
        await settle()
        assert all(one.task.done() for one in asked)
        assert not any((prefills._reading, prefills._lines, prefills._admitted))

    asyncio.run(run())
