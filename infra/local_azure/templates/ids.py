"""Template functions that make resource ids: a type and its names, interleaved."""

from typing import Any

from .texts import text


def interleave(kind: str, names: list[str]) -> str:
    """`Microsoft.Storage/storageAccounts/fileServices`, [a, default] ->
    `…/storageAccounts/a/fileServices/default`.
    """
    namespace, *types = kind.split("/")
    if not types or len(types) != len(names):
        raise ValueError(
            f"the type '{kind}' requires '{len(types)}' resource name argument(s); '{len(names)}'"
            " were given"
        )
    return "/".join(
        [namespace, *(part for pair in zip(types, names, strict=True) for part in pair)]
    )


def split(identifier: str) -> tuple[str, str, str]:
    """Scope, type and name (`a/default`) of an id; a resource group and a subscription have types
    of their own.
    """
    head, found, tail = identifier.rpartition("/providers/")
    if not found:
        parts = identifier.strip("/").split("/")
        if len(parts) == 4:
            return f"/subscriptions/{parts[1]}", "Microsoft.Resources/resourceGroups", parts[3]
        return "", "Microsoft.Resources/subscriptions", parts[-1]
    namespace, *rest = tail.split("/")
    return head, "/".join([namespace, *rest[::2]]), "/".join(rest[1::2])


def resource_id(subscription: str, group: str | None, arguments: list[Any]) -> str:
    """`resourceId([subscription], [group], type, name, …)`: what comes before the type chooses
    another scope.
    """
    values = [text(value) for value in arguments]
    kind = next(
        (place for place, value in enumerate(values) if "/" in value and not value.startswith("/")),
        None,
    )
    if kind is None or kind > 2:
        raise ValueError("a resource type must be given")
    before, names = values[:kind], values[kind + 1 :]
    if before and not _is_guid(before[0]):
        group = before[0]
    elif before:
        subscription, group = before[0], before[1] if len(before) > 1 else group
    if group is None or values[kind].lower() == "microsoft.resources/resourcegroups":
        return subscription_id(subscription, [values[kind], *names])
    scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
    return f"{scope}/providers/{interleave(values[kind], names)}"


def subscription_id(subscription: str, arguments: list[Any]) -> str:
    """`subscriptionResourceId([subscription], type, name, …)`."""
    values = [text(value) for value in arguments]
    if "/" not in values[0]:
        subscription, values = values[0], values[1:]
    if values[0].lower() == "microsoft.resources/resourcegroups":
        return f"/subscriptions/{subscription}/resourceGroups/{values[1]}"
    return f"/subscriptions/{subscription}/providers/{interleave(values[0], values[1:])}"


def extension_id(arguments: list[Any]) -> str:
    """`extensionResourceId(scope, type, name, …)`."""
    scope, kind, *names = (text(value) for value in arguments)
    return f"{scope.rstrip('/')}/providers/{interleave(kind, names)}"


def tenant_id(arguments: list[Any]) -> str:
    """`tenantResourceId(type, name, …)`."""
    kind, *names = (text(value) for value in arguments)
    return f"/providers/{interleave(kind, names)}"


def _is_guid(value: str) -> bool:
    return len(value) == 36 and value.count("-") == 4


def relative(name: str) -> str:
    """`Microsoft.Storage/storageAccounts/a` is how old templates and `scope` write a resource of
    the same group.
    """
    return name.strip("/")
