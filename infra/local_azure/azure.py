"""Everything a provider may touch, in one object that the server builds: store, operations, login, runtime."""

from dataclasses import dataclass, field

from .arm.operations import Operations
from .login import Login
from .options import Options
from .providers.composition import Composition
from .providers.dispatch import Dispatch
from .store import Store


@dataclass
class Azure:
    """One subscription. `base` is this server's URL, known once it listens."""

    options: Options
    store: Store
    login: Login
    operations: Operations
    composition: Composition
    dispatch: Dispatch
    base: str = ""
    unregistered: set[str] = field(default_factory=set)
