"""From a request to its handler: the routes of all providers, and what Azure says of a type, an
api-version or a method that has none.

Azure refuses a type that it does not know. A type that Azure has and this Azure lacks is a 501.
"""

from .call import Handler, Routes
from .errors import GATEWAY, ArmError, bad_request, not_implemented
from .ids import Target

_SINCE = {
    "Microsoft.App": "2022-01-01",
    "Microsoft.Authorization": "2014-06-01",
    "Microsoft.KeyVault": "2015-06-01",
    "Microsoft.ManagedIdentity": "2018-11-30",
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


def handler(routes: Routes, method: str, target: Target) -> tuple[Handler, bool]:
    """The provider's function, and whether a GET's stands in for a HEAD."""
    found = routes.get(f"{method.lower()} {target.route}")
    if found is not None:
        return found, False
    if method == "HEAD" and (found := routes.get(f"get {target.route}")):
        return found, True
    raise _unknown(routes, method, target)


def _unknown(routes: Routes, method: str, target: Target) -> ArmError:
    """A known path with another method is 405; everything else is not implemented."""
    split = [name.split(" ", 1) for name in routes]
    known = {verb.upper() for verb, route in split if route == target.route}
    if known:
        message = f"The requested resource does not support http method '{method}'."
        allowed = ", ".join(sorted(known))
        return ArmError(405, "MethodNotAllowed", message, headers={"Allow": allowed})
    return not_implemented(f"{method} {target.path}")


def check_type(target: Target, version: str) -> None:
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
