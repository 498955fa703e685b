"""Applies scripted faults to requests. The fronts and the server call these hooks, each at one
point of a request.
"""

import asyncio
import base64
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.arm.ids import Target
from infra.local_azure.arm.operations import Operations
from infra.local_azure.changes import Changes
from infra.local_azure.control.naming import ENVIRONMENT
from infra.local_azure.files.share_records import ACCOUNT
from infra.local_azure.login import Identity
from infra.local_azure.store import Record, Store

from . import answers
from .events import CURRENT
from .fault import Fault
from .fault_store import FaultStore
from .kinds import CONNECTION, REFUSALS

_ENTRY = re.compile(rb"<(File|Directory)>.*?<Name>([^<]*)</Name>.*?</\1>", re.DOTALL)
Body = dict[str, Any]


class Cut(ConnectionResetError):
    """The connection is to be reset without an answer."""


@dataclass
class _Deleted:
    """A resource that was deleted: the list it was in, how it looked, and when a list first missed
    it.
    """

    collection: str
    body: Body
    gone: float | None = None


class Hooks:
    """One per server. `files` is the root of the shares' folders. What late lists know is lost when
    the process ends.
    """

    def __init__(
        self,
        faults: FaultStore,
        store: Store,
        operations: Operations,
        identity: Identity,
        changes: Changes,
        files: Path,
    ) -> None:
        self._faults = faults
        self._store = store
        self._operations = operations
        self._identity = identity
        self._changes = changes
        self._files = files
        self._created: dict[str, float] = {}
        self._deleted: dict[str, _Deleted] = {}

    async def connection(self) -> bool:
        """Before a request is read. Returns whether to cut the connection after the request took
        effect; raises Cut to cut it before.
        """
        self._rotate()
        fault = self._pick(CONNECTION)
        if fault is None:
            return False
        if fault.kind == "Slow":
            await asyncio.sleep(fault["seconds"])
        elif fault.kind != "ResetAfter":
            raise Cut
        return fault.kind == "ResetAfter"

    def arm(self, principal: str) -> None:
        """Before a Resource Manager request is dispatched. Raises ArmError."""
        event = CURRENT.get()
        if event is not None and (fault := self._pick(REFUSALS)) is not None:
            identity = self._identity
            raise answers.arm(fault, event, identity.subscription, identity.client, principal)

    def files(self) -> None:
        """Before a Files request is dispatched. Raises FilesError."""
        if (fault := self._pick(REFUSALS)) is not None:
            raise answers.files(fault)

    def login(self) -> tuple[int, Body, dict[str, str]] | None:
        """The refusal of a token request; None lets it pass."""
        fault = self._pick(REFUSALS)
        return answers.login(fault) if fault else None

    def about_to_write(self, target: Target, look: Callable[[], Body | None]) -> None:
        """Before a write: note what late lists must know. `look` gives the resource before it."""
        event = CURRENT.get()
        if event is None or event.method not in {"PUT", "DELETE"}:
            return
        key = target.key
        there = self._store.get(key) is not None
        if event.method == "PUT" and not there:
            self._created[key] = time.monotonic()
        elif event.method == "DELETE" and there and (body := look()) is not None:
            self._deleted[key] = _Deleted(target.route.removesuffix("/{}"), body)

    def listed(self, items: list[Body], target: Target) -> list[Body]:
        """The items of a list as a late index shows them."""
        fault = self._pick({"StaleList"})
        if fault is None:
            return items
        now, late = time.monotonic(), fault["seconds"]
        shown = [item for item in items if now - self._created.get(_key(item), now - late) >= late]
        scope = target.key.split("/providers/")[0]
        for key, deleted in list(self._deleted.items()):
            if self._store.get(key) is not None:
                continue
            if deleted.gone is None:
                deleted.gone = now
            if now - deleted.gone >= late:
                del self._deleted[key]
            elif deleted.collection == target.route and key.startswith(f"{scope}/"):
                shown.append(deleted.body)
        return shown

    def settled(self, key: str) -> None:
        """After the answer to a request for an environment or something in it: the environment may
        turn Failed by itself.
        """
        event, key = CURRENT.get(), ids.resource_id(key)
        if (
            event is None
            or not event.operation.startswith(ENVIRONMENT)
            or self._operations.busy(key)
        ):
            return
        record = self._store.get(key)
        if record is None or record.kind != ENVIRONMENT or self._pick({"EnvironmentFails"}) is None:
            return
        record.body["properties"]["provisioningState"] = "Failed"
        record.private["deploymentErrors"] = (
            "ErrorCode: ManagedEnvironmentUpgradeError, Message: Update the managed environment"
            " failed."
        )
        self._store.put(record)

    def content(
        self, path: str, body: bytes | AsyncIterator[bytes], length: int | None
    ) -> bytes | AsyncIterator[bytes]:
        """A Files answer's body: torn, or a listing without what is new."""
        event = CURRENT.get()
        if event is None or event.plane != "files":
            return body
        if event.operation == "getfile" and self._pick({"TornRead"}) is not None:
            return _torn(body, length or 0)
        if (
            event.operation == "listdirectory"
            and isinstance(body, bytes)
            and (fault := self._pick({"StaleList"})) is not None
        ):
            return _without_new(body, self._files / event.names[0].lower(), fault["seconds"])
        return body

    def _rotate(self) -> None:
        fault = self._pick({"RotateKey"})
        if fault is None:
            return
        for record in self._store.each(ACCOUNT):
            if not fault.name or record.name in _account_names():
                self._renew(record, fault["key"])

    def _renew(self, record: Record, key: str) -> None:
        record.private[key] = base64.b64encode(secrets.token_bytes(64)).decode()
        record.body["properties"]["keyCreationTime"][key] = clock.zulu()
        self._store.put(record)
        self._changes.notify()

    def _pick(self, kinds: Iterable[str]) -> Fault | None:
        event = CURRENT.get()
        return self._faults.pick(event, kinds) if event is not None else None


def _key(item: Body) -> str:
    return str(item.get("id", "")).lower()


def _account_names() -> set[str]:
    """The storage account that the request is about."""
    event = CURRENT.get()
    names = event.names if event else ()
    return {part for name in names for part in name.lower().split("/")}


def _torn(body: bytes | AsyncIterator[bytes], length: int) -> bytes | AsyncIterator[bytes]:
    whole = length // 2
    if isinstance(body, bytes):
        return body[:whole] + bytes(len(body) - whole)
    return _torn_stream(body, whole)


async def _torn_stream(body: AsyncIterator[bytes], whole: int) -> AsyncIterator[bytes]:
    async for chunk in body:
        kept = chunk[: max(0, whole)]
        whole -= len(chunk)
        yield kept + bytes(len(chunk) - len(kept))


def _without_new(body: bytes, directory: Path, seconds: float) -> bytes:
    """The listing's XML without the entries that came into being within the last `seconds`."""
    young = {
        entry.name.encode()
        for entry in directory.iterdir()
        if time.time() - entry.lstat().st_ctime < seconds
    }
    return _ENTRY.sub(lambda match: b"" if match[2] in young else match[0], body)
