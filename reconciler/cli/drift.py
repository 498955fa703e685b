"""What differs between documents and Azure, and who else wrote there. `diff` shows it, `accept`
writes it into the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.foresight import planning
from reconciler.cli.unknown import listed

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded
    from reconciler.api.manifest import Manifest
    from reconciler.arm.activity import Told
    from reconciler.cli.output.subject import Subject
    from reconciler.daemon import Daemon
    from reconciler.engine.external import Change, ObjectKey
    from reconciler.engine.plan import PlanLine
    from reconciler.settings import Settings


@dataclass(frozen=True)
class Drift:
    """The lines of a plan that are the documents'. Of the objects that differ and are resources of
    Azure: what the Activity Log tells, and how they are `found`, as ARM shows them. `subject` is
    the set that was compared.
    """

    lines: tuple[PlanLine, ...]
    told: Mapping[ObjectKey, Told]
    found: Mapping[ObjectKey, Mapping[str, Any]]
    subject: Subject

    @property
    def unread(self) -> str:
        """Why the Activity Log could not be read; empty where it was."""
        return next((told.problem for told in self.told.values() if told.problem), "")


def documents_named(name: str, manifest: Manifest) -> list[Loaded]:
    """The documents of that name, or of KIND/NAME; CommandError where there is none."""
    found = [
        each
        for each in manifest.documents
        if name in (each.document.metadata.name, full_name(each))
    ]
    if not found:
        known = listed(
            "documents", name, [each.document.metadata.name for each in manifest.documents]
        )
        raise CommandError(f"No document is named {name}; {known}", Exit.INVALID)
    return found


async def look(settings: Settings, files: Sequence[Path], documents: Sequence[Loaded]) -> Drift:
    """`look_with` on a daemon of its own."""
    async with planning(settings, files) as (daemon, subject):
        return await look_with(daemon, subject, documents)


async def look_with(daemon: Daemon, subject: Subject, documents: Sequence[Loaded]) -> Drift:
    """Compare, and ask the Activity Log about what differs. Writes nothing."""
    from reconciler.api.kinds import Kind
    from reconciler.arm.activity import changes_since
    from reconciler.kinds.service.live_template import live_app
    from reconciler.single_run import plan

    resources = {str(kind): kind for kind in Kind if kind.arm}
    names = {full_name(document) for document in documents}
    lines = tuple(line for line in await plan(daemon) if str(line.document) in names)
    desired = {item.key: item for item in daemon.composition.desired}
    told, found, held = {}, {}, {}
    for line in lines:
        differs = line.changes or line.held or line.missing
        if line.key in desired and line.key.kind in resources and differs:
            identity = daemon.kinds[line.key.kind].identify(desired[line.key])
            told[line.key] = await changes_since(daemon.arm, identity.id)
            if line.missing:
                continue
            version = resources[line.key.kind].listing.api_version
            there = await daemon.arm.get_json(identity.id, version) or {}
            if line.key.kind == Kind.APP and there:
                there = await live_app(daemon.arm, there, line.changes)
                held[line.key] = _held(line, desired[line.key].spec, there)
            found[line.key] = there
    lines = tuple(replace(line, changes=(*line.changes, *held.get(line.key, ()))) for line in lines)
    return Drift(lines, told, found, subject)


def _held(line: PlanLine, spec: Any, there: Mapping[str, Any]) -> tuple[Change, ...]:
    """After a rollback nothing is written. The document still asks for the revision that was given
    up, and this is the difference.
    """
    from reconciler.kinds.service.live_template import differences

    return differences(spec, there["properties"]["template"]) if line.held else ()


def is_resource(key: ObjectKey) -> bool:
    """Whether the object is a resource of Azure, and no folder or file on the share."""
    from reconciler.api.kinds import Kind

    return any(kind == key.kind and kind.arm for kind in Kind)


def full_name(document: Loaded) -> str:
    """`Kind/name`."""
    return f"{document.document.kind}/{document.document.metadata.name}"
