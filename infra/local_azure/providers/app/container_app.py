"""Container apps: writes are operations, a changed template makes a revision. Revisions themselves
are in `revision`.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure import clock
from infra.local_azure.arm.body_types import ANY, COMMON, TEXT, TRUTH, WHOLE
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.operations import Finisher, Operation
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control import tracked
from infra.local_azure.control.apps import AppControl
from infra.local_azure.control.naming import APP, REVISION, STORAGE, revision_id
from infra.local_azure.control.records import Body
from infra.local_azure.control.writes import Wording
from infra.local_azure.store import Record

from . import app_rules, app_shape, app_view
from .app_view import TYPE
from .runnable import Runnable, in_environment
from .template_types import REGISTRIES, SECRETS, TEMPLATE

ID_TYPE = "Microsoft.App/containerapps"  # the spelling of ids is not that of `type`
WORDING = Wording("a container app", "ContainerApp", "containerapp")
_ALPHABET = string.ascii_lowercase + string.digits
_APP: Any = {
    **COMMON,
    "kind": TEXT,
    "managedBy": TEXT,
    "properties": {
        "environmentId": TEXT,
        "managedEnvironmentId": TEXT,
        "workloadProfileName": TEXT,
        "configuration": {
            "activeRevisionsMode": TEXT,
            "maxInactiveRevisions": WHOLE,
            "secrets": SECRETS,
            "registries": REGISTRIES,
            "ingress": {
                "external": TRUTH,
                "targetPort": WHOLE,
                "exposedPort": WHOLE,
                "transport": TEXT,
                "allowInsecure": TRUTH,
                "traffic": [
                    {"revisionName": TEXT, "weight": WHOLE, "latestRevision": TRUTH, "label": TEXT}
                ],
                "customDomains": [{"*": ANY}],
                "ipSecurityRestrictions": [{"*": ANY}],
                "stickySessions": {"affinity": TEXT},
                "corsPolicy": {"*": ANY},
                "additionalPortMappings": [{"*": ANY}],
            },
            "dapr": {"*": ANY},
            "runtime": {"*": ANY},
            "identitySettings": [{"*": ANY}],
        },
        "template": TEMPLATE,
    },
}


@dataclass(frozen=True)
class ContainerApps(Runnable):
    """Apps: create, change, start, stop and delete."""

    apps: AppControl

    type_name, kind, wording, ends = TYPE, APP, WORDING, "app"
    shapes: ClassVar[Mapping[str, Any]] = {"microsoft.app/containerapps/{}": _APP}
    shown: ClassVar[Mapping[str, str]] = {APP: TYPE}

    def routes(self) -> Routes:
        return {
            "put microsoft.app/containerapps/{}": self.put,
            "patch microsoft.app/containerapps/{}": self.patch,
            "get microsoft.app/containerapps/{}": self.get,
            "delete microsoft.app/containerapps/{}": self.delete,
            "get microsoft.app/containerapps": self.listing,
            "post microsoft.app/containerapps/{}/listsecrets": self.list_secrets,
            "post microsoft.app/containerapps/{}/getauthtoken": self.auth_token,
            "post microsoft.app/containerapps/{}/start": self.start,
            "post microsoft.app/containerapps/{}/stop": self.stop,
            "get microsoft.app/locations/{}/containerappoperationstatuses/{}": self.status,
            "get microsoft.app/locations/{}/containerappoperationresults/{}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {
            "app.applied": self.applied,
            "app.deleted": self.deleted,
            "app.switched": self.switched,
        }

    def put(self, call: Call) -> Reply:
        """Create or replace: whatever the body leaves out is gone. Answers 201 with an echo
        either way.
        """
        body = call.document()
        self.records.group(call)
        app_rules.name(call.target.name)
        known = self.store.get(call.target.key)
        self.writes.check_idle(WORDING, call.target.key, call.target.name)
        sent = body.get("properties") or {}
        settings = sent.get("configuration") or {}
        # Only the first write has this default: a later PUT without it leaves null (recorded).
        if (
            known is None
            and settings.get("maxInactiveRevisions") is None
            and call.version >= "2024-02"
        ):
            sent = {**sent, "configuration": {**settings, "maxInactiveRevisions": 100}}
        record, running = self._accept(call, known, {**body, "properties": sent})
        return Reply(
            201,
            app_view.echo(call, record, self._environment(record), sent),
            self.writes.begun(WORDING, call, record, running),
        )

    def patch(self, call: Call) -> Reply:
        """A merge over what is there; answers 202 without a body and with both polling headers."""
        body = call.document()
        known = self.records.find(call, TYPE)
        self.writes.check_idle(WORDING, known.key, known.name)
        record, running = self._accept(call, known, self.patched(known, body))
        return self.writes.accepted(WORDING, call, record, running, status=True)

    def start(self, call: Call) -> Reply:
        return self.switch(call, "app.switched", {"stopped": False})

    def stop(self, call: Call) -> Reply:
        return self.switch(call, "app.switched", {"stopped": True})

    def applied(self, operation: Operation) -> None:
        """The end of a PUT or PATCH: the revision it asked for exists, and the replicas follow."""
        record = self.store.get(operation.resource)
        if record is None:
            return
        properties, revision = record.body["properties"], operation.argument.get("revision")
        if revision:
            self.store.put(_revision(record, revision, self.vaults.values(record)))
            properties["latestRevisionName"] = revision
            properties.setdefault(
                "latestReadyRevisionName", revision
            )  # the first counts as ready, whatever becomes of it
        properties["provisioningState"] = "Succeeded"
        # Only from here on: while the write ran, the previous revision counted as the newest.
        record.private["settling"] = True
        self.store.put(record)
        self.apps.prune(record)
        self.changes.notify()

    def switched(self, operation: Operation) -> None:
        record = self.store.get(operation.resource)
        if record is not None:
            record.private["stopped"] = operation.argument["stopped"]
            record.body["properties"]["provisioningState"] = "Succeeded"
            self.store.put(record)
            self.changes.notify()

    def _accept(self, call: Call, known: Record | None, body: Body) -> tuple[Record, Operation]:
        """Check the whole document, store it as in progress and start the operation that applies
        it.
        """
        sent = body.get("properties") or {}
        place = tracked.location(body, known, TYPE)
        environment = self.writes.environment(WORDING, sent, known)
        profiles = environment.body["properties"]["workloadProfiles"]
        properties = in_environment(
            sent,
            environment,
            app_shape.configuration(sent.get("configuration"), fill=True),
            app_shape.template(sent.get("template"), fill=True),
        )
        values = app_shape.secrets(sent.get("configuration"))
        storages = {record.name for record in self.store.each(STORAGE, environment.key)}
        app_rules.document(call.target.name, properties, values, storages, profiles)
        record = Record(
            known.id if known else self.records.new_id(call, ID_TYPE),
            APP,
            {},
            dict(known.private) if known else {"stopped": False, "port": None},
        )
        revision = self._next_revision(record, known, properties)
        if properties["configuration"]["ingress"]:
            existing = [entry.name for entry in self.store.each(REVISION, record.id)] + (
                [revision] if revision else []
            )
            app_rules.traffic(properties["configuration"]["ingress"]["traffic"], existing)
            # The same port through all updates, because the ingress and its clients keep it.
            record.private["port"] = record.private.get("port") or self.apps.free_port()
        old = known.body["properties"] if known else {}
        # The names move when the operation has ended, and a client sees the old ones until then.
        properties |= {
            name: old[name]
            for name in ("latestRevisionName", "latestReadyRevisionName")
            if name in old
        }
        record.private |= {"environment": environment.key, "secrets": values}
        record.body = self.stored(record, known, body, place, properties)
        self.vaults.require_all(record)
        ending, factor = self.images.ending(WORDING, record, properties) if revision else ({}, 1.0)
        argument = {"revision": revision, **ending}
        return record, self.records.write(record, "app.applied", factor=factor, argument=argument)

    def _next_revision(self, record: Record, known: Record | None, properties: Body) -> str | None:
        """The name of the revision this write makes, or None when the template stays. Raises
        ArmError for a suffix that another template has had.
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
            }  # otherwise the revision that it asked for may not exist
            if applied and same and (not suffix or suffix == old["template"]["revisionSuffix"]):
                return None
        if not suffix:
            return f"{record.name}--{''.join(secrets.choice(_ALPHABET) for _ in range(7))}"
        name = f"{record.name}--{suffix}"
        before = self.store.get(revision_id(record, name))
        if before is None:
            return name
        app_rules.same_revision(record.name, name, properties, before.body)
        return None

    def view(self, call: Call, record: Record) -> Body:
        return app_view.view(call, record, self._environment(record))

    def _environment(self, record: Record) -> Record | None:
        return self.store.get(record.private["environment"])


def _revision(app: Record, name: str, values: dict[str, str]) -> Record:
    """A new revision with the secrets of this moment: later values reach it by a restart only."""
    properties = app.body["properties"]
    body = {
        "created": clock.now(),
        "active": True,
        "template": properties["template"],
        "workloadProfileName": properties["workloadProfileName"],
    }
    return Record(revision_id(app, name), REVISION, body, {"secrets": values})
