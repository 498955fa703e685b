"""Container Apps jobs: writes are operations, secrets stay private. Executions are in `execution`,
what runs in `dispatch`.
"""

import re

from cronsim import CronSim, CronSimError

from infra.local_azure import clock
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.regions import display
from infra.local_azure.store import Record

from . import app_rules, app_shape, environment_storage, job_shape
from .job_shape import KIND, TYPE, view
from .long_running import LongRunning

OPERATIONS = LongRunning("a container apps job", "ContainerAppsJob", "containerappsjob")
_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{0,30}[a-z0-9]")
_RANGES = {
    "replicaTimeout": (1, 604800),
    "replicaRetryLimit": (0, 1000),
    "replicaCompletionCount": (1, 1000),
    "parallelism": (1, 1000),
}


def put(call: Call) -> Reply:
    """Create or replace; answers 201 with an echo either way."""
    body = call.document()
    tracked.require_group(call)
    if not _NAME.fullmatch(call.target.name):
        text = (
            f"Invalid ContainerAppsJob name '{call.target.name}'. A name must consist of lower case"
            " alphanumeric characters or '-', start with an alphabetic character, and end with an"
            " alphanumeric character and cannot have '--'. The length must be between 2 and 32"
            " characters inclusive."
        )
        raise bad_request("ContainerAppsJobInvalidName", text)
    known = call.azure.store.get(call.target.key)
    OPERATIONS.idle(call.azure, call.target.key, call.target.name)
    record, running = _accept(call, known, body)
    return Reply(201, view(call, record, echo=True), OPERATIONS.begun(call, record, running))


def patch(call: Call) -> Reply:
    """A merge over what is there; answers 202 without a body."""
    body, known = call.document(), tracked.find(call, TYPE)
    OPERATIONS.idle(call.azure, known.key, known.name)
    before = {**known.body["properties"]}
    before["configuration"] = {**before["configuration"], "secrets": known.private["secrets"]}
    whole = merge(known.body, {key: value for key, value in body.items() if key != "properties"})
    whole["properties"] = merge(before, body.get("properties") or {})
    return OPERATIONS.accepted(call, *_accept(call, known, whole))


def get(call: Call) -> Reply:
    return Reply(200, view(call, tracked.find(call, TYPE)))


def listing(call: Call) -> Reply:
    return page(
        call, [view(call, record) for record in call.azure.store.each(KIND, tracked.scope(call))]
    )


def delete(call: Call) -> Reply:
    return OPERATIONS.delete(call, "job.deleted")


def list_secrets(call: Call) -> Reply:
    return Reply(200, {"value": tracked.acted_on(call, TYPE).private["secrets"]})


def auth_token(call: Call) -> Reply:
    """A short-lived token for this job's log streams."""
    return tracked.access_token(call, TYPE)


def suspend(call: Call) -> Reply:
    return _switch(call, suspended=True)


def resume(call: Call) -> Reply:
    return _switch(call, suspended=False)


def result(call: Call) -> Reply:
    return OPERATIONS.result(call, view)


def applied(azure: Azure, operation: Operation) -> None:
    record = azure.store.get(operation.resource)
    if record is not None:
        record.body["properties"]["provisioningState"] = "Succeeded"
        record.private |= operation.argument
        azure.store.put(record)
        _tell_scalers(azure, record)
        azure.dispatch.changed()


def deleted(azure: Azure, operation: Operation) -> None:
    azure.store.delete(operation.resource)
    azure.dispatch.changed()


def template_rules(azure: Azure, environment: str, properties: Body, secrets: list[Body]) -> None:
    """What Azure refuses in the containers of a job, or of one execution of it."""
    place = azure.store.get(environment)
    storages = {record.name for record in azure.store.each(environment_storage.KIND, environment)}
    app_rules.run(
        properties,
        secrets,
        storages,
        place.body["properties"]["workloadProfiles"] if place else None,
    )


