"""One JSON Schema (draft 2020-12) of both kinds, for editors. `python -m reconciler.api.schema`
prints it.

`manifests/schema/moorage.schema.json` is this output; a test holds it current.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from reconciler.api.documents import DOCUMENTS

_REFERENCE = "#/$defs/{model}"


def json_schema() -> dict[str, Any]:
    """The combined schema: `kind` decides which document is meant."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in DOCUMENTS.values()], ref_template=_REFERENCE
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Moorage manifest",
        "description": "Environment and InferenceService documents of moorage.dev/v1alpha1.",
        "type": "object",
        "required": ["kind", "metadata"],
        "properties": {
            "kind": {"enum": list(DOCUMENTS), "description": "What the document describes."}
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": _REFERENCE.format(model=model.__name__)},
            }
            for kind, model in DOCUMENTS.items()
        ],
        "$defs": _for_editors(definitions["$defs"]),
    }


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _for_editors(value: Any, key: str = "") -> Any:
    """Without the title that pydantic gives every field, which editors would show in place of the
    description; descriptions are one line, however the source wraps them.
    """
    if isinstance(value, dict):
        return {
            name: _for_editors(item, name)
            for name, item in value.items()
            if not (name == "title" and isinstance(item, str))
        }
    if isinstance(value, list):
        return [_for_editors(item) for item in value]
    return " ".join(value.split()) if key == "description" and isinstance(value, str) else value


if __name__ == "__main__":
    print(text(), end="")
