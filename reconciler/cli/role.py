"""`moorage role`: the role that the daemon's identity needs, in the form that `az role definition
create` takes. `needed_actions` has the actions, `doctor` names this command.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "Moorage Operator"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
NOBODYS = "00000000-0000-0000-0000-000000000000"


def role(
    subscription: Annotated[
        str,
        typer.Option(
            envvar="MOORAGE_SUBSCRIPTION_ID",
            help="The subscription in which the role can be assigned.",
            metavar="ID",
        ),
    ] = NOBODYS,
    out: Annotated[Path | None, typer.Option(help="Write it to this file.", metavar="FILE")] = None,
) -> None:
    """Print the role that the daemon's identity needs, as JSON for `az role definition create
    --role-definition FILE`. It has exactly the actions that the daemon and moorage doctor call.
    """
    if not _GUID.fullmatch(subscription):
        raise CommandError(
            f"The id of a subscription is a GUID, not {subscription!r}; `az account show` has it.",
            Exit.INVALID,
        )
    text = json.dumps(definition(subscription), indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror}.") from None
        print(f"{out} has the role {NAME!r}; `az role definition create` makes it")
    if subscription == NOBODYS:
        print("Put the id of your subscription into AssignableScopes.", file=sys.stderr)


def definition(subscription: str) -> Mapping[str, Any]:
    """The role definition, assignable in one subscription."""
    from reconciler.cli.needed_actions import DATA, OPTIONAL, REQUIRED

    return {
        "Name": NAME,
        "IsCustom": True,
        "Description": "What the Moorage daemon calls in Azure, and nothing else. Assigned to the"
        " subscription, because it looks for its resources there.",
        "Actions": sorted({*REQUIRED, *OPTIONAL}),
        "NotActions": [],
        "DataActions": [*DATA],
        "NotDataActions": [],
        "AssignableScopes": [f"/subscriptions/{subscription}"],
    }


def commands(subscription: str, client_id: str) -> tuple[str, ...]:
    """How somebody who may do so gives an identity the role."""
    return (
        f"moorage role --subscription {subscription} --out role.json",
        "az role definition create --role-definition role.json",
        f'az role assignment create --role "{NAME}" --assignee {client_id or "CLIENT_ID"}'
        f" --scope /subscriptions/{subscription}",
    )
