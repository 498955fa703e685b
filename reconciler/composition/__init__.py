"""Pure: documents -> the desired resources and their references. No I/O; local folders arrive already digested."""

from reconciler.composition.compose import Composition, Refusal, compose

__all__ = ["Composition", "Refusal", "compose"]
