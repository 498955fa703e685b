"""What Azure's providers know: since when there are api-versions of them, and their resource types,
which this Azure has in part.

An unknown type is refused as Azure does; one that Azure has and this Azure has not is a 501.
"""

from .errors import GATEWAY, ArmError, bad_request
from .ids import Target

_SINCE = {
    "Microsoft.App": "2022-01-01",
    "Microsoft.Authorization": "2014-06-01",
    "Microsoft.OperationalInsights": "2015-03-20",
    "Microsoft.Resources": "2014-04-01",
    "Microsoft.Storage": "2015-05-01",
}
# By namespace; only the first segment, because below it resources, actions and lists look alike.
_TYPES = {
    "Microsoft.App": {
        "agents",
        "builders",
        "connectedenvironments",
        "containerapps",
        "functions",
        "getcustomdomainverificationid",
        "jobs",
        "locations",
        "logicapps",
        "managedenvironments",
        "operations",
        "sandboxgroups",
        "sessionpools",
        "spaces",
    },
    "Microsoft.Storage": {
        "checknameavailability",
        "datamovers",
        "deletedaccounts",
        "locations",
        "operations",
        "skus",
        "storageaccounts",
        "storagetasks",
        "usages",
    },
    "Microsoft.OperationalInsights": {
        "clusters",
        "deletedworkspaces",
        "linktargets",
        "locations",
        "operations",
        "querypacks",
        "storageinsightconfigs",
        "workspaces",
    },
}


def check(target: Target, version: str) -> None:
    """ArmError for a type or an api-version that the provider never had. `version` is
    well-formed.
    """
    namespace = target.namespace or ""
    kinds = _TYPES.get(namespace)
    parts = target.route.split("/")
    kind = parts[1] if len(parts) > 1 and parts[0] == namespace.lower() else ""
    if kinds is not None and kind and kind not in kinds:
        text = (
            f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api"
            f" version '{version}'."
        )
        raise ArmError(404, "InvalidResourceType", text, headers=GATEWAY)
    since = _SINCE.get(namespace)
    if since is not None and kind and version[:10] < since:
        text = (
            "No registered resource provider found for location 'global' and API version"
            f" '{version}' for type '{kind}'. The supported api-versions are '{since}' and later."
        )
        raise bad_request("NoRegisteredProviderFound", text)
