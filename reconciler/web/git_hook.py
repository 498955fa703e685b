"""A push that a host of repositories tells of: `/git` of the daemon's web server. It only wakes the
look for a new commit, so nothing in the message is read but its signature.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from aiohttp import web

from reconciler.web.signatures import ID, TIMESTAMP, MessageSignature, signing_key
from reconciler.web.signatures import SIGNATURE as STANDARD
from reconciler.web.tokens import is_secret

PATH = "/git"
LARGEST = 25 << 20  # bytes; GitHub sends no larger message
SIGNATURE = "X-Hub-Signature-256"  # GitHub, Gitea and Forgejo: an HMAC of the body
TOKEN = "X-Gitlab-Token"  # GitLab without a signing token


class GitHook:
    """`pushed` is called for a message that was made with `secret`."""

    def __init__(self, secret: str, pushed: Callable[[], None]) -> None:
        self._secret, self._pushed = secret, pushed
        self._key = signing_key(secret)

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
        # GitLab with a signing token. The timestamp is not compared with the clock: an old message
        # that somebody sends again wakes one look for a commit, and a wrong clock stops no push.
        standard = MessageSignature(
            self._key or b"", headers.get(ID, ""), headers.get(TIMESTAMP, "")
        )
        size = 0
        async for piece in request.content.iter_chunked(1 << 16):
            size += len(piece)
            if size > LARGEST:
                raise web.HTTPRequestEntityTooLarge(LARGEST, size)
            code.update(piece)
            standard.add(piece)
        if signature := headers.get(SIGNATURE):
            return is_secret(signature.strip(), f"sha256={code.hexdigest()}")
        if self._key is not None and (signatures := headers.get(STANDARD)):
            return any(is_secret(each, standard.text) for each in signatures.split())
        return is_secret(headers.get(TOKEN, ""), self._secret)
