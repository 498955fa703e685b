"""Whether a service can be used, from Azure's list of its replicas. Reading the list never starts a
replica.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.api.kinds import Kind
from reconciler.arm import apps, ids
from reconciler.arm.clients import Arm
from reconciler.engine.errors import ReconcileError


class StateKind(StrEnum):
    """What a person can do with the service."""

    READY = "ready"
    ASLEEP = "asleep"  # no replica runs, and the next request starts one
    STARTING = "starting"
    DOWN = "down"
    UNKNOWN = "unknown"  # Azure did not answer


class State(NamedTuple):
    kind: StateKind
    message: str


Look = Callable[[], Awaitable[State]]
Predicted = Callable[[], int | None]  # seconds that a start takes, where somebody knows them
WORDS = {
    StateKind.READY: "ready",
    StateKind.ASLEEP: (
        "No replica runs. Waking it starts one, which takes a minute or more and is billed while it"
        " runs."
    ),
    StateKind.STARTING: "A replica is starting: it loads the model.",
}


def words(kind: StateKind, predicted: int | None) -> str:
    """What is said of a state, with the seconds that a start takes."""
    if predicted is None:
        return WORDS[kind]
    if kind is StateKind.ASLEEP:
        return WORDS[kind].replace("takes a minute or more", f"takes about {predicted} s")
    return f"{WORDS[kind].removesuffix('.')}. A start takes about {predicted} s."


async def look(arm: Arm, group: str, name: str, predicted: Predicted = lambda: None) -> State:
    """Read the container app, its revisions and their replicas from Azure."""
    try:
        app = await arm.inventory.find(
            Kind.APP, ids.resource_group(arm.subscription_id, group), name
        )
        if app is None:
            return State(StateKind.DOWN, f"The container app {name} does not exist any more.")
        revisions = [
            each
            for each in await apps.list_revisions(arm, group, name)
            if each["properties"].get("active")
        ]
        replicas = [
            replica
            for each in revisions
            for replica in await apps.list_replicas(arm, group, name, str(each["name"]))
        ]
    except ReconcileError as error:
        return State(
            StateKind.UNKNOWN,
            f"{arm.settings.target_title} does not say how it is: {error.message}",
        )
    if any(_ready(replica) for replica in replicas):
        return State(StateKind.READY, WORDS[StateKind.READY])
    if trouble := _trouble(revisions):
        return State(StateKind.DOWN, trouble)
    if replicas:
        return State(StateKind.STARTING, words(StateKind.STARTING, predicted()))
    if any(
        not (((each["properties"].get("template") or {}).get("scale") or {}).get("minReplicas"))
        for each in revisions
    ):
        return State(StateKind.ASLEEP, words(StateKind.ASLEEP, predicted()))
    return State(
        StateKind.DOWN,
        (
            "No replica runs, and none is being started."
            if revisions
            else "No revision of it is active."
        ),
    )


def _ready(replica: dict[str, Any]) -> bool:
    containers = (replica.get("properties") or {}).get("containers") or []
    return bool(containers) and all(container.get("ready") for container in containers)


def _trouble(revisions: list[dict[str, Any]]) -> str:
    for each in revisions:
        properties = each["properties"]
        if (
            properties.get("runningState") in ("Failed", "Degraded")
            or properties.get("healthState") == "Unhealthy"
        ):
            why = (
                properties.get("runningStateDetails")
                or properties.get("provisioningError")
                or "its log says why"
            )
            return f"Revision {each['name']} does not run: {why}"
    return ""
