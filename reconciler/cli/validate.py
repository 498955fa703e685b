"""`moorage validate`: are the documents right? Touches nothing."""

from __future__ import annotations

from reconciler.cli.context import Files, manifest_of


def validate(file: Files = None) -> None:
    """Check documents and their local folders. Touches nothing; exit code 2 with file:line:column
    of all that is wrong.
    """
    manifest = manifest_of(file)
    for loaded in manifest.documents:
        print(
            f"{loaded.document.kind} {loaded.document.metadata.name}: valid"
            f" ({loaded.file}:{loaded.line})"
        )
