"""A scripted kind over an imaginary cloud, and a loop around it; virtual time comes
from looptime.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from reconciler.api.outputs import Outputs
from reconciler.engine.controller import Controller
from reconciler.engine.diff import diff
from reconciler.engine.document_state import DocumentState
from reconciler.engine.external import (
    Desired,
    DocumentRef,
    Facts,
    Identity,
    ObjectKey,
    Observation,
    Operation,
    Progress,
    Wrote,
)
from reconciler.engine.result import Pacing
from reconciler.engine.rules import Rules
from reconciler.engine.store import MEMORY, Store


class VirtualClock:
    """Durations by the loop's virtual time; `wall` jumps as a test sets it, and `boot` names the
    boot.
    """

    def __init__(self) -> None:
        self.boot, self.wall = "boot-1", 1_700_000_000.0

    def now(self) -> float:
        return self.wall + self.elapsed()

    def elapsed(self) -> float:
        return 1000.0 + asyncio.get_running_loop().time()


DOC = DocumentRef("Service", "phi")


@dataclass(frozen=True)
class Spec:
    """What the scripted kind understands: the body of an object."""

    body: Mapping[str, Any]


@dataclass(frozen=True)
class ThingOutputs(Outputs):
    """Facts of any name."""

    values: Mapping[str, Any]

    def dump(self) -> dict[str, Any]:
        return dict(self.values)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> ThingOutputs | None:
        return cls(dict(stored)) if stored else None


@dataclass
class Cloud:
    """What survives the daemon: objects, operations under way, and the journal of every call."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, tuple[int, Callable[[], None], Exception | None]] = field(
        default_factory=dict
    )
    calls: list[tuple[str, str]] = field(default_factory=list)

    def writes(self, name: str | None = None) -> list[str]:
        return [
            verb
            for verb, of in self.calls
            if verb in ("create", "update", "delete") and name in (None, of)
        ]


class ScriptedKind:
    """An `External` that does as it is told: errors to raise next, operations that take polls,
    writes that do not stick.
    """

    def __init__(self, cloud: Cloud, name: str = "Thing") -> None:
        self.name, self.cloud = name, cloud
        self.errors: dict[str, list[Exception]] = defaultdict(list)
        self.polls = 0
        self.retry_after: float | None = None
        self.operation_error: Exception | None = None
        self.sticks = True
        self.unready: set[str] = set()
        self.busy: set[str] = set()
        self.rules = Rules()
        self.observation: dict[str, Any] = {}
        self.before_call: Callable[[str, str], Awaitable[None]] | None = None
        self.reads: dict[str, ObjectKey] = {}
        self.held: set[str] = set()
        self.same: dict[str, str] = {}  # another name of a resource

    async def observe(self, desired: Desired, facts: Facts) -> Observation:
        await self._call("observe", desired)
        name = desired.key.name
        last = facts.last(self.reads[name], ThingOutputs) if name in self.reads else None
        seen = last.values if last else {}
        body = self.cloud.objects.get(name)
        if body is None:
            return Observation(exists=False)
        changes = diff(desired.spec.body, body, self.rules)
        outputs = {
            "id": f"/things/{name}",
            **{f"seen-{k}": v for k, v in seen.items()},
            **body.get("outputs", {}),
        }
        observed = Observation(
            True,
            ready=name not in self.unready,
            busy=name in self.busy,
            changes=changes,
            outputs=ThingOutputs(outputs),
            poll_after=None,
        )
        scripted = dict(self.observation.get(name, {}))
        if "outputs" in scripted:
            scripted["outputs"] = ThingOutputs(scripted["outputs"])
        return replace(observed, **scripted)

    async def create(self, desired: Desired, facts: Facts) -> Wrote:
        return await self._write("create", desired, facts)

    async def update(self, desired: Desired, observed: Observation, facts: Facts) -> Wrote:
        return await self._write("update", desired, facts)

    def identify(self, desired: Desired) -> Identity:
        name = desired.key.name
        return Identity(desired.key, f"/things/{self.same.get(name, name)}")

    async def exists(self, identity: Identity) -> bool:
        await self._call("exists", identity)
        return identity.id.removeprefix("/things/") in self.cloud.objects

    async def delete(self, identity: Identity) -> Wrote | None:
        await self._call("delete", identity)
        name = identity.id.removeprefix("/things/")
        return self._operate(f"delete {name}", lambda: self.cloud.objects.pop(name, None) and None)

    async def poll(self, identity: Identity, operation: str) -> Progress:
        await self._call("poll", identity)
        left, effect, error = self.cloud.operations[operation]
        if left > 0:
            self.cloud.operations[operation] = (left - 1, effect, error)
            return Progress(done=False, retry_after=1.0)
        effect()
        return Progress(done=True, error=error)

    async def _write(self, verb: str, desired: Desired, facts: Facts) -> Wrote:
        for ref in desired.refs:
            facts.outputs(ref, ThingOutputs)
        await self._call(verb, desired)
        name, body = desired.key.name, desired.spec.body

        def effect() -> None:
            if self.sticks:
                self.cloud.objects[name] = {**self.cloud.objects.get(name, {}), **body}

        return self._operate(f"{verb} {name}", effect)

    def _operate(self, message: str, effect: Callable[[], None]) -> Wrote:
        if self.polls == 0:
            effect()
            return Wrote(message)
        token = f"op-{len(self.cloud.operations)}"
        self.cloud.operations[token] = (self.polls, effect, self.operation_error)
        return Wrote(message, Operation(token, self.retry_after))

    async def _call(self, verb: str, of: Desired | Identity) -> None:
        name = of.key.name
        assert name not in self.held, f"two workers hold {name}"
        self.held.add(name)
        try:
            self.cloud.calls.append((verb, name))
            if self.before_call:
                await self.before_call(verb, name)
            if self.errors[verb]:
                raise self.errors[verb].pop(0)
        finally:
            self.held.discard(name)


