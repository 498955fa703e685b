"""A replica's spec.json (owner-only): the command for its shim, and what the next scheduler must
know to adopt it.
"""

import glob
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .container import Command
from .images import Image
from .rootfs import Plan, Volume
from .workload import Step, Task, Workload

_ALPHABET = (
    "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: without vowels, so that no name is a word
)
GPU_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
_BACKOFF_S, _BACKOFF_CAP_S = (
    1.0,
    60.0,
)  # before a crashed container starts again: the first wait and the longest


@dataclass(frozen=True)
class ReplicaRecord:
    """The identity of a replica. `key` is its revision's, `label` marks its processes (see
    `processes`), `epoch` counts restarts of its revision. `grace_s` is in seconds of this machine.
    """

    name: str
    key: str
    app: str
    app_id: str
    revision: str
    container: str
    created: str
    epoch: int
    label: str
    target_port: int | None
    grace_s: float
    probes: tuple[Mapping[str, Any], ...]
    claims: tuple[str, ...]


def new_record(workload: Workload, epoch: int, speed: float = 1.0) -> ReplicaRecord:
    """A record with a fresh name in the form of Container Apps: `{revision}-{hash}-{id}`."""
    return ReplicaRecord(
        name=f"{workload.revision}-{_template_hash(workload.key)}-{_random()}",
        key=workload.key,
        app=workload.app,
        app_id=workload.app_id,
        revision=workload.revision,
        container=workload.container or workload.app,
        created=datetime.now(UTC).isoformat(),
        epoch=epoch,
        label=f"replica:{secrets.token_hex(8)}",
        target_port=workload.target_port,
        grace_s=workload.termination_grace_s / speed,
        probes=tuple(dict(probe) for probe in workload.probes),
        claims=workload.claims,
    )


def new_attempt(task: Task) -> ReplicaRecord:
    """A record for one replica of an execution: `{execution}-{id}`, as a Kubernetes job names its
    pods.
    """
    return ReplicaRecord(
        name=f"{task.execution}-{_random()}",
        key=task.key,
        app=task.job,
        app_id=task.job,
        revision=task.execution,
        container=task.job,
        created=datetime.now(UTC).isoformat(),
        epoch=0,
        label=f"replica:{secrets.token_hex(8)}",
        target_port=None,
        grace_s=task.grace_s,
        probes=tuple(dict(probe) for probe in task.probes),
        claims=(),
    )


def write_spec(
    directory: Path,
    record: ReplicaRecord,
    workload: Workload,
    images: Mapping[str, Image],
    hidden: Path,
    speed: float = 1.0,
) -> None:
    """Writes spec.json for the shim and for a later adoption. Secrets are in it: the folder and the
    file are owner-only.

    `images` are those of all its containers, by name.
    """
    image = images[workload.image]
    command = _command(
        directory,
        record,
        workload,
        workload,
        image,
        hidden,
        record.container if workload.beside else "",
    )
    more = {
        "first": [
            _command(directory, record, workload, step, images[step.image], hidden)
            for step in workload.first
        ],
        "beside": [
            {
                "name": step.name,
                "command": _command(
                    directory, record, workload, step, images[step.image], hidden, step.name
                ),
            }
            for step in workload.beside
        ],
    }
    _write(
        directory,
        record,
        {"command": command, **more, "backoff_s": [_BACKOFF_S / speed, _BACKOFF_CAP_S / speed]},
    )


def write_task(
    directory: Path,
    record: ReplicaRecord,
    task: Task,
    image: Image,
    first: Sequence[Image],
    hidden: Path,
) -> None:
    """The same for a job's replica, which runs once; `first` are the images of its init
    containers.
    """
    steps = [
        _command(directory, record, task, step, found, hidden)
        for step, found in zip(task.first, first, strict=True)
    ]
    command = _command(directory, record, task, task, image, hidden)
    _write(
        directory,
        record,
        {
            "command": command,
            "first": steps,
            "once": True,
            "backoff_s": [_BACKOFF_S, _BACKOFF_CAP_S],
        },
    )


def strip_spec(directory: Path, record: ReplicaRecord) -> None:
    """Leaves only the record of a replica that has ended, so that no secret outlives it."""
    _write(directory, record, {})


def read_record(directory: Path) -> ReplicaRecord:
    """Raises OSError or ValueError when the folder holds no whole spec."""
    raw = json.loads((directory / "spec.json").read_text())["record"]
    return replace(ReplicaRecord(**raw), probes=tuple(raw["probes"]), claims=tuple(raw["claims"]))


def _command(
    directory: Path,
    record: ReplicaRecord,
    owner: Workload | Task,
    run: Workload | Task | Step,
    image: Image,
    hidden: Path,
    name: str = "",
) -> dict[str, Any]:
    """A container of the replica: the image's variables, the template's, and exactly those that
    Container Apps adds.

    One of several gets a label with its `name`, so that its end leaves the others alone.
    """
    volumes = [
        Volume(str(directory / mount.source), mount.target, mount.read_only, mount.smb)
        for mount in run.mounts
    ]
    for volume, mount in zip(volumes, run.mounts, strict=True):
        Path(volume.source).mkdir(parents=True, exist_ok=True)
        for path, text in mount.files:
            (Path(volume.source) / path).write_text(text)
    unseen = [str(hidden), *([] if owner.gpu else _gpus())]
    label = f"{record.label}+{name}" if name else record.label
    plan = Plan(str(directory / "root"), label, record.name[:63], image.visible, unseen, volumes)
    own = owner.own_environment(record.name)
    environment = {"PATH": image.path, "HOME": "/root", "LANG": "C.UTF-8", **run.env, **own}
    return Command(image.argv(run.command, run.args), environment, plan).to_json()


def _write(directory: Path, record: ReplicaRecord, more: Mapping[str, Any]) -> None:
    draft = directory / "spec.json.new"
    draft.touch(0o600)
    draft.write_text(json.dumps({"record": asdict(record), "grace_s": record.grace_s, **more}))
    draft.replace(directory / "spec.json")


def _gpus() -> list[str]:
    """The devices of this machine that only a GPU profile gives."""
    return [path for pattern in GPU_DEVICES for path in glob.glob(pattern)]  # noqa: PTH207 - absolute patterns


def _template_hash(key: str) -> str:
    """Nine letters, stable per revision, as a ReplicaSet's pod-template-hash is."""
    return "".join(
        _ALPHABET[byte % len(_ALPHABET)] for byte in hashlib.sha256(key.encode()).digest()[:9]
    )


def _random() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))
