"""The authentication settings of an app (`authConfigs`). They are stored, because templates contain
them, and have no effect here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import ANY, TEXT, TRUTH
from infra.local_azure.control.naming import APP

from .kept_children import KeptChildren

_SIGN_IN = {
    "platform": {"enabled": TRUTH, "runtimeVersion": TEXT},
    "globalValidation": {
        "unauthenticatedClientAction": TEXT,
        "redirectToProvider": TEXT,
        "excludedPaths": [TEXT],
    },
    "identityProviders": {"*": ANY},
    "login": {"*": ANY},
    "httpSettings": {"*": ANY},
    "encryptionSettings": {
        "containerAppAuthEncryptionSecretName": TEXT,
        "containerAppAuthSigningSecretName": TEXT,
    },
}


@dataclass(frozen=True)
class AuthConfigs(KeptChildren):
    """The sign-in in front of an app."""

    kind = "Microsoft.App/containerApps/authConfigs"
    above = APP
    missing = ("AuthConfigNotFound", "Auth Config with name '{}' was not found.")
    shapes: ClassVar[Mapping[str, Any]] = {f"{APP}/{{}}/authconfigs/{{}}": {"properties": _SIGN_IN}}
