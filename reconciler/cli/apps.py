"""Finding a service's container app by its tags, for the commands that talk to Azure without the
daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.cli.exits import CommandError
from reconciler.cli.unknown import unknown

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm
    from reconciler.arm.ownership import Ownership
    from reconciler.settings import Settings


async def find_app(arm: Arm, service: str) -> tuple[str, dict[str, Any]]:
    """The resource group and ARM JSON of the container app of `service`; one call.

    Raises:
        CommandError: no such service; the message names the existing services.
    """
    from reconciler.api.kinds import Kind
    from reconciler.sources.owned import list_owned

    apps = [each for each in await list_owned(arm) if each.kind == Kind.APP]
    ownership = _ownership(arm.settings)
    if ownership is not None:
        apps = [each for each in apps if ownership.made(each.resource)]
    found = [each for each in apps if each.resource["name"] == service]
    if len(found) > 1:
        raise CommandError(
            f"Several sets of documents have a service {service!r}; run the command with the"
            " --state-dir that `moorage up` uses for yours, or with MOORAGE_OWNER."
        )
    for each in found:
        return str(each.resource["id"]).split("/")[4], dict(each.resource)
    names = (str(each.resource["name"]) for each in apps)
    # Without documents of our own, the services of every set count.
    place = "" if ownership is None else " in these documents"
    raise unknown("service", service, names, arm.settings.target_title, place)


def _ownership(settings: Settings) -> Ownership | None:
    """What the set that was last run from the state directory owns; None where none was."""
    from reconciler.arm.ownership import Ownership
    from reconciler.engine.store import Store
    from reconciler.sources import sets

    store = Store.read(settings.daemon_dir / "state.db", settings.target_key)
    last = sets.last(store) if store else None
    name = settings.owner or (last.identity.id if last else "")
    if not store or not name:
        return Ownership(name) if name else None
    try:
        return sets.ownership_of(store, name)
    finally:
        store.close()
