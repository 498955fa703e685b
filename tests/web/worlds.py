"""Stores as a daemon leaves them, for the page: a service that serves, sleeps, starts, fails, waits,
is held, and any number of them.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.decided import ASKED
from reconciler.api.kinds import Kind
from reconciler.api.reasons import Cause, Reason
from reconciler.api.resources import Return
from reconciler.engine.events import normal, warning
from reconciler.engine.external import DocumentRef, ObjectKey, Policy
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from reconciler.sources.orders import order_rollback
from reconciler.sources.policy import grant
from reconciler.web.decisions import WriteToken
from reconciler.web.generations import note
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.server import WebServer
from reconciler.web.spending import ReplicaPrice
from reconciler.web.status import status_of
from reconciler.web.view import PageFacts, PageView, view_of

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
TOKEN = "t" * 43
GOOD = "3f9c21aa" + "0" * 56
NEW = "77ab01ff" + "0" * 56
BOOT, ELAPSED = "boot", 1000.0
LINES = "ValueError: max_model_len 8192 is larger than 4096 | Engine core died | exit code 1"
FAILED = (
    "the container of revision phi--r2 exits again and again. phi's last output: " + LINES + "."
    " phi--r1 still serves"
)


def first_tokens(median: float) -> dict[str, Any]:
    return {"count": 40, "median": median, "p95": 3 * median}


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """A store with what a daemon would have written; `put` adds a document in one of its states."""

    def __init__(self, path: Path | str = ":memory:", target: str = "local") -> None:
        self.store = Store.open(path, target)
        self.leading = True
        self.prices: dict[str, ReplicaPrice] = {}
        self.store.put("boot", BOOT)
        self.environment()

    def environment(self, name: str = "default", **change: Any) -> None:
        ref = DocumentRef("Environment", name)
        good = (Status.TRUE, Reason.ALL_GOOD, "")
        bad = (Status.FALSE, change.get("reason"), change.get("message", ""))
        states = dict.fromkeys([ConditionType.READY, ConditionType.SYNCED], bad)
        self._conditions(ref, states if change else {ConditionType.READY: good})
        for kind in (Kind.RESOURCE_GROUP, Kind.STORAGE_ACCOUNT, Kind.SHARE, Kind.ENVIRONMENT):
            refs = () if kind is Kind.RESOURCE_GROUP else (ObjectKey(Kind.RESOURCE_GROUP, name),)
            self._record(kind, name, ref, refs=refs, **change)

    def service(self, name: str = "phi", state: str = "serves") -> None:
        """`state` is the name of a method below."""
        ref = DocumentRef("InferenceService", name)
        lent = (ObjectKey(Kind.ENVIRONMENT, "default"),)
        self._record(Kind.FOLDER, f"models/{name}", ref, refs=lent)
        folder = ObjectKey(Kind.FOLDER, f"models/{name}")
        adapters = [{"name": "support", "digest": GOOD}, {"name": "sales", "digest": GOOD}]
        outputs = {"engine": "e", "epoch": 1, "generation": 3, "adapters": adapters}
        self._record(Kind.CATALOGUE, name, ref, refs=(folder,), outputs=outputs)
        note(self.store, name, f"{name}--r1", [])
        note(self.store, name, f"{name}--r2", ["template.containers[vllm].args", "template.scale"])
        getattr(self, f"_{state}")(name, ref)
        self.store.add_event(
            normal(Reason.UPDATING, f"updating {name}", ObjectKey(Kind.APP, name), ref),
            (NOW - timedelta(hours=3)).timestamp(),
        )

    def _serves(self, name: str, ref: DocumentRef) -> None:
        self._conditions(ref, {ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, "")})
        self._app(name, ref, weights=(0, 100), replicas=2)

    def _asleep(self, name: str, ref: DocumentRef) -> None:
        self._conditions(ref, {ConditionType.READY: (Status.TRUE, Reason.SCALED_TO_ZERO, "")})
        self._app(name, ref, weights=(0, 100), replicas=0, asleep=True)

    def _starts(self, name: str, ref: DocumentRef) -> None:
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.FALSE, Reason.STARTING, "a replica reads the model"),
                ConditionType.SYNCED: (Status.FALSE, Reason.STARTING, "a replica reads the model"),
                ConditionType.PROGRESSING: (Status.TRUE, Reason.STARTING, ""),
            },
        )
        self._app(name, ref, weights=(0, 100), replicas=1, ready=0, phase=Phase.UNREADY)

    def _fails(self, name: str, ref: DocumentRef) -> None:
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.FALSE, Reason.REVISION_FAILED, FAILED),
                ConditionType.SYNCED: (Status.FALSE, Reason.REVISION_FAILED, FAILED),
                ConditionType.PROGRESSING: (Status.FALSE, Reason.REVISION_FAILED, FAILED),
            },
        )
        self._app(
            name,
            ref,
            weights=(0, 100),
            replicas=1,
            ready=0,
            phase=Phase.UNREADY,
            failed=True,
            reason=Reason.REVISION_FAILED,
            message=FAILED,
        )
        self.store.add_event(
            warning(Reason.REVISION_FAILED, FAILED, ObjectKey(Kind.APP, name), ref),
            (NOW - timedelta(minutes=5)).timestamp(),
        )

    def _stalls(self, name: str, ref: DocumentRef) -> None:
        why = "the subscription has no quota for another Consumption-GPU-NC24-A100"
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.FALSE, Reason.WAITING_FOR_REFERENCE, why),
                ConditionType.SYNCED: (Status.FALSE, Reason.WAITING_FOR_REFERENCE, why),
                ConditionType.STALLED: (Status.TRUE, Reason.IMMUTABLE_FIELD, why),
            },
        )
        self._record(Kind.JOB, name, ref, phase=Phase.STALLED, message=why, exists=False)
        job = (ObjectKey(Kind.JOB, name),)
        self._record(Kind.APP, name, ref, refs=job, phase=Phase.WAITING, exists=False)

    def _waits(self, name: str, ref: DocumentRef) -> None:
        said = f"would delete ContainerApp/{name}; `moorage approve` or prune: true lets it"
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, ""),
                ConditionType.SYNCED: (Status.FALSE, Reason.AWAITING_APPROVAL, said),
            },
        )
        self._app(
            name,
            ref,
            weights=(0, 100),
            replicas=1,
            reason=Reason.AWAITING_APPROVAL,
            phase=Phase.BLOCKED,
            gone=10.0,
            message=f"would delete ContainerApp/{name}",
        )

    def _manual(self, name: str, ref: DocumentRef) -> None:
        said = "syncPolicy.automated is false"
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, ""),
                ConditionType.SYNCED: (Status.FALSE, Reason.AWAITING_APPROVAL, said),
            },
        )
        changes = ("template.scale.maxReplicas: 1 -> 4", "template.containers[vllm].image: a -> b")
        self._app(
            name,
            ref,
            weights=(0, 100),
            replicas=1,
            policy=Policy.ASK,
            synced=False,
            phase=Phase.BLOCKED,
            changes=changes,
        )
        self.store.put(f"version {ref}", "v")

    def _decided(self, name: str, ref: DocumentRef) -> None:
        self._held(name, ref, f"{ASKED} it")

    def _held(self, name: str, ref: DocumentRef, why: str = "") -> None:
        holds = f"revision {name}--r1 serves until the document's spec changes"
        said = f"{why or f'revision {name}--r2 did not serve'}; {holds}"
        self._conditions(
            ref,
            {
                ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, ""),
                ConditionType.SYNCED: (Status.FALSE, Reason.ROLLED_BACK, said),
            },
        )
        self._app(name, ref, weights=(100, 0), replicas=1, held="it did not serve", synced=False)

    def _steps(self, name: str, ref: DocumentRef) -> None:
        self._conditions(ref, {ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, "")})
        self._app(name, ref, weights=(80, 20), replicas=1)

    def _unknown(self, name: str, ref: DocumentRef) -> None:
        said = "Azure does not answer"
        states = {ConditionType.READY: (Status.UNKNOWN, Reason.NOT_OBSERVED, said)}
        self._conditions(ref, states)
        self._app(name, ref, weights=(0, 100), replicas=1)

    def _app(
        self,
        name: str,
        ref: DocumentRef,
        *,
        weights: tuple[int, int],
        replicas: int,
        ready: int | None = None,
        asleep: bool = False,
        held: str | None = None,
        **record: Any,
    ) -> None:
        ready = replicas if ready is None else ready
        named = [(f"{name}--r1", weights[0]), (f"{name}--r2", weights[1])]
        serving = bool(ready) or asleep
        rows = [
            {
                "name": revision,
                "active": weight > 0,
                "trafficWeight": weight,
                "healthState": "Healthy" if serving else "Unhealthy",
                "runningState": "Running" if serving else "Failed",
                "serving": serving and weight > 0,
            }
            for revision, weight in named
        ]
        listed = [
            {
                "name": revision,
                "active": weight > 0,
                "weight": weight,
                "health": "Healthy",
                "running": "Running",
                "replicas": replicas if weight else 0,
                "createdTime": ago(days=2 - i),
            }
            for i, (revision, weight) in enumerate(named)
        ]
        carries = named[0][0] if weights[0] else named[1][0]
        seen, living = [], []
        for i in range(replicas):
            one = {"name": f"{carries}-abc{i}", "revision": carries, "ready": i < ready}
            one["restarts"] = 0
            seen.append({**one, "createdTime": ago(seconds=41), "details": ""})
            adapters = [
                self._adapter("support", GOOD, i < ready),
                self._adapter("sales", GOOD, True),
            ]
            startup = {"predictedSeconds": 300, "seconds": 212.0 if i < ready else None}
            more = {"pid": 7, "startedAt": ago(hours=1), "adapters": adapters, "message": ""}
            traffic = {"requests": 40, "errors": i, "firstTokens": first_tokens(0.2 + i)}
            living.append({**one, **more, "startup": startup, "traffic": traffic})
        outputs = {
            "id": f"/subscriptions/0/{name}",
            "endpoint": f"https://{name}.swedencentral.example",
            "askedRevision": f"{name}--r2",
            "held": held,
            "asleep": asleep,
            "arm": {"revisions": listed, "replicas": seen, "lookedAt": ago(seconds=3)},
            "revisions": rows,
            "replicas": living,
            "proven": serving,
        }
        refs = (ObjectKey(Kind.CATALOGUE, name), ObjectKey(Kind.ENVIRONMENT, "default"))
        self._record(Kind.APP, name, ref, refs=refs, outputs=outputs, **record)

    @staticmethod
    def _adapter(name: str, digest: str, loaded: bool) -> dict[str, Any]:
        state = "Loaded" if loaded else "Loading"
        counted = {"requests": 20, "errors": 1, "firstTokens": first_tokens(0.3)}
        return {"name": name, "digest": digest, "desired": digest, "state": state, **counted}

    def gateway(self, *services: tuple[str, str], environment: str = "default") -> None:
        """A gateway in front of services, each with its state."""
        ref = DocumentRef("Environment", environment)
        routed = [{"name": name, "state": state, "held": 2} for name, state in services]
        used = {"since": "2026-11-28", "requests": 12, "inputTokens": 3456, "outputTokens": 789}
        usage = [{"caller": "team", **used}, {"caller": "default", **used, "errors": 3}]
        outputs = {"generation": 1, "services": routed, "usage": usage}
        self._record(Kind.ROUTES, environment, ref, outputs=outputs)
        app = {"endpoint": f"https://gw-{environment}.swedencentral.example"}
        self._record(Kind.APP, f"gw-{environment}", ref, outputs=app)

    def _record(self, kind: Kind, name: str, ref: DocumentRef, **values: Any) -> None:
        known = {
            "phase": Phase.READY,
            "exists": True,
            "usable": True,
            "synced": True,
            "since": ELAPSED - 60,
            "id": f"/subscriptions/0/{kind}/{name}",
        }
        self.store.put_object(ObjectRecord(ObjectKey(kind, name), ref, **{**known, **values}))

    def _conditions(
        self, ref: DocumentRef, states: dict[ConditionType, tuple[Status, Cause, str]]
    ) -> None:
        marks = ConditionSet(lambda: NOW - timedelta(minutes=5))
        plain = {
            ConditionType.SYNCED: (Status.TRUE, Reason.IN_SYNC, ""),
            ConditionType.STALLED: (Status.FALSE, Reason.NOT_STALLED, ""),
            ConditionType.DRIFTED: (Status.FALSE, Reason.NO_DRIFT, ""),
        }
        for kind, (status, reason, message) in {**plain, **states}.items():
            marks.mark(kind, status, reason, message, generation=2)
        self.store.put_document(ref, 2, "default", prune=False)
        self.store.put_conditions(ref, 2, marks)

    # the deeds of the page, as a daemon would do them

    def approve(self, waits: Any, who: str) -> None:
        grant(self.store, [waits], NOW.timestamp(), who)

    def roll_back(self, service: str, to: Return, who: str) -> None:
        order_rollback(self.store, service, to, NOW.timestamp(), who)

    def strategy(self, service: str) -> str:
        return "Recreate"

    def look(self, _fresh: bool = True) -> PageView:
        version = self.store.database.connection.total_changes
        facts = PageFacts(
            "local Azure", self.leading, "", "", BOOT, ELAPSED, "", version, self.prices
        )
        return view_of(self.store, facts, NOW)

    @asynccontextmanager
    async def served(
        self, host: str = "127.0.0.1", read_token: str = "", port: int = 0
    ) -> AsyncIterator[str]:
        """The address of the page of this world."""
        pages = Pages(self.store, self.look, self, WriteToken(TOKEN, "the page-token file"))
        server = WebServer(
            socket.create_server((host, port)),
            lambda: status_of(self.store, "local Azure", {"running": True, "pid": 7}),
            DaemonMetrics({"GET": 3}),
            lambda: True,
            pages,
            read_token,
        )
        async with server:
            yield server.address.rstrip("/")


STATES = ("serves", "asleep", "starts", "fails", "stalls", "waits", "manual", "held", "unknown")


def many(count: int) -> World:
    """Mostly well, as it is; the first of each state are among them from ten on."""
    world = World()
    for number in range(count):
        states = STATES if count > 10 and number < len(STATES) else ("serves", "asleep")
        world.service(f"service-{number:03}", states[number % len(states)])
    return world


def broken() -> World:
    """Nothing is well, and the last save is refused."""
    world = World()
    for state in ("fails", "stalls", "unknown", "waits"):
        world.service(f"{state}-everywhere-with-a-long-name", state)
    world.environment(
        "default",
        phase=Phase.RETRYING,
        reason=Reason.AZURE_UNREACHABLE,
        message="Azure does not answer: " + "x" * 300,
    )
    world.store.put("problems", "moorage.yaml:3:7: unknown key 'modle'\n  did you mean 'model'?")
    return world


async def text(http, url, **options):
    """The status and the text of a page."""
    async with http.get(url, **options) as answer:
        return answer.status, await answer.text()
