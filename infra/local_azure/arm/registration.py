"""Which resource providers the subscription is registered for. All are registered until somebody
unregisters one; a write to a provider that is not registered is refused.
"""

from infra.local_azure import clock
from infra.local_azure.store import Store

from .errors import GATEWAY, ArmError
from .ids import Target

_REGISTERING_S = 60.0


class Registrations:
    """Kept in the store. `scale` is how many of Azure's seconds pass in one of ours."""

    def __init__(self, store: Store, scale: float) -> None:
        self._store = store
        self._registering_s = _REGISTERING_S / scale

    def state(self, namespace: str) -> str:
        """Registered, Registering or NotRegistered."""
        until = self._store.read(f"registration:{namespace}")
        if until is None or (until != "never" and float(until) <= clock.now()):
            return "Registered"
        return "NotRegistered" if until == "never" else "Registering"

    def register(self, namespace: str) -> None:
        """Takes a while: Registering, in which writes are still refused, then Registered."""
        if self.state(namespace) == "NotRegistered":
            until = str(clock.now() + self._registering_s)
            self._store.keep(f"registration:{namespace}", until)

    def unregister(self, namespace: str) -> None:
        self._store.keep(f"registration:{namespace}", "never")

    def check(self, target: Target) -> None:
        """ArmError 409 for a write to a provider that is not registered."""
        namespace = target.namespace or ""
        if "register" in target.route or self.state(namespace) == "Registered":
            return
        message = (
            f"The subscription is not registered to use namespace '{namespace}'. See"
            " https://aka.ms/rps-not-found for how to register subscriptions."
        )
        code = "MissingSubscriptionRegistration"
        detail = {"code": code, "target": namespace, "message": message}
        raise ArmError(409, code, message, headers=GATEWAY, more={"details": [detail]})
