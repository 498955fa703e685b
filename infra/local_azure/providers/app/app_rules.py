"""What Azure refuses in a container app before it starts anything. Each check raises ARM's own
code.
"""

import re
from collections.abc import Iterable
from typing import Any

from infra.local_azure.arm.errors import bad_request, not_implemented

from . import app_shape
from .workload_profiles import PROFILES

Body = dict[str, Any]
_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{0,30}[a-z0-9]")
_SUFFIX = re.compile(r"(?!.*--)[a-z0-9]([a-z0-9-]*[a-z0-9])?")
# A registry host with a port, a path in lower case, a tag, a digest: as Docker reads a reference.
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z][\w+.-]*:[0-9a-fA-F]{32,})?"
)
_VAULT = re.compile(r"https://[a-zA-Z0-9.-]+(?::\d+)?/secrets/[a-zA-Z0-9-]+(?:/[0-9a-fA-F]*)?")
_SCALERS = ("http", "tcp", "custom", "azureQueue")
_MOST_GRACE_S, _MOST_INACTIVE = 600, 100
_PROBE_LIMITS = {"startup": 240, "readiness": 48, "liveness": 30}


def name(text: str) -> None:
    if not _NAME.fullmatch(text):
        message = (
            f"Invalid ContainerApp name '{text}'. A name must consist of lower case alphanumeric"
            " characters or '-', start with an alphabetic character, and end with an alphanumeric"
            " character and cannot have '--'. The length must be between 2 and 32 characters"
            " inclusive."
        )
        raise bad_request("ContainerAppInvalidName", message)


def document(
    app: str, properties: Body, secrets: list[Body], storages: set[str], profiles: list[Body] | None
) -> None:
    """Everything that is wrong with a whole app, most basic first. `profiles` are the
    environment's, `storages` its names.
    """
    template, configuration = properties["template"], properties["configuration"]
    _mode(configuration["activeRevisionsMode"])
    _within("maxInactiveRevisions", configuration["maxInactiveRevisions"], _MOST_INACTIVE)
    _suffix(app, template["revisionSuffix"])
    _within(
        "terminationGracePeriodSeconds", template["terminationGracePeriodSeconds"], _MOST_GRACE_S
    )
    run(properties, secrets, storages, profiles)
    _scale(template["scale"])
    _ingress(configuration["ingress"])


def run(
    properties: Body, secrets: list[Body], storages: set[str], profiles: list[Body] | None
) -> None:
    """What is wrong with the secrets, containers, registries, volumes and profile of an app or a
    job.
    """
    template, names = properties["template"], {str(secret.get("name")) for secret in secrets}
    _secrets(secrets)
    _containers(template, names)
    _registries(properties["configuration"]["registries"], names)
    _volumes(template, storages)
    _profile(properties["workloadProfileName"], template, profiles)


def traffic(entries: list[Body], known: Iterable[str]) -> None:
    """Weights must add up to 100 and name revisions that exist (or are being made)."""
    total = sum(int(entry.get("weight") or 0) for entry in entries)
    if total != 100:
        text = f"The sum of traffic weights must be equal to 100. The current sum is {total}."
        raise bad_request("ContainerAppInvalidTrafficWeight", text)
    names = set(known)
    for entry in entries:
        revision = entry.get("revisionName")
        if revision and revision not in names:
            raise bad_request(
                "RevisionNotFound",
                f"The revision '{revision}' in the traffic weights was not found.",
            )
        if not revision and not entry.get("latestRevision"):
            raise bad_request(
                "ContainerAppInvalidTrafficWeight",
                "A traffic weight must name a revision or be latestRevision.",
            )


def same_revision(app: str, revision: str, properties: Body, before: Body) -> None:
    """A revision never changes: its suffix is taken for every other template."""
    if app_shape.substance(
        properties["template"], properties["workloadProfileName"]
    ) != app_shape.substance(before["template"], before["workloadProfileName"]):
        text = (
            f"The revision '{revision}' of container app '{app}' already exists with another"
            " template. Give another revisionSuffix."
        )
        raise bad_request("ContainerAppRevisionSuffixInUse", text)


