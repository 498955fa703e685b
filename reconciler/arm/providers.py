"""Registers the subscription for a resource provider that it lacks, when Azure refuses a write for
that. `operations` asks for the meaning of each refused write.
"""

from __future__ import annotations

import re

from reconciler.api import versions
from reconciler.api.reasons import AzureCode, Cause, Reason
from reconciler.arm import ids
from reconciler.arm.clients import Arm
from reconciler.arm.errors import UNREGISTERED, translate
from reconciler.engine.errors import NotReadyYet, ReconcileError, RetryableError, WaitingForHuman

_NAMED = re.compile(r"namespace '([\w.]+)'")
_REASONS: tuple[Cause, ...] = tuple(AzureCode(code) for code in UNREGISTERED)
_IDLE = {"notregistered", "unregistered", "unregistering"}
_LOOK_AGAIN = 5.0


async def refusal(arm: Arm, scope: str, raised: BaseException) -> ReconcileError:
    """What a write of `scope` that `raised` means to the loop. A provider that is not registered
    is registered, which Azure finishes by itself; the write is issued again then.
    """
    error = translate(raised)
    if error.reason not in _REASONS:
        return error
    named = _NAMED.search(error.message)
    namespace = named[1] if named else ids.part(scope, "providers")
    try:
        await _register(arm, namespace)
    except RetryableError as later:
        return later
    except ReconcileError as refused:
        return WaitingForHuman(error.reason, f"{error.message} Asked to: {refused.message}")
    message = f"the subscription is being registered for {namespace}, which takes a minute or two"
    return NotReadyYet(Reason.REGISTERING, message, _LOOK_AGAIN)


async def _register(arm: Arm, namespace: str) -> None:
    """Ask once, however many writes are refused at the same time: Azure reports a registration that
    is under way.
    """
    async with arm.registering:
        if (await provider_state(arm, namespace)).lower() in _IDLE:
            await register_provider(arm, namespace)


async def provider_state(arm: Arm, namespace: str) -> str:
    """`Registered`, `NotRegistered`, … for a provider such as `Microsoft.App`."""
    found = await arm.get_json(
        f"{ids.subscription(arm.subscription_id)}/providers/{namespace}", versions.RESOURCES
    )
    return str((found or {}).get("registrationState", "NotRegistered"))


async def register_provider(arm: Arm, namespace: str) -> None:
    """Ask for a provider's registration, which goes on for minutes."""
    await arm.post_json(
        f"{ids.subscription(arm.subscription_id)}/providers/{namespace}/register",
        versions.RESOURCES,
    )
