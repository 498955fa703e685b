"""Compares what somebody sent with a secret. Every check of a token in this package calls it."""

from __future__ import annotations

import hmac


def is_secret(given: str, secret: str) -> bool:
    """Whether `given` is the secret; nothing fits an empty one. A wrong text takes as long as a
    nearly right one.
    """
    # A header may hold bytes that are no UTF-8. aiohttp gives them as surrogates, which a strict
    # encoding refuses with an error instead of an answer.
    sent = given.encode(errors="surrogatepass")
    return bool(secret) and hmac.compare_digest(sent, secret.encode())
