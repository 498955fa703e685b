"""What a command says that leaves the running daemon an order: rollback, promote, pause and their
like. `sources.orders` keeps the orders.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.cli.context import daemon_facts
from reconciler.cli.output.envelope import print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject


def say_order(
    order: str,
    details: Mapping[str, Any],
    sentence: str,
    subject: Subject,
    folder: Path,
    *,
    as_json: bool,
    note: str = "",
) -> None:
    """Say what was ordered, and of which documents. `folder` is the daemon's; `note` says what the
    order waits for.
    """
    if as_json:
        if note:
            print(note, file=sys.stderr)
        value = {"order": order, **details, "daemon": daemon_facts(folder)}
        print_value("Order", value, subject)
        return
    subject.show()
    say(sentence + (f"\n{note}" if note else ""))


def when(folder: Path, *, paused: bool) -> str:
    """When the daemon acts on an order about a document."""
    if paused:
        return "once the document is resumed"
    return "at once" if daemon_facts(folder)["running"] else "when it runs; none does now"
