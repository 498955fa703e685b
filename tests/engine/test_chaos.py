"""Level-triggered means: whatever was edited, broken, changed or killed before, the end depends on
the last documents alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.api.reasons import Reason
from reconciler.engine.errors import Busy, Throttled, TransportFailed
from reconciler.engine.store import MEMORY, Store
from reconciler.engine.verdict import ExitClass

NAMES = ["group", "env", "app", "other"]
REFS = {"group": (), "env": ("group",), "app": ("env",), "other": ("group",)}

wanted = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), max_size=4)
trouble = st.sampled_from(
    [
        TransportFailed(Reason.AZURE_UNREACHABLE, "x"),
        Throttled(Reason.THROTTLED, "x", 3.0),
        Busy(Reason.OPERATION_IN_PROGRESS, "x"),
    ]
)
steps = st.one_of(
    st.tuples(st.just("edit"), wanted),
    st.tuples(st.just("drift"), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(
        st.just("fail"),
        st.tuples(st.sampled_from(["observe", "create", "update", "delete", "poll"]), trouble),
    ),
    st.tuples(st.just("slow"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 1.0, 7.0, 40.0])),
    st.tuples(st.just("kill"), st.none()),
    st.tuples(st.just("forget"), st.none()),
)


def closed(sizes: dict[str, int]) -> dict[str, int]:
    """With everything that the named objects refer to."""
    whole = dict(sizes)
    for name in ("app", "env", "other"):
        if name in whole:
            for ref in REFS[name]:
                whole.setdefault(ref, 0)
    return whole if whole.keys() >= {ref for name in whole for ref in REFS[name]} else closed(whole)


class Story:
    """One cloud, a series of daemons, and what happens to them."""

    def __init__(self, harness: Any) -> None:
        self.harness, self.sizes = harness, {"group": 0}
        self.task: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        self.controller = self.harness.controller()
        self.want()
        self.task = asyncio.create_task(self.controller.run())

    def want(self) -> None:
        harness = self.harness
        things = [harness.thing(name, REFS[name], size=size) for name, size in self.sizes.items()]
        self.controller.set_desired(things, [harness.state(prune=True)])
        # What the inventory would say: everything that exists is ours.
        self.controller.set_orphans(
            [harness.thing(name, REFS[name], size=0) for name in harness.cloud.objects]
        )

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def happen(self, what: str, how: Any) -> None:
        cloud, kind = self.harness.cloud, self.harness.kind
        match what:
            case "edit":
                self.sizes = closed(how)
                self.want()
            case "drift" if how in cloud.objects:
                cloud.objects[how]["size"] = 99
            case "remove":
                cloud.objects.pop(how, None)
            case "fail":
                kind.errors[how[0]].append(how[1])
            case "slow":
                kind.polls = how
            case "wait":
                await asyncio.sleep(how)
            case "kill" | "forget":
                await self.kill()
                if what == "forget":
                    self.harness.store = Store.open(MEMORY, "test")
                    for _, effect, _ in cloud.operations.values():
                        effect()
                    cloud.operations.clear()
                self.start()


async def tell(new_harness: Callable[[], Any], happenings: list[tuple[str, Any]]) -> None:
    story = Story(new_harness())
    for what, how in happenings:
        await story.happen(what, how)
    await asyncio.sleep(150)  # two resyncs and the grace period, so that nothing rests on an edge
    async with asyncio.timeout(600):
        assert await story.controller.settled() is ExitClass.DONE
    cloud = story.harness.cloud
    assert {name: body["size"] for name, body in cloud.objects.items()} == story.sizes
    writes = len(cloud.writes())
    await asyncio.sleep(200)
    assert len(cloud.writes()) == writes, "it writes on although all is as desired"
    await story.controller.stop()
    await story.task


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, max_size=12))
def test_the_end_depends_on_the_last_documents_alone(harness, happenings):
    """After any sequence of edits, drift, errors, kills and losses of memory the cloud holds
    exactly what is asked for.
    """
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(tell(type(harness), happenings))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.mark.looptime
async def test_one_hard_story(harness):
    """A kill in the middle of an operation, a forgotten state, an edit meanwhile, and a removed
    group.
    """
    happenings = [
        ("slow", 3),
        ("edit", {"app": 1, "other": 2}),
        ("wait", 1.0),
        ("kill", None),
        ("edit", {"other": 1}),
        ("forget", None),
        ("remove", "group"),
        ("fail", ("delete", TransportFailed(Reason.AZURE_UNREACHABLE, "x"))),
    ]
    await tell(type(harness), happenings)
