"""Desired resources as an ARM template: the bodies that each kind would write, with expressions for
what it reads first.

Pure. Folders and catalogues on the share are no ARM resources and stay with the daemon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.api import versions
from reconciler.api.kinds import ArmType, Kind
from reconciler.api.resources import (
    AppSecret,
    ContainerAppSpec,
    EnvironmentStorageSpec,
    ResourceSpec,
    ShareSpec,
)
from reconciler.engine.external import Desired, ObjectKey, with_spec
from reconciler.kinds import environment, environment_storage
from reconciler.kinds.service import app_body

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
# the latest version whose workspaces answer `listKeys`; later ones say `sharedKeys`
WORKSPACE_KEYS = "2023-09-01"
_NAME = re.compile(r"\W")
ByKey = Mapping[ObjectKey, Desired[ResourceSpec]]


class Expression(str):
    """The inside of a template expression; any other text is literal."""

    __slots__ = ()


# A deployment needs an existing group, and a job is started by the daemon only.
WRITTEN: Mapping[str, ArmType] = {
    kind: kind.arm for kind in Kind if kind.arm and kind not in (Kind.RESOURCE_GROUP, Kind.JOB)
}


def arm_template(desired: Sequence[Desired]) -> dict[str, Any]:
    """The template that creates `desired` in their resource group; API keys and secrets are its
    parameters, endpoints its outputs.
    """
    by_key = {
        each.key: each for each in with_spec(desired, ResourceSpec) if each.key.kind in WRITTEN
    }
    apps = with_spec(by_key.values(), ContainerAppSpec)
    # Parameters, so that nobody keeps keys in a template.
    told = {
        **{
            key_parameter(
                app.spec.name, name
            ): f"An API key of {app.spec.name}: a long random text."
            for app in apps
            for name in app.spec.key_names
        },
        **{
            secret_parameter(app.spec.name, secret.name): f"The secret {secret.name} of"
            f" {app.spec.name}."
            for app in apps
            for secret in app.spec.secrets
            if secret.digest
        },
    }
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {
            name: {
                "type": "securestring",
                "metadata": {"description": text},
            }
            for name, text in told.items()
        },
        "resources": [_resource(each, by_key) for each in by_key.values()],
        "outputs": {
            _NAME.sub("_", f"{app.spec.name}_endpoint"): {
                "type": "string",
                "value": _rendered(_endpoint(app)),
            }
            for app in apps
        },
    }


def key_parameter(service: str, key: str) -> str:
    """The parameter that holds an API key."""
    return _NAME.sub("_", f"{service}_{key}_apiKey")


def secret_parameter(service: str, secret: str) -> str:
    """The parameter that holds the value of a secret."""
    return _NAME.sub("_", f"{service}_{secret}_secret")


def _resource(desired: Desired[ResourceSpec], by_key: ByKey) -> dict[str, Any]:
    type_ = WRITTEN[desired.key.kind]
    waits = [_id(by_key[ref]) for ref in desired.refs if ref in by_key]
    head = {"type": type_.name, "apiVersion": type_.api_version, "name": "/".join(_names(desired))}
    body = _rendered({**_body(desired, by_key), **({"dependsOn": waits} if waits else {})})
    return {**head, **body}


def _body(desired: Desired[ResourceSpec], by_key: ByKey) -> Mapping[str, Any]:
    """The body that the kind would create, with expressions for what the daemon would have read."""
    spec = desired.spec
    # The bodies of these kinds need a key or an id of another resource in the template.
    if desired.key.kind == Kind.ENVIRONMENT:
        workspace = _id(by_key[ObjectKey(Kind.WORKSPACE, desired.key.name)])
        customer = Expression(f"reference({workspace}, '{versions.LOG_ANALYTICS}').customerId")
        return environment.creation(
            spec,
            customer,
            Expression(f"listKeys({workspace}, '{WORKSPACE_KEYS}').primarySharedKey"),
        )
    if isinstance(spec, EnvironmentStorageSpec):
        account = _id(by_key[ObjectKey(Kind.STORAGE_ACCOUNT, spec.environment)])
        return environment_storage.creation(
            spec.body, Expression(f"listKeys({account}, '{versions.STORAGE}').keys[0].value")
        )
    if isinstance(spec, ContainerAppSpec):
        managed = _id(by_key[ObjectKey(Kind.ENVIRONMENT, spec.environment)])
        keys = {
            name: Expression(f"parameters({_quoted(key_parameter(spec.name, name))})")
            for name in spec.key_names
        }
        return app_body.creation(
            spec, managed, keys, [_secret(spec, each) for each in spec.secrets]
        )
    return dict(spec.body)


def _secret(spec: ContainerAppSpec, secret: AppSecret) -> dict[str, Any]:
    if secret.key_vault_url:
        place = {"keyVaultUrl": secret.key_vault_url, "identity": secret.identity}
        return {"name": secret.name, **place}
    parameter = _quoted(secret_parameter(spec.name, secret.name))
    return {"name": secret.name, "value": Expression(f"parameters({parameter})")}


def _names(desired: Desired[ResourceSpec]) -> Iterator[str]:
    """The resource's names, one for each segment of its type."""
    spec = desired.spec
    if isinstance(spec, ShareSpec):
        yield from (spec.account, "default")
    if isinstance(spec, EnvironmentStorageSpec):
        yield spec.managed_environment
    yield spec.name


def _id(desired: Desired[ResourceSpec]) -> Expression:
    names = ", ".join(map(_quoted, (WRITTEN[desired.key.kind].name, *_names(desired))))
    return Expression(f"resourceId({names})")


def _endpoint(app: Desired[ResourceSpec]) -> Expression:
    domain = f"reference({_id(app)}, '{versions.APP}').configuration.ingress.fqdn"
    return Expression(f"format('https://{{0}}', {domain})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _rendered(value: Any) -> Any:
    """Expressions in brackets; a text that only looks like one gets a second bracket."""
    if isinstance(value, Expression):
        return f"[{value}]"
    if isinstance(value, str):
        return f"[{value}" if value.startswith("[") and value.endswith("]") else value
    if isinstance(value, Mapping):
        return {key: _rendered(item) for key, item in value.items()}
    return [_rendered(item) for item in value] if isinstance(value, list | tuple) else value
