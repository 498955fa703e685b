"""Parses ARM paths and ids. Types and names are compared without case; names keep theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def group_id(identifier: str) -> str:
    """The id of the resource group that a resource lies in."""
    return "/".join(identifier.split("/")[:5])


def resource_id(identifier: str) -> str:
    """The id of the top-level resource that an id or a path lies in."""
    return "/".join(identifier.split("/")[:9])


def parse(path: str) -> Target:
    """Read an ARM path (percent-encoded, without its query).

    `/subscriptions/{s}/resourceGroups/{g}/providers/{ns}/{type}/{name}/…`: everything after the
    namespace alternates type, name. Several slashes count as one: az joins an endpoint that ends
    with one to a path that begins with one.
    """
    parts = [unquote(part) for part in path.split("/") if part]
    clean = "/" + "/".join(parts)
    if not parts or parts[0].lower() != "subscriptions":
        return Target(clean, "/".join(part.lower() for part in parts))
    scope, rest = _scope(clean, parts)
    lower = [part.lower() for part in rest]
    match lower:
        case ["deployments", *_]:  # the old path of them, which az still uses for their operations
            above = parts[: len(parts) - len(rest)]
            return parse("/".join(map(quote, [*above, "providers", "Microsoft.Resources", *rest])))
        case ["providers", _, *later] if "providers" in later:
            # A resource that extends another, as a lock does: its own provider is the last one.
            last = len(lower) - 1 - lower[::-1].index("providers")
            if last == len(lower) - 1:
                return scope.target(later)
            return scope.resource(rest[last + 1], rest[last + 2 :])
        case ["providers", _] | ["providers", _, "register" | "unregister"] if not scope.group:
            provider = scope.target(["providers", "{}", *lower[2:]])
            return replace(provider, namespace=_spelled(rest[1]))
        case ["providers", _, *_]:
            return scope.resource(rest[1], rest[2:])
    # `…/operationresults/{id}` is the one thing at this level that has a name.
    return scope.target([part if index % 2 == 0 else "{}" for index, part in enumerate(lower)])


@dataclass(frozen=True)
class _Scope:
    """How a path begins: the route of its subscription or resource group."""

    path: str
    route: str
    subscription: str | None
    group: str | None

    def target(self, rest: Sequence[str]) -> Target:
        return Target(self.path, "/".join([self.route, *rest]), self.subscription, self.group)

    def resource(self, namespace: str, rest: Sequence[str]) -> Target:
        """A type's name is `{}` in the route; a trailing type without name is a collection or an
        action.
        """
        namespace = _spelled(namespace)
        route = [namespace.lower(), *("{}" if n % 2 else one.lower() for n, one in enumerate(rest))]
        names = tuple(rest[1::2])
        return Target(self.path, "/".join(route), self.subscription, self.group, namespace, names)


def _scope(path: str, parts: Sequence[str]) -> tuple[_Scope, list[str]]:
    """The scope of a path and what follows it."""
    subscription = parts[1] if len(parts) > 1 else None
    rest, group, route = list(parts[2:]), None, "subscriptions/{}"
    if not subscription:
        route = "subscriptions"
    if rest and rest[0].lower() == "resourcegroups":
        group = rest[1] if len(rest) > 1 else None
        route += "/resourcegroups/{}" if group else "/resourcegroups"
        rest = rest[2:]
    return _Scope(path, route, subscription, group), rest


def _spelled(namespace: str) -> str:
    """As Azure spells a provider's name."""
    return _SPELLING.get(namespace.lower(), namespace)
