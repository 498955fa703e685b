"""Every recorded write of a kind, with what it asked for and the genuine GET of what came of it."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import scope
from .recordings import Exchange, Recording

KINDS = {
    "subscriptions/{}/resourcegroups/{}": "resource-group",
    "microsoft.operationalinsights/workspaces/{}": "log-analytics",
    "microsoft.storage/storageaccounts/{}": "storage-account",
    "microsoft.storage/storageaccounts/{}/fileservices/{}/shares/{}": "file-share",
    "microsoft.app/managedenvironments/{}": "environment",
    "microsoft.app/managedenvironments/{}/storages/{}": "environment-storage",
    "microsoft.app/containerapps/{}": "container-app",
    "microsoft.app/jobs/{}": "job",
}
# What a PATCH of the kind replaces whole; everything else is merged, and lists are replaced.
REPLACED = {"resource-group": ("tags",), "storage-account": ("tags",), "file-share": ("metadata",)}
SETTLED = {"succeeded", "failed", "canceled", ""}


@dataclass(frozen=True)
class Write:
    """One write as it was `sent`, what it asked for in whole, and what a later GET found."""

    recording: str
    index: int
    method: str
    kind: str
    sent: dict[str, Any]
    asked: dict[str, Any]
    found: dict[str, Any]


def writes(recording: Recording) -> Iterator[Write]:
    """The writes that Azure took, each with the first settled GET before the next write there."""
    for place, exchange in enumerate(recording.exchanges):
        kind = KINDS.get(scope.route(exchange.path))
        taken = exchange.method in ("PUT", "PATCH") and exchange.succeeded
        if exchange.query.get("$expand") == "snapshots":
            continue  # makes a snapshot, and leaves the share as it is
        if kind is None or not taken or not isinstance(exchange.sent, dict):
            continue
        found = _later(recording, place)
        if found is None:
            continue
        asked = copy.deepcopy(exchange.sent)
        if exchange.method == "PATCH":
            before = _before(recording, place)
            asked = patched(before or {}, asked, REPLACED.get(kind, ()))
        yield Write(
            recording.name, exchange.index, exchange.method, kind, exchange.sent, asked, found
        )


def patched(before: Any, patch: Any, whole: tuple[str, ...] = ()) -> Any:
    """`before` with a JSON merge patch on it; the names in `whole` are replaced, not merged."""
    if not isinstance(before, dict) or not isinstance(patch, dict):
        return patch
    merged = dict(before)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value if name in whole else patched(before.get(name), value, whole)
    return merged


def _later(recording: Recording, place: int) -> dict[str, Any] | None:
    path = recording.exchanges[place].path.lower()
    for exchange in recording.exchanges[place + 1 :]:
        same = exchange.path.lower() == path
        if same and exchange.method != "GET":
            return None
        for shown in _shown(exchange, path):
            if _state(shown) in SETTLED:
                return shown
    return None


def _before(recording: Recording, place: int) -> dict[str, Any] | None:
    path = recording.exchanges[place].path.lower()
    for exchange in reversed(recording.exchanges[:place]):
        for shown in _shown(exchange, path):
            return shown
    return None


def _shown(exchange: Exchange, path: str) -> Iterator[dict[str, Any]]:
    """The resource of that path as an answer to a GET shows it. Lists leave fields out."""
    shown = exchange.method == "GET" and exchange.succeeded and isinstance(exchange.body, dict)
    if shown and exchange.path.lower() == path and not exchange.snapshot:
        yield exchange.body


def _state(shown: dict[str, Any]) -> str:
    return str((shown.get("properties") or {}).get("provisioningState") or "").lower()