def _mode(mode: str) -> None:
    if mode not in {"Single", "Multiple"}:
        raise bad_request(
            "InvalidRequestParameterWithDetails",
            f"The value '{mode}' of activeRevisionsMode is not supported here.",
        )


def _within(field: str, value: int | None, most: int) -> None:
    if value is not None and not 0 <= value <= most:
        text = f"The value '{value}' of {field} is invalid: it must be between 0 and {most}."
        raise bad_request(f"ContainerAppInvalid{field[0].upper()}{field[1:]}", text)


def _image(container: str, image: str) -> None:
    """The name must be a reference; whether a registry has the image shows when it is pulled."""
    if not _IMAGE.fullmatch(image):
        text = (
            "The following field(s) are either invalid or missing. Field"
            f" 'template.containers.{container}.image' is invalid with details: 'Invalid value:"
            f' "{image}": could not parse reference: {image}\';.'
        )
        raise bad_request("InvalidParameterValueInContainerTemplate", text)


def _suffix(app: str, suffix: str) -> None:
    if suffix and (not _SUFFIX.fullmatch(suffix) or len(app) + 2 + len(suffix) > 54):
        text = (
            f"Invalid revision name '{app}--{suffix}'. A name must consist of lower case"
            " alphanumeric characters or '-', start with a letter, end with an alphanumeric"
            " character and cannot have '--' in its suffix. Its length cannot be more than 54"
            " characters."
        )
        raise bad_request("ContainerAppInvalidRevisionName", text)


def _secrets(secrets: list[Body]) -> None:
    for secret in secrets:
        label = str(secret.get("name") or "")
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", label):
            raise bad_request("ContainerAppSecretInvalidName", f"Invalid secret name '{label}'.")
    for secret in secrets:
        if secret.get("keyVaultUrl") and not _VAULT.fullmatch(str(secret["keyVaultUrl"])):
            text = f"Invalid Key Vault URL '{secret['keyVaultUrl']}' of secret '{secret['name']}'."
            raise bad_request("ContainerAppSecretKeyVaultUrlInvalid", text)
    empty = [
        str(secret.get("name"))
        for secret in secrets
        if not secret.get("value") and not (secret.get("keyVaultUrl") and secret.get("identity"))
    ]
    if empty:
        text = (
            f"Invalid Request: Container app secret(s) with name(s) '{', '.join(empty)}' are"
            " invalid: value or keyVaultUrl and identity should be provided."
        )
        raise bad_request("ContainerAppSecretInvalid", text)


def _containers(template: Body, secrets: set[str]) -> None:
    if not template["containers"]:
        raise bad_request(
            "ContainerAppContainersRequired",
            "The template of a container app must have at least one container.",
        )
    # Init containers count, because the address of a log stream names a container alone.
    names = [
        container.get("name")
        for container in [*template["containers"], *(template["initContainers"] or [])]
    ]
    if len(set(names)) != len(names):
        raise bad_request(
            "ContainerAppDuplicateContainerName",
            "The names of the containers of a container app must be unique.",
        )
    for container in [*(template["initContainers"] or []), *template["containers"]]:
        label = container.get("name")
        if not label or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", str(label)):
            raise bad_request(
                "ContainerAppInvalidContainerName", f"The container name '{label}' is invalid."
            )
        if not container.get("image"):
            raise bad_request(
                "ContainerAppImageRequired",
                f"Container with name '{label}' must have an 'Image' property specified.",
            )
        _image(str(label), str(container["image"]))
        for entry in container.get("env", []):
            if not entry.get("name"):
                raise bad_request(
                    "ContainerAppInvalidEnvVarName",
                    f"An environment variable of container '{label}' has no name.",
                )
            if entry.get("secretRef") and entry["secretRef"] not in secrets:
                text = (
                    f"SecretRef '{entry['secretRef']}' defined for container '{label}' not found."
                )
                raise bad_request("ContainerAppSecretRefNotFound", text)
        for probe in container.get("probes", []):
            _probe(probe)


