"""The names Azure resources get when a document leaves them out. Deterministic: the same documents
give the same names on any machine, so that losing all local state loses nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from reconciler.api.documents import Environment


@dataclass(frozen=True)
class Names:
    """Azure names of one Environment's resources. `given` are the fields that the document itself
    names. `rotation` is the end of `storage` after a rotation of the account's key.
    """

    environment: str
    resource_group: str
    location: str
    workspace: str
    account: str
    share: str
    managed_environment: str
    storage: str
    given: frozenset[str]
    rotation: str = ""


def names_of(environment: Environment, subscription: str, location: str) -> Names:
    """Names for `environment`; what the document leaves out is derived from its name and the
    subscription.
    """
    spec, name = environment.spec, environment.metadata.name
    given = {
        "resource_group": spec.resource_group,
        "workspace": spec.log_analytics.name if spec.log_analytics else None,
        "account": spec.storage.account_name if spec.storage else None,
        "share": spec.storage.share_name if spec.storage else None,
        "managed_environment": spec.managed_environment.name if spec.managed_environment else None,
        "storage": spec.managed_environment.storage_name if spec.managed_environment else None,
    }
    group = spec.resource_group or f"rg-moorage-{name}"
    derived = {
        "resource_group": group,
        "workspace": f"law-{name}",
        "account": f"st{_unique(subscription, group, name)}",  # unique in all of Azure
        "share": "moorage",
        "managed_environment": f"cae-{name}",
        "storage": "moorage",
    }
    chosen = {field: value or derived[field] for field, value in given.items()}
    return Names(
        environment=name,
        location=spec.location or location,
        given=frozenset(field for field, value in given.items() if value),
        **chosen,
    )


def rotated(names: Names, rotation: str) -> Names:
    """`names` with the share registered under another name, which the document does not give."""
    if not rotation:
        return names
    return replace(
        names,
        storage=f"{names.storage}-{rotation}",
        rotation=rotation,
        given=names.given - {"storage"},
    )


def digest(*parts: object) -> str:
    """SHA-256, hex, of the parts' text; parts are separated so that no two lists of
    parts collide.
    """
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()


def _unique(*parts: str) -> str:
    return digest(*(part.lower() for part in parts))[:14]
