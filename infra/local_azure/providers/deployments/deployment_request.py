"""What a deployment asks for: its place, its template opened with its parameters, and ARM's answer
when that cannot be done.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local_azure.arm import ids
from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import (
    GATEWAY,
    ArmError,
    bad_request,
    group_not_found,
    not_implemented,
)
from infra.local_azure.arm.front import Front
from infra.local_azure.control.records import GROUPS, Body
from infra.local_azure.login import Login
from infra.local_azure.providers.resource_group import view as group_view
from infra.local_azure.providers.subscriptions import cloud
from infra.local_azure.store import Store
from infra.local_azure.templates import relaxed
from infra.local_azure.templates.errors import Lookup, TemplateError
from infra.local_azure.templates.evaluation import Scope
from infra.local_azure.templates.expression import is_expression
from infra.local_azure.templates.hashing import template_hash
from infra.local_azure.templates.resource import DEPLOYMENT, Resource
from infra.local_azure.templates.template import Template

TYPE = "Microsoft.Resources/deployments"
KIND = TYPE.lower()


class InvalidTemplate(ArmError):
    """400 InvalidTemplate with the place of the violation."""

    def __init__(self, wrong: TemplateError, document: relaxed.Document) -> None:
        line, column = document.line(wrong.path)
        text = wrong.text.replace("{at}", f"at line '{line}' and column '{column}'")
        super().__init__(
            400,
            "InvalidTemplate",
            f"Deployment template validation failed: '{text}'.",
            headers=GATEWAY,
        )
        self.info = {"lineNumber": line, "linePosition": column, "path": wrong.path}

    def body(self) -> dict[str, Any]:
        violation = {"type": "TemplateViolation", "info": self.info}
        return {
            "error": {"code": self.code, "message": self.message, "additionalInfo": [violation]}
        }


@dataclass
class Opened:
    """A checked request. `nested` are the resources of the deployments inside, as far as they are
    known before it runs.
    """

    identifier: str
    properties: Body
    template: Template
    nested: list[Resource]

    @property
    def resources(self) -> list[Resource]:
        """Those that this deployment writes itself."""
        return [one for one in self.template.resources if one.enabled and not one.existing]


class DeploymentRequests:
    """Reads requests of clients, and those that the store kept for a run."""

    def __init__(self, store: Store, login: Login, front: Front) -> None:
        self._store = store
        self._login = login
        self._front = front

    def opened(self, call: Call) -> Opened:
        """Read and check the request of a PUT, a validation or a what-if."""
        properties = call.document().get("properties")
        self._place(call)
        if not isinstance(properties, dict):
            raise bad_request(
                "InvalidRequestContent",
                "The request content was invalid: the property 'properties' is missing.",
            )
        for link in ("templateLink", "parametersLink"):
            if properties.get(link):
                raise not_implemented(f"{link} in a deployment")
        mode = str(properties.get("mode", ""))
        if mode.lower() not in {"incremental", "complete"}:
            raise bad_request(
                "InvalidDeploymentMode",
                f"The deployment mode '{mode}' is not valid; it is Incremental or Complete.",
            )
        if mode.lower() == "complete" and call.target.group is None:
            raise bad_request(
                "InvalidDeploymentMode",
                "The deployment mode 'Complete' is not supported at subscription scope.",
            )
        identifier = self.identifier(call)
        try:
            template = self.reopened(
                identifier, properties, location=call.document().get("location")
            )
            groups = {
                one.key: _planned(one) for one in template.resources if one.kind.lower() == GROUPS
            }
            for resource in template.resources:
                self._reachable(resource, groups)
            nested = [
                one for resource in template.resources for one in self._inside(resource, groups)
            ]
            for resource in nested:
                self._reachable(resource, groups)
        except TemplateError as wrong:
            raise InvalidTemplate(wrong, _document(call)) from None
        except (
            AttributeError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
        ) as wrong:  # an array where an object belongs, and the like
            shapeless = TemplateError(
                f"The template or its parameters do not have the expected shape: {wrong}",
                "properties.template",
            )
            raise InvalidTemplate(shapeless, _document(call)) from None
        return Opened(identifier, properties, template, nested)

    def reopened(
        self,
        identifier: str,
        properties: Body,
        answers: Mapping[Lookup, Any] | None = None,
        groups: Mapping[str, Body] | None = None,
        location: str | None = None,
    ) -> Template:
        """The template of a request; `answers` is what its expressions may read, `groups` are those
        that are still to be made.
        """
        target = ids.parse(identifier)
        group = self._store.get(target.group_id) if target.group else None
        planned = (groups or {}).get(target.group_id.lower()) if target.group else None
        source = properties.get("template")
        identity = self._login.identity
        shown = {
            "mode": properties["mode"],
            "template": source,
            "templateHash": template_hash(source),
            "provisioningState": "Accepted",
        }
        scope = Scope(
            subscription={
                "id": f"/subscriptions/{identity.subscription}",
                "subscriptionId": identity.subscription,
                "tenantId": identity.tenant,
                "displayName": "Local Azure",
            },
            tenant={"tenantId": identity.tenant, "displayName": "Local Azure"},
            environment=cloud(self._front.base, identity.tenant),
            deployment={
                "name": target.name,
                **({"location": location} if location else {}),
                "properties": shown,
            },
            group=group_view(group) if group else planned,
            answers={} if answers is None else answers,
        )
        return Template(source, properties.get("parameters") or {}, scope)

    def identifier(self, call: Call) -> str:
        """The id with the group's own spelling."""
        group = self._store.get(call.target.group_id) if call.target.group else None
        root = group.id if group else f"/subscriptions/{call.target.subscription}"
        return f"{root}/providers/{TYPE}/{call.target.names[0]}"

    def _place(self, call: Call) -> None:
        """At a subscription a deployment needs a location, in a group it takes the group's and must
        not have one.
        """
        name, sent = call.target.names[0], call.document().get("location")
        if call.target.group is None and not sent:
            more = "Please see https://aka.ms/deploy-to-subscription for usage details."
            raise bad_request(
                "LocationRequired",
                f"The 'location' property must be specified for '{name}'. {more}",
            )
        if call.target.group is not None and sent:
            more = "Please see https://aka.ms/arm-deployment-resources for usage details."
            raise bad_request(
                "InvalidDeployment",
                f"The 'location' property is not allowed for '{name}' at resource group scope."
                f" {more}",
            )
        if call.target.group is not None:
            record = self._store.get(call.target.group_id)
            if record is None or record.kind != GROUPS:
                raise group_not_found(call.target.group)

    def _inside(self, resource: Resource, groups: Mapping[str, Body]) -> list[Resource]:
        """The resources of a nested deployment; none where its parameters are not known yet."""
        if resource.kind.lower() != DEPLOYMENT or not resource.enabled:
            return []
        properties = resource.body(defer=True).get("properties") or {}
        if any(
            is_expression(value.get("value"))
            for value in (properties.get("parameters") or {}).values()
        ):
            return []
        inner = self.reopened(resource.id, {"mode": "Incremental", **properties}, groups=groups)
        return [
            found
            for one in inner.resources
            for found in (one, *self._inside(one, groups))
            if one.enabled and not one.existing
        ]

    def _reachable(self, resource: Resource, groups: Mapping[str, Body]) -> None:
        """The group must exist or be made by this template, the type be one that this Azure has."""
        target = ids.parse(resource.id)
        if (
            target.group
            and target.group_id.lower() not in groups
            and self._store.get(target.group_id) is None
        ):
            raise group_not_found(target.group)
        if resource.enabled and not resource.existing and not self._front.knows("PUT", resource.id):
            raise not_implemented(f"{resource.kind} in a deployment")


def _planned(resource: Resource) -> Body:
    """A group as resourceGroup() will show it."""
    return {
        "id": resource.id,
        "name": resource.name,
        "type": resource.kind,
        **resource.body(defer=True),
    }


def _document(call: Call) -> relaxed.Document:
    return relaxed.read(call.raw.decode("utf-8-sig") if call.raw else json.dumps(call.body))


def given(properties: Mapping[str, Any]) -> str:
    """The mode as ARM spells it."""
    return str(properties["mode"]).capitalize()
