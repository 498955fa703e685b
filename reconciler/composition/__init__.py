"""Pure: documents -> the desired resources and their references. No I/O; local folders arrive
already digested.
"""

from reconciler.composition.compose import Composition, Refusal, compose, names_in

__all__ = ["Composition", "Refusal", "compose", "names_in"]
