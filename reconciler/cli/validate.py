"""`moorage validate`: check the documents. Changes nothing."""

from __future__ import annotations

from reconciler.cli.context import (
    Files,
    manifest_of,
)
from reconciler.cli.envelope import Output, check_output, print_value
from reconciler.cli.layout import say


def validate(file: Files = None, output: Output = "text") -> None:
    """Check documents and their local folders. Changes nothing. Exit code 2 with file:line:column
    of each error.
    """
    from reconciler.api.adapters import adapter_notes
    from reconciler.api.gateway_references import gateway_notes
    from reconciler.sources.gateway_runtime import machine_notes

    as_json = check_output(output)
    manifest = manifest_of(file)
    rows = []
    for loaded in manifest.documents:
        kind, name = loaded.document.kind, loaded.document.metadata.name
        notes = [
            *adapter_notes(loaded),
            *gateway_notes(loaded, manifest.documents),
            *machine_notes(loaded.document),
        ]
        place = {"file": str(loaded.file), "line": loaded.line}
        rows.append({"kind": kind, "name": name, **place, "notes": notes})
        if not as_json:
            say(f"{kind} {name}: valid ({loaded.file}:{loaded.line})")
            for note in notes:
                say(f"  note: {note}")
    if as_json:
        print_value("Validation", {"documents": rows})
