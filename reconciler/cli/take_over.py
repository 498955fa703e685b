"""`moorage take-over`: let these documents have what another set of documents made."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    Yes,
    ask,
    settings_of,
    writable_store,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject
from reconciler.cli.place import expanded

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.owned import Owned


def take_over(
    owner: Annotated[
        str,
        typer.Argument(help="The other set, as `OwnedByAnother` names it.", metavar="SET"),
    ],
    file: Files = None,
    yes: Yes = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Move resources from another set to these documents. The next write gives the resources that
    these documents name to their set. All other resources stay with the other set. With -o json the
    command cannot ask and needs -y.
    """
    from reconciler.engine.store import Store
    from reconciler.sources import sets
    from reconciler.sources.identity import set_of

    as_json = check_output(output)
    files = [expanded(each) for each in file or ()]
    settings = settings_of(target, state_dir, files)
    known = Store.copy(settings.daemon_dir / "state.db", settings.target_key)
    documents = set_of(files, settings.owner, sets.last(known))
    mine = documents.identity.id
    if owner == mine:
        raise CommandError(f"{owner} is this set of documents itself.", Exit.INVALID)
    found = asyncio.run(_of(settings, owner))
    subject = Subject(settings.target_title, documents)
    if not found:
        raise CommandError(f"Nothing there belongs to the set {owner}.", Exit.FAILED)
    if as_json and not yes:
        raise CommandError("This would take over what is listed. Use -y to do it.", Exit.HUMAN)
    if not as_json:
        _show(found, owner, subject)
    if not yes:
        ask("Take it over?", "This would take over what is listed.")
    with writable_store(settings.daemon_dir, settings.target_key) as store:
        sets.take_over(store.of_set(mine), owner)
        store.of_set(mine).put("approvals", str(time.time()))  # wakes a running daemon
    if as_json:
        taken = [f"{each.kind}/{each.resource['name']}" for each in found]
        print_value("TakeOver", {"from": owner, "resources": taken}, subject)
        return
    say("allowed; a running daemon acts on it at once, otherwise the next `moorage up` does")


def _show(found: list[Owned], owner: str, subject: Subject) -> None:
    subject.show()
    mine = subject.documents.identity.id if subject.documents else ""
    for each in found:
        say(f"= {each.kind}/{each.resource['name']}   {each.document}, applied {_applied(each)}")
    print(
        f"Of these, the resources that the documents of {mine} name will belong to {mine}. Stop the"
        f" daemon of {owner} first: while it runs, it holds the lease or takes everything back."
    )


async def _of(settings: Settings, owner: str) -> list[Owned]:
    from reconciler.api import tags
    from reconciler.arm.clients import Arm
    from reconciler.sources.owned import list_owned

    async with Arm(settings) as arm:
        listed = await list_owned(arm, data=True)
    return [each for each in listed if tags.tag(each.resource, tags.OWNER) == owner]


def _applied(owned: Owned) -> str:
    from reconciler.api import tags

    return tags.tag(owned.resource, tags.APPLIED) or "at an unknown time"
