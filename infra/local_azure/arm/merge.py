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
            # Also below a key that was not there, so that a null inside of it deletes nothing, as
            # in RFC 7396.
            result[key] = merge(result.get(key), value)
    return result
