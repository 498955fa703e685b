"""Policies that both kinds of document have."""

from __future__ import annotations

from reconciler.api.fields import AnyCaseEnum


class ReconcilePolicy(AnyCaseEnum):
    """How far the daemon goes."""

    MANAGE = "Manage"
    OBSERVE = "Observe"
    SKIP = "Skip"


class AdoptionPolicy(AnyCaseEnum):
    """What happens where the name is taken by something that somebody else made."""

    CREATE = "Create"
    ADOPT_OR_CREATE = "AdoptOrCreate"


class DeletionPolicy(AnyCaseEnum):
    """What happens to resources whose document goes."""

    DELETE = "Delete"
    RETAIN = "Retain"
