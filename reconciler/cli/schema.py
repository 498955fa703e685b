"""`moorage schema`: the JSON Schema of both kinds, for editors."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of the documents."""
    from reconciler.api.schema import text

    print(text(), end="")
