"""Tokens: kept while they hold, fetched again when Azure does not take them any more."""

import pytest

from reconciler.api import versions
from reconciler.engine.errors import RetryableError

GROUP = "/subscriptions/x/resourceGroups/rg"
EXPIRED = {"error": {"code": "ExpiredAuthenticationToken", "message": "The token has expired."}}


async def test_a_token_is_kept(scripted, arm):
    """Many requests, one login."""
    scripted.on("GET", GROUP, 200, {"id": GROUP})
    for _ in range(3):
        await arm.get_json(GROUP, versions.RESOURCES)
    assert scripted.tokens == 1


@pytest.mark.parametrize("headers", [{}, {"WWW-Authenticate": 'Bearer error="invalid_token"'}])
async def test_a_refused_token_is_not_used_again(scripted, arm, headers):
    """This machine's clock was set back: the cache calls a token good that has expired for Azure.
    The next try brings a new one, and that is kept.
    """
    scripted.on("GET", GROUP, 401, EXPIRED, headers)
    scripted.on("GET", GROUP, 200, {"id": GROUP})
    with pytest.raises(RetryableError, match="a new one is fetched"):
        await arm.get_json(GROUP, versions.RESOURCES)
    for _ in range(2):
        assert await arm.get_json(GROUP, versions.RESOURCES) == {"id": GROUP}
    assert scripted.tokens == 2