def _probe(probe: Body) -> None:
    kind = str(probe.get("type") or "").lower()
    if kind not in _PROBE_LIMITS:
        raise bad_request(
            "ContainerAppInvalidProbeType", f"The probe type '{probe.get('type')}' is invalid."
        )
    if not probe.get("httpGet") and not probe.get("tcpSocket"):
        raise bad_request(
            "ContainerAppProbeInvalid", f"The {kind} probe must have httpGet or tcpSocket."
        )
    if (probe.get("httpGet") or probe["tcpSocket"]).get("port") is None:
        raise bad_request("ContainerAppProbeInvalid", f"The {kind} probe must have a port.")
    limits = {
        "FailureThreshold": (1, _PROBE_LIMITS[kind]),
        "PeriodSeconds": (1, 240),
        "TimeoutSeconds": (1, 240),
        "InitialDelaySeconds": (0, 60),
    }
    for field, (low, high) in limits.items():
        value = probe.get(field[0].lower() + field[1:])
        if value is not None and not low <= int(value) <= high:
            text = (
                f"{field} of the {kind} probe must be in the range of [{low}, {high}]. The value is"
                f" {value}."
            )
            raise bad_request(f"ContainerAppProbe{field}OutOfRange", text)


def _registries(registries: list[Body] | None, secrets: set[str]) -> None:
    for registry in registries or []:
        reference = registry.get("passwordSecretRef")
        if reference and reference not in secrets:
            text = (
                f"PasswordSecretRef '{reference}' defined for registry server"
                f" '{registry.get('server')}' not found."
            )
            raise bad_request("ContainerAppRegistriesPasswordSecretRefNotFound", text)


def _volumes(template: Body, storages: set[str]) -> None:
    volumes = {volume.get("name"): volume for volume in template["volumes"] or []}
    if len(volumes) < len(template["volumes"] or []) or not all(volumes):
        raise bad_request("ContainerAppInvalidVolumeName", "Each volume must have its own name.")
    for label, volume in volumes.items():
        _volume(str(label), volume, storages)
    for container in [*(template["initContainers"] or []), *template["containers"]]:
        for mount in container.get("volumeMounts", []):
            _mount(container["name"], mount, volumes)


def _volume(label: str, volume: Body, storages: set[str]) -> None:
    kind = volume.get("storageType") or "EmptyDir"
    if kind not in {"AzureFile", "EmptyDir", "Secret"}:
        raise not_implemented(f"volumes of type '{kind}'")
    for item in volume.get("secrets", []):
        if not item.get("secretRef") or _leaves(str(item.get("path") or "")):
            raise bad_request(
                "ContainerAppInvalidSecretVolume",
                f"A secret of volume '{label}' has no name or a path that leaves it.",
            )
    if kind == "AzureFile" and volume.get("storageName") not in storages:
        text = (
            f"The storage '{volume.get('storageName')}' of volume '{label}' was not found in"
            " the managed environment."
        )
        raise bad_request("ContainerAppVolumeStorageNotFound", text)


def _mount(container: str, mount: Body, volumes: Body) -> None:
    name = mount.get("volumeName")
    if name not in volumes:
        text = f"The volume '{name}' mounted by container '{container}' is not defined."
        raise bad_request("ContainerAppInvalidVolumeMount", text)
    path, below = str(mount.get("mountPath") or ""), str(mount.get("subPath") or "")
    # Azure took relative paths of volumes with secrets (recorded), of others it does not.
    secret = volumes[name].get("storageType") == "Secret"
    placed = bool(path) if secret else path.startswith("/")
    if not placed or ":" in path or ".." in path.split("/") or _leaves(below):
        raise bad_request(
            "ContainerAppInvalidVolumeMount",
            f"The mount path '{path}' or its subPath '{below}' is invalid.",
        )


