"""`moorage validate`: check the documents. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.cli.context import (
    Files,
    manifest_of,
)
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded


def validate(file: Files = None, output: Output = "text") -> None:
    """Check documents and the local folders and files that they name. Changes nothing. Exit code 2
    with file:line:column of each error.
    """
    from reconciler.api.adapters import adapter_notes
    from reconciler.api.gateway_references import gateway_notes
    from reconciler.api.problems import ManifestError
    from reconciler.sources.gateway_runtime import machine_notes
    from reconciler.sources.secrets import secret_problems

    as_json = check_output(output)
    manifest = manifest_of(file)
    secrets = [[*secret_problems(loaded)] for loaded in manifest.documents]
    broken = [problem for found in secrets for problem, absent in found if not absent]
    if broken or manifest.faults:
        raise ManifestError([*broken, *(fault.problem for fault in manifest.faults)])
    rows = []
    for loaded, found in zip(manifest.documents, secrets, strict=True):
        kind, name = loaded.document.kind, loaded.document.metadata.name
        notes = [
            *adapter_notes(loaded),
            *gateway_notes(loaded, manifest.documents),
            *machine_notes(loaded.document),
            *(f"{problem}; the service needs it where the daemon runs" for problem, _ in found),
            *_cooldown_notes(loaded),
        ]
        place = {"file": str(loaded.file), "line": loaded.line}
        rows.append({"kind": kind, "name": name, **place, "notes": notes})
        if not as_json:
            say(f"{kind} {name}: valid ({loaded.file}:{loaded.line})")
            for note in notes:
                say(f"  note: {note}")
    if as_json:
        print_value("Validation", {"documents": rows})


def _cooldown_notes(loaded: Loaded) -> Iterator[str]:
    """A period in which a model cannot be loaded. It is no error: a share may be faster than what
    Azure promises.
    """
    from reconciler.api.documents import InferenceService
    from reconciler.composition.template import startup_seconds

    service = loaded.document
    if not isinstance(service, InferenceService) or service.spec.model is None:
        return
    scale = service.spec.scale
    folder = loaded.folder(service.spec.model.source)
    files = folder.glob("*.safetensors") if folder else ()
    start = startup_seconds(sum(file.stat().st_size for file in files if file.is_file()))
    if scale.cooldown_period and scale.cooldown_period < start and not scale.min_replicas:
        yield (
            f"cooldownPeriod: Container Apps counts the {scale.cooldown_period} s from the start of"
            f" a replica, and a start takes about {start} s: it may stop a replica that still loads"
            " the model. Leave it out, or write more."
        )
