"""Dapr components of an environment. They are stored, because templates contain them; no sidecar
runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import TEXT, TRUTH
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control.naming import ENVIRONMENT
from infra.local_azure.control.records import Body

from .kept_children import KeptChildren

_DAPR = {
    "componentType": TEXT,
    "version": TEXT,
    "ignoreErrors": TRUTH,
    "initTimeout": TEXT,
    "secretStoreComponent": TEXT,
    "scopes": [TEXT],
    "secrets": [{"name": TEXT, "value": TEXT, "identity": TEXT, "keyVaultUrl": TEXT}],
    "metadata": [{"name": TEXT, "value": TEXT, "secretRef": TEXT}],
    "serviceComponentBind": {"name": TEXT, "serviceId": TEXT, "metadata": {"*": TEXT}},
}


@dataclass(frozen=True)
class DaprComponents(KeptChildren):
    """Components of an environment."""

    kind = "Microsoft.App/managedEnvironments/daprComponents"
    above = ENVIRONMENT
    missing = ("DaprComponentNotFound", "Dapr Component with name '{}' was not found.")
    filled: ClassVar[Body] = {"ignoreErrors": False}
    shapes: ClassVar[Mapping[str, Any]] = {
        f"{ENVIRONMENT}/{{}}/daprcomponents/{{}}": {"properties": _DAPR}
    }

    def routes(self) -> Routes:
        secrets = f"post {ENVIRONMENT}/{{}}/daprcomponents/{{}}/listsecrets"
        return {**super().routes(), secrets: self.secrets}

    def secrets(self, call: Call) -> Reply:
        record = self.found(call, call.target.path.rsplit("/", 1)[0])
        secrets = record.body["properties"].get("secrets") or ()
        shown = [{"name": each.get("name"), "value": each.get("value")} for each in secrets]
        return Reply(200, {"value": shown})
