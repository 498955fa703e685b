"""SharedKey: recomputes the signature of a request byte for byte and compares. Written from the
    protocol's description.

String to sign: verb, eleven standard headers, the canonical x-ms-* headers, the canonical resource.
https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

import base64
import hmac
import time
from collections.abc import Iterable, Sequence
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import unquote

from infra.local_azure.secrecy import is_same

from .errors import denied

_STANDARD = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
SKEW_S = 900


def check(
    *,
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    account: str,
    keys: Iterable[str],
) -> None:
    """FilesError 403 unless one of the base64 `keys` signed this request. `path` and `query` are as
    they came over the wire.
    """
    known = {name.lower(): value for name, value in headers}
    scheme, _, credential = known.get("authorization", "").partition(" ")
    claimed, _, signature = credential.partition(":")
    if scheme != "SharedKey" or claimed.lower() != account.lower():
        raise denied("The Authorization header does not name this account with SharedKey.")
    _fresh(known)
    for canonical in _canonical_headers(headers):
        text = _text(method, known, canonical, f"/{claimed}{path}{_canonical_query(query)}")
        for key in keys:
            made = base64.b64encode(hmac.digest(base64.b64decode(key), text, "sha256")).decode()
            if is_same(signature, made):
                return
    raise denied(
        "The MAC signature found in the HTTP request is not the same as any computed signature."
    )


def _fresh(headers: dict[str, str]) -> None:
    """A signature is good for a quarter of an hour around its own date."""
    parsed = parsedate_tz(headers.get("x-ms-date") or headers.get("date", ""))
    if parsed is None or abs(mktime_tz(parsed) - time.time()) > SKEW_S:
        raise denied("The date header in the request is missing or too far from the server's time.")


def _text(method: str, headers: dict[str, str], canonical: str, resource: str) -> bytes:
    lines = [method]
    for name in _STANDARD:
        value = headers.get(name, "")
        if (name == "content-length" and value == "0") or (
            name == "date" and "x-ms-date" in headers
        ):
            value = ""
        lines.append(value)
    return ("\n".join(lines) + "\n" + canonical + resource).encode("utf-8", "surrogateescape")


def _canonical_headers(headers: Sequence[tuple[str, str]]) -> list[str]:
    """The service sorts as its culture does (a hyphen counts last); plain sorters give the same
    order in nearly every case.
    """
    mine = [
        (name.lower(), value.strip()) for name, value in headers if name.lower().startswith("x-ms-")
    ]
    orders = [sorted(mine, key=lambda item: (item[0].replace("-", ""), item[0])), sorted(mine)]
    made = ["".join(f"{name}:{value}\n" for name, value in order) for order in orders]
    return made[:1] if made[0] == made[1] else made


def _canonical_query(query: str) -> str:
    """Every parameter on a line: lower-case name, decoded values, sorted, several of one name
    joined by commas.
    """
    if not query:
        return ""
    gathered: dict[str, list[str]] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            gathered.setdefault(unquote(name).lower(), []).append(unquote(value))
    return "".join(f"\n{name}:{','.join(sorted(gathered[name]))}" for name in sorted(gathered))
