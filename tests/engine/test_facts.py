"""What objects know of each other, with several workers at work."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.conditions import ConditionType, Status
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Observation
from reconciler.engine.facts import FactBook, View
from tests.engine.conftest import ThingOutputs, key

NAMES = ("app", "catalogue", "environment")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("read"),
            st.sampled_from(NAMES),
            st.sampled_from(NAMES),
            st.sampled_from(("last", "part", "outputs")),
        ),
        st.tuples(
            st.just("see"), st.sampled_from(NAMES), st.integers(0, 2), st.sampled_from("abc")
        ),
        st.tuples(st.just("open"), st.sampled_from(NAMES), st.booleans(), st.none()),
        st.tuples(st.just("forget"), st.sampled_from(NAMES), st.none(), st.none()),
    ),
    max_size=30,
)


def of_keys(outputs):
    return outputs.values["keys"]


def read(view, name, how):
    """What a view tells of an object; nothing where it refuses."""
    try:
        if how == "part":
            return view.part(key(name), ThingOutputs, of_keys)
        return getattr(view, how)(key(name), ThingOutputs)
    except NotReadyYet:
        return None


@given(STEPS)
def test_a_look_is_outdated_exactly_while_what_it_read_reads_otherwise(steps):
    """Whatever is read, in whatever way, is a dependency: the reader is named by `outdated` for the
    objects that it read and that read otherwise now, and by nothing else.
    """
    book, looks = FactBook(lambda _key: {}), {}
    for verb, name, what, how in steps:
        if verb == "read":
            view = View(book, key(name))
            looks[name] = (what, how, read(view, what, how))
            book.keep(view)
        elif verb == "see":
            outputs = ThingOutputs({"generation": what, "keys": how})
            book.see(key(name), Observation(True, outputs=outputs))
        elif verb == "open":
            book.set_open(key(name), is_open=what)
        else:
            book.forget(key(name))
            looks.pop(name, None)
        late = {
            reader: other
            for reader, (other, how_read, value) in looks.items()
            if reader != other and read(View(book, key(reader)), other, how_read) != value
        }
        for each in NAMES:
            expected = {key(reader) for reader, other in late.items() if other == each}
            assert book.outdated(key(each)) - {key(each)} == expected - {key(each)}
            assert (key(each) in book.outdated(key(each))) == (each in late)


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(25))
async def test_no_moment_calls_in_sync_what_has_not_followed(harness, seed):
    """Objects read each other across documents and without reference, looks take time, and facts
    change while others look: whenever a document says Synced, the last look at each of its objects
    saw the facts of now; and in the end all are.
    """
    dice = random.Random(seed)
    names = [f"thing-{number}" for number in range(5)]
    documents = [harness.state(harness.DOC._replace(name=f"doc-{number}")) for number in range(2)]
    things = [harness.thing(name, (), dice.choice(documents).ref, size=1) for name in names]
    for place, name in enumerate(names[1:], 1):
        harness.kind.reads[name] = harness.key(dice.choice(names[:place]))

    async def slow(verb, name):
        await asyncio.sleep(dice.uniform(0, 2))

    harness.kind.before_call = slow
    async with harness.running(
        *things, documents=documents, watch=lambda *_: check()
    ) as controller:

        def check():
            records = {record.key: record for record in controller.records()}
            for document in documents:
                said = controller.conditions(document.ref).get(ConditionType.SYNCED)
                if said is None or said.status is not Status.TRUE:
                    continue
                for reader, other in harness.kind.reads.items():
                    mine, theirs = records[harness.key(reader)], records[other]
                    if mine.document == document.ref:
                        assert mine.outputs.get("seen-at") == theirs.outputs.get("at")

        await controller.settled()
        for turn in range(6):
            name = dice.choice(names)
            harness.cloud.objects[name]["outputs"] = {"at": turn}
            controller.trigger([harness.key(name), harness.key(dice.choice(names))])
            await asyncio.sleep(dice.uniform(0, 4))
        await controller.settled()
        check()
        assert {harness.condition(controller, "Synced", each.ref)[0] for each in documents} == {
            "True"
        }
