"""Container apps: writes are operations, a changed template makes a revision. Revisions themselves
are in `revision`.
"""

import secrets
import string

from infra.local_azure import clock
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.regions import display
from infra.local_azure.store import Record

from . import app_rules, app_shape, app_view
from .app_view import KIND, REVISION_KIND, TYPE, view
from .long_running import LongRunning

OPERATIONS = LongRunning("a container app", "ContainerApp", "containerapp")
_ALPHABET = string.ascii_lowercase + string.digits


def put(call: Call) -> Reply:
    """Create or replace: whatever the body leaves out is gone. Answers 201 with an echo
    either way.
    """
    azure, body = call.azure, call.document()
    tracked.require_group(call)
    app_rules.name(call.target.name)
    known = azure.store.get(call.target.key)
    OPERATIONS.idle(azure, call.target.key, call.target.name)
    sent = body.get("properties") or {}
    settings = sent.get("configuration") or {}
    if known is None and settings.get("maxInactiveRevisions") is None and call.version >= "2024-02":
        sent = {**sent, "configuration": {**settings, "maxInactiveRevisions": 100}}
    record, running = _accept(call, known, {**body, "properties": sent})
    return Reply(201, app_view.echo(call, record, sent), OPERATIONS.begun(call, record, running))


def patch(call: Call) -> Reply:
    """A merge over what is there; answers 202 without a body and with both polling headers."""
    azure, body = call.azure, call.document()
    known = tracked.find(call, TYPE)
    OPERATIONS.idle(azure, known.key, known.name)
    before = {**known.body["properties"]}
    before["configuration"] = {**before["configuration"], "secrets": known.private["secrets"]}
    whole = merge(
        {**known.body, "properties": before},
        {key: value for key, value in body.items() if key != "properties"},
    )
    whole["properties"] = merge(before, body.get("properties") or {})
    record, running = _accept(call, known, whole)
    return OPERATIONS.accepted(call, record, running, status=True)


def get(call: Call) -> Reply:
    return Reply(200, view(call, tracked.find(call, TYPE)))


def listing(call: Call) -> Reply:
    return page(
        call, [view(call, record) for record in call.azure.store.each(KIND, tracked.scope(call))]
    )


def delete(call: Call) -> Reply:
    return OPERATIONS.delete(call, "app.deleted")


def list_secrets(call: Call) -> Reply:
    record = tracked.acted_on(call, TYPE)
    return Reply(200, {"value": record.private["secrets"]})


def auth_token(call: Call) -> Reply:
    """A short-lived token for this app's log streams."""
    return tracked.access_token(call, TYPE)


def start(call: Call) -> Reply:
    return _switch(call, stopped=False)


def stop(call: Call) -> Reply:
    return _switch(call, stopped=True)


def result(call: Call) -> Reply:
    return OPERATIONS.result(call, view)


def applied(azure: Azure, operation: Operation) -> None:
    """The end of a PUT or PATCH: the revision it asked for exists, and the replicas follow."""
    record = azure.store.get(operation.resource)
    if record is None:
        return
    properties, revision = record.body["properties"], operation.argument.get("revision")
    if revision:
        azure.store.put(_revision(record, revision))
        properties["latestRevisionName"] = revision
        properties.setdefault(
            "latestReadyRevisionName", revision
        )  # the first counts as ready, whatever becomes of it
    properties["provisioningState"] = "Succeeded"
    record.private["settling"] = (
        True  # from here on: while the write ran, the revision before it was still the newest
    )
    azure.store.put(record)
    azure.composition.prune(record)
    azure.composition.changed()


def deleted(azure: Azure, operation: Operation) -> None:
    azure.store.delete(operation.resource)
    azure.composition.changed()


def switched(azure: Azure, operation: Operation) -> None:
    record = azure.store.get(operation.resource)
    if record is not None:
        record.private["stopped"] = operation.argument["stopped"]
        record.body["properties"]["provisioningState"] = "Succeeded"
        azure.store.put(record)
        azure.composition.changed()


