"""`infra/inference.config.json`: after each convergence Moorage writes the values that AI Toolkit's
own commands would write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from reconciler.api.documents import InferenceService
from reconciler.api.kinds import Kind
from reconciler.api.loaded import Loaded
from reconciler.api.outputs import AppOutputs
from reconciler.engine.external import ObjectKey
from reconciler.engine.record import Phase
from reconciler.engine.result import Outcome
from reconciler.toolkit.settings_files import CONFIG_KEYS

log = structlog.get_logger(__name__)
NOTE = "moorage.dev/inference-config"  # the annotation of a service that names its file


class ConfigFiles:
    """Writes the file of each service with the annotation, each time the container app of the
    service has converged.
    """

    def __init__(self, subscription: str) -> None:
        self.subscription = subscription
        self._wanted: dict[str, tuple[Path, tuple[str, str, str]]] = {}

    def follow(self, documents: Sequence[Loaded], names: Mapping[str, Any]) -> None:
        """`names` are Azure's names of the resources by Environment."""
        self._wanted = {}
        for loaded in documents:
            service, note = loaded.document, loaded.document.metadata.annotations.get(NOTE)
            if (
                isinstance(service, InferenceService)
                and note
                and (found := names.get(service.spec.environment))
            ):
                place = (found.resource_group, found.account, found.share)
                self._wanted[service.metadata.name] = (loaded.base_dir / note, place)

    def saw(self, key: ObjectKey, outcome: Outcome) -> None:
        """A reconcile pass over one object has ended."""
        if key.kind != Kind.APP or key.name not in self._wanted or outcome.phase is not Phase.READY:
            return
        file, place = self._wanted[key.name]
        seen = outcome.observation.outputs if outcome.observation else None
        url = seen.endpoint if isinstance(seen, AppOutputs) else None
        endpoint = urlsplit(url or "").netloc
        try:
            write_config(
                file,
                dict(
                    zip(CONFIG_KEYS, (self.subscription, *place, key.name, endpoint), strict=True)
                ),
            )
        except (OSError, ValueError) as error:
            log.warning("inference.config.json not written", service=key.name, error=str(error))


def write_config(file: Path, values: Mapping[str, str]) -> bool:
    """Write `values` (all of CONFIG_KEYS) to the file, in the format of the templates; True if this
    changed the file.

    Raises:
        OSError: it cannot be written.
        ValueError: the file exists and is no inference.config.json; it stays unchanged.
    """
    text = json.dumps({key: values[key] for key in CONFIG_KEYS}, indent=2)
    if file.exists():
        now = file.read_text(encoding="utf-8")
        if now == text:
            return False
        held = json.loads(now)
        if not isinstance(held, dict) or not held.keys() <= set(CONFIG_KEYS):
            raise ValueError(f"{file} holds something else than an inference.config.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
    return True
