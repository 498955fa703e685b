"""`moorage approve`: let deletions, replacements and, where syncPolicy.automated is false, changes
go ahead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import plan_file
from reconciler.cli.context import (
    StateDir,
    Target,
    Yes,
    ask,
    open_store,
    settings_of,
    writable_store,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject, subject_in
from reconciler.cli.pause import pause_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cli.foresight import Foreseen
    from reconciler.engine.plan import PlanLine
    from reconciler.engine.record import ObjectRecord
    from reconciler.engine.store import Store
    from reconciler.engine.waiting import Waiting
    from reconciler.settings import Settings

_NAMED = 10  # differences that are named
QUESTION = "Go ahead?", "This would approve what is listed."


# A plan looks at the documents as they are now, a daemon at those that it has read.
_PLANNED = (
    "What `moorage plan` says waits is not known to a daemon yet: run `moorage up`, or approve the"
    " plan itself (`moorage plan --out FILE`, `moorage approve FILE`)."
)


def approve(
    document: Annotated[
        str,
        typer.Argument(
            help="KIND/NAME or NAME, or the file of a plan; everything that waits, if left out.",
            metavar="DOCUMENT",
        ),
    ] = "",
    yes: Yes = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Approve what waits for a person, once. With -o json the command cannot ask and needs -y."""
    from reconciler.engine.waiting import waiting
    from reconciler.sources.decisions import caller
    from reconciler.sources.policy import grant

    as_json = check_output(output)
    if document and Path(document).is_file():
        _approve_plan(Path(document), target, state_dir, yes=yes, as_json=as_json)
        return
    if "." in document:  # no document has a point in its name
        raise CommandError(f"There is no file {document}.", Exit.INVALID)
    store, title, folder = open_store(target, state_dir)
    if store is None:
        raise CommandError(
            f"Nothing is known here to wait for approval on the {title}; `moorage up` deploys and"
            " observes."
        )
    found = waiting(store, document)
    key, subject = store.target, subject_in(store, title)
    others = list(_other_waits(store, document))
    store.close()
    if not found:
        said = f"Nothing waits for approval{' of ' + document if document else ''} on the {title}."
        raise CommandError(" ".join([said, *(others or [_PLANNED])]), Exit.FAILED)
    if not as_json:
        _show(found, subject)
    _agree(yes=yes, as_json=as_json)
    with writable_store(folder, key) as writable:
        grant(writable, found, time.time(), caller())
    approved = [
        *({"object": str(record.key), "action": "end"} for each in found for record in each.ends),
        *({"object": str(each.document), "action": "change"} for each in found if each.manual),
    ]
    _done(approved, subject, others, as_json=as_json)


def _other_waits(store: Store, name: str) -> Iterator[str]:
    """What an approval does not end, and what does."""
    from reconciler.api.kinds import Kind
    from reconciler.api.reasons import Reason
    from reconciler.engine.external import ObjectKey

    steps = (Reason.AWAITING_PROMOTION, Reason.PAUSED)
    records = {record.key: record for record in store.objects()}
    for row in store.documents():
        ref = row.ref
        if name not in ("", str(ref), ref.name):
            continue
        if note := pause_note(store, ref):
            yield note
        app = records.get(ObjectKey(Kind.APP, ref.name))
        if app is not None and app.document == ref and app.reason in steps:
            yield f"The rollout of {ref} is at a step: `moorage promote {ref.name}` ends it."


def _show(found: Sequence[Waiting], subject: Subject) -> None:
    subject.show()
    for record in (record for each in found for record in each.ends):
        say(f"- {record.message or record.key}")
        if endpoint := record.outputs.get("endpoint"):
            say(f"  {record.key.name} stops serving at {endpoint}")
    for each in found:
        if each.manual:
            say(f"~ {each.document}: changes of generation {each.generation}")
            for record in each.changes:
                _show_changes(record)


def _agree(*, yes: bool, as_json: bool) -> None:
    if as_json and not yes:
        raise CommandError(f"{QUESTION[1]} Use -y to do it.", Exit.HUMAN)
    if not yes:
        ask(*QUESTION)


