"""Everything a provider may touch, in one object that the server builds: store, operations, login,
runtime, faults.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from . import clock
from .arm.operations import Operations
from .faults.book import Book
from .faults.hooks import Hooks
from .login import Login
from .options import Options
from .providers.app.composition import Composition
from .providers.app.dispatch import Dispatch
from .store import Store

if TYPE_CHECKING:
    from .arm.front import Front


@dataclass
class Azure:
    """One subscription. `base` is this server's URL, known once it listens; `front` is how a
    deployment reaches the providers.
    """

    options: Options
    store: Store
    login: Login
    operations: Operations
    composition: Composition
    dispatch: Dispatch
    faults: Book
    base: str = ""
    front: "Front" = field(init=False)

    @cached_property
    def hooks(self) -> Hooks:
        return Hooks(self)

    def registration(self, namespace: str) -> str:
        """Registered, Registering or NotRegistered; all are registered until somebody unregisters
        one.
        """
        until = self.store.read(f"registration:{namespace}")
        if until is None or (until != "never" and float(until) <= clock.now()):
            return "Registered"
        return "NotRegistered" if until == "never" else "Registering"
