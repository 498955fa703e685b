"""Pure: documents -> the desired resources and their references. No I/O; local folders arrive
already digested.
"""

from reconciler.composition.compose import Composition, compose, names_in

__all__ = ["Composition", "compose", "names_in"]
