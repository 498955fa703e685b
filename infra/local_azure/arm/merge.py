"""JSON merge patch (RFC 7396), which is what a Microsoft.App PATCH is: null deletes, lists are
replaced whole.
"""

from typing import Any


def merge(target: Any, patch: Any) -> Any:
    """A new document: `patch` laid over `target`; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            # Recursive even where the key did not exist, so that nulls inside of the value are
            # dropped, as RFC 7396 says.
            result[key] = merge(result.get(key), value)
    return result
