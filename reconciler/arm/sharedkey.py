"""SharedKey signatures of Azure Storage, for requests that do not go through the SDK.

The form: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

# The first api-version in which a file can be created together with its content; the one the pinned
# SDK speaks.
API_VERSION = "2026-10-06"


def key_fingerprint(key: str) -> str:
    """What may be kept and compared instead of an account key, which Azure never shows where it was
    written.
    """
    return hashlib.sha256(b"moorage storage key\0" + key.encode()).hexdigest()[:16]


class SharedKey:
    """Signs for one account. Its representation never shows the key."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        try:
            self._key = base64.b64decode(key, validate=True)
        except binascii.Error:
            raise ValueError("the storage key is not base64") from None

    def __repr__(self) -> str:
        return f"SharedKey({self._account!r})"

    def sign(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,
        at: datetime,
    ) -> dict[str, str]:
        """All headers to send: `headers` (lower-case names) with date, version and Authorization.

        `path` is as it stands in the URL, percent-encoded; `query` is decoded; `length` is that of
        the body in bytes. `at` is Azure's time, in UTC: a date that is a quarter of an hour off is
        refused.
        """
        date = format_datetime(at, usegmt=True)
        signed = {**headers, "x-ms-date": date, "x-ms-version": API_VERSION}
        own = "".join(
            f"{name}:{signed[name]}\n" for name in sorted(signed) if name.startswith("x-ms-")
        )
        resource = f"/{self._account}{path}" + "".join(
            f"\n{name}:{query[name]}" for name in sorted(query)
        )
        standard = "\n".join(
            (
                method,
                "",
                "",
                str(length) if length else "",
                headers.get("content-md5", ""),
                headers.get("content-type", ""),
            )
        )
        # Six more standard headers follow, Date to Range; none of them is used here.
        text = f"{standard}\n\n\n\n\n\n\n{own}{resource}"
        digest = base64.b64encode(
            hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        ).decode()
        signed["Authorization"] = f"SharedKey {self._account}:{digest}"
        return signed