def _accept(call: Call, known: Record | None, body: Body) -> tuple[Record, Operation]:
    """Check the whole document, store it as in progress and start the operation that applies it."""
    azure, sent = call.azure, body.get("properties") or {}
    place = tracked.location(body, known, TYPE)
    environment = OPERATIONS.environment(azure, sent, known)
    profiles = environment.body["properties"]["workloadProfiles"]
    properties: Body = {
        "provisioningState": "InProgress",
        "environmentId": environment.id,
        "workloadProfileName": sent.get("workloadProfileName")
        or ("Consumption" if profiles else None),
        "configuration": app_shape.configuration(sent.get("configuration"), fill=True),
        "template": app_shape.template(sent.get("template"), fill=True),
    }
    values = app_shape.secrets(sent.get("configuration"))
    storages = {
        record.name
        for record in azure.store.each(
            "microsoft.app/managedenvironments/storages", environment.key
        )
    }
    app_rules.document(call.target.name, properties, values, storages, profiles)
    record = Record(
        known.id if known else _app_id(call),
        KIND,
        {},
        dict(known.private) if known else {"stopped": False, "port": None},
    )
    revision = _next_revision(azure, record, known, properties)
    if properties["configuration"]["ingress"]:
        existing = [entry.name for entry in azure.store.each(REVISION_KIND, record.id)] + (
            [revision] if revision else []
        )
        app_rules.traffic(properties["configuration"]["ingress"]["traffic"], existing)
        record.private["port"] = record.private.get("port") or azure.composition.free_port()
    old = known.body["properties"] if known else {}
    properties |= {
        name: old[name] for name in ("latestRevisionName", "latestReadyRevisionName") if name in old
    }
    record.private |= {"environment": environment.key, "secrets": values}
    record.body = {
        "location": display(place),
        "identity": tracked.identity(call, body, record.id),
        "properties": properties,
    }
    record.body["systemData"] = tracked.stamp(call, known.body["systemData"] if known else None)
    record.body |= {"tags": labels} if (labels := tracked.tags(body)) else {}
    return record, tracked.write(azure, record, "app.applied", argument={"revision": revision})


def _next_revision(
    azure: Azure, record: Record, known: Record | None, properties: Body
) -> str | None:
    """The name of the revision this write makes, or None. A suffix that was used before makes none:
    Azure ignores it silently.
    """
    template, suffix = properties["template"], properties["template"]["revisionSuffix"]
    if known is not None and "latestRevisionName" in known.body["properties"]:
        old = known.body["properties"]
        same = app_shape.substance(
            template, properties["workloadProfileName"]
        ) == app_shape.substance(old["template"], old["workloadProfileName"])
        applied = old["provisioningState"] not in {
            "Failed",
            "Canceled",
        }  # else what it asks for may never have been made
        if applied and same and (not suffix or suffix == old["template"]["revisionSuffix"]):
            return None
    if not suffix:
        return f"{record.name}--{''.join(secrets.choice(_ALPHABET) for _ in range(7))}"
    name = f"{record.name}--{suffix}"
    return None if azure.store.get(app_view.revision_id(record, name)) else name


def _revision(app: Record, name: str) -> Record:
    """A new revision with the secrets of this moment: later values reach it by a restart only."""
    properties = app.body["properties"]
    body = {
        "created": clock.now(),
        "active": True,
        "template": properties["template"],
        "workloadProfileName": properties["workloadProfileName"],
    }
    values = {str(entry["name"]): str(entry.get("value") or "") for entry in app.private["secrets"]}
    return Record(app_view.revision_id(app, name), REVISION_KIND, body, {"secrets": values})


def _switch(call: Call, *, stopped: bool) -> Reply:
    azure, record = call.azure, tracked.acted_on(call, TYPE)
    OPERATIONS.idle(azure, record.key, record.name)
    record.body["properties"]["provisioningState"] = "InProgress"
    running = tracked.write(azure, record, "app.switched", argument={"stopped": stopped})
    return OPERATIONS.accepted(call, record, running)


def _app_id(call: Call) -> str:
    return tracked.new_id(call, "Microsoft.App/containerapps")


ROUTES: dict[str, Handler] = {
    "put microsoft.app/containerapps/{}": put,
    "patch microsoft.app/containerapps/{}": patch,
    "get microsoft.app/containerapps/{}": get,
    "delete microsoft.app/containerapps/{}": delete,
    "get microsoft.app/containerapps": listing,
    "post microsoft.app/containerapps/{}/listsecrets": list_secrets,
    "post microsoft.app/containerapps/{}/getauthtoken": auth_token,
    "post microsoft.app/containerapps/{}/start": start,
    "post microsoft.app/containerapps/{}/stop": stop,
    "get microsoft.app/locations/{}/containerappoperationstatuses/{}": OPERATIONS.status,
    "get microsoft.app/locations/{}/containerappoperationresults/{}": result,
}
