"""Parses ARM paths. Types and names are compared without case; names keep theirs."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

NAMESPACES = (
    "Microsoft.App",
    "Microsoft.Authorization",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.OperationalInsights",
    "Microsoft.Resources",
    "Microsoft.Storage",
)
_SPELLING = {name.lower(): name for name in NAMESPACES}


@dataclass(frozen=True)
class Target:
    """What a path names. `route` is its shape, the key into the providers' tables.

    `microsoft.app/containerapps/{}` is an app, `microsoft.app/containerapps` the collection,
    `…/{}/listsecrets` an action.
    """

    path: str
    route: str
    subscription: str | None = None
    group: str | None = None
    namespace: str | None = None
    names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def key(self) -> str:
        return self.path.lower()

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"


def parse(path: str) -> Target:
    """Read an ARM path (percent-encoded, without its query).

    `/subscriptions/{s}/resourceGroups/{g}/providers/{ns}/{type}/{name}/…`: everything after the
    namespace alternates type, name. Several slashes count as one: az joins an endpoint that ends
    with one to a path that begins with one.
    """
    parts = [unquote(part) for part in path.split("/") if part] or [""]
    clean = "/" + "/".join(parts)
    lower = [part.lower() for part in parts]
    if not parts or lower[0] != "subscriptions":
        return Target(clean, "/".join(lower))
    subscription = parts[1] if len(parts) > 1 else None
    rest, group, scope = parts[2:], None, "subscriptions/{}" if subscription else "subscriptions"
    if rest and rest[0].lower() == "resourcegroups":
        group = rest[1] if len(rest) > 1 else None
        scope += "/resourcegroups/{}" if group else "/resourcegroups"
        rest = rest[2:]
    if (
        rest and rest[0].lower() == "deployments"
    ):  # the old way of naming them, which az still uses for their operations
        above = parts[: len(parts) - len(rest)]
        return parse("/".join(map(quote, [*above, "providers", "Microsoft.Resources", *rest])))
    if len(rest) < 2 or rest[0].lower() != "providers":
        # `…/operationresults/{id}` is the one thing at this level that has a name.
        shape = [part.lower() if index % 2 == 0 else "{}" for index, part in enumerate(rest)]
        return Target(clean, "/".join([scope, *shape]), subscription, group)
    if "providers" in (later := [part.lower() for part in rest[2:]]):
        # A resource that extends another, as a lock does: its own provider is the last one named.
        rest = rest[2 + len(later) - 1 - later[::-1].index("providers") :]
        if len(rest) < 2:
            return Target(clean, "/".join([scope, *later]), subscription, group)
        return _resource(
            clean, subscription, group, _SPELLING.get(rest[1].lower(), rest[1]), rest[2:]
        )
    namespace = _SPELLING.get(rest[1].lower(), rest[1])
    if (
        group is None
        and len(rest) <= 3
        and (len(rest) == 2 or rest[2].lower() in {"register", "unregister"})
    ):
        return Target(
            clean,
            "/".join([scope, "providers/{}", *(part.lower() for part in rest[2:])]),
            subscription,
            None,
            namespace,
        )
    return _resource(clean, subscription, group, namespace, rest[2:])


def _resource(
    path: str, subscription: str | None, group: str | None, namespace: str, rest: list[str]
) -> Target:
    """A type's name is `{}` in the route; a trailing type without name is a collection or an
    action.
    """
    shape = [
        namespace.lower(),
        *("{}" if index % 2 else part.lower() for index, part in enumerate(rest)),
    ]
    return Target(path, "/".join(shape), subscription, group, namespace, tuple(rest[1::2]))
