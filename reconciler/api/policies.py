"""Policies that both kinds of document have."""

from __future__ import annotations

from reconciler.api.fields import AnyCaseEnum


class ReconcilePolicy(AnyCaseEnum):
    """How far the daemon goes."""

    MANAGE = "Manage"
    OBSERVE = "Observe"
    SKIP = "Skip"


class AdoptionPolicy(AnyCaseEnum):
    """What happens when a resource with the name exists and somebody else made it."""

    CREATE = "Create"
    ADOPT_OR_CREATE = "AdoptOrCreate"


class DeletionPolicy(AnyCaseEnum):
    """What happens to resources when their document is removed."""

    DELETE = "Delete"
    RETAIN = "Retain"
