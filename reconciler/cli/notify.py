"""`moorage notify`: send a test notice to the receiver in the settings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say


def notify(output: Output = "text") -> None:
    """Send a test notice to the receiver in MOORAGE_NOTIFY_URL."""
    from reconciler.edges.notify import NoticeNotSentError
    from reconciler.engine.external import DocumentRef
    from reconciler.notification import receiver_of
    from reconciler.settings import notify_settings
    from reconciler.web.notices import Notice, Occasion

    as_json = check_output(output)
    receiver = receiver_of(notify_settings())
    if receiver is None:
        raise CommandError(
            "MOORAGE_NOTIFY_URL names no receiver; docs/notify.md says what it takes.",
            Exit.INVALID,
        )
    now = datetime.now(UTC)
    place = DocumentRef("InferenceService", "test")
    notice = Notice(Occasion.STALLED, place, "this is a test", now.isoformat())
    try:
        asyncio.run(receiver.send(notice, "/moorage/test", "test target", now))
    except NoticeNotSentError as error:
        raise CommandError(error.message) from None
    if as_json:
        value = {"receiver": receiver.host, "form": receiver.form}
        print_value("Notice", {**value, "occasions": sorted(receiver.occasions)})
        return
    occasions = ", ".join(sorted(receiver.occasions))
    say(f"{receiver.host} accepted a test notice ({receiver.form}); it gets notices of {occasions}")