def key(name: str) -> ObjectKey:
    return ObjectKey("Thing", name)


def thing(
    name: str, refs: tuple[str, ...] = (), document: DocumentRef = DOC, **rest: Any
) -> Desired:
    """A desired object; unknown keywords are its body."""
    known = {
        field: rest.pop(field) for field in ("generation", "policy", "retain") if field in rest
    }
    return Desired(key(name), document, Spec(rest), tuple(key(ref) for ref in refs), **known)


def state(document: DocumentRef = DOC, **rest: Any) -> DocumentState:
    return DocumentState(document, **rest)


class Harness:
    """One daemon's life; several may follow each other over the same cloud and store."""

    DOC = DOC
    key = staticmethod(key)
    thing = staticmethod(thing)
    state = staticmethod(state)

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.kind = ScriptedKind(self.cloud)
        self.store = Store.open(MEMORY, "test")
        self.clock = VirtualClock()

    def controller(self, **rest: Any) -> Controller:
        rest.setdefault("pacing", Pacing())
        return Controller([self.kind], self.store, clock=self.clock, **rest)

    @asynccontextmanager
    async def running(
        self, *desired: Desired, documents: tuple[DocumentState, ...] = (), **rest: Any
    ) -> AsyncIterator[Controller]:
        """A daemon that is killed, as by kill -9, at the end."""
        controller = self.controller(**rest)
        controller.set_desired(desired, documents or [state()])
        task = asyncio.create_task(controller.run())
        try:
            yield controller
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @staticmethod
    def approve_all(controller: Controller) -> tuple[ObjectKey, ...]:
        return tuple(key for each in controller.approvable() for key in controller.approve(each))

    def condition(
        self, controller: Controller, kind: str, document: DocumentRef = DOC
    ) -> tuple[str, str]:
        found = controller.conditions(document).get(kind)
        assert found is not None, f"no condition {kind}"
        return found.status.value, found.reason

    def reasons(self, controller: Controller) -> list[str]:
        return [event.reason for event in controller.events()]


@pytest.fixture
def harness() -> Harness:
    return Harness()