def _leaves(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _profile(label: str | None, template: Body, profiles: list[Body] | None) -> None:
    cores = sum(float(container["resources"]["cpu"]) for container in template["containers"])
    memory = sum(
        _gigabytes(container["resources"]["memory"]) for container in template["containers"]
    )
    kinds = {entry["name"].lower(): entry["workloadProfileType"] for entry in profiles or []}
    if profiles and str(label).lower() not in kinds:
        known = ", ".join(entry["name"] for entry in profiles)
        text = (
            f"Workload profile '{label}' was not found in the managed environment. Known profiles:"
            f" {known}."
        )
        raise bad_request("WorkloadProfileNotFound", text)
    kind = PROFILES[kinds.get((label or "").lower(), "Consumption").lower()]
    if kind.category == "Consumption":
        if cores * 4 % 1 or not 0.25 <= cores <= 4 or abs(memory - 2 * cores) > 0.001:
            text = (
                "The total requested CPU and memory resources for this application (CPU:"
                f" {cores:g}, memory: {memory:g}) is invalid. Total CPU and memory for all"
                " containers defined in a Container App must add up to one of the following CPU -"
                " Memory combinations: [cpu: 0.25, memory: 0.5Gi]; … [cpu: 4.0, memory: 8.0Gi]"
            )
            raise bad_request("ContainerAppInvalidResourceTotal", text)
    elif cores > kind.cores or memory > kind.memory:
        field = "Cores" if cores > kind.cores else "Memory"
        text = (
            f"The requested resources (CPU: {cores:g}, memory: {memory:g}Gi) exceed the maximum of"
            f" profile type {kind.name}."
        )
        raise bad_request(f"WorkloadProfileMaximum{field}Constraint", text)


def _gigabytes(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)Gi", text)
    if not match:
        raise bad_request(
            "ContainerAppInvalidMemoryResource",
            f"The memory '{text}' is invalid: it must be given in Gi.",
        )
    return float(match[1])


def _scale(scale: Body) -> None:
    low, high = int(scale["minReplicas"] or 0), int(scale["maxReplicas"])
    if not 0 <= low <= 1000 or not 1 <= high <= 1000 or low > high:
        text = (
            f"minReplicas ({low}) and maxReplicas ({high}) must be between 0 and 1000, and"
            " minReplicas not above maxReplicas."
        )
        raise bad_request("ContainerAppInvalidScaleSpec", text)
    for rule in scale["rules"] or []:
        _rule(rule)


def _rule(rule: Body) -> None:
    """A rule names itself and exactly one scaler; a custom scaler has a type."""
    kinds = [kind for kind in _SCALERS if rule.get(kind) is not None]
    if not rule.get("name") or len(kinds) != 1:
        text = (
            f"The scale rule '{rule.get('name') or ''}' is invalid: it must have a name and one of"
            f" {', '.join(_SCALERS)}."
        )
        raise bad_request("ContainerAppInvalidScaleRule", text)
    if kinds == ["custom"] and not rule["custom"].get("type"):
        text = f"The custom scale rule '{rule['name']}' is invalid: it must have a type."
        raise bad_request("ContainerAppInvalidScaleRule", text)


def _ingress(ingress: Body | None) -> None:
    """Port 0 lets Azure find the port that the container listens on."""
    if ingress and not 0 <= int(ingress["targetPort"]) <= 65535:
        raise bad_request(
            "ContainerAppInvalidIngressTargetPort",
            "The ingress target port must be between 1 and 65535.",
        )
    if ingress and ingress["transport"] not in {"Auto", "Http", "Http2", "Tcp"}:
        raise bad_request(
            "ContainerAppInvalidIngressTransport",
            f"The ingress transport '{ingress['transport']}' is invalid.",
        )
    for each in (ingress or {}).get("ipSecurityRestrictions") or ():
        if not all(each.get(name) for name in ("name", "action", "ipAddressRange")):
            raise bad_request(
                "ContainerAppInvalidIpSecurityRestriction",
                "An IP security restriction must have a name, an action and an ipAddressRange.",
            )
