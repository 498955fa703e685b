"""Whether the registries give an app or a job its images. Azure asks them when it has accepted a
write, so what they refuse ends the operation. Used by `container_app` and `job`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local_azure.control.assignments import Assignments
from infra.local_azure.control.records import Body
from infra.local_azure.control.vaults import Vaults, principal_of
from infra.local_azure.control.writes import Wording
from infra.local_azure.runtime.images import PullRefusal, RegistryLogin, refusal
from infra.local_azure.store import Record

_DEFAULT_REGISTRY = "docker.io"
# An app's write takes 20 seconds, and expires after the 15 minutes that its answer promises.
_EXPIRY_FACTOR = 45.0


@dataclass(frozen=True)
class ImageCheck:
    """`file` is images.yaml or what was given in its place."""

    file: Path
    assignments: Assignments
    vaults: Vaults

    def ending(self, wording: Wording, owner: Record, properties: Body) -> tuple[Body, float]:
        """How the operation ends that applies these properties to the app or job, and by what
        factor it is longer: empty when the images are there, else as `arm.operations` keeps a bad
        ending.
        """
        name = owner.name
        found = self._first(properties, self._logins(owner, properties))
        if found is None:
            return {}, 1.0
        field, image, refused = found
        late = refused.kind == "hangs"
        details = (
            refused.message
            if late
            else "The following field(s) are either invalid or missing. Field"
            f" '{field}' is invalid with details: 'Invalid value: \"{image}\": GET https::"
            f" {refused.message}';."
        )
        subject = "revision for container app" if wording.code == "ContainerApp" else "job"
        code = f"{wording.code}OperationError"
        message = f"Failed to provision {subject} '{name}'. Error details: {details}"
        ending = {
            "status": "Failed",
            "state": "Failed",
            "code": code,
            "message": message,
            "shown": "Operation expired" if late else f"ErrorCode: {code}, Message: {message}",
        }
        return {"ending": ending}, _EXPIRY_FACTOR if late else 1.0

    def _first(
        self, properties: Body, logins: Mapping[str, RegistryLogin]
    ) -> tuple[str, str, PullRefusal] | None:
        """The first container whose image is refused: its field, the image and the refusal."""
        template = properties["template"]
        for kind in ("initContainers", "containers"):
            for container in template.get(kind) or []:
                image = str(container["image"])
                refused = refusal(self.file, image, logins.get(_host(image)))
                if refused is not None:
                    return f"template.{kind}.{container['name']}.image", image, refused
        return None

    def _logins(self, owner: Record, properties: Body) -> dict[str, RegistryLogin]:
        """The logins of an app or a job by the registry's host. There are no registries here at
        which an identity could have the role AcrPull, so that of the owner's group counts.
        """
        group, values = owner.id.partition("/providers/")[0], self.vaults.values(owner)
        return {
            str(registry.get("server") or "").lower(): RegistryLogin(
                username=str(registry.get("username") or ""),
                password=values.get(str(registry.get("passwordSecretRef") or ""), ""),
                identity=(identity := str(registry.get("identity") or "")),
                may_pull=bool(identity)
                and self.assignments.may_pull(principal_of(identity, owner.id), group),
            )
            for registry in properties["configuration"].get("registries") or []
        }


def _host(image: str) -> str:
    """A first part with a dot or a port is the registry's host, as Docker reads a reference."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first.lower() if named else _DEFAULT_REGISTRY
