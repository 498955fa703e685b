"""Managed environments: where apps run. Creation and changes are operations; writes that change
nothing are not.
"""

import re
import secrets

from infra.local_azure import regions
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import bad_request, conflict
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record

from . import environment_shape, quotas, workload_profiles
from .environment_shape import TYPE, label, view
from .long_running import LongRunning

KIND = TYPE.lower()
OPERATIONS = LongRunning("a managed environment", "ManagedEnvironment", "managedEnvironment")
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


def put(call: Call) -> Reply:
    azure, body = call.azure, call.document()
    tracked.require_group(call)
    if not _NAME.fullmatch(call.target.name) or "--" in call.target.name:
        text = (
            f"Invalid Environment name '{call.target.name}'. A name must consist of lower case"
            " alphanumeric characters or '-', start with an alphabetic character, and end with an"
            " alphanumeric character and cannot have '--'. The length must be between 2 and 60"
            " characters."
        )
        raise bad_request("ManagedEnvironmentInvalidName", text)
    known = azure.store.get(call.target.key)
    place = tracked.location(body, known, TYPE)
    OPERATIONS.idle(azure, call.target.key, call.target.name)
    sent = body.get("properties") or {}
    before = known.body if known else {}
    record = known or Record(tracked.new_id(call, TYPE), KIND, {}, _private(place))
    settings = environment_shape.settings(sent, place, before.get("properties"), record)
    labels = label(call, body, record)
    if known and settings == _own(before["properties"]) and labels == label(call, before, record):
        return Reply(200, view(call, record))
    record.body = {
        **labels,
        "location": regions.display(place),
        "systemData": tracked.stamp(call, before.get("systemData")),
    }
    record.body["properties"] = {
        **settings,
        "provisioningState": "Waiting" if not known else "UpgradeRequested",
    }
    running = tracked.write(azure, record, "environment.done", factor=3 if not known else 1)
    return Reply(
        201, view(call, record, created=not known), OPERATIONS.begun(call, record, running)
    )


def patch(call: Call) -> Reply:
    """Tags alone are written at once; anything else is an operation asked about by Location."""
    azure, body = call.azure, call.document()
    record = tracked.find(call, TYPE)
    place = tracked.location(body, record, TYPE)
    OPERATIONS.idle(azure, record.key, record.name)
    merged = merge(_own(record.body["properties"]), body.get("properties") or {})
    settings = environment_shape.settings(merged, place, record.body["properties"], record)
    structural = settings != _own(record.body["properties"])
    named = ("tags", "identity")
    before = {key: record.body[key] for key in named if key in record.body}
    labels = label(call, merge(before, {key: body[key] for key in named if key in body}), record)
    record.body = {
        **labels,
        "location": record.body["location"],
        "systemData": tracked.stamp(call, record.body["systemData"]),
    } | {
        "properties": {
            **settings,
            "provisioningState": "UpgradeRequested" if structural else "Succeeded",
        }
    }
    if not structural:
        azure.store.put(record)
        return Reply(200, view(call, record))
    return OPERATIONS.accepted(call, record, tracked.write(azure, record, "environment.done"))


def get(call: Call) -> Reply:
    return Reply(200, view(call, tracked.find(call, TYPE)))


def listing(call: Call) -> Reply:
    return page(
        call, [view(call, record) for record in call.azure.store.each(KIND, tracked.scope(call))]
    )


def delete(call: Call) -> Reply:
    return OPERATIONS.delete(
        call, "environment.deleted", state="ScheduledForDelete", factor=2, check=_refuse_occupied
    )


def done(azure: Azure, operation: Operation) -> None:
    record = azure.store.get(operation.resource)
    if record is not None:
        record.body["properties"]["provisioningState"] = "Succeeded"
        azure.store.put(record)


def deleted(azure: Azure, operation: Operation) -> None:
    azure.store.delete(operation.resource)
    azure.composition.changed()


def result(call: Call) -> Reply:
    return OPERATIONS.result(call, view)


def usages(call: Call) -> Reply:
    """GPU quota counts the replicas that run on GPU profiles now."""
    record = tracked.acted_on(call, TYPE)
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
            "ManagedEnvironmentConsumptionCores", "Managed Environment Consumption Cores", 0, 100
        ),
    ]
    return workload_profiles.counted(
        call, [*value, *call.azure.composition.gpu_usages(record.key, regional=False)]
    )


def auth_token(call: Call) -> Reply:
    """A short-lived token for this environment's event stream."""
    return tracked.access_token(call, TYPE)


def profile_states(call: Call) -> Reply:
    record = tracked.acted_on(call, TYPE)
    value = []
    for entry in record.body["properties"].get("workloadProfiles") or []:
        counted = (
            {"currentCount": entry["minimumCount"]} if entry.get("minimumCount") is not None else {}
        )
        identifier = f"{record.id}/workloadProfileStates/{entry['name']}"
        shown = {"id": identifier, "name": entry["name"], "type": entry["workloadProfileType"]}
        value.append({**shown, "properties": {**counted, **entry}})
    return Reply(200, {"value": value})


def _refuse_occupied(azure: Azure, record: Record) -> None:
    apps = [
        app
        for app in azure.store.each("microsoft.app/containerapps")
        if app.private["environment"] == record.key
    ]
    if apps:
        count = f"{len(apps)} active container apps"
        text = (
            f"The specified environment {record.name} cannot be deleted because it still contains"
            f" {count}."
        )
        raise conflict("ManagedEnvironmentHasContainerApps", text)
    jobs = [
        job
        for job in azure.store.each("microsoft.app/jobs")
        if job.private["environment"] == record.key
    ]
    if jobs:
        text = (
            f"The specified environment {record.name} cannot be deleted because it still contains"
            f" {len(jobs)} active jobs."
        )
        raise conflict("ManagedEnvironmentHasContainerAppsJobs", text)


def _private(place: str) -> Body:
    domain = f"{secrets.choice(_WORDS)}-{secrets.token_hex(4)}.{place}.localhost"
    return {"domain": domain, "verification": secrets.token_hex(32).upper(), "sharedKey": None}


def _own(properties: Body) -> Body:
    return {key: value for key, value in properties.items() if key != "provisioningState"}


ROUTES: dict[str, Handler] = {
    "put microsoft.app/managedenvironments/{}": put,
    "get microsoft.app/managedenvironments/{}": get,
    "patch microsoft.app/managedenvironments/{}": patch,
    "delete microsoft.app/managedenvironments/{}": delete,
    "get microsoft.app/managedenvironments": listing,
    "post microsoft.app/managedenvironments/{}/getauthtoken": auth_token,
    "get microsoft.app/managedenvironments/{}/usages": usages,
    "get microsoft.app/managedenvironments/{}/workloadprofilestates": profile_states,
    "get microsoft.app/locations/{}/managedenvironmentoperationstatuses/{}": OPERATIONS.status,
    "get microsoft.app/locations/{}/managedenvironmentoperationresults/{}": result,
}
