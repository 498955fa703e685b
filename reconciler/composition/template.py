"""The revision template of a container app, with ARM's field names. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api.resources import MOUNT_PATH, REPORTS_PATH
from reconciler.api.schedule_fields import Schedule
from reconciler.composition.names import digest

PORT = 8000
STARTUP_SECONDS = 240
GPU_SIZES = {
    "Consumption-GPU-NC24-A100": {"cpu": 24, "memory": "220Gi"},
    "Consumption-GPU-NC8as-T4": {"cpu": 8, "memory": "56Gi"},
    "NC24-A100": {"cpu": 24, "memory": "220Gi"},
    "NC48-A100": {"cpu": 48, "memory": "440Gi"},
    "NC96-A100": {"cpu": 96, "memory": "880Gi"},
}
# Used while the size of a model is not known. A startup budget that is too small kills a good model
# while it loads; one that is too large only notices a bad one later.
UNKNOWN_BYTES = 60 * 2**30
_PUBLISHED = re.compile(r"models/[^/]+/[0-9a-f]{12}")  # the folder is named by its content
READ_BYTES_PER_SECOND = 60 * 2**20  # the least that a standard share promises
PULL_SECONDS, START_SECONDS = (
    112,
    57,
)  # measured for vLLM's image on a serverless A100: 8.9 GB, and without the weights
MOUNT_OPTIONS = "dir_mode=0755,file_mode=0644,mfsymlinks,nobrl,cache=strict,actimeo=1"


def resources(asked: Mapping[str, Any] | None, profile_type: str, *, model: bool) -> dict[str, Any]:
    """CPU cores and memory: as asked, or all that one replica of the profile can have."""
    size = GPU_SIZES.get(
        profile_type, {"cpu": 4, "memory": "8Gi"} if model else {"cpu": 0.5, "memory": "1Gi"}
    )
    return {name: _plain(value) for name, value in {**size, **(asked or {})}.items()}


def _plain(amount: float | str) -> float | str:
    """The shortest spelling, `24` for 24.0 and `8Gi` for 8.0Gi. A revision's name depends on the
    spelling, and must not change if a document writes a default out.
    """
    if isinstance(amount, str):
        return f"{_plain(float(amount.removesuffix('Gi')))}Gi"
    return int(amount) if float(amount).is_integer() else amount


def model_probes(model_bytes: int) -> list[dict[str, Any]]:
    """Probes for vLLM. The startup budget comes from the model's size: five minutes plus twice the
    time that reading the weights from a standard share takes, within ARM's cap of 240 failures.
    """
    period = max(2, math.ceil(_budget(model_bytes) / 240))
    return [
        _probe(
            "Startup", "/ready", PORT, periodSeconds=period, failureThreshold=240, timeoutSeconds=5
        ),
        _probe("Readiness", "/ready", PORT, periodSeconds=5, failureThreshold=3, timeoutSeconds=5),
        _probe("Liveness", "/live", PORT, periodSeconds=10, failureThreshold=6, timeoutSeconds=10),
    ]


def port_probes(port: int, deadline: int | None) -> list[dict[str, Any]]:
    """Probes for a user's own web API: all that is known about it is that it listens."""
    socket = {"tcpSocket": {"port": port}}
    period, failures = startup_budget(deadline or STARTUP_SECONDS)
    return [
        {
            "type": "Startup",
            **socket,
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": 3,
        },
        {
            "type": "Readiness",
            **socket,
            "periodSeconds": 5,
            "failureThreshold": 48,
            "timeoutSeconds": 5,
        },
        {
            "type": "Liveness",
            **socket,
            "periodSeconds": 10,
            "failureThreshold": 3,
            "timeoutSeconds": 5,
        },
    ]


def startup_budget(deadline: int) -> tuple[int, int]:
    """`periodSeconds` and `failureThreshold` of a startup probe, within ARM's cap of 240."""
    period = math.ceil(deadline / 240)
    return period, math.ceil(deadline / period)


def gateway_probes(port: int) -> list[dict[str, Any]]:
    """Probes for a gateway. It starts within a second or two, and its replica may be the only one,
    so that each second until it is ready is one without answers.
    """
    return [
        _probe("Startup", "/live", port, periodSeconds=1, failureThreshold=240, timeoutSeconds=5),
        _probe("Readiness", "/ready", port, periodSeconds=2, failureThreshold=5, timeoutSeconds=5),
        _probe("Liveness", "/live", port, periodSeconds=10, failureThreshold=6, timeoutSeconds=10),
    ]


def startup_stages(seconds: int) -> dict[str, float]:
    """The stages of a cold start of so many seconds, as far as they can be predicted."""
    weights = max(0, seconds - PULL_SECONDS - START_SECONDS)
    return {"image": PULL_SECONDS, "runtime": START_SECONDS, "weights": weights}


def counted(path: str, model_bytes: int) -> int:
    """The size that counts of a model on the share. What Moorage published never changes, and
    counts as its folder on this machine did. A model that anybody may edit is rounded up to GiB:
    one small file more or less must not make another revision.
    """
    if _PUBLISHED.fullmatch(path):
        return model_bytes
    return math.ceil(model_bytes / 2**30) * 2**30


def startup_seconds(model_bytes: int) -> int:
    """How long a cold start should take: the image's pull, vLLM's start, and reading the weights
    from the share.
    """
    return math.ceil(PULL_SECONDS + START_SECONDS + model_bytes / READ_BYTES_PER_SECOND)


