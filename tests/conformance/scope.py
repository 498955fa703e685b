"""Which exchanges are scored, and under which line of the table. Everything else is
listed apart.
"""

import re
from dataclasses import dataclass

from .recordings import MANAGEMENT, Exchange

_APP, _IDENTITY, _STORE, _LOGS = (
    "microsoft.app",
    "microsoft.managedidentity/userassignedidentities",
    "microsoft.storage/storageaccounts",
    "microsoft.operationalinsights",
)
_SCORED = {
    "subscriptions/{}/resourcegroups": "resource groups",
    "subscriptions/{}/operationresults/{}": "operations: resource groups",
    f"{_LOGS}/workspaces": "workspaces",
    f"{_LOGS}/workspaces/{{}}/sharedkeys": "workspaces",
    f"{_LOGS}/deletedworkspaces": "workspaces",
    f"{_LOGS}/locations/{{}}/operationstatuses/{{}}": "operations: workspaces",
    "microsoft.storage/checknameavailability": "storage accounts",
    "microsoft.storage/locations/{}/asyncoperations/{}": "operations: storage accounts",
    _STORE: "storage accounts",
    f"{_STORE}/{{}}/listkeys": "storage accounts",
    f"{_STORE}/{{}}/regeneratekey": "storage accounts",
    f"{_STORE}/{{}}/fileservices": "file services",
    f"{_STORE}/{{}}/fileservices/{{}}/shares": "file shares",
    f"{_STORE}/{{}}/fileservices/{{}}/shares/{{}}/restore": "file shares",
    _IDENTITY: "managed identities",
    f"{_APP}/managedenvironments": "managed environments",
    f"{_APP}/managedenvironments/{{}}/usages": "managed environments",
    f"{_APP}/managedenvironments/{{}}/workloadprofilestates": "managed environments",
    f"{_APP}/managedenvironments/{{}}/storages": "environment storages",
    f"{_APP}/managedenvironments/{{}}/daprcomponents": "Dapr components",
    f"{_APP}/managedenvironments/{{}}/daprcomponents/{{}}/listsecrets": "Dapr components",
    f"{_APP}/locations/{{}}/availablemanagedenvironmentsworkloadprofiletypes": (
        "managed environments"
    ),
    f"{_APP}/locations/{{}}/usages": "managed environments",
    f"{_APP}/locations/{{}}/managedenvironmentoperationstatuses/{{}}": "operations: environments",
    f"{_APP}/locations/{{}}/managedenvironmentoperationresults/{{}}": "operations: environments",
    f"{_APP}/containerapps": "container apps",
    f"{_APP}/containerapps/{{}}/listsecrets": "container apps",
    f"{_APP}/containerapps/{{}}/getauthtoken": "container apps",
    f"{_APP}/containerapps/{{}}/start": "container apps",
    f"{_APP}/containerapps/{{}}/stop": "container apps",
    f"{_APP}/containerapps/{{}}/revisions": "revisions",
    f"{_APP}/containerapps/{{}}/revisions/{{}}/activate": "revisions",
    f"{_APP}/containerapps/{{}}/revisions/{{}}/deactivate": "revisions",
    f"{_APP}/containerapps/{{}}/revisions/{{}}/restart": "revisions",
    f"{_APP}/containerapps/{{}}/revisions/{{}}/replicas": "replicas",
    f"{_APP}/locations/{{}}/containerappoperationstatuses/{{}}": "operations: container apps",
    f"{_APP}/locations/{{}}/containerappoperationresults/{{}}": "operations: container apps",
    f"{_APP}/jobs": "jobs",
    f"{_APP}/jobs/{{}}/listsecrets": "jobs",
    f"{_APP}/jobs/{{}}/start": "jobs",
    f"{_APP}/jobs/{{}}/stop": "jobs",
    f"{_APP}/jobs/{{}}/executions": "job executions",
    f"{_APP}/locations/{{}}/containerappsjoboperationstatuses/{{}}": "operations: jobs",
    f"{_APP}/locations/{{}}/containerappsjoboperationresults/{{}}": "operations: jobs",
}
OPERATION = re.compile(
    r"/operation(statuse|result)s?/|operation(statuse|result)s/|/asyncoperations/", re.IGNORECASE
)


@dataclass(frozen=True, order=True)
class Subject:
    """A line of the table: the resource type and what was done to it."""

    kind: str
    operation: str
    scored: bool


def subject(exchange: Exchange) -> Subject:
    if exchange.host != MANAGEMENT:
        return Subject("Azure Files data plane", exchange.method.lower(), scored=False)
    shape = route(exchange.path)
    last = shape.rsplit("/", 1)[-1]
    kind = _SCORED.get(shape) or _SCORED.get(shape.removesuffix("/{}"))
    if kind is None:
        return Subject(
            re.sub(r"/\{\}(/\{\})+", "/{}", shape).removesuffix("/{}"),
            exchange.method.lower(),
            scored=False,
        )
    if exchange.method == "POST" or (
        exchange.method == "GET" and last in {"usages", "workloadprofilestates"}
    ):
        return Subject(kind, last if last != "{}" else shape.rsplit("/", 2)[-2], scored=True)
    if exchange.method == "GET" and last != "{}":
        return Subject(
            kind, "list" if shape in _SCORED and "locations" not in shape else last, scored=True
        )
    return Subject(kind, exchange.method.lower(), scored=True)


def route(path: str) -> str:
    """The shape of an ARM path: namespace and types in lower case, `{}` for every name."""
    parts = path.strip("/").lower().split("/")
    head, rest = (parts, []) if "providers" not in parts else _split(parts)
    if rest:
        return "/".join(
            [rest[0], *("{}" if index % 2 else part for index, part in enumerate(rest[1:]))]
        )
    return "/".join("{}" if index % 2 else part for index, part in enumerate(head))


def resources(path: str) -> list[str]:
    """The resources a path leads through, outermost first, as lower-case ids: the group, an
    account, its share.
    """
    parts = path.strip("/").lower().split("/")
    head, rest = (parts, []) if "providers" not in parts else _split(parts)
    if len(head) < 4 or head[2] != "resourcegroups":
        return []
    group = "/" + "/".join(head[:4])
    chain, here = [group], f"{group}/providers/{rest[0]}" if rest else group
    for index in range(1, len(rest) - 1, 2):
        here = f"{here}/{rest[index]}/{rest[index + 1]}"
        chain.append(here)
    return chain


def _split(parts: list[str]) -> tuple[list[str], list[str]]:
    at = parts.index("providers")
    return parts[:at], parts[at + 1 :]
