"""Writes a decided import as YAML, with a comment on the reason beside each value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.toolkit.choice import PORT, STARTUP_SECONDS, Choice
from reconciler.toolkit.config_file import NOTE
from reconciler.toolkit.project import INFERENCE
from reconciler.toolkit.settings_files import CONFIG

_PLAIN = re.compile(r"[A-Za-z0-9./][A-Za-z0-9._/-]*")
_NOT_TEXT = re.compile(r"(?i)(true|false|null|yes|no|on|off|[\d._]+|\d.*)")


def render(choice: Choice, folder: Path) -> str:
    """The documents; paths are relative to `folder`, which will hold the file."""
    return "\n".join([*_environment(choice), "---", *_service(choice, folder), ""])


def _environment(choice: Choice) -> Iterator[str]:
    files = choice.project.settings
    yield (
        "# An AI Toolkit project, served by Moorage. `moorage import` wrote this file once; edit"
        " it from now on."
    )
    yield "apiVersion: moorage.dev/v1alpha1"
    yield "kind: Environment"
    yield f"metadata: {{name: {scalar(choice.name)}}}"
    yield "spec:"
    for key, field in (
        ("SUBSCRIPTION_ID", "subscriptionId"),
        ("RESOURCE_GROUP_NAME", "resourceGroup"),
    ):
        value = files.place(key)
        if value is not None:
            yield f"  {field}: {scalar(str(value.value))}"
        elif key == "RESOURCE_GROUP_NAME" and choice.existing.group:
            yield f"  {field}: {scalar(choice.existing.group)}"
    if choice.location:
        yield f"  location: {scalar(choice.location)}"
    if log := choice.resource("acaLogAnalyticsName"):
        yield f"  logAnalytics: {{name: {scalar(log)}}}"
    storage = _named(choice, accountName="storageAccountName", shareName="fileShareName")
    if "fileShareName" not in choice.existing.names:
        storage.append("quotaGiB: 1024")
    elif choice.existing.quota:
        # Only of a share that Moorage made; another share keeps its quota if the document has none.
        storage.append(f"quotaGiB: {choice.existing.quota}")
    if storage:
        yield f"  storage: {{{', '.join(storage)}}}"
    managed = _named(choice, name="acaEnvironmentName", storageName="acaEnvironmentStorageName")
    if managed:
        yield f"  managedEnvironment: {{{', '.join(managed)}}}"
    profile = ", ".join(
        f"{key}: {scalar(str(value)) if isinstance(value, str) else value}"
        for key, value in choice.profile.items()
    )
    told = "maximumCount" in choice.profile and "maximumInstanceCount" in files.parameters
    counted = "   # maximumCount is maximumInstanceCount" if told else ""
    yield "  workloadProfiles:"
    yield f"    - {{{profile}}}{counted}"


def _named(choice: Choice, **parameters: str) -> list[str]:
    """`field: name` for each parameter of the project by which a resource is known."""
    found = {field: choice.resource(parameter) for field, parameter in parameters.items()}
    return [f"{field}: {scalar(name)}" for field, name in found.items() if name]


def _service(choice: Choice, folder: Path) -> Iterator[str]:
    yield "apiVersion: moorage.dev/v1alpha1"
    yield "kind: InferenceService"
    yield "metadata:"
    yield f"  name: {scalar(choice.name)}"
    config = os.path.relpath(choice.project.root / CONFIG, folder)
    yield (
        f"  annotations: {{{NOTE}: {scalar(config)}}}   # written whenever the service is as this"
        " file says"
    )
    yield "spec:"
    yield f"  environment: {scalar(choice.name)}"
    if choice.existing.adopts:
        yield (
            "  adoptionPolicy: AdoptOrCreate   # the container app exists already: it is taken"
            " over, and"
            " `moorage down` releases it"
        )
    yield from _vllm(choice, folder) if choice.engine == "vllm" else _code(choice, folder)


def _code(choice: Choice, folder: Path) -> Iterator[str]:
    project = choice.project
    yield f"  code: {_local(choice, INFERENCE, folder)}"
    yield (
        "  mountPath: /mount/inference     # each folder where the project's own code expects it,"
        " read-only"
    )
    mounts = list(_mounts(choice, folder))
    yield from ["  mounts:", *mounts] if mounts else []
    yield f"  engine: {{image: {scalar(project.image)}}}"
    yield (
        "  command:                        # defaultCommands, joined as the template joins them: a"
        " failed one does not stop the rest"
    )
    yield "    - /bin/bash"
    yield "    - -c"
    commands = project.settings.parameters["defaultCommands"].value
    yield f"    - {json.dumps('; '.join(commands), ensure_ascii=False)}"
    yield f"  targetPort: {PORT}"
    yield (
        f"  progressDeadlineSeconds: {STARTUP_SECONDS}   # packages are installed and the model is"
        " loaded at every start"
    )
    yield f"  workloadProfileName: {scalar(choice.profile['name'])}"
    if choice.existing.adopts:
        yield from _as_the_app(choice.existing.adopted)
        return
    yield (
        "  scale: {minReplicas: 1, maxReplicas: 1}   # as in the template; minReplicas: 0"
        " costs nothing while there are no requests"
    )
    yield (
        "  ingress: {external: true}       # as in the template: anyone who knows the address can"
        " use it, because the web API requires no key"
    )


def _as_the_app(app: Mapping[str, Any]) -> Iterator[str]:
    """Resources, scale and ingress of the adopted container app."""
    template = app.get("template") or {}
    size, scale = (
        ((template.get("containers") or [{}])[0].get("resources") or {}),
        template.get("scale") or {},
    )
    if size.get("cpu") and size.get("memory"):
        yield (
            f"  resources: {{cpu: {size['cpu']}, memory: {scalar(size['memory'])}}}   # as the app"
            " has them"
        )
    yield (
        f"  scale: {{minReplicas: {scale.get('minReplicas') or 0}, maxReplicas:"
        f" {scale.get('maxReplicas') or 10}}}"
    )
    external = bool(((app.get("configuration") or {}).get("ingress") or {}).get("external"))
    yield f"  ingress: {{external: {str(external).lower()}}}"


def _mounts(choice: Choice, folder: Path) -> Iterator[str]:
    project = choice.project
    if choice.model:
        path = project.code_model or choice.model.removeprefix("share://")
        yield (
            f"    - {{source: {_source(choice, choice.model, folder, here=choice.model_here)},"
            f" mountPath: /mount/{path}}}"
        )
    for adapter in choice.adapters:
        path = project.code_adapter or adapter.source.removeprefix("share://")
        yield (
            f"    - {{source: {_source(choice, adapter.source, folder, here=adapter.here)},"
            f" mountPath: /mount/{path}}}"
        )


def _vllm(choice: Choice, folder: Path) -> Iterator[str]:
    assert choice.model is not None
    yield f"  model: {{source: {_source(choice, choice.model, folder, here=choice.model_here)}}}"
    if choice.adapters:
        yield "  adapters:"
    for adapter in choice.adapters:
        source = _source(choice, adapter.source, folder, here=adapter.here)
        newest = "   # the newest result of fine-tuning" if adapter.source.endswith("/**") else ""
        yield f"    - {{name: {scalar(adapter.name)}, source: {source}}}{newest}"
    yield f"  workloadProfileName: {choice.profile['name']}"
    yield (
        f"  scale: {{minReplicas: 0, maxReplicas: {choice.instances}}}   # maximumInstanceCount;"
        " no replica while there are no requests"
    )


def _source(choice: Choice, source: str, folder: Path, *, here: bool) -> str:
    return _local(choice, source, folder) if here else scalar(source)


def _local(choice: Choice, path: str, folder: Path) -> str:
    relative = os.path.relpath(choice.project.root / path, folder)
    return scalar(relative if relative.startswith("..") else f"./{relative}")


def scalar(value: str) -> str:
    """A YAML scalar that is read as this text."""
    if _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
