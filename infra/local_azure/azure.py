"""Everything a provider may touch, in one object that the server builds: store, operations, login, runtime."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .arm.operations import Operations
from .login import Login
from .options import Options
from .providers.composition import Composition
from .providers.dispatch import Dispatch
from .store import Store

if TYPE_CHECKING:
    from .arm.front import Front


@dataclass
class Azure:
    """One subscription. `base` is this server's URL, known once it listens; `front` is how a deployment reaches the providers."""

    options: Options
    store: Store
    login: Login
    operations: Operations
    composition: Composition
    dispatch: Dispatch
    base: str = ""
    unregistered: set[str] = field(default_factory=set)
    front: "Front" = field(init=False)
