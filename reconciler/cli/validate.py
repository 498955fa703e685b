"""`moorage validate`: check the documents. Changes nothing."""

from __future__ import annotations

from reconciler.cli.context import Files, manifest_of


def validate(file: Files = None) -> None:
    """Check documents and their local folders. Changes nothing. Exit code 2 with file:line:column
    of each error.
    """
    from reconciler.api.adapters import adapter_notes
    from reconciler.api.gateway_references import gateway_notes

    manifest = manifest_of(file)
    for loaded in manifest.documents:
        print(
            f"{loaded.document.kind} {loaded.document.metadata.name}: valid"
            f" ({loaded.file}:{loaded.line})"
        )
        for note in (*adapter_notes(loaded), *gateway_notes(loaded, manifest.documents)):
            print(f"  note: {note}")
