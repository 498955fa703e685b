"""Signatures of messages over HTTP as https://www.standardwebhooks.com describes them: `git_hook`
checks those of GitLab, `edges.notify` signs notices.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"  # what the text of a key begins with; base64 of the key follows


def signing_key(text: str) -> bytes | None:
    """The key that is written as `text`; None for a text of another form."""
    if not text.startswith(PREFIX):
        return None
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True) or None
    except binascii.Error:
        return None


class MessageSignature:
    """Of `<id>.<timestamp>.<body>`; the body is added piece by piece."""

    def __init__(self, key: bytes, id_: str, timestamp: str) -> None:
        self._code = hmac.new(key, digestmod=hashlib.sha256)
        # A header may hold bytes that are no UTF-8, which aiohttp gives as surrogates.
        self._code.update(f"{id_}.{timestamp}.".encode(errors="surrogateescape"))

    def add(self, piece: bytes) -> None:
        self._code.update(piece)

    @property
    def text(self) -> str:
        return f"v1,{base64.b64encode(self._code.digest()).decode()}"