def _done(
    approved: list[dict[str, Any]], subject: Subject, others: Sequence[str] = (), *, as_json: bool
) -> None:
    """`others` are what the approval does not end."""
    if as_json:
        print_value("Approval", {"approved": approved}, subject)
    else:
        say("approved; a running daemon acts on it at once")
        for line in others:
            say(line)


def _show_changes(record: ObjectRecord) -> None:
    """An object that waits: its class, each field, and whether its service goes on serving."""
    from reconciler.api.kinds import Kind
    from reconciler.engine.external import Impact

    if not record.exists:
        say(f"  + {record.key}")
        return
    if not record.asks:  # it was not looked at, because what it stands on waits too
        say(f"  ? {record.key}   {record.message}; `moorage plan` shows its changes")
        return
    gravest = max((each.impact for each in record.asks), key=lambda impact: impact.severity)
    say(f"  ~ {record.key}   {gravest}")
    for each in record.asks:
        say(f"      {each.change}" + (f"   ({each.impact})" if each.impact != gravest else ""))
    if record.key.kind != Kind.APP:
        return
    grave = [each for each in record.asks if each.impact in (Impact.RESTART, Impact.REPLACE)]
    if stops := dict.fromkeys(each.effect for each in grave):
        say(f"  {record.document.name} stops serving: {'; '.join(stops)}")
    elif record.usable:
        say(f"  {record.document.name} keeps serving meanwhile")


def _approve_plan(
    path: Path, target: Target, state_dir: StateDir, *, yes: bool, as_json: bool
) -> None:
    """Approve what waits in a kept plan, if a plan that is made now is the same."""
    from reconciler.cli.foresight import print_plan
    from reconciler.cli.output.plan_view import as_value

    kept = plan_file.read(path)
    settings = settings_of(target, state_dir, kept.files)
    here, there = settings.target_title, kept.target
    if there != here:
        raise CommandError(
            f"{path} is a plan for the {there}, and this is the {here}.",
            Exit.INVALID,
        )
    now = _unmoved(path, kept, settings)
    _same_set(path, kept, now.subject)
    if not now.waiting:
        raise CommandError(f"Nothing in {path} waits for approval.")
    if not as_json:
        print_plan(now, settings)
        for line in now.waiting:
            if stops := _stops(as_value(line)["class"], line):
                say(stops)
    _agree(yes=yes, as_json=as_json)
    if not yes:  # somebody may have changed something while a person read the question
        now = _unmoved(path, kept, settings)
    with writable_store(settings.daemon_dir, now.key) as writable:
        plan_file.grant(writable, now, time.time())
    approved = [{"object": str(each.key), "action": each.action} for each in now.waiting]
    _done(approved, now.subject, as_json=as_json)


def _same_set(path: Path, kept: plan_file.PlanFile, subject: Subject) -> None:
    """Two sets may ask for the same, and an approval belongs to one of them."""
    here = subject.documents.identity.id if subject.documents else None
    if here not in (None, kept.owner):  # None: nothing of these documents has run yet
        raise CommandError(
            f"{path} is a plan of the set {kept.owner}, and these documents are the set {here}."
            " Nothing is approved; plan again.",
            Exit.INVALID,
        )


def _unmoved(path: Path, kept: plan_file.PlanFile, settings: Settings) -> Foreseen:
    """The plan made now.

    Raises:
        CommandError: it is not the kept one.
    """
    from reconciler.cli.foresight import foresee

    now = asyncio.run(foresee(settings, kept.files))
    if moved := plan_file.moved(kept.changes, now.as_value()["changes"]):
        more = [f"and {len(moved) - _NAMED} more"] if len(moved) > _NAMED else []
        lines = "".join(f"\n  {line}" for line in (*moved[:_NAMED], *more))
        raise CommandError(
            f"{path} is out of date: something else would be done now. Nothing is approved; plan"
            f" again. What moved:{lines}"
        )
    return now


def _stops(impact: str, line: PlanLine) -> str:
    """That a service stops serving, by a deletion or until it is back."""
    from reconciler.api.kinds import Kind

    if line.key.kind != Kind.APP or impact not in ("delete", "restart", "replace"):
        return ""
    why = line.effect if line.effect != line.action else ""
    return f"{line.key.name} stops serving" + (f": {why}" if why else "")
