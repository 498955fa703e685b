"""A replica's spec.json (owner-only): the command for its shim, and what the next scheduler must know to adopt it."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .container import Command
from .images import Image
from .rootfs import Plan, Volume
from .workload import Workload

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, so no words
_BACKOFF_CAP_S = 60.0


@dataclass(frozen=True)
class Record:
    """The identity of a replica. `label` marks its processes (see `processes`), `epoch` counts restarts of its revision."""

    name: str
    app: str
    revision: str
    created: str
    epoch: int
    label: str
    target_port: int | None
    grace_s: float
    probes: tuple[Mapping[str, Any], ...]


def new_record(workload: Workload, epoch: int) -> Record:
    """A record with a fresh name in the form of Container Apps: `{revision}-{hash}-{id}`."""
    return Record(
        name=f"{workload.revision}-{_template_hash(workload.revision)}-{_random(5)}",
        app=workload.app,
        revision=workload.revision,
        created=datetime.now(UTC).isoformat(),
        epoch=epoch,
        label=f"replica:{secrets.token_hex(8)}",
        target_port=workload.target_port,
        grace_s=workload.termination_grace_s,
        probes=tuple(dict(probe) for probe in workload.probes),
    )


def write_spec(directory: Path, record: Record, workload: Workload, image: Image, hidden: Path) -> None:
    """Writes spec.json for the shim and for a later adoption. Secrets are in it: the folder and the file are owner-only."""
    volumes = [Volume(str(mount.source), mount.target, mount.read_only) for mount in workload.mounts]
    for mount in workload.mounts:
        mount.source.mkdir(parents=True, exist_ok=True)
    plan = Plan(str(directory / "root"), record.label, record.name[:63], image.visible, (str(hidden),), volumes)
    command = Command(image.argv(workload.command, workload.args), _environment(workload, image, record.name), plan)
    spec = {"record": asdict(record), "command": command.to_json(), "grace_s": record.grace_s, "backoff_cap_s": _BACKOFF_CAP_S}
    draft = directory / "spec.json.new"
    draft.touch(0o600)
    draft.write_text(json.dumps(spec))
    draft.replace(directory / "spec.json")


def read_record(directory: Path) -> Record:
    """Raises OSError or ValueError when the folder holds no whole spec."""
    raw = json.loads((directory / "spec.json").read_text())["record"]
    return replace(Record(**raw), probes=tuple(raw["probes"]))


def _environment(workload: Workload, image: Image, replica: str) -> dict[str, str]:
    """The image's variables, the template's, and exactly those that Container Apps adds."""
    own = {
        "CONTAINER_APP_NAME": workload.app,
        "CONTAINER_APP_REVISION": workload.revision,
        "CONTAINER_APP_HOSTNAME": f"{workload.revision}.{workload.dns_suffix}",
        "CONTAINER_APP_ENV_DNS_SUFFIX": workload.dns_suffix,
        "CONTAINER_APP_REPLICA_NAME": replica,
    }
    if workload.target_port is not None:
        own["CONTAINER_APP_PORT"] = str(workload.target_port)
    return {"PATH": image.path, "HOME": "/root", "LANG": "C.UTF-8", **workload.env, **own}


def _template_hash(revision: str) -> str:
    """Nine letters, stable per revision, as a ReplicaSet's pod-template-hash is."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in hashlib.sha256(revision.encode()).digest()[:9])


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
