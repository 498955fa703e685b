"""`moorage import azure GROUP`: documents for what Moorage made in a resource group, when the
documents themselves are lost. Reads Azure, writes files, and never replaces one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.context import StateDir, Target, settings_of
from reconciler.cli.exits import CommandError, Exit, words
from reconciler.cli.output.envelope import print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm
    from reconciler.composition.found_documents import FoundDocument, FoundEnvironment, LeftAlone
    from reconciler.engine.plan import PlanLine
    from serving.catalogue import Catalogue
    from serving.gateway.routes import GatewayRoutes


@dataclass(frozen=True)
class Imported:
    """The documents by the name of their file, what has none, and the revisions that no document
    asks for.
    """

    files: dict[str, list[FoundDocument]]
    left: tuple[LeftAlone, ...]
    notes: tuple[str, ...] = ()


def import_group(
    group: str, folder: Path, target: Target, state_dir: StateDir, *, as_json: bool
) -> None:
    """Write DIR/ENVIRONMENT.yaml for each managed environment that Moorage made, plan with it, and
    say what remains.
    """
    from reconciler.cli.foresight import foresee
    from reconciler.composition.found_documents import text_of

    settings = settings_of(target, state_dir)
    found = asyncio.run(_read(settings, group))
    if not found.files:
        _tell(found, as_json=as_json)
        raise CommandError(f"{group} holds no managed environment that Moorage made.", Exit.FAILED)
    paths = {folder / f"{name}.yaml": documents for name, documents in found.files.items()}
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise CommandError(f"{', '.join(there)} exists, and is not replaced.", Exit.INVALID)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, documents in paths.items():
            with path.open("x", encoding="utf-8") as stream:
                stream.write("---\n".join(map(text_of, documents)))
    except OSError as error:
        raise CommandError(f"{folder} cannot be written to: {words(error)}") from None
    lines = asyncio.run(foresee(settings, [*paths])).lines
    differing = [each for line in lines for each in _told(line)]
    if as_json:
        left = [{"name": each.name, "reason": each.reason} for each in found.left]
        notes = [{"label": "revision", "text": note} for note in found.notes]
        value = {"files": [str(path) for path in paths], "notes": notes, "left": left}
        print_value("Import", {**value, "differing": differing})
        return
    for path in paths:
        print(f"wrote {path}")
    _tell(found)
    for each in differing:
        say(f"? {each}")
    if differing:
        say(f"`moorage plan -f {folder}` shows this: read it before you run the documents")
    else:
        say(f"`moorage plan -f {folder}` has nothing to do")


def _told(line: PlanLine) -> Iterator[str]:
    """What a plan with the documents would still do to an object."""
    if line.action in ("wait", "refuse"):
        yield f"{line.key}: {line.problem}"
    elif line.action == "delete":
        yield f"{line.key}: no document asks for it, so it waits for `moorage approve` to delete it"
    elif line.action != "no-op" and not line.changes:
        yield f"{line.key}: {line.action}"
    else:
        yield from (f"{line.key} {change.path}" for change in line.changes)


def _tell(found: Imported, *, as_json: bool = False) -> None:
    for each in found.left:
        say(f"? {each.name} has no document: {each.reason}", aside=as_json)
    for note in found.notes:
        say(f"? {note}", aside=as_json)


async def _read(settings: Any, group: str) -> Imported:
    from reconciler.api.tags import OWNER, tag
    from reconciler.arm.clients import Arm
    from reconciler.composition.found_documents import (
        LeftAlone,
        environment_of,
        unsaid,
        with_left,
    )

    files: dict[str, list[FoundDocument]] = {}
    left: list[LeftAlone] = []
    notes: list[str] = []
    async with Arm(settings) as arm:
        group = await _spelt(arm, group)
        left += await _elsewhere(arm, group)
        for found in await _environments(arm, group):
            if tag(found.managed, OWNER) is None:
                why = "it was not made by Moorage: name it in an Environment to use it"
                left += [LeftAlone(str(each["name"]), why) for each in (found.managed, *found.apps)]
                continue
            environment = environment_of(found, group)
            twice = "another environment of this group has that name" * (environment.name in files)
            if why := twice or unsaid([environment]):
                left += [LeftAlone(str(each["name"]), why) for each in (found.managed, *found.apps)]
                continue
            made, others, said = _services(found, environment)
            files[environment.name] = [with_left(environment, others), *made]
            left += others
            notes += said
    return Imported(files, tuple(left), tuple(notes))


def _services(
    found: FoundEnvironment, environment: FoundDocument
) -> tuple[list[FoundDocument], list[LeftAlone], list[str]]:
    """The documents of the environment's apps, the apps that have none, and notes on revisions."""
    from reconciler.composition.found_documents import (
        FoundDocument,
        LeftAlone,
        gateway_of,
        later_revision,
        service_of,
        unsaid,
    )

    gateway = gateway_of(found)
    documents: list[FoundDocument] = []
    left: list[LeftAlone] = []
    notes: list[str] = []
    for app in found.apps:
        if app is gateway:
            continue
        name = str(app["name"])
        made = service_of(app, environment, found.jobs, found.catalogues.get(name))
        if isinstance(made, FoundDocument) and (why := unsaid([environment, made])):
            made = LeftAlone(name, why)
        if not isinstance(made, FoundDocument):
            left.append(made)
            continue
        if later := later_revision(app):
            notes.append(later)
            made = replace(made, comments=(*made.comments, later))
        documents.append(made)
    return documents, left, notes