def _budget(model_bytes: int) -> float:
    """Seconds for reading the weights; `model_bytes` is 0 if their size is not known."""
    return 300 + 2 * (model_bytes or UNKNOWN_BYTES) / READ_BYTES_PER_SECOND


def model_deadline(model_bytes: int) -> int:
    """Seconds after which a new revision with a model is given up: the image's pull, and the
    startup probe's whole budget.
    """
    return math.ceil(PULL_SECONDS + 240 * max(2, math.ceil(_budget(model_bytes) / 240)))


def code_deadline(asked: int | None) -> int:
    """The same for the user's own web API: as asked, else its image's pull and the startup probe's
    budget.
    """
    return asked or PULL_SECONDS + STARTUP_SECONDS


def cooldown(model_bytes: int) -> int:
    """KEDA counts the cooldown from the moment a replica is scheduled, so it must outlast pull,
    start and load.
    """
    return math.ceil(600 + 2 * (model_bytes or UNKNOWN_BYTES) / READ_BYTES_PER_SECOND)


def volumes(storage: str, *, reports: bool) -> list[dict[str, Any]]:
    share = {
        "name": "share",
        "storageType": "AzureFile",
        "storageName": storage,
        "mountOptions": MOUNT_OPTIONS,
    }
    written = {
        "name": "reports",
        "storageType": "AzureFile",
        "storageName": f"{storage}-rw",
        "mountOptions": MOUNT_OPTIONS,
    }
    return [share, written] if reports else [share]


def serving_variables(service: str, runtime: str, engine: str, grace: int) -> dict[str, str]:
    """The variables that the `serving` package in a replica reads; `grace` in seconds."""
    return {
        "PYTHONPATH": f"{MOUNT_PATH}/{runtime}",
        "MOORAGE_SERVICE": service,
        "MOORAGE_ENGINE": engine,
        "MOORAGE_SHARE": MOUNT_PATH,
        "MOORAGE_REPORTS": REPORTS_PATH,
        "MOORAGE_GRACE_SECONDS": str(grace),
    }


def read_mounts(folders: Sequence[str]) -> list[dict[str, Any]]:
    """Mounts of `folders` for reading, where they would be with the whole share mounted."""
    return [
        {"volumeName": "share", "mountPath": f"{MOUNT_PATH}/{folder}", "subPath": folder}
        for folder in folders
    ]


def model_mounts(folders: Sequence[str], reports_folder: str) -> list[dict[str, Any]]:
    """Mounts of `folders` for reading, and of the replicas' own folder for writing."""
    return [
        *read_mounts(folders),
        {"volumeName": "reports", "mountPath": REPORTS_PATH, "subPath": reports_folder},
    ]


def code_mounts(folders: Mapping[str, str]) -> list[dict[str, Any]]:
    """Mounts of `folders`: paths on the share, by path in the container."""
    return [
        {"volumeName": "share", "mountPath": path, "subPath": folder}
        for path, folder in folders.items()
    ]


def in_folder(folder: str, command: Sequence[str]) -> list[str]:
    """ACA has no working directory, so a shell changes to the folder and then runs the command."""
    return ["/bin/sh", "-c", f'cd {folder} && exec "$@"', "sh", *command]


def suffix(body: Mapping[str, Any], profile: str, *secrets: str) -> str:
    """The suffix of the revision's name: a digest of the template, the profile and the `secrets`
    that it reads. The runtime's path is left out, so that an update of Moorage alone does not boot
    a GPU. So are the mounts of a model service, which follow from its arguments: earlier releases
    mounted the whole share instead.
    """
    containers = [{**each, "volumeMounts": _counted(each)} for each in body["containers"]]
    text = json.dumps({**body, "containers": containers}, sort_keys=True)
    for container in body["containers"]:
        for variable in container["env"]:
            if variable["name"] == "PYTHONPATH" and str(variable.get("value")).startswith(
                f"{MOUNT_PATH}/runtime/"
            ):
                text = text.replace(variable["value"], "")
    return "r" + digest(text, profile, *secrets)[:9]


def _counted(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mounts that count in the revision's name."""
    mounts: list[dict[str, Any]] = container["volumeMounts"]
    written = [each for each in mounts if each["mountPath"] == REPORTS_PATH]
    if not written:
        return mounts
    own = [each for each in mounts if each["mountPath"] != f"{MOUNT_PATH}/{each.get('subPath')}"]
    return [{"volumeName": "share", "mountPath": MOUNT_PATH}, *own]


def scale(
    minimum: int,
    maximum: int,
    concurrent_requests: int,
    cooldown_seconds: int,
    schedules: Sequence[Schedule] = (),
) -> dict[str, Any]:
    rule = {"name": "http", "http": {"metadata": {"concurrentRequests": str(concurrent_requests)}}}
    return {
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "cooldownPeriod": cooldown_seconds,
        "pollingInterval": 30,
        "rules": [rule, *(_scheduled(*each) for each in enumerate(schedules))],
    }


def _scheduled(index: int, schedule: Schedule) -> dict[str, Any]:
    """KEDA's cron scaler; it wants text for every value."""
    metadata = {
        "timezone": schedule.timezone,
        "start": schedule.start,
        "end": schedule.end,
        "desiredReplicas": str(schedule.min_replicas),
    }
    return {"name": f"schedule-{index}", "custom": {"type": "cron", "metadata": metadata}}


def _probe(kind: str, path: str, port: int, **numbers: int) -> dict[str, Any]:
    return {"type": kind, "httpGet": {"path": path, "port": port, "scheme": "HTTP"}, **numbers}
