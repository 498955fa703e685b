"""Where a service belongs, and the error for a source that is not there yet. `compose` gives the
first to `service`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.api.auth_fields import ApiKey
from reconciler.api.resources import ShareRef
from reconciler.api.source import Missing
from reconciler.composition.names import Names


class SourceMissingError(Exception):
    """A source that is not on this machine yet; the service waits, and what it had before keeps
    running.
    """

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.message)
        self.missing = missing


@dataclass(frozen=True)
class Surroundings:
    """Where a service goes: its Environment's names, share and workload profiles, and the folder
    its paths start from. `written` is the file:line of its spec, `gateway` the container app of
    the gateway in front, if there is one, and `gateway_keys` the keys that it takes.
    """

    names: Names
    share: ShareRef
    profiles: tuple[Mapping[str, Any], ...]
    base_dir: Path
    tags: Mapping[str, str]
    written: str
    gateway: str = ""
    gateway_keys: tuple[ApiKey, ...] = ()