async def _spelt(arm: Arm, group: str) -> str:
    """The name of the resource group as Azure spells it: case does not tell groups apart."""
    from reconciler.api.kinds import Kind
    from reconciler.arm import ids

    there = await arm.inventory.find(
        Kind.RESOURCE_GROUP, ids.subscription(arm.subscription_id), group
    )
    if there is None:
        raise CommandError(f"There is no resource group {group}.", Exit.INVALID)
    return str(there["name"])


async def _elsewhere(arm: Arm, group: str) -> list[LeftAlone]:
    """The apps of the group whose environment is in another one."""
    from reconciler.api.kinds import Kind
    from reconciler.arm import apps, ids
    from reconciler.composition.found_documents import LeftAlone

    scope = ids.resource_group(arm.subscription_id, group)
    return [
        LeftAlone(str(app["name"]), f"its environment is in the resource group {home}")
        for app in await arm.inventory.list(Kind.APP, scope)
        if not ids.same(home := ids.part(apps.environment_of(app), "resourceGroups"), group)
    ]


async def _environments(arm: Arm, group: str) -> list[FoundEnvironment]:
    from reconciler.api.kinds import Kind
    from reconciler.arm import apps, ids
    from reconciler.composition.found_documents import FoundEnvironment, registered

    scope = ids.resource_group(arm.subscription_id, group)
    workspaces = await arm.inventory.list(Kind.WORKSPACE, scope)
    accounts = await arm.inventory.list(Kind.STORAGE_ACCOUNT, scope)
    listed = await arm.inventory.list(Kind.APP, scope)
    jobs = await arm.inventory.list(Kind.JOB, scope)
    found = []
    for managed in await arm.inventory.list(Kind.ENVIRONMENT, scope):
        home = ids.environment(arm.subscription_id, group, str(managed["name"]))
        storages = await arm.inventory.list(Kind.STORAGE, home)
        read = registered(storages)
        place = ((read or {}).get("properties") or {}).get("azureFile") or {}
        account = _called(accounts, place.get("accountName"))
        shares = (
            await arm.inventory.list(
                Kind.SHARE, ids.storage_account(arm.subscription_id, group, account["name"])
            )
            if account
            else []
        )
        inside = [
            await _as_it_serves(arm, group, each)
            for each in listed
            if ids.same(apps.environment_of(each), home)
        ]
        share = _called(shares, place.get("shareName"))
        read_from = await _published(arm, group, managed, account, share, inside)
        found.append(
            FoundEnvironment(
                managed,
                _workspace(workspaces, managed),
                account,
                share,
                storages,
                inside,
                [each for each in jobs if ids.same(apps.environment_of(each), home)],
                *read_from,
            )
        )
    return found


async def _published(
    arm: Arm,
    group: str,
    managed: dict[str, Any],
    account: dict[str, Any] | None,
    share: dict[str, Any] | None,
    inside: Sequence[dict[str, Any]],
) -> tuple[dict[str, Catalogue], GatewayRoutes | None]:
    """What is written on the Environment's share for its apps; nothing where it cannot be read."""
    from reconciler.api.resources import ShareRef
    from reconciler.api.tags import ENVIRONMENT, OWNER, tag
    from reconciler.arm.ownership import Ownership
    from reconciler.engine.errors import ReconcileError
    from reconciler.kinds.followed import followed_catalogues, followed_routes
    from reconciler.kinds.share.shares import Shares

    name, owner = tag(managed, ENVIRONMENT), tag(managed, OWNER)
    if account is None or share is None or name is None or owner is None:
        return {}, None
    shares = Shares(arm, Ownership(owner))
    ref = ShareRef(name, group, str(account["name"]), str(share["name"]))
    try:
        return (
            await followed_catalogues(shares, ref, inside),
            await followed_routes(shares, ref),
        )
    except ReconcileError as error:
        say(f"? the share {share['name']} cannot be read: {error.message}", aside=True)
        return {}, None


async def _as_it_serves(arm: Arm, group: str, app: dict[str, Any]) -> dict[str, Any]:
    """The app with the template of the revision that has most of the traffic: its own is that of
    the last one that somebody wrote, which may have been given up. Azure does not say the cooldown
    period of a revision, only that of the app.
    """
    from reconciler.arm import apps
    from reconciler.composition.found_documents import as_revision

    revisions = [
        each
        for each in await apps.list_revisions(arm, group, str(app["name"]))
        if each["properties"].get("active")
    ]

    serving = max(revisions, key=_weight, default=None)
    if serving is None or not serving["properties"].get("template"):
        return app
    return as_revision(app, str(serving["name"]), serving["properties"]["template"])


def _weight(revision: dict[str, Any]) -> int:
    return int(revision["properties"].get("trafficWeight") or 0)


def _called(listed: Sequence[dict[str, Any]], name: Any) -> dict[str, Any] | None:
    return next((each for each in listed if str(each["name"]) == name), None)


def _workspace(listed: Sequence[dict[str, Any]], managed: dict[str, Any]) -> dict[str, Any] | None:
    """The workspace that the environment sends its logs to."""
    logs = (managed["properties"].get("appLogsConfiguration") or {}).get(
        "logAnalyticsConfiguration"
    ) or {}
    customer = str(logs.get("customerId") or "").lower()
    return next(
        (
            each
            for each in listed
            if customer and str(each["properties"].get("customerId")).lower() == customer
        ),
        None,
    )
