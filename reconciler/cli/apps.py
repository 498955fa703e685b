"""Finding a service's container app by its tags, for the commands that talk to Azure without the
daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.api.kinds import Kind
from reconciler.cli.exits import CommandError

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm


async def find_app(arm: Arm, service: str) -> tuple[str, dict[str, Any]]:
    """The resource group and ARM JSON of the container app of `service`; one call.

    Raises:
        CommandError: no such service; the message names the existing services.
    """
    from reconciler.sources.owned import list_owned

    apps = [each for each in await list_owned(arm) if each.kind == Kind.APP]
    for each in apps:
        if each.document.name == service:
            return str(each.resource["id"]).split("/")[4], dict(each.resource)
    names = ", ".join(sorted(each.document.name for each in apps)) or "none"
    raise CommandError(
        f"There is no service {service!r} on the {arm.settings.target_title}; services there:"
        f" {names}."
    )
