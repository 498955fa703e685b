"""Template deployments at a resource group and at the subscription. `deployment_request` reads
them, `deployment_run` runs them, `deployment_view` shows them, `deployment_whatif` predicts them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.arm.call import Call, Handler, Routes
from infra.local_azure.arm.errors import GATEWAY, ArmError, bad_request, conflict
from infra.local_azure.arm.front import Front
from infra.local_azure.arm.operations import Finisher, Operation, Operations
from infra.local_azure.arm.polling import Polling
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control.records import Body, Records
from infra.local_azure.providers.provider import Provider
from infra.local_azure.providers.resource_filter import compared
from infra.local_azure.providers.resource_group import accepted
from infra.local_azure.store import Record, Store
from infra.local_azure.templates.hashing import template_hash

from . import deployment_view, deployment_whatif
from .deployment_request import KIND, DeploymentRequests
from .deployment_run import ACTIVE, Runs

_EPOCH_TICKS = 621355968000000000


@dataclass(frozen=True)
class Deployments(Provider):
    """Deployments at both scopes, with validation and what-if."""

    store: Store
    records: Records
    operations: Operations
    polling: Polling
    front: Front
    requests: DeploymentRequests
    runs: Runs

    def routes(self) -> Routes:
        return {
            "put microsoft.resources/deployments/{}": self.put,
            "get microsoft.resources/deployments/{}": self.get,
            "delete microsoft.resources/deployments/{}": self.delete,
            "get microsoft.resources/deployments": self.listing,
            "post microsoft.resources/deployments/{}/validate": self.validate,
            "post microsoft.resources/deployments/{}/whatif": self.what_if,
            "post microsoft.resources/deployments/{}/cancel": self.cancel,
            "post microsoft.resources/deployments/{}/exporttemplate": self.export,
            "get microsoft.resources/deployments/{}/operationstatuses/{}": self.status,
            "get microsoft.resources/deployments/{}/operations": self.steps,
            "get microsoft.resources/deployments/{}/operations/{}": self.step,
            "get subscriptions/{}/resourcegroups/{}/deployments/{}/operations": short(self.steps),
            "get subscriptions/{}/resourcegroups/{}/deployments/{}/operations/{}": short(self.step),
            "post providers/microsoft.resources/calculatetemplatehash": self.calculate_hash,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"deployment.predicted": predicted, "deployment.deleted": self.deleted}

    def put(self, call: Call) -> Reply:
        """Accepted at once and run in the background; 201 for a new name, 200 for a name that was
        used before.
        """
        if call.target.group:
            self.records.group(call)
        known = self.store.get(call.target.key)
        if known and known.body["properties"]["provisioningState"] in ACTIVE:
            text = (
                f"Unable to edit or replace deployment '{known.name}': previous deployment from"
                f" '{known.body['properties']['timestamp']}' is still active. Please see"
                " https://aka.ms/arm-deploy for usage details."
            )
            raise conflict("DeploymentActive", text)
        request = self.requests.opened(call)
        number = f"{(1 << 63) - 1 - _EPOCH_TICKS - int(clock.now() * 1e7):020}"
        private = {
            "request": request.properties,
            "principal": call.principal,
            "operation": number,
            "started": clock.now(),
            "done": {},
        }
        properties = deployment_view.fresh(request, "Accepted")
        record = Record(
            request.identifier, KIND, {**_more(call), "properties": properties}, private
        )
        if known:
            self.store.delete(known.key)
        self.store.put(record)
        self.runs.begin(record.key)
        where = f"{call.base}{record.id}/operationStatuses/{number}?api-version={call.version}"
        return Reply(
            200 if known else 201,
            deployment_view.view(record),
            {"Azure-AsyncOperation": where, **self.polling.waiting(call)},
        )

    def validate(self, call: Call) -> Reply:
        request = self.requests.opened(call)
        return Reply(
            200,
            deployment_view.document(
                request.identifier, deployment_view.validated(request), _more(call)
            ),
        )

    async def what_if(self, call: Call) -> Reply:
        """Computed now, returned when the operation has ended."""
        request = self.requests.opened(call)
        changes = await deployment_whatif.changes(
            self.store, self.records, self.front, call, request
        )
        running = self.operations.begin(request.identifier + "/whatif", "deployment.predicted")
        result = {
            "status": "Succeeded",
            "properties": {"correlationId": running.id, "changes": changes},
        }
        self.store.keep(f"result:{running.id}", json.dumps(result))
        return accepted(self.polling, call, running)

    def get(self, call: Call) -> Reply:
        return Reply(200, deployment_view.view(self._find(call)))

    def listing(self, call: Call) -> Reply:
        """Those of one scope, the newest first."""
        prefix = self.records.scope(call) or f"/subscriptions/{call.target.subscription}"
        depth = len(prefix.split("/")) + 4
        found = [
            record for record in self.store.each(KIND, prefix) if len(record.id.split("/")) == depth
        ]
        wanted = compared(call.query.get("$filter"))
        shown = [deployment_view.view(record) for record in reversed(found)]
        return listed([one for one in shown if wanted({**one["properties"], "name": one["name"]})])

    def delete(self, call: Call) -> Reply:
        """Only the deployment's record goes; what it deployed stays."""
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        if record.body["properties"]["provisioningState"] in ACTIVE:
            raise conflict(
                "DeploymentActive",
                f"The deployment '{record.name}' cannot be deleted because it is still active.",
            )
        running = self.operations.begin(record.key, "deployment.deleted")
        return accepted(self.polling, call, running)

    def deleted(self, operation: Operation) -> None:
        self.store.delete(operation.resource)

    def cancel(self, call: Call) -> Reply:
        """Resources that are being deployed go on to their end; no further one is begun."""
        record = self._find(call)
        properties = record.body["properties"]
        if properties["provisioningState"] not in ACTIVE:
            text = (
                f"The deployment '{record.name}' cannot be canceled because it is in the state"
                f" '{properties['provisioningState']}'."
            )
            raise conflict("DeploymentCannotBeCancelled", text)
        properties |= {"provisioningState": "Canceled", "timestamp": clock.zulu()}
        properties["duration"] = deployment_view.duration(clock.now() - record.private["started"])
        self.store.put(record)
        return Reply(204)

    def export(self, call: Call) -> Reply:
        return Reply(200, {"template": self._find(call).private["request"]["template"]})

    def status(self, call: Call) -> Reply:
        record = self._find(call)
        if record.private["operation"] != call.target.name:
            raise ArmError(
                404,
                "OperationNotFound",
                f"The operation '{call.target.name}' could not be found.",
                headers=GATEWAY,
            )
        properties = record.body["properties"]
        state = properties["provisioningState"]
        body: Body = {
            "status": state,
            **({"error": properties["error"]} if "error" in properties else {}),
        }
        return Reply(200, body, self.polling.waiting(call) if state in ACTIVE else {})

    def steps(self, call: Call) -> Reply:
        """What was done to each resource so far, the latest first."""
        record = self._find(call)
        done = sorted(record.private["done"].values(), key=lambda one: -one["started"])
        return listed([deployment_view.operation(record, one["id"], one) for one in done])

    def step(self, call: Call) -> Reply:
        record = self._find(call)
        for one in record.private["done"].values():
            shown = deployment_view.operation(record, one["id"], one)
            if shown["operationId"] == call.target.name.upper():
                return Reply(200, shown)
        raise ArmError(
            404,
            "DeploymentOperationNotFound",
            f"The operation '{call.target.name}' could not be found.",
            headers=GATEWAY,
        )

    def calculate_hash(self, call: Call) -> Reply:
        if not isinstance(call.body, dict):
            raise bad_request("InvalidTemplate", "The template is not a JSON object.")
        minified = json.dumps(call.body, ensure_ascii=False, separators=(",", ":"))
        return Reply(200, {"minifiedTemplate": minified, "templateHash": template_hash(call.body)})

    def _find(self, call: Call) -> Record:
        record = self.store.get(self.requests.identifier(call))
        if record is None:
            if call.target.group:
                self.records.group(call)
            text = f"Deployment '{call.target.names[0]}' could not be found."
            raise ArmError(404, "DeploymentNotFound", text, headers=GATEWAY)
        return record


def predicted(_operation: Operation) -> None:
    """Nothing to do: the result was kept when the request was accepted."""


def short(handler: Callable[[Call], Reply]) -> Handler:
    """Operations of a group's deployment have an address without `providers/Microsoft.Resources` as
    well.
    """

    def answer(call: Call) -> Reply:
        whole = call.target.path.replace(
            "/deployments/", "/providers/Microsoft.Resources/deployments/", 1
        )
        return handler(replace(call, target=ids.parse(quote(whole))))

    return answer


def _more(call: Call) -> Body:
    body = call.document()
    place = {"location": body["location"]} if body.get("location") else {}
    return {**place, **({"tags": body["tags"]} if body.get("tags") else {})}
