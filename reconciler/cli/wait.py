"""`moorage wait SERVICE`: until a condition holds, for scripts, by what the daemon observes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
)
from reconciler.cli.durations import DURATION, duration
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject
from reconciler.cli.status import is_named, read
from reconciler.cli.unknown import listed

LOOK = 0.3
# A save reaches the daemon within a second; until then the state speaks of the document before it.
STEADY = 1.5
# Seconds in which a document that was just saved is known to the daemon, even on a slow machine.
UNSEEN = 15.0


def wait(
    document: Annotated[
        str, typer.Argument(help="KIND/NAME or NAME; all, if left out.", metavar="DOCUMENT")
    ] = "",
    condition: Annotated[
        str,
        typer.Option(
            "--for",
            help="A condition, such as Ready, Synced or Stalled=False; Converged is Ready and"
            " Synced.",
            metavar="CONDITION[=STATUS]",
        ),
    ] = "Ready",
    timeout: Annotated[
        float,
        typer.Option(
            help="How long to wait, such as 90s, 10m or 2h; 0 looks once.",
            parser=duration(0),
            metavar=DURATION,
        ),
    ] = 600.0,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Wait until a condition holds for a document. Its last saved version counts. Exit code 5 when
    the time is over, 4 when a person must act first, 1 when no daemon runs.
    """
    as_json, wanted = check_output(output), _wanted(condition)
    began = time.monotonic()
    deadline = began + timeout
    since: float | None = None
    while True:
        documents, daemon, subject = _look(target, state_dir)
        found = [each for each in documents if not document or is_named(each, document)]
        missing = [text for each in found if (text := _missing(each, wanted))]
        now = time.monotonic()
        if found and not missing:
            since = since or now
            if now - since >= STEADY or not daemon or now >= deadline:
                if as_json:
                    names = [f"{each['kind']}/{each['name']}" for each in found]
                    print_value("Wait", {"condition": condition, "documents": names}, subject)
                else:
                    say(f"{', '.join(each['name'] for each in found)}: {condition}")
                return
        else:
            since = None
        if document and not found and daemon and now - began >= min(UNSEEN, timeout):
            names = [each["name"] for each in documents]
            raise CommandError(
                f"There is no document {document!r}; {listed('documents', document, names)}"
            )
        _give_up(found, missing, daemon=daemon, over=now >= deadline)
        time.sleep(LOOK)


def _wanted(text: str) -> Mapping[str, str]:
    from reconciler.api.conditions import ConditionType, Status

    if text == "Converged":
        return {"Ready": "True", "Synced": "True"}
    name, _, status = text.partition("=")
    types = {each.value.casefold(): each.value for each in ConditionType}
    statuses = {each.value.casefold(): each.value for each in Status}
    type_, value = types.get(name.casefold()), statuses.get((status or "True").casefold())
    if type_ is None or value is None:
        raise CommandError(
            f"--for must be Converged or CONDITION[=STATUS] with one of {', '.join(ConditionType)}"
            f" and {', '.join(Status)}, not {text!r}",
            Exit.INVALID,
        )
    return {type_: value}


def _look(target: Target, state_dir: StateDir) -> tuple[list[Mapping[str, Any]], bool, Subject]:
    value, subject = read(target, state_dir)
    return value["documents"], bool(value["daemon"]["running"]), subject


def _missing(document: Mapping[str, Any], wanted: Mapping[str, str]) -> str:
    """What is not as wanted; empty where all is."""
    if document["generation"] != document["observedGeneration"]:
        return f"{document['name']}: its last version has not been observed yet"
    for type_, status in wanted.items():
        found = next((each for each in document["conditions"] if each["type"] == type_), None)
        if found is None or found["status"] != status:
            said = (
                f"{found['status']} ({found['reason']}: {found['message']})" if found else "unset"
            )
            return f"{document['name']}: {type_} is {said}"
    return ""


def _give_up(
    found: list[Mapping[str, Any]],
    missing: list[str],
    *,
    daemon: bool,
    over: bool,
) -> None:
    """End the wait where nothing will change it, or its time is over."""
    said = "\n".join(missing) or ("" if found else "There is no such document yet.")
    stalled = [
        each["name"]
        for each in found
        if any((c["type"], c["status"]) == ("Stalled", "True") for c in each["conditions"])
    ]
    if said and stalled:
        raise CommandError(f"{said}\n{', '.join(stalled)} waits for a person.", Exit.HUMAN)
    if said and not daemon:
        raise CommandError(f"{said}\nNo daemon runs, so nothing will change: `moorage up`.")
    if said and over:
        raise CommandError(said, Exit.TIMED_OUT)
