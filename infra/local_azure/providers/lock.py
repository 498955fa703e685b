"""Management locks: on the subscription, a resource group or a resource, and what they forbid below
their scope.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import ANY, TEXT
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import GATEWAY, ArmError, bad_request, not_found
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control.records import Body, Records
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

TYPE = "Microsoft.Authorization/locks"
KIND = TYPE.lower()
_BELOW = f"/providers/{TYPE}".lower()
_LEVELS = {"cannotdelete": "CanNotDelete", "readonly": "ReadOnly"}
_NAME = re.compile(r"[^<>%&?/]{1,260}")


@dataclass(frozen=True)
class Locks(Provider):
    """Locks of kinds CanNotDelete and ReadOnly."""

    store: Store
    records: Records

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.authorization/locks/{}": {
            "properties": {"level": TEXT, "notes": TEXT, "owners": [{"*": ANY}]}
        }
    }

    def routes(self) -> Routes:
        return {
            "put microsoft.authorization/locks/{}": self.put,
            "get microsoft.authorization/locks/{}": self.get,
            "delete microsoft.authorization/locks/{}": self.delete,
            "get microsoft.authorization/locks": self.listing,
        }

    def put(self, call: Call) -> Reply:
        scope = _scope(call)
        self._exists(call, scope)
        sent = call.document().get("properties")
        level = _LEVELS.get(str(sent.get("level") if isinstance(sent, dict) else "").lower())
        if level is None or not isinstance(sent, dict):
            raise bad_request(
                "InvalidLockLevel",
                "The lock level is invalid: it must be 'CanNotDelete' or 'ReadOnly'.",
            )
        if not _NAME.fullmatch(call.target.name):
            raise bad_request("InvalidLockName", f"The lock name '{call.target.name}' is invalid.")
        known = self.store.get(call.target.key)
        body: Body = {
            "level": level,
            **({"notes": str(sent["notes"])} if sent.get("notes") else {}),
        }
        record = Record(f"{scope}/providers/{TYPE}/{call.target.name}", KIND, {"properties": body})
        self.store.put(record)
        return Reply(200 if known else 201, _view(record))

    def get(self, call: Call) -> Reply:
        record = self.store.get(call.target.key)
        if record is None:
            raise not_found(TYPE, call.target.name, call.target.group or "")
        return Reply(200, _view(record))

    def delete(self, call: Call) -> Reply:
        return self.records.delete(call)

    def listing(self, call: Call) -> Reply:
        """The locks of the scope and of everything below it."""
        scope = _scope(call)
        self._exists(call, scope)
        return listed([_view(record) for record in self.store.each(KIND, scope)])

    def check(self, call: Call) -> None:
        """Refuse what a lock forbids. ArmError 409 ScopeLocked names every lock in the way."""
        if (
            call.method in {"GET", "HEAD"}
            or call.target.namespace == "Microsoft.Authorization"
            or call.target.subscription is None
        ):
            return
        locks = self.store.each(KIND)
        if not locks:
            return
        # A lock holds for everything below it, and a deletion deletes everything below.
        here = call.target.key
        above = [lock for lock in locks if f"{here}/".startswith(f"{_locked(lock)}/")]
        below = (
            [lock for lock in locks if _locked(lock).startswith(f"{here}/")]
            if call.method == "DELETE"
            else []
        )
        held = [
            lock
            for lock in above + below
            # CanNotDelete forbids deletions only; ReadOnly forbids every write.
            if call.method == "DELETE" or lock.body["properties"]["level"] == "ReadOnly"
        ]
        if held:
            doing = "delete" if call.method == "DELETE" else "write"
            scopes = ",".join(
                dict.fromkeys(lock.id[: -len(_BELOW) - len(lock.name) - 1] for lock in held)
            )
            text = (
                f"The scope '{call.target.path}' cannot perform {doing} operation because following"
                f" scope(s) are locked: '{scopes}'. Please remove the lock and try again."
            )
            raise ArmError(409, "ScopeLocked", text, headers=GATEWAY)

    def _exists(self, call: Call, scope: str) -> None:
        """A lock needs something to lock; only a subscription has no record."""
        if scope.count("/") > 2 and self.store.get(scope) is None:
            self.records.group(call)
            parts = scope.split("/")
            raise not_found("/".join(parts[6:8]) or TYPE, parts[-1], call.target.group or "")


def _scope(call: Call) -> str:
    path = call.target.path
    return path[: path.lower().rindex(_BELOW)]


def _locked(lock: Record) -> str:
    return lock.key[: lock.key.rindex(_BELOW)]


def _view(record: Record) -> Body:
    return {
        "id": record.id,
        "name": record.name,
        "type": TYPE,
        "properties": record.body["properties"],
    }
