"""The one list of providers: their routes for the ARM front, their finishers for the operations."""

from functools import partial

from infra.local_azure.arm.call import Handler
from infra.local_azure.arm.operations import Finisher
from infra.local_azure.azure import Azure
from infra.local_azure.providers.app import (
    container_app,
    environment_storage,
    execution,
    job,
    managed_environment,
    revision,
    workload_profiles,
)
from infra.local_azure.providers.deployments import deployment
from infra.local_azure.providers.storage import file_service, file_share, storage_account

from . import lock, log_analytics, resource_group, subscriptions

ROUTES: dict[str, Handler] = {
    **subscriptions.ROUTES,
    **resource_group.ROUTES,
    **lock.ROUTES,
    **log_analytics.ROUTES,
    **storage_account.ROUTES,
    **file_service.ROUTES,
    **file_share.ROUTES,
    **managed_environment.ROUTES,
    **environment_storage.ROUTES,
    **workload_profiles.ROUTES,
    **container_app.ROUTES,
    **revision.ROUTES,
    **job.ROUTES,
    **execution.ROUTES,
    **deployment.ROUTES,
}


def finishers(azure: Azure) -> dict[str, Finisher]:
    """The ends of long-running operations, by the name the store keeps."""
    return {
        "group.deleted": partial(resource_group.deleted, azure),
        "workspace.created": partial(log_analytics.created, azure),
        "workspace.deleted": partial(log_analytics.deleted, azure),
        "account.created": partial(storage_account.created, azure),
        "environment.done": partial(managed_environment.done, azure),
        "environment.deleted": partial(managed_environment.deleted, azure),
        "app.applied": partial(container_app.applied, azure),
        "app.deleted": partial(container_app.deleted, azure),
        "deployment.foretold": partial(deployment.foretold, azure),
        "deployment.deleted": partial(deployment.deleted, azure),
        "app.switched": partial(container_app.switched, azure),
        "job.applied": partial(job.applied, azure),
        "job.deleted": partial(job.deleted, azure),
    }