def _accept(call: Call, known: Record | None, body: Body) -> tuple[Record, Operation]:
    """Check the whole document, store it as in progress and start the operation that applies it."""
    azure, sent = call.azure, body.get("properties") or {}
    place = tracked.location(body, known, TYPE)
    environment = OPERATIONS.environment(azure, sent, known)
    configuration = job_shape.configuration(sent.get("configuration") or {})
    _configuration(configuration)
    profiles = environment.body["properties"]["workloadProfiles"]
    properties: Body = {
        "provisioningState": "InProgress",
        "environmentId": environment.id,
        "workloadProfileName": (
            sent.get("workloadProfileName") or ("Consumption" if profiles else None)
        ),
        "configuration": configuration,
        "template": job_shape.template(sent.get("template")),
    }
    secrets = [_given(entry) for entry in app_shape.secrets(sent.get("configuration"))]
    template_rules(azure, environment.key, properties, secrets)
    private = {
        "environment": environment.key,
        "secrets": secrets,
        "fresh": known is None,
        "fired": clock.now(),
    }
    private["suspended"] = bool(known and known.private["suspended"])
    record = Record(known.id if known else tracked.new_id(call, TYPE), KIND, {}, private)
    record.body = {
        "location": display(place),
        "identity": tracked.identity(call, body, record.id),
        "properties": properties,
    }
    record.body["systemData"] = tracked.stamp(call, known.body["systemData"] if known else None)
    record.body |= {"tags": labels} if (labels := tracked.tags(body)) else {}
    return record, tracked.write(azure, record, "job.applied")


def _given(secret: Body) -> Body:
    """Clients send empty strings for what a secret does not have."""
    return {name: value for name, value in secret.items() if value or name == "value"}


def _configuration(configuration: Body) -> None:
    trigger = configuration["triggerType"]
    if trigger not in {"Manual", "Schedule", "Event"}:
        raise bad_request(
            "ContainerAppsJobInvalidTriggerType", f"The trigger type '{trigger}' is invalid."
        )
    chosen = configuration[f"{trigger.lower()}TriggerConfig"]
    if chosen is None:
        text = (
            f"The job's trigger type is '{trigger}', but '{trigger.lower()}TriggerConfig' is"
            " missing."
        )
        raise bad_request("ContainerAppsJobTriggerConfigRequired", text)
    if configuration["replicaTimeout"] is None:
        raise bad_request(
            "ContainerAppsJobReplicaTimeoutRequired",
            "The property 'replicaTimeout' of a job is required.",
        )
    for name, value in {**configuration, **chosen}.items():
        low, high = _RANGES.get(name, (0, 0))
        if name in _RANGES and not (isinstance(value, int) and low <= value <= high):
            text = (
                f"The value '{value}' of '{name}' is invalid: it must be between {low} and {high}."
            )
            raise bad_request("ContainerAppsJobInvalidConfiguration", text)
    if trigger == "Schedule":
        _cron(str(chosen["cronExpression"] or ""))


def _cron(expression: str) -> None:
    try:
        if len(expression.split()) != 5:
            raise CronSimError
        CronSim(expression, clock.moment())
    except CronSimError:
        text = (
            f"Given CRON expression - '{expression}' is not valid: it must have five fields, as in"
            " '*/5 * * * *'."
        )
        raise bad_request("InvalidCronExpression", text) from None


def _tell_scalers(azure: Azure, record: Record) -> None:
    """No scaler runs here: whoever waits for an event learns it from the job's system events."""
    configuration = record.body["properties"]["configuration"]
    if configuration["triggerType"] == "Event":
        for rule in configuration["eventTriggerConfig"]["scale"]["rules"]:
            text = (
                f"The local Azure has no scaler of type '{rule.get('type')}': executions of this"
                " job are started by hand only."
            )
            azure.dispatch.tell(record.name, "KEDAScalerFailed", text)


def _switch(call: Call, *, suspended: bool) -> Reply:
    azure, record = call.azure, tracked.acted_on(call, TYPE)
    OPERATIONS.idle(azure, record.key, record.name)
    record.body["properties"]["provisioningState"] = "InProgress"
    running = tracked.write(azure, record, "job.applied", argument={"suspended": suspended})
    return OPERATIONS.accepted(call, record, running, status=True)


ROUTES: dict[str, Handler] = {
    "put microsoft.app/jobs/{}": put,
    "patch microsoft.app/jobs/{}": patch,
    "get microsoft.app/jobs/{}": get,
    "delete microsoft.app/jobs/{}": delete,
    "get microsoft.app/jobs": listing,
    "post microsoft.app/jobs/{}/listsecrets": list_secrets,
    "post microsoft.app/jobs/{}/getauthtoken": auth_token,
    "post microsoft.app/jobs/{}/suspend": suspend,
    "post microsoft.app/jobs/{}/resume": resume,
    "get microsoft.app/locations/{}/containerappsjoboperationstatuses/{}": OPERATIONS.status,
    "get microsoft.app/locations/{}/containerappsjoboperationresults/{}": result,
}
