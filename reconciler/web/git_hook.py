"""A push that a host of repositories tells of: `/git` of the daemon's web server. It only wakes the
look for a new commit, so nothing in the message is read but its signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable

from aiohttp import web

from reconciler.web.tokens import is_secret

PATH = "/git"
LARGEST = 25 << 20  # bytes; GitHub sends no larger message
SIGNATURE = "X-Hub-Signature-256"  # GitHub, Gitea and Forgejo: an HMAC of the body
# GitLab with a signing token, by https://www.standardwebhooks.com: one or more `v1,<base64>` of
# `<id>.<timestamp>.<body>`. The timestamp is not compared with the clock: who sends an old message
# again wakes one look for a new commit, and a daemon whose clock is wrong still hears of pushes.
STANDARD = "webhook-signature"
SIGNING_TOKEN = "whsec_"  # what such a secret begins with; base64 of the key follows
TOKEN = "X-Gitlab-Token"


class GitHook:
    """`pushed` is called for a message that was made with `secret`."""

    def __init__(self, secret: str, pushed: Callable[[], None]) -> None:
        self._secret, self._pushed = secret, pushed
        self._key = _signing_key(secret)

    async def received(self, request: web.Request) -> web.Response:
        """202 for a message that is right, 401 for any other; how it is wrong is not said."""
        if not await self._is_signed(request):
            return web.Response(status=401, text="The signature or the token is not right.\n")
        self._pushed()
        return web.Response(status=202, text="The daemon looks for a new commit.\n")

    async def _is_signed(self, request: web.Request) -> bool:
        """By the signature of the body, where one is sent that this secret can make, else by the
        token.
        """
        headers = request.headers
        code = hmac.new(self._secret.encode(), digestmod=hashlib.sha256)
        standard = hmac.new(self._key or b"", digestmod=hashlib.sha256)
        named = (headers.get(f"webhook-{part}", "") for part in ("id", "timestamp"))
        standard.update("".join(f"{part}." for part in named).encode(errors="surrogateescape"))
        size = 0
        async for piece in request.content.iter_chunked(1 << 16):
            size += len(piece)
            if size > LARGEST:
                raise web.HTTPRequestEntityTooLarge(LARGEST, size)
            code.update(piece)
            standard.update(piece)
        if signature := headers.get(SIGNATURE):
            return is_secret(signature.strip(), f"sha256={code.hexdigest()}")
        if self._key is not None and (signatures := headers.get(STANDARD)):
            right = f"v1,{base64.b64encode(standard.digest()).decode()}"
            return any(is_secret(each, right) for each in signatures.split())
        return is_secret(headers.get(TOKEN, ""), self._secret)


def _signing_key(secret: str) -> bytes | None:
    """The key in a signing token; None for a secret of another form."""
    if not secret.startswith(SIGNING_TOKEN):
        return None
    try:
        return base64.b64decode(secret.removeprefix(SIGNING_TOKEN), validate=True) or None
    except binascii.Error:
        return None
