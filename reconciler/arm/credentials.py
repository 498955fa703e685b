"""The one explicit credential of a daemon. There is no chain of guesses: a stray `az login` must
not change who writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AsyncHttpTransport

from reconciler.settings import Settings, SettingsError


class Renewable:
    """A credential whose cache can be thrown away. It keeps a token until this machine's clock says
    that it has expired; where that clock was set back, Azure has refused it long before.
    """

    def __init__(self, make: Callable[[], AsyncTokenCredential]) -> None:
        self._make = make
        self._made: AsyncTokenCredential | None = None
        self._token = ""
        self._refused = ""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        if self._made is not None and self._token and self._refused == self._token:
            await self.close()
        self._made = self._made or self._make()
        found = await self._made.get_token(*scopes, **options)
        self._token = found.token
        return found

    @property
    def token(self) -> str:
        """The last one; empty before the first request."""
        return self._token

    def refuse(self, token: str) -> None:
        """Azure does not take `token`: the next one comes from the login and no cache."""
        self._refused = token

    async def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            await made.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def credential_for(
    settings: Settings, transport: AsyncHttpTransport[Any, Any]
) -> AsyncTokenCredential:
    """The credential that the settings name; token requests go through `transport`, with no retries
    of their own.
    """
    from azure.identity import aio as identity

    login = {
        "authority": settings.authority,
        # Only Azure's own login hosts are in the public list that discovery asks.
        "disable_instance_discovery": not settings.known_authority,
        "transport": transport,
        "retry_total": 0,
    }
    if settings.credential == "service-principal":
        return identity.ClientSecretCredential(
            settings.tenant_id, settings.client_id, settings.client_secret, **login
        )
    if settings.credential == "workload-identity":
        return identity.WorkloadIdentityCredential(
            tenant_id=settings.tenant_id,
            client_id=settings.client_id,
            token_file_path=str(settings.federated_token_file),
            **login,
        )
    if settings.credential == "managed-identity":
        return identity.ManagedIdentityCredential(client_id=settings.client_id or None)
    if settings.credential == "azure-cli":
        return identity.AzureCliCredential(tenant_id=settings.tenant_id)
    raise SettingsError(f"There is no credential {settings.credential!r}.")
