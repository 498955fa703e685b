"""Every exchange with the local Azure that a test caused, held against Azure's types.

`ALLOWED` has what Azure really says and the type data does not, each with where it was seen.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from . import types
from .types import Use

_APP = r"answered Microsoft\.App/(containerApps|jobs)\b.* "
ALLOWED = {
    _APP + r"properties\.(delegatedIdentities|runningStatus|runningState): is not": (
        "recorded; the type data is older or leaves it out"
    ),
    _APP + r"properties\.deploymentErrors: is not": "recorded of what failed",
    _APP + r".*\.imageType: is not": "recorded in templates of apps and jobs",
    r"answered Microsoft\.App/jobs(/executions| stop) .*(detailedStatus|message|reason): is not": (
        "in the model of 2026-07-01"
    ),
    r"answered Microsoft\.App/containerApps/revisions .*\.runningStateDetails: is not": "recorded",
    r"answered Microsoft\.App/managedEnvironments .*\.enableFips: is not": "recorded",
    r"answered Microsoft\.App/(containerApps/revisions|containerApps/revisions/replicas|managedEnvironments/storages) type:": (
        "recorded with `containerapps` and `managedenvironments` in small letters"
    ),
    r"answered Microsoft\.Storage/storageAccounts (listKeys|regenerateKey) .*permissions: 'FULL'": (
        "recorded in capitals"
    ),
    r"answered Microsoft\.Storage/storageAccounts .*networkAcls\.ipv6Rules: is not": (
        "recorded; newer than the type data"
    ),
    r"answered Microsoft\.Storage/.*/fileServices .*shareDeleteRetentionPolicy\.days: 0": (
        "recorded while retention is off"
    ),
    r"answered Microsoft\.Resources/deployments .*\.dependsOn\[\]\.(apiVersion|actionName): is not": (
        "recorded where an expression reads"
    ),
    r"answered Microsoft\.Resources/deployments .*properties\.parameters\.\w+\.type: is not": (
        "recorded with every parameter"
    ),
    r"answered Microsoft\.Resources/deployments .*\.locations\[\]: None": (
        "recorded for types without a region"
    ),
    r"answered Microsoft\.Resources/deployments validate (location|tags): is not": (
        "recorded at a subscription"
    ),
}
_TYPED = re.compile(r"/providers/([^/]+)/(.+)$", re.IGNORECASE)
_GROUP = re.compile(r"/subscriptions/[^/]+/resourcegroups(/[^/]+)?$", re.IGNORECASE)


def check(path: Path) -> list[str]:
    """Each violation once, with the request that showed it first."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for line in path.read_text().splitlines() if path.exists() else []:
        one = json.loads(line)
        shape = json.dumps(
            [one["method"], re.sub(r"/[^/]+$", "", one["path"]), one["sent"], one["answer"]]
        )
        if 200 <= one["status"] < 300 and shape not in seen:
            seen.add(shape)
            for wrong in exchange(one):
                key = re.sub(r"'[^']{24,}'|\b[0-9a-f]{8,}\b", "…", wrong)
                found.setdefault(
                    key, f"{wrong}   ({one['method']} {one['path']} by {one['client']})"
                )
    return sorted(
        text
        for key, text in found.items()
        if not any(re.search(pattern, key, re.IGNORECASE) for pattern in ALLOWED)
    )


def exchange(one: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one request and its answer."""
    kind, name, action = _subject(unquote(one["path"]))
    version = parse_qs(one["query"]).get("api-version", [""])[0]
    if not kind:
        return
    if one["client"].startswith("moorage") and one["method"] in {"PUT", "PATCH"} and one["sent"]:
        use = Use(answer=False, part=one["method"] == "PATCH")
        for wrong in _wrong(kind, version, one["sent"], use):
            yield f"sent {kind} {wrong}"
    answer = one["answer"]
    if not isinstance(answer, dict):
        return
    if action:
        yield from (
            f"answered {kind} {action} {wrong}"
            for wrong in types.wrong_output(kind, action, version, answer)
        )
        return
    for body in [answer] if name else answer.get("value", []):
        yield from (
            f"answered {kind} {wrong}"
            for wrong in _wrong(kind, version, json.dumps(body), Use(answer=True))
        )


@lru_cache(10_000)
def _wrong(kind: str, version: str, body: str, use: Use) -> tuple[str, ...]:
    """Kept, because lists answer with the same resources again and again."""
    return tuple(types.violations(kind, version, json.loads(body), use))


def _subject(path: str) -> tuple[str, bool, str]:
    """Type, whether one resource is named, and the action: a group, a resource, a collection or
    `…/listKeys`.
    """
    if match := _GROUP.fullmatch(path):
        return "Microsoft.Resources/resourceGroups", bool(match[1]), ""
    match = _TYPED.search(path)
    if not match:
        return "", False, ""
    namespace, rest = match[1], match[2].split("/")
    kind = "/".join([namespace, *rest[::2]])
    if len(rest) % 2 == 0:
        return kind, True, ""
    above = "/".join([namespace, *rest[:-1:2]])
    known = [
        place
        for each in types.versions(types.spelled(namespace)).values()
        for entry in each
        for place in entry.actions
    ]
    if (above.lower(), rest[-1].lower()) in known:
        return above, True, rest[-1]
    return kind, False, ""
