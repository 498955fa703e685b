"""Long-running operations without a waiting task: a write returns at once what it began, and `poll`
does one request for it.

A write is an SDK call and its arguments. An operation's token is the SDK's own continuation token;
it can be stored, and a daemon that starts later goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.polling import AsyncLROPoller
from azure.core.polling.base_polling import BadResponse, BadStatus, OperationFailed
from azure.mgmt.core.polling.async_arm_polling import AsyncARMPolling

from reconciler.arm.clients import Arm
from reconciler.arm.errors import translate, translate_operation
from reconciler.arm.faults import retry_after
from reconciler.arm.providers import refusal
from reconciler.engine.errors import Busy
from reconciler.engine.external import Operation, Progress

Answer: TypeAlias = PipelineResponse[Any, Any]
_UNDER_WAY = {
    "accepted",
    "creating",
    "updating",
    "deleting",
    "inprogress",
    "running",
    "provisioning",
    "resolvingdns",
}
_REFUSED = {400, 409, 412, 422}  # what a Location answers when the operation behind it failed
_FAILED = {"failed", "canceled", "cancelled"}


async def begin(
    arm: Arm, scope: str, call: Callable[..., Awaitable[AsyncLROPoller[Any]]], *arguments: Any
) -> Operation | None:
    """Issue an SDK `begin_…` call; the operation it started, or None when it is done already.

    `scope` is the id of what is written: lists that show it are read again. Raises `engine.errors`
    only.
    """
    answers: list[Answer] = []
    try:
        poller = await call(*arguments, raw_response_hook=answers.append)
        status = str(poller.status()).lower()
        if status in _FAILED:
            raise translate_operation({"status": poller.status()})
    except Exception as error:
        raise await refusal(arm, scope, error) from error
    finally:
        arm.inventory.invalidate(scope)
    if status != "succeeded":
        return _begun(poller, answers)
    arm.inventory.learn(scope, _body(answers[-1].http_response.text()))
    return None


async def write(arm: Arm, scope: str, call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Issue a synchronous SDK write and return what it answered. Raises `engine.errors` only."""
    answers: list[Answer] = []
    try:
        answer = await call(*arguments, raw_response_hook=answers.append)
    except Exception as error:
        raise await refusal(arm, scope, error) from error
    finally:
        arm.inventory.invalidate(scope)
    arm.inventory.learn(scope, _body(answers[-1].http_response.text()))
    return answer


async def delete(
    arm: Arm, scope: str, call: Callable[..., Awaitable[Any]], *arguments: Any
) -> Operation | None:
    """Issue a delete, of either kind; what is gone already is a success. The operation it started,
    or None.
    """
    answers: list[Answer] = []
    try:
        answer = await call(*arguments, raw_response_hook=answers.append)
    except HttpResponseError as error:
        if error.status_code == 404:
            return None
        raise translate(error) from error
    except Exception as error:
        raise translate(error) from error
    finally:
        arm.inventory.invalidate(scope)
    under_way = isinstance(answer, AsyncLROPoller) and str(answer.status()).lower() != "succeeded"
    return _begun(answer, answers) if under_way else None


def _begun(poller: AsyncLROPoller[Any], answers: Sequence[Answer]) -> Operation:
    # Asking before the time that the write's answer names costs a request and learns nothing.
    return Operation(poller.continuation_token(), _wait(answers[-1]))


def _wait(answer: Answer) -> float | None:
    headers = answer.http_response.headers
    return retry_after({name.lower(): value for name, value in headers.items()})


async def poll(arm: Arm, token: str, scope: str, version: str = "") -> Progress:
    """One request for the operation of `token`, which a write to `scope` began. A failed operation
    is `Progress(done=True, error=…)`.

    With `version` the resource itself is asked while we create it: it says when it is done, and its
    answer is a look at it as well. The operation is asked where the resource does not say that all
    is well. After any other write only the operation counts, because a resource may still show its
    state from before.

    Raises `engine.errors` when the question itself failed (throttled, unreachable): ask again
    later.
    """
    if version and arm.inventory.is_made(scope):
        found = await arm.get_json(scope, version) or {}
        state = state_of(found)
        if state == "succeeded":
            arm.inventory.ended(scope)
            arm.inventory.learn(scope, found)
            return Progress(done=True)
        if state and state not in _FAILED:
            return Progress(done=False)
    progress, body = await _asked(arm, token)
    if progress.done:
        arm.inventory.ended(scope)
        if progress.error is None:
            arm.inventory.learn(scope, body)  # some operations end with the resource itself
    return progress


async def _asked(arm: Arm, token: str) -> tuple[Progress, dict[str, Any]]:
    """How far the operation is, and the body that said so."""
    seen: list[Answer] = []
    method: AsyncARMPolling = AsyncARMPolling(raw_response_hook=seen.append)
    try:
        poller = AsyncLROPoller.from_continuation_token(
            polling_method=method,
            continuation_token=token,
            client=arm.client,
            deserialization_callback=lambda answer: answer,
        )
    except ValueError:
        # Written by another release of the SDK. What became of the operation shows in the resource
        # itself.
        return Progress(done=True), {}
    try:
        await method.update_status()
    except (BadStatus, BadResponse, OperationFailed):
        return await _explained(arm, seen[-1], _unanswered(seen[-1].http_response)), {}
    except Exception as error:
        raise translate(error) from error
    answer = seen[-1].http_response
    body = _body(answer.text())
    progress = _progress(str(poller.status()), body, _wait(seen[-1]))
    return await _explained(arm, seen[-1], progress), body


async def _explained(arm: Arm, asked: Answer, progress: Progress) -> Progress:
    """A missing registration may also fail the operation instead of the request; the provider is
    registered then, too.
    """
    if progress.error is None:
        return progress
    scope = urlsplit(str(asked.http_request.url)).path
    return replace(progress, error=await refusal(arm, scope, progress.error))


def _progress(status: str, body: dict[str, Any], wait: float | None) -> Progress:
    """`status` is of the operation. The body may be the resource, whose own state then has the last
    word.

    A workspace's operation URL is the workspace: a 200 with `Creating` is not the end. And an
    environment's update can succeed as an operation while the resource says `Failed`.
    """
    state = state_of(body)
    if status.lower() in _FAILED or state in _FAILED:
        return Progress(done=True, error=translate_operation(body or {"status": status}))
    if status.lower() != "succeeded" or state in _UNDER_WAY:
        return Progress(done=False, retry_after=wait)
    return Progress(done=True)


def _unanswered(response: Any) -> Progress:
    """The operation's URL refused. Azure forgets operations after a while, and a Location answers
    with the error of one that failed; anything else is asked again.
    """
    if response.status_code in (404, 410) or response.status_code < 300:
        return Progress(done=True)
    error = translate(HttpResponseError(response=response))
    if response.status_code in _REFUSED and not isinstance(error, Busy):
        return Progress(done=True, error=error)
    raise error


def state_of(body: Mapping[str, Any]) -> str:
    """The provisioning state of a resource or an operation in lower case; empty without one."""
    return str((body.get("properties") or {}).get("provisioningState") or "").lower()


def _body(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text) if text else {}
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
