"""`infra/inference.config.json`: after each convergence it holds what AI Toolkit's own commands
would have filled in.
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
    """Writes the files of the services that ask for one by an annotation, each time their app is as
    desired.
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
        """One pass over one key has ended."""
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
    """Bring the file to `values` (all of CONFIG_KEYS), written as the templates write it; True if
    it was another before.

    Raises:
        OSError: it cannot be written.
        ValueError: it is there and is something else, which is left as it is.
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
