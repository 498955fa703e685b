"""The one explicit credential of a daemon. There is no chain of guesses: a stray `az login` must
not change who writes.
"""

from __future__ import annotations

from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AsyncHttpTransport

from reconciler.settings import Settings, SettingsError


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
