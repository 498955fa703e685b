"""Resources below an environment or an app that are only stored: written at once, shown and
deleted, without any effect. `dapr_component` and `auth_config` are of this kind.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control.naming import app_id
from infra.local_azure.control.records import Body, Records
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store


@dataclass(frozen=True)
class KeptChildren(Provider):
    """Written at once; a GET shows what was written, without nulls and secret values."""

    store: Store
    records: Records

    kind: ClassVar[str]  # the type as Azure shows it
    above: ClassVar[str]  # the kind of the parent in the store
    missing: ClassVar[tuple[str, str]]  # code and words of the 404
    filled: ClassVar[Body] = {}  # what Azure fills in

    def routes(self) -> Routes:
        place = self.kind.lower().replace(self.above, f"{self.above}/{{}}")
        return {
            f"put {place}/{{}}": self.put,
            f"get {place}/{{}}": self.get,
            f"delete {place}/{{}}": self.delete,
            f"get {place}": self.listing,
        }

    def put(self, call: Call) -> Reply:
        parent = self.records.parent(call, self.above)
        sent = call.document().get("properties")
        if not isinstance(sent, dict):
            raise bad_request("InvalidRequestContent", "The request content has no properties.")
        known = self.store.get(call.target.key)
        data = self.records.stamp(known.body["systemData"] if known else None)
        body = {"properties": {**self.filled, **_without_nulls(sent)}, "systemData": data}
        collection = self.kind.rsplit("/", 1)[1]
        place = f"{app_id(parent)}/{collection}/{call.target.name}"
        record = Record(place, self.kind.lower(), body)
        self.store.put(record)
        return Reply(200, self._view(record, {**data, **_zoned(data, bool(known))}))

    def get(self, call: Call) -> Reply:
        record = self.found(call, call.target.key)
        return Reply(200, self._view(record, record.body["systemData"]))

    def listing(self, call: Call) -> Reply:
        parent = self.records.parent(call, self.above)
        found = self.store.each(self.kind.lower(), parent.id)
        return listed([self._view(record, record.body["systemData"]) for record in found])

    def delete(self, call: Call) -> Reply:
        self.records.parent(call, self.above)
        self.store.delete(call.target.key)
        return Reply(204)

    def found(self, call: Call, key: str) -> Record:
        record = self.store.get(key)
        if record is None:
            self.records.parent(call, self.above)
            code, words = self.missing
            raise ArmError(404, code, words.format(call.target.names[1]))
        return record

    def _view(self, record: Record, data: Body) -> Body:
        properties = dict(record.body["properties"])
        if secrets := properties.get("secrets"):
            properties["secrets"] = [
                {name: value for name, value in each.items() if name != "value"} for each in secrets
            ]
        shown = {"id": record.id, "name": record.name, "type": self.kind}
        return {**shown, "systemData": data, "properties": properties}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _zoned(data: Body, known: bool) -> Body:
    """The times of this write, which only its answer shows with a Z (recorded)."""
    names = ("lastModifiedAt",) if known else ("createdAt", "lastModifiedAt")
    return {name: f"{data[name]}Z" for name in names}
