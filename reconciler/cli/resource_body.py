"""The resource that a body of JSON holds, in Resource Manager's own shape. `diff` reads its two
files with it.
"""

from __future__ import annotations

from typing import Any

from reconciler.api.kinds import Kind
from reconciler.cli.json_body import BodyError, json_type
from reconciler.engine.sameness import field_of
from reconciler.kinds import rules_of

PROPERTIES = "properties"
# What stands beside the properties in a resource. `az` adds resourceGroup.
_BESIDE = frozenset(
    name.casefold()
    for name in (
        *("id", "name", "type", "apiVersion", "location", "tags", "identity", "sku", "kind"),
        *("zones", "etag", "managedBy", "plan", "extendedLocation", "placement", "systemData"),
        "resourceGroup",
    )
)
_EXCHANGE = frozenset(("body", "request", "response", "responses", "reqbody", "url", "uri"))


def resource_of(body: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The body with its `properties` in their place. `az` prints some resources without that level,
    and a person may have saved the properties alone.

    Raises:
        BodyError: it is something else: an error, a list, a recorded exchange, a template, another
            type.
    """
    # A null there asks for nothing, as everywhere.
    body = {
        n: value for n, value in body.items() if value is not None or n.casefold() != PROPERTIES
    }
    _refuse_other(body, kind)
    if any(name.casefold() == PROPERTIES for name in body):
        return body
    inner = {name: value for name, value in body.items() if _is_property(name, kind)}
    beside = {name: value for name, value in body.items() if name not in inner}
    return {**beside, PROPERTIES: inner} if inner else body


def _is_property(name: str, kind: Kind) -> bool:
    """A workspace has its SKU among the properties, an account beside them."""
    return name.casefold() not in _BESIDE or rules_of(kind).knows((PROPERTIES, name))


def _refuse_other(body: dict[str, Any], kind: Kind) -> None:
    of_type = str(body.get("type") or "").casefold()
    types = {each.arm.name.casefold(): each.arm.name for each in Kind if each.arm}
    own = kind.arm.name if kind.arm else ""
    if of_type in types and of_type != own.casefold():
        raise BodyError(f"1:1: this is a resource of type {types[of_type]}, not {own}")
    if isinstance(body.get("error"), dict):
        code = body["error"].get("code") or "without a code"
        raise BodyError(f"1:1: this is an error of Azure ({code}), not a resource")
    if isinstance(body.get("value"), list):
        raise BodyError("1:1: this is a list of resources; save one entry of its value")
    names = {name.casefold() for name in body}
    if PROPERTIES not in names and names & _EXCHANGE:
        raise BodyError("1:1: this is a recorded exchange; save its body alone")
    if PROPERTIES not in names and isinstance(body.get("resources"), list):
        raise BodyError("1:1: this is a template; save one entry of its resources")
    properties = field_of(body, PROPERTIES) if PROPERTIES in names else {}
    if not isinstance(properties, dict):
        raise BodyError(f"1:1: its properties are no JSON object but {json_type(properties)}")
    if pythonic := next((name for name in (*body, *properties) if "_" in name), ""):
        raise BodyError(
            f"1:1: {pythonic!r} is no name of Azure's, which have no underscore: an SDK wrote this."
            " `az resource show --ids ID` prints what Azure says"
        )
