"""Reading a request: its api-version and its JSON body. Used by `front`."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from infra.local_azure.templates import relaxed

from . import body_types
from .errors import bad_request

_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(-preview|-privatepreview|-alpha|-beta)?", re.IGNORECASE)


def version(query: Mapping[str, str]) -> str:
    """The api-version. Any dated one is accepted if Azure could have published it on that date."""
    text = query.get("api-version")
    if not text:
        raise bad_request(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    match = _VERSION.fullmatch(text)
    try:
        day = date.fromisoformat(match[1]) if match else None
    except ValueError:
        day = None
    today = datetime.now(UTC).date()
    if day is None or not date(2014, 1, 1) <= day <= today + timedelta(days=366):
        raise bad_request("InvalidApiVersionParameter", f"The api-version '{text}' is invalid.")
    return text


def body(raw: bytes, namespace: str | None, shape: Any) -> Any:
    """The JSON of a request, its scalars of the types that `shape` names (None: any).

    Deployments are read as leniently as ARM reads them, because the az CLI sends templates as
    their authors wrote them, with comments and trailing commas.
    """
    if not raw.strip():
        return None
    try:
        if namespace == "Microsoft.Resources":
            return relaxed.read(raw.decode("utf-8-sig")).value
        parsed = json.loads(raw, parse_constant=_no_number, parse_float=_finite)
        if b"\\u" in raw:
            json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as wrong:
        message = f"The request content was invalid and could not be deserialized: '{wrong}'."
        raise bad_request("InvalidRequestContent", message) from None
    return parsed if shape is None else body_types.read(shape, parsed)


def _no_number(text: str) -> Any:
    raise ValueError(f"Unexpected character encountered while parsing value: {text}.")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _no_number(text)
