"""The types of Microsoft.App as the store knows them, and the ids and addresses of what belongs to
an app. Read by the controllers, the providers, the log host and the faults.
"""

from infra.local_azure.store import Record

APP = "microsoft.app/containerapps"
REVISION = "microsoft.app/containerapps/revisions"
JOB = "microsoft.app/jobs"
EXECUTION = "microsoft.app/jobs/executions"
ENVIRONMENT = "microsoft.app/managedenvironments"
STORAGE = "microsoft.app/managedenvironments/storages"


def app_id(app: Record) -> str:
    """The id in the casing that children and endpoints use: `containerApps`."""
    return app.id.replace("/containerapps/", "/containerApps/")


def revision_id(app: Record, name: str) -> str:
    return f"{app_id(app)}/revisions/{name}"


def fqdn(app: Record) -> str:
    """Each app with ingress has a loopback port of its own, the same for as long as the
    app lives.
    """
    return f"localhost:{app.private['port']}"
