"""Resource groups and the list of what they hold."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import ANY, COMMON, TEXT
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request, group_not_found
from infra.local_azure.arm.operations import Finisher, Operation, Operations
from infra.local_azure.arm.polling import Polling, refuse_failed
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control import tracked
from infra.local_azure.control.records import GROUPS, Body, Records
from infra.local_azure.files.share_records import ACCOUNT
from infra.local_azure.files.tree import Tree, discard
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from .resource_filter import matcher

_NAME = re.compile(r"[-\w().]{0,89}[-\w()]")


@dataclass(frozen=True)
class ResourceGroups(Provider):
    """Resource groups; deleting one deletes what it holds."""

    store: Store
    records: Records
    operations: Operations
    polling: Polling
    tree: Tree
    changes: Changes

    shapes: ClassVar[Mapping[str, Any]] = {
        "subscriptions/{}/resourcegroups/{}": {
            **COMMON,
            "properties": {"*": ANY},
            "managedBy": TEXT,
        }
    }

    def routes(self) -> Routes:
        return {
            "get subscriptions/{}/resourcegroups": self.listing,
            "put subscriptions/{}/resourcegroups/{}": self.put,
            "get subscriptions/{}/resourcegroups/{}": self.get,
            "head subscriptions/{}/resourcegroups/{}": self.head,
            "patch subscriptions/{}/resourcegroups/{}": self.patch,
            "delete subscriptions/{}/resourcegroups/{}": self.delete,
            "get subscriptions/{}/resourcegroups/{}/resources": self.resources,
            "get subscriptions/{}/resources": self.resources,
            "get subscriptions/{}/operationresults/{}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"group.deleted": self.deleted}

    def put(self, call: Call) -> Reply:
        body, name = call.document(), call.target.group or ""
        if not _NAME.fullmatch(name):
            raise bad_request(
                "InvalidParameter",
                "The provided resource group name has these invalid characters or is too long.",
            )
        known = self.store.get(call.target.group_id)
        # Refuses a group that is being deleted, as Azure does (409).
        if known is not None:
            self.records.group(call)
        try:
            place = tracked.location(body, known, "Microsoft.Resources/resourceGroups")
        except Exception as refused:
            if getattr(refused, "code", "") == "LocationNotAvailableForResourceType":
                text = (
                    f"The provided location '{body.get('location')}' is not available for resource"
                    " group."
                )
                raise bad_request("LocationNotAvailableForResourceGroup", text) from None
            raise
        shown: Body = {"location": place, "properties": {"provisioningState": "Succeeded"}}
        if manager := body.get("managedBy") or (known.body.get("managedBy") if known else None):
            shown["managedBy"] = str(manager)
        if body.get("tags") is not None:
            shown["tags"] = tracked.tags(body) or {}
        record = Record(known.id if known else call.target.group_id, GROUPS, shown)
        self.store.put(record)
        return Reply(200 if known else 201, view(record))

    def get(self, call: Call) -> Reply:
        return Reply(200, view(self.records.group(call)))

    def head(self, call: Call) -> Reply:
        return Reply(204 if self.store.get(call.target.group_id) else 404)

    def patch(self, call: Call) -> Reply:
        """Tags are replaced whole."""
        record = self.records.group(call)
        body = call.document()
        if "tags" in body:
            record.body["tags"] = tracked.tags(body) or {}
        self.store.put(record)
        return Reply(200, view(record))

    def listing(self, call: Call) -> Reply:
        groups = [view(record) for record in self.store.each(GROUPS)]
        wanted = matcher(call.query.get("$filter"))
        return listed([group for group in groups if wanted(group)])

    def delete(self, call: Call) -> Reply:
        """Everything inside goes with it; a second DELETE joins the first."""
        record = self.store.get(call.target.group_id)
        if record is None:
            raise group_not_found(call.target.group or "")
        # Azure answers a second DELETE like the first, and one operation does the work.
        running = self.operations.busy(record.key)
        if running is None:
            with self.store.transaction():
                record.body["properties"]["provisioningState"] = "Deleting"
                self.store.put(record)
                running = self.operations.begin(record.key, "group.deleted", factor=4)
            self.changes.notify()
        return accepted(self.polling, call, running)

    def deleted(self, operation: Operation) -> None:
        for record in self.store.each(ACCOUNT, operation.resource):
            discard(self.tree.account(record.name))
        self.store.delete(operation.resource)
        self.changes.notify()

    def result(self, call: Call) -> Reply:
        """The result of a deletion: 202 until the group is gone, then 200 without a body. The
        result of a what-if is kept here too.
        """
        token = call.target.path.rsplit("/", 1)[-1]
        try:
            identifier = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        except ValueError:
            identifier = ""
        operation = self.operations.get(identifier)
        if operation is None:
            raise bad_request("InvalidOperationId", f"The operation '{token}' is not known.")
        refuse_failed(operation)
        if operation.done:
            kept = self.store.read(f"result:{operation.id}")
            return Reply(200, json.loads(kept) if kept else None)
        return self.polling.again(call)

    def resources(self, call: Call) -> Reply:
        """The tracked resources of a group or of the subscription, with ARM's $filter."""
        prefix = self.records.scope(call) or f"/subscriptions/{call.target.subscription}"
        wanted = matcher(call.query.get("$filter"))
        items = [self._item(record) for record in self.records.tracked(prefix)]
        return listed([item for item in items if wanted(item)])

    def _item(self, record: Record) -> Body:
        body = record.body
        item: Body = {"id": record.id, "name": record.name, "type": self.records.shown[record.kind]}
        item["location"] = body["location"].replace(" ", "").lower()
        return {
            **item,
            **{
                key: body[key]
                for key in ("sku", "kind", "tags", "identity", "systemData")
                if key in body
            },
        }


def accepted(polling: Polling, call: Call, running: Operation) -> Reply:
    """202 with the address of the result."""
    token = base64.urlsafe_b64encode(running.id.encode()).decode().rstrip("=")
    subscription = f"{call.base}/subscriptions/{call.target.subscription}"
    where = f"{subscription}/operationresults/{token}?api-version={call.version}"
    return Reply(202, None, {"Location": where, **polling.waiting(call)})


def view(record: Record) -> Body:
    body = {
        "id": record.id,
        "name": record.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": record.body["location"],
    }
    return {
        **body,
        **{
            key: record.body[key]
            for key in ("managedBy", "tags", "properties")
            if key in record.body
        },
    }
