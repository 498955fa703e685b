"""Reads what a service said when it refused: ARM's JSON in its several shapes, Azure Files' XML,
headers, or nothing at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True)
class AzureFault:
    """A refusal: HTTP `status` (0 for a failed operation), `code` (may be empty or a number), one
    line, seconds to wait.
    """

    status: int
    code: str
    message: str
    retry_after: float | None = None


def fault_of_response(response: Any) -> AzureFault:
    """The fault in a response of azure-core (old or new style) whose body has been read."""
    try:
        body = response.text()
    except Exception:  # noqa: BLE001 — a body that was never read or cannot be decoded is no reason to lose the status
        body = ""
    return fault(response.status_code, response.headers, body)


def fault(status: int, headers: Mapping[str, str], body: str) -> AzureFault:
    """The fault in a status, headers (any case) and a body."""
    lower = {name.lower(): value for name, value in headers.items()}
    code, message = (
        _from_json(body) if body.lstrip().startswith(("{", "[", '"')) else _from_xml(body)
    )
    code = code or lower.get("x-ms-error-code", "")
    message = _one_line(message) or f"HTTP {status}."
    return AzureFault(status, code, message, retry_after(lower) or _delay_in_words(status, message))


def fault_of_operation(body: Mapping[str, Any]) -> AzureFault:
    """The fault in an operation's status body, or in a resource whose provisioningState
    is Failed.
    """
    code, message = _from_error(body.get("error") or {})
    properties = body.get("properties") or {}
    if not message:
        code, message = _from_words(
            str(properties.get("deploymentErrors") or properties.get("provisioningError") or "")
        )
    state = str(body.get("status") or properties.get("provisioningState") or "Failed")
    return AzureFault(0, code, _one_line(message) or f"The operation ended as {state}.")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that lower-case `headers` ask to wait; None when they do not, or say 0, which means
    nothing.
    """
    for name, factor in (
        ("retry-after-ms", 0.001),
        ("x-ms-retry-after-ms", 0.001),
        ("retry-after", 1.0),
    ):
        value = headers.get(name)
        if not value:
            continue
        try:
            seconds = float(value) * factor
        except ValueError:
            seconds = _between(headers.get("date"), value)
        if seconds > 0:
            return seconds
    return None


_SECRETS = re.compile(
    r"(?P<name>(?i:accountkey|sharedaccesskey|sig|client_secret|password|sharedkey)\s*[=:]\s*)[^\s&;\"',]+"
    r"|(?P<auth>(?i:bearer|sharedkey)\s+)[\w.+/=:-]{16,}"
    r"|\b[A-Za-z0-9+/]{86}==",
)


def redact(text: str) -> str:
    """`text` without keys, tokens and signatures."""
    return _SECRETS.sub(lambda found: f"{found['name'] or found['auth'] or ''}(secret)", text)


def _from_json(body: str) -> tuple[str, str]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return "", body[:400]
    if isinstance(parsed, str):
        return "", parsed
    if not isinstance(parsed, dict):
        return "", ""
    # Some of Microsoft.App's errors come without the `error` wrapper.
    return _from_error(parsed.get("error", parsed))


def _from_error(error: Any) -> tuple[str, str]:
    if not isinstance(error, dict):
        return "", str(error)
    lower = {str(key).lower(): value for key, value in error.items()}
    code, message = str(lower.get("code") or ""), str(lower.get("message") or "")
    details = [
        each for each in lower.get("details") or [] if isinstance(each, dict) and each.get("code")
    ]
    if code in _WRAPPERS and details:
        return _from_error(details[0])
    return code, message


_WRAPPERS = {
    "",
    "DeploymentFailed",
    "BadRequest",
    "InvalidTemplateDeployment",
    "MultipleErrorsOccurred",
}


def _from_xml(body: str) -> tuple[str, str]:
    code = re.search(r"<Code>([^<]*)</Code>", body)
    message = re.search(r"<Message>([^<]*)</Message>", body)
    return (code[1] if code else "", message[1] if message else "")


def _from_words(text: str) -> tuple[str, str]:
    """`ErrorCode: X, Message: Y`, the form of deploymentErrors; anything else is only a message."""
    found = re.match(r"ErrorCode:\s*(\w+),\s*Message:\s*(.*)", text, re.DOTALL)
    return (found[1], found[2]) if found else ("", text)


def _one_line(message: str) -> str:
    """Without the request id and time that the storage services append, without secrets,
    and short.
    """
    text = re.split(r"\n?\s*RequestId:", message)[0]
    return redact(" ".join(text.split()))[:600]


def _delay_in_words(status: int, message: str) -> float | None:
    """Some throttling answers say the delay only in their text: `Retry after 2 seconds`, `try again
    after '372' seconds`.
    """
    found = re.search(r"after '?(\d+)'? second", message)
    return float(found[1]) if found and status == 429 else None


def _between(sent: str | None, until: str) -> float:
    """Seconds by the server's own clock."""
    try:
        return (parsedate_to_datetime(until) - parsedate_to_datetime(sent or "")).total_seconds()
    except (TypeError, ValueError):
        return 0.0
