"""Shared access signatures: what a signed query lets its holder do. Account SAS and service SAS,
with stored access policies.

https://learn.microsoft.com/rest/api/storageservices/create-account-sas, …/create-service-sas
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from infra.local_azure import clock
from infra.local_azure.secrecy import is_same

from . import policies
from .errors import FilesError, denied, not_there
from .request import FilesRequest

_OLDEST = "2015-04-05"  # before it the string to sign had fewer lines
_SCOPES_SINCE = "2020-12-06"  # from it on an account SAS signs its encryption scope
OVERRIDES = {
    "rscc": "Cache-Control",
    "rscd": "Content-Disposition",
    "rsce": "Content-Encoding",
    "rscl": "Content-Language",
    "rsct": "Content-Type",
}
_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Need:
    """What a SAS must grant: `level` is the resource type (s, c or o) of an account SAS, `any_of`
    the permissions.

    Without any permission it takes the account's key.
    """

    level: str
    any_of: str


def check(query: Mapping[str, str], need: Need, request: FilesRequest) -> None:
    """FilesError 403 unless the signature in `query` holds and covers what the request does."""
    if "skoid" in query:
        raise not_there("user delegation SAS")
    if query.get("sv", "") < _OLDEST:
        raise not_there(f"SAS of a version before {_OLDEST}")
    account, is_account = request.account, "ss" in query or "srt" in query
    text = _account_text(query, account.name) if is_account else _service_text(query, request)
    keys = (account.private["key1"], account.private["key2"])
    digests = [hmac.digest(base64.b64decode(key), text.encode(), "sha256") for key in keys]
    if not any(is_same(query["sig"], base64.b64encode(digest).decode()) for digest in digests):
        raise denied(f"Signature did not match. String to sign used was {text}")
    if is_account:
        _covered_by_account(query, need)
        granted = dict(query)
    else:
        granted = _with_policy(query, policies.of(request.store.get(request.share_key)))
        _covered_by_service(granted, need, request)
    _in_time(granted)
    _from_allowed_address(query, request.remote)
    if not set(need.any_of) & set(granted.get("sp", "")):
        text = "This request is not authorized to perform this operation using this permission."
        raise FilesError(403, "AuthorizationPermissionMismatch", text)


def override(query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a download as the SAS wants them."""
    return {
        **headers,
        **{header: query[name] for name, header in OVERRIDES.items() if name in query},
    }


def _account_text(query: Mapping[str, str], account: str) -> str:
    names = [
        "sp",
        "ss",
        "srt",
        "st",
        "se",
        "sip",
        "spr",
        "sv",
        *(["ses"] if query["sv"] >= _SCOPES_SINCE else []),
    ]
    return "".join(f"{line}\n" for line in (account, *(query.get(name, "") for name in names)))


def _service_text(query: Mapping[str, str], request: FilesRequest) -> str:
    below = f"/{unquote(request.path)}" if query.get("sr") == "f" else ""
    where = f"/file/{request.account.name}/{request.share}{below}"
    lines = [*(query.get(name, "") for name in ("sp", "st", "se")), where]
    return "\n".join(
        [*lines, *(query.get(name, "") for name in ("si", "sip", "spr", "sv", *OVERRIDES))]
    )


def _with_policy(
    query: Mapping[str, str], policies: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Complete the SAS by the stored access policy that it names."""
    name = query.get("si")
    if name is None:
        return dict(query)
    policy = policies.get(name)
    if policy is None:
        raise denied("The specified signed identifier is not found.")
    twice = [field for field in policy if field in query]
    if twice:
        raise denied(
            f"{twice[0]} is specified both in the signature and in the stored access policy."
        )
    return {**policy, **query}


def _covered_by_account(query: Mapping[str, str], need: Need) -> None:
    if "f" not in query.get("ss", ""):
        raise FilesError(
            403,
            "AuthorizationServiceMismatch",
            "This request is not authorized to perform this operation using this service.",
        )
    if need.level not in query.get("srt", ""):
        raise FilesError(
            403,
            "AuthorizationResourceTypeMismatch",
            "This request is not authorized to perform this operation using this resource type.",
        )


def _covered_by_service(query: Mapping[str, str], need: Need, request: FilesRequest) -> None:
    """A share's SAS is for what lies in it, a file's for the file; neither for the share itself."""
    sort = query.get("sr", "")
    if sort not in {"s", "f"}:
        raise denied("sr is mandatory and must be s or f.")
    inside = request.share and (need.level == "o" or request.query.get("comp") == "list")
    if not inside or (
        sort == "f" and (need.level != "o" or request.query.get("restype") == "directory")
    ):
        raise FilesError(
            403, "AuthorizationFailure", "This request is not authorized to perform this operation."
        )


def _in_time(granted: Mapping[str, str]) -> None:
    expiry = _instant(granted, "se")
    if expiry is None:
        raise denied("se is mandatory. Cannot be empty")
    start, now = _instant(granted, "st"), clock.now()
    if now >= expiry or (start is not None and now < start):
        begins = clock.http(start) if start is not None else ""
        frame = f"Start [{begins}] - Expiry [{clock.http(expiry)}] - Current [{clock.http(now)}]"
        raise denied(f"Signature not valid in the specified time frame: {frame}")


def _instant(granted: Mapping[str, str], name: str) -> float | None:
    text = granted.get(name)
    if not text:
        return None
    for shape in _FORMATS:
        try:
            # %f takes six digits, a SAS may have seven.
            return (
                datetime.strptime(text[:26].rstrip("Z") + "Z" if "." in text else text, shape)
                .replace(tzinfo=UTC)
                .timestamp()
            )
        except ValueError:
            continue
    raise denied(f"{name} is not a valid UTC time.")


def _from_allowed_address(query: Mapping[str, str], remote: str) -> None:
    if query.get("spr", "https") not in {"https", "https,http"}:
        raise denied("spr must be https or https,http.")
    allowed = query.get("sip")
    if not allowed:
        return
    first, _, last = allowed.partition("-")
    try:
        low, high, here = _number(first), _number(last or first), _number(remote)
    except ValueError:
        raise denied("sip is not an IP address or a range of them.") from None
    if not low <= here <= high:
        text = (
            "This request is not authorized to perform this operation using this source IP"
            f" {remote}."
        )
        raise FilesError(403, "AuthorizationSourceIPMismatch", text)


def _number(address: str) -> tuple[int, int]:
    known: Any = ip_address(address)
    return known.version, int(known)
