"""Managed environments: where apps run. Creation and changes are operations; a write that changes
nothing is not.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure import regions
from infra.local_azure.arm.body_types import ANY, COMMON, TEXT, TRUTH, WHOLE
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request, conflict
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.operations import Finisher, Operation
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control import quotas, tracked
from infra.local_azure.control.apps import AppControl
from infra.local_azure.control.naming import APP, ENVIRONMENT, JOB
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.writes import Wording, Writes
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from . import environment_shape, workload_profiles
from .environment_shape import LABELS, TYPE, label, view

WORDING = Wording("a managed environment", "ManagedEnvironment", "managedEnvironment")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,58}[a-z0-9]")
_WORDS = (
    "bluesky",
    "whitebeach",
    "greenfield",
    "calmsea",
    "redstone",
    "goldriver",
    "silverlake",
    "happytree",
)
_ENVIRONMENT: Any = {
    **COMMON,
    "kind": TEXT,
    "properties": {
        "appLogsConfiguration": {
            "destination": TEXT,
            "logAnalyticsConfiguration": {"customerId": TEXT, "sharedKey": TEXT},
        },
        "vnetConfiguration": {"*": ANY},
        "zoneRedundant": TRUTH,
        "workloadProfiles": [
            {
                "name": TEXT,
                "workloadProfileType": TEXT,
                "minimumCount": WHOLE,
                "maximumCount": WHOLE,
                "enableFips": TRUTH,
            }
        ],
        "infrastructureResourceGroup": TEXT,
        "peerAuthentication": {"mtls": {"enabled": TRUTH}},
        "peerTrafficConfiguration": {"encryption": {"enabled": TRUTH}},
        "publicNetworkAccess": TEXT,
        "appInsightsConfiguration": {"connectionString": TEXT},
        "availabilityZones": [TEXT],
        "ingressConfiguration": {"*": ANY},
        "openTelemetryConfiguration": {
            "destinationsConfiguration": {"dataDogConfiguration": {"*": ANY}}
        },
        "customDomainConfiguration": {"certificateKeyVaultProperties": {"*": ANY}},
    },
}


@dataclass(frozen=True)
class ManagedEnvironments(Provider):
    """Environments with their workload profiles and usages."""

    store: Store
    records: Records
    writes: Writes
    apps: AppControl
    changes: Changes

    shapes: ClassVar[Mapping[str, Any]] = {"microsoft.app/managedenvironments/{}": _ENVIRONMENT}
    shown: ClassVar[Mapping[str, str]] = {ENVIRONMENT: TYPE}

    def routes(self) -> Routes:
        return {
            "put microsoft.app/managedenvironments/{}": self.put,
            "get microsoft.app/managedenvironments/{}": self.get,
            "patch microsoft.app/managedenvironments/{}": self.patch,
            "delete microsoft.app/managedenvironments/{}": self.delete,
            "get microsoft.app/managedenvironments": self.listing,
            "post microsoft.app/managedenvironments/{}/getauthtoken": self.auth_token,
            "get microsoft.app/managedenvironments/{}/usages": self.usages,
            "get microsoft.app/managedenvironments/{}/workloadprofilestates": self.profile_states,
            "get microsoft.app/locations/{}/managedenvironmentoperationstatuses/{}": self.status,
            "get microsoft.app/locations/{}/managedenvironmentoperationresults/{}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"environment.done": self.records.succeed, "environment.deleted": self.deleted}

    def status(self, call: Call) -> Reply:
        return self.writes.status(WORDING, call)

    def put(self, call: Call) -> Reply:
        body = call.document()
        self.records.group(call)
        if not _NAME.fullmatch(call.target.name) or "--" in call.target.name:
            text = (
                f"Invalid Environment name '{call.target.name}'. A name must consist of lower case"
                " alphanumeric characters or '-', start with an alphabetic character, and end with"
                " an alphanumeric character and cannot have '--'. The length must be between 2 and"
                " 60 characters."
            )
            raise bad_request("ManagedEnvironmentInvalidName", text)
        known = self.store.get(call.target.key)
        place = tracked.location(body, known, TYPE)
        self.writes.check_idle(WORDING, call.target.key, call.target.name)
        sent = body.get("properties") or {}
        before = known.body if known else {}
        record = known or Record(self.records.new_id(call, TYPE), ENVIRONMENT, {}, _private(place))
        settings = environment_shape.settings(sent, place, before.get("properties"), record)
        labels = label(self.records, body, record)
        # Azure begins no operation when nothing changes, and answers 200 instead of 201.
        if (
            known
            and settings == _own(before["properties"])
            and labels == label(self.records, before, record)
        ):
            return Reply(200, view(call, record))
        record.body = {
            **labels,
            "location": regions.display(place),
            "systemData": self.records.stamp(before.get("systemData")),
        }
        record.body["properties"] = {
            **settings,
            "provisioningState": "Waiting" if not known else "Updating",
        }
        running = self.records.write(record, "environment.done", factor=3 if not known else 1)
        return Reply(
            201,
            view(call, record, created=not known),
            self.writes.begun(WORDING, call, record, running),
        )

    def patch(self, call: Call) -> Reply:
        """Tags alone are written at once; anything else is an operation asked about by Location."""
        body = call.document()
        record = self.records.find(call, TYPE)
        place = tracked.location(body, record, TYPE)
        self.writes.check_idle(WORDING, record.key, record.name)
        merged = merge(_own(record.body["properties"]), body.get("properties") or {})
        settings = environment_shape.settings(merged, place, record.body["properties"], record)
        before = {key: record.body[key] for key in LABELS if key in record.body}
        labels = label(
            self.records, merge(before, {key: body[key] for key in LABELS if key in body}), record
        )
        changed = settings != _own(record.body["properties"])
        changed |= labels.get("identity") != before.get("identity")
        record.body = {
            **labels,
            "location": record.body["location"],
            "systemData": self.records.stamp(record.body["systemData"]),
        } | {
            "properties": {
                **settings,
                "provisioningState": "Updating" if changed else "Succeeded",
            }
        }
        if not changed:
            self.store.put(record)
            return Reply(200, view(call, record))
        return self.writes.accepted(
            WORDING, call, record, self.records.write(record, "environment.done")
        )

    def get(self, call: Call) -> Reply:
        return Reply(200, view(call, self.records.find(call, TYPE)))

    def listing(self, call: Call) -> Reply:
        return listed(
            [
                view(call, record)
                for record in self.store.each(ENVIRONMENT, self.records.scope(call))
            ]
        )

    def delete(self, call: Call) -> Reply:
        return self.writes.delete(
            WORDING,
            call,
            "environment.deleted",
            state="ScheduledForDelete",
            factor=2,
            check=self._refuse_occupied,
        )

    def deleted(self, operation: Operation) -> None:
        self.store.delete(operation.resource)
        self.changes.notify()

    def result(self, call: Call) -> Reply:
        return self.writes.result(WORDING, call, view)

    def usages(self, call: Call) -> Reply:
        """GPU quota counts the replicas that run on GPU profiles now."""
        record = self.records.acted_on(call, TYPE)
        usage = quotas.usage
        value = [
            usage(
                "ManagedEnvironmentGeneralPurposeCores",
                "Managed Environment General Purpose Cores",
                0,
                100,
            ),
            usage(
                "ManagedEnvironmentMemoryOptimizedCores",
                "Managed Environment Memory Optimized Cores",
                0,
                50,
            ),
            usage(
                "ManagedEnvironmentConsumptionCores",
                "Managed Environment Consumption Cores",
                0,
                100,
            ),
        ]
        return workload_profiles.counted(
            call, [*value, *self.apps.gpu_usages(record.key, regional=False)]
        )

    def auth_token(self, call: Call) -> Reply:
        """A short-lived token for this environment's event stream."""
        return self.records.access_token(call, TYPE)

    def profile_states(self, call: Call) -> Reply:
        record = self.records.acted_on(call, TYPE)
        value = []
        for entry in record.body["properties"].get("workloadProfiles") or []:
            counted = (
                {"currentCount": entry["minimumCount"]}
                if entry.get("minimumCount") is not None
                else {}
            )
            identifier = f"{record.id}/workloadProfileStates/{entry['name']}"
            shown = {"id": identifier, "name": entry["name"], "type": entry["workloadProfileType"]}
            value.append({**shown, "properties": {**counted, **entry}})
        return Reply(200, {"value": value})

    def _refuse_occupied(self, record: Record) -> None:
        apps = [app for app in self.store.each(APP) if app.private["environment"] == record.key]
        if apps:
            count = f"{len(apps)} active container apps"
            text = (
                f"The specified environment {record.name} cannot be deleted because it still"
                f" contains {count}."
            )
            raise conflict("ManagedEnvironmentHasContainerApps", text)
        jobs = [job for job in self.store.each(JOB) if job.private["environment"] == record.key]
        if jobs:
            text = (
                f"The specified environment {record.name} cannot be deleted because it still"
                f" contains {len(jobs)} active jobs."
            )
            raise conflict("ManagedEnvironmentHasContainerAppsJobs", text)


def _private(place: str) -> Body:
    domain = f"{secrets.choice(_WORDS)}-{secrets.token_hex(4)}.{place}.localhost"
    return {"domain": domain, "verification": secrets.token_hex(32).upper(), "sharedKey": None}


def _own(properties: Body) -> Body:
    return {key: value for key, value in properties.items() if key != "provisioningState"}
