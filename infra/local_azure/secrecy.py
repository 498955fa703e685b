"""Compares what a client sent with a secret or a signature. `login` and the data plane of `files`
call it.
"""

import hmac


def is_same(given: str, wanted: str) -> bool:
    """Whether the texts are equal; a wrong one takes as long as a nearly right one."""
    # A header may hold bytes that are no UTF-8. aiohttp gives them as surrogates, which a strict
    # encoding refuses with an error, and compare_digest takes no other text than ASCII.
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode())
