"""The smoke request: one GET to a revision itself, before it takes traffic.

It goes to the app's address and names the revision in the `Host` header, as its own address does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.clients import Arm
from reconciler.kinds.service.ingress_reach import GATEWAY, NO_APP, NOT_ADMITTED, reaches_ingress

PATIENCE = aiohttp.ClientTimeout(total=10)
LONGEST = 4096  # bytes of an answer that are read


@dataclass(frozen=True)
class SmokeAnswer:
    """`wrong` says what is wrong and is empty for a good answer. `by_app`: the answer came from the
    app itself. `unseen`: the daemon does not reach the ingress, so nothing is known about the app.
    """

    wrong: str = ""
    by_app: bool = False
    unseen: bool = False


async def smoke(
    arm: Arm, spec: ContainerAppSpec, revision: str, found: Mapping[str, Any]
) -> SmokeAnswer:
    """Ask `revision` of the app that Azure returned as `found`.

    An app that only its environment can reach is not asked and passes. So does a revision with
    another port, because the port belongs to the app and moves with the traffic.
    """
    place = address(spec, revision, found)
    if place is None:
        return SmokeAnswer()
    host, named = place
    answer = await _answer(arm, spec, revision, host, named)
    if answer.wrong and not answer.unseen and not await reaches_ingress(arm, host):
        wrong = f"{answer.wrong}; the daemon does not reach the ingress of {host} either"
        return SmokeAnswer(wrong, unseen=True)
    return answer


async def _answer(
    arm: Arm, spec: ContainerAppSpec, revision: str, host: str, named: str
) -> SmokeAnswer:
    headers = {"Host": named, "Connection": "close"}
    path, expected = spec.smoke
    try:
        async with arm.outside.get(
            f"https://{host}{path}", headers=headers, timeout=PATIENCE, allow_redirects=False
        ) as answer:
            body = await answer.content.read(LONGEST)
            return _judge(revision, path, expected, answer.status, body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return SmokeAnswer(f"revision {revision}: GET {path} got no answer: {type(error).__name__}")


def address(
    spec: ContainerAppSpec, revision: str, found: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The app's host name and the revision's own; None where it cannot be asked from outside."""
    ingress = (found["properties"].get("configuration") or {}).get("ingress") or {}
    host = str(ingress.get("fqdn") or "")
    wanted = spec.body["properties"]["configuration"]["ingress"].get("targetPort")
    if not host or not ingress.get("external") or ingress.get("targetPort") != wanted:
        return None
    app, _, domain = host.partition(".")
    return host, f"{revision}.{domain}" if domain and app == spec.name else f"{revision}.{host}"


def _judge(revision: str, path: str, expected: int | None, status: int, body: bytes) -> SmokeAnswer:
    asked = str(expected) if expected else "a status below 500"
    if status == 404 and NO_APP in body:
        return SmokeAnswer(f"revision {revision}: the ingress does not know it yet")
    if status == 403 and NOT_ADMITTED in body:
        wrong = f"revision {revision}: the ingress refuses the daemon's address with 403"
        return SmokeAnswer(wrong, unseen=True)
    if status == expected or (expected is None and status < 500):
        return SmokeAnswer()
    text = f"revision {revision}: GET {path} answers {status}, and rollout.smoke wants {asked}"
    return SmokeAnswer(text, by_app=status not in GATEWAY)
