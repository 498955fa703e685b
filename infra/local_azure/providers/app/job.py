"""Container Apps jobs: writes are operations. Their executions are in `execution`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cronsim import CronSim, CronSimError

from infra.local_azure import clock
from infra.local_azure.arm.body_types import ANY, COMMON, TEXT, WHOLE
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.arm.operations import Finisher, Operation
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control import tracked
from infra.local_azure.control.jobs import JobControl
from infra.local_azure.control.naming import JOB, STORAGE
from infra.local_azure.control.records import Body
from infra.local_azure.control.writes import Wording
from infra.local_azure.store import Record, Store

from . import app_rules, app_shape, job_shape
from .job_shape import TYPE, view
from .runnable import Runnable, in_environment
from .template_types import REGISTRIES, SECRETS, TEMPLATE

WORDING = Wording("a container apps job", "ContainerAppsJob", "containerappsjob")
_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{0,30}[a-z0-9]")
_RANGES = {
    "replicaTimeout": (1, 604800),
    "replicaRetryLimit": (0, 1000),
    "replicaCompletionCount": (1, 1000),
    "parallelism": (1, 1000),
}
_COUNTS: Any = {"parallelism": WHOLE, "replicaCompletionCount": WHOLE}
_JOB: Any = {
    **COMMON,
    "properties": {
        "environmentId": TEXT,
        "workloadProfileName": TEXT,
        "configuration": {
            "triggerType": TEXT,
            "replicaTimeout": WHOLE,
            "replicaRetryLimit": WHOLE,
            "secrets": SECRETS,
            "registries": REGISTRIES,
            "manualTriggerConfig": _COUNTS,
            "scheduleTriggerConfig": {**_COUNTS, "cronExpression": TEXT},
            "eventTriggerConfig": {**_COUNTS, "scale": {"*": ANY}},
            "identitySettings": [{"*": ANY}],
        },
        "template": TEMPLATE,
    },
}


@dataclass(frozen=True)
class Jobs(Runnable):
    """Jobs: create, change, suspend, resume and delete."""

    jobs: JobControl

    type_name, kind, wording, ends = TYPE, JOB, WORDING, "job"
    shapes: ClassVar[Mapping[str, Any]] = {"microsoft.app/jobs/{}": _JOB}
    shown: ClassVar[Mapping[str, str]] = {JOB: TYPE}

    def routes(self) -> Routes:
        return {
            "put microsoft.app/jobs/{}": self.put,
            "patch microsoft.app/jobs/{}": self.patch,
            "get microsoft.app/jobs/{}": self.get,
            "delete microsoft.app/jobs/{}": self.delete,
            "get microsoft.app/jobs": self.listing,
            "post microsoft.app/jobs/{}/listsecrets": self.list_secrets,
            "post microsoft.app/jobs/{}/getauthtoken": self.auth_token,
            "post microsoft.app/jobs/{}/suspend": self.suspend,
            "post microsoft.app/jobs/{}/resume": self.resume,
            "get microsoft.app/locations/{}/containerappsjoboperationstatuses/{}": self.status,
            "get microsoft.app/locations/{}/containerappsjoboperationresults/{}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"job.applied": self.applied, "job.deleted": self.deleted}

    def put(self, call: Call) -> Reply:
        """Create or replace; answers 201 with an echo either way."""
        body = call.document()
        self.records.group(call)
        if not _NAME.fullmatch(call.target.name):
            text = (
                f"Invalid ContainerAppsJob name '{call.target.name}'. A name must consist of lower"
                " case alphanumeric characters or '-', start with an alphabetic character, and end"
                " with an alphanumeric character and cannot have '--'. The length must be between"
                " 2 and 32 characters inclusive."
            )
            raise bad_request("ContainerAppsJobInvalidName", text)
        known = self.store.get(call.target.key)
        self.writes.check_idle(WORDING, call.target.key, call.target.name)
        record, running = self._accept(call, known, body)
        return Reply(
            201, view(call, record, echo=True), self.writes.begun(WORDING, call, record, running)
        )

    def patch(self, call: Call) -> Reply:
        """A merge over what is there; answers 202 without a body."""
        body, known = call.document(), self.records.find(call, TYPE)
        self.writes.check_idle(WORDING, known.key, known.name)
        record, running = self._accept(call, known, self.patched(known, body))
        return self.writes.accepted(WORDING, call, record, running)

    def suspend(self, call: Call) -> Reply:
        return self._suspend(call, suspended=True)

    def resume(self, call: Call) -> Reply:
        return self._suspend(call, suspended=False)

    def applied(self, operation: Operation) -> None:
        record = self.store.get(operation.resource)
        if record is not None:
            record.body["properties"]["provisioningState"] = "Succeeded"
            record.private |= operation.argument
            self.store.put(record)
            self._tell_scalers(record)
            self.changes.notify()

    def _accept(self, call: Call, known: Record | None, body: Body) -> tuple[Record, Operation]:
        """Check the whole document, store it as in progress and start the operation that applies
        it.
        """
        sent = body.get("properties") or {}
        place = tracked.location(body, known, TYPE)
        environment = self.writes.environment(WORDING, sent, known)
        configuration = job_shape.configuration(sent.get("configuration") or {})
        _configuration(configuration)
        template = job_shape.template(sent.get("template"))
        properties = in_environment(sent, environment, configuration, template)
        secrets = [_given(entry) for entry in app_shape.secrets(sent.get("configuration"))]
        template_rules(self.store, environment.key, properties, secrets)
        private = {
            "environment": environment.key,
            "secrets": secrets,
            "fresh": known is None,
            "fired": clock.now(),
        }
        private["suspended"] = bool(known and known.private["suspended"])
        record = Record(known.id if known else self.records.new_id(call, TYPE), JOB, {}, private)
        record.body = self.stored(record, known, body, place, properties)
        self.vaults.require_all(record)
        ending, factor = self.images.ending(WORDING, record, properties)
        return record, self.records.write(record, "job.applied", factor=factor, argument=ending)

    def _tell_scalers(self, record: Record) -> None:
        """No scaler runs here; the system events of the job say so."""
        configuration = record.body["properties"]["configuration"]
        if configuration["triggerType"] == "Event":
            for rule in configuration["eventTriggerConfig"]["scale"]["rules"]:
                text = (
                    f"The local Azure has no scaler of type '{rule.get('type')}': executions of"
                    " this job are started by hand only."
                )
                self.jobs.warn(record.name, "KEDAScalerFailed", text)

    def _suspend(self, call: Call, *, suspended: bool) -> Reply:
        return self.switch(call, "job.applied", {"suspended": suspended}, status=True)

    def view(self, call: Call, record: Record) -> Body:
        return view(call, record)


def template_rules(store: Store, environment: str, properties: Body, secrets: list[Body]) -> None:
    """What Azure refuses in the containers of a job, or of one execution of it."""
    place = store.get(environment)
    storages = {record.name for record in store.each(STORAGE, environment)}
    app_rules.run(
        properties,
        secrets,
        storages,
        place.body["properties"]["workloadProfiles"] if place else None,
    )


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
    for rule in (configuration["eventTriggerConfig"] or {"scale": {"rules": ()}})["scale"]["rules"]:
        if not rule.get("name") or not rule.get("type"):
            name = rule.get("name") or ""
            text = f"The scale rule '{name}' is invalid: it must have a name and a type."
            raise bad_request("ContainerAppsJobInvalidScaleRule", text)
    if schedule := configuration["scheduleTriggerConfig"]:  # also beside another trigger
        _cron(str(schedule["cronExpression"] or ""))


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
