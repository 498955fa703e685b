"""One file per kind, all of one shape (`engine.external.External`). The table in `api.kinds` lists
them; each class has its kind's name. A folder here has the parts of one kind, or what several use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from reconciler.api.kinds import Kind
from reconciler.api.secret_values import SecretValues
from reconciler.arm.clients import Arm
from reconciler.arm.ownership import Ownership
from reconciler.engine.external import External
from reconciler.engine.rules import Rules
from reconciler.kinds.connections import Connections
from reconciler.kinds.share.shares import Shares


def kinds_for(
    arm: Arm, ownership: Ownership, shares: Shares, secrets: SecretValues | None = None
) -> Mapping[str, External]:
    """Every kind of the table by name, on one connection; `secrets` has the values that apps
    get.
    """
    connections = Connections.on(arm, ownership, shares, secrets)
    return {kind: _class_of(kind)(connections) for kind in Kind}


def rules_of(kind: Kind) -> Rules:
    """How that kind compares what is asked with what is found; of kinds that ARM knows."""
    found: Rules = getattr(import_module(f"{__name__}.{kind.module}"), kind).rules
    return found


def _class_of(kind: Kind) -> Callable[[Connections], External]:
    found: Callable[[Connections], External] = getattr(
        import_module(f"{__name__}.{kind.module}"), kind
    )
    return found
