"""What container apps and jobs have in common: both run in a managed environment, are written by
operations, and keep secrets that no GET shows. `container_app` and `job` add what differs.
"""

from dataclasses import dataclass
from typing import ClassVar

from infra.local_azure.arm.call import Call
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.vaults import Vaults
from infra.local_azure.control.writes import Wording, Writes
from infra.local_azure.providers.provider import Provider
from infra.local_azure.regions import display
from infra.local_azure.store import Record, Store

from .image_check import ImageCheck

_FRAME = ("kind", "managedBy")


@dataclass(frozen=True)
class Runnable(Provider):
    """One of the two types. `type_name` is its name in ARM and `kind` its kind in the store. The
    names under which the store keeps the finishers of its operations begin with `ends`.
    """

    store: Store
    records: Records
    writes: Writes
    changes: Changes
    images: ImageCheck
    vaults: Vaults

    type_name: ClassVar[str]
    kind: ClassVar[str]
    wording: ClassVar[Wording]
    ends: ClassVar[str]

    def view(self, call: Call, record: Record) -> Body:
        raise NotImplementedError

    def status(self, call: Call) -> Reply:
        return self.writes.status(self.wording, call)

    def result(self, call: Call) -> Reply:
        return self.writes.result(self.wording, call, self.view)

    def get(self, call: Call) -> Reply:
        return Reply(200, self.view(call, self.records.find(call, self.type_name)))

    def listing(self, call: Call) -> Reply:
        def show(key: str) -> Body:
            record = self.store.get(key)
            assert record is not None  # nothing else runs while a page is made
            return self.view(call, record)

        return listed(self.store.keys(self.kind, self.records.scope(call)), show)

    def delete(self, call: Call) -> Reply:
        return self.writes.delete(self.wording, call, f"{self.ends}.deleted")

    def deleted(self, operation: Operation) -> None:
        self.store.delete(operation.resource)
        self.changes.notify()

    def list_secrets(self, call: Call) -> Reply:
        record = self.records.acted_on(call, self.type_name)
        return Reply(200, {"value": record.private["secrets"]})

    def auth_token(self, call: Call) -> Reply:
        """A short-lived token for the log streams."""
        return self.records.access_token(call, self.type_name)

    def switch(self, call: Call, finish: str, argument: Body, *, status: bool = False) -> Reply:
        """Start, stop, suspend or resume it; `status` as in `Writes.accepted`."""
        record = self.records.acted_on(call, self.type_name)
        self.writes.check_idle(self.wording, record.key, record.name)
        record.body["properties"]["provisioningState"] = "InProgress"
        running = self.records.write(record, finish, argument=argument)
        return self.writes.accepted(self.wording, call, record, running, status=status)

    def patched(self, known: Record, body: Body) -> Body:
        """The whole document that a PATCH asks for."""
        before = {**known.body["properties"]}
        # The values of secrets are kept apart and never sent back, so a PATCH must not lose them.
        before["configuration"] = {**before["configuration"], "secrets": known.private["secrets"]}
        outside = {key: value for key, value in body.items() if key != "properties"}
        whole = merge(known.body, outside)
        whole["properties"] = merge(before, body.get("properties") or {})
        return dict(whole)

    def stored(
        self, record: Record, known: Record | None, body: Body, place: str, properties: Body
    ) -> Body:
        """The document as it is stored, around `properties`."""
        identity = self.records.managed_identity(body, record.id)
        before = known.body.get("identity") if known else None
        self.records.require_identities(identity, record.id, before)
        return {
            "location": display(place),
            "identity": identity,
            "properties": properties,
            "systemData": self.records.stamp(known.body["systemData"] if known else None),
            **({"tags": labels} if (labels := tracked.tags(body)) else {}),
            **{name: body[name] for name in _FRAME if body.get(name)},
        }


def framed(kind: str, record: Record, data: Body, properties: Body) -> Body:
    """A GET's document around `properties`; `data` is its systemData."""
    frame: Body = {
        "id": record.id,
        "name": record.name,
        "type": kind,
        "location": record.body["location"],
    }
    frame |= {name: record.body[name] for name in ("tags", *_FRAME) if record.body.get(name)}
    return {
        **frame,
        "systemData": data,
        "properties": properties,
        "identity": record.body["identity"],
    }


def in_environment(sent: Body, environment: Record, configuration: Body, template: Body) -> Body:
    """The properties that a write leaves in the store, before the type adds its own."""
    profiles = environment.body["properties"]["workloadProfiles"]
    return {
        "provisioningState": "InProgress",
        "environmentId": environment.id,
        "workloadProfileName": sent.get("workloadProfileName")
        or ("Consumption" if profiles else None),
        "configuration": configuration,
        "template": template,
    }
