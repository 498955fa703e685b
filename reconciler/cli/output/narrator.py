"""The output of `moorage up` for a person: one line per change, a progress line during a wait, and
the ready block.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.text import Text

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.api.upload_progress import uploaded_share
from reconciler.cli.exits import Exit
from reconciler.cli.output.console import Console
from reconciler.cli.output.layout import fit, hang, width_of
from reconciler.cli.output.ready import ready_block
from reconciler.cli.output.repetition import CAUSE, without_repetition
from reconciler.cli.output.rollout import ROOMY, Rollouts, arrivals, bar, rollout_lines, rollouts_of
from reconciler.engine.outage import OUTAGE
from reconciler.engine.record import Phase
from reconciler.web.verdict import shorten_ids

if TYPE_CHECKING:
    from reconciler.api.reasons import Cause
    from reconciler.daemon import Daemon
    from reconciler.engine.external import ObjectKey
    from reconciler.engine.result import Outcome
    from reconciler.engine.store import DocumentRow
    from reconciler.settings import Settings

SLOW = (Phase.WORKING, Phase.UNREADY)
ENDED = (Phase.READY, Phase.SKIPPED, Phase.DELETED, Phase.RETAINED)
LOOK = 0.3  # seconds between looks at what no single pass shows
TOLD = 20  # failures that are remembered
ROLLOUTS = 1.0  # seconds between looks at rollouts
SHARE = 20.0  # a look at rollouts is made after this many times the seconds that the last one took
EVERY = 30.0  # seconds between lines about the same wait, where no terminal can show a moving one
UNLIKE = "not everything matches the documents; `moorage status` shows what is missing"
REPORTED = "nothing is left to do; what differs is only reported, and nothing is written"
_SIZE = re.compile(r"[\d.]+ (?:B|[KMG]iB)\b")


_NUMBERS = re.compile(r"\d+:\d+(:\d+)?( [AP]M)?")


def _still(message: str) -> str:
    """What does not move in the words about a wait: its first clause without sizes, so that the
    progress of an upload is one wait.
    """
    return _SIZE.sub("#", message.partition(",")[0])


class Narrator:
    """The controller tells it every outcome; it prints only what has changed."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self.settings = settings
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._said: dict[ObjectKey, str] = {}
        self._begun: dict[ObjectKey, Cause | None] = {}  # the write that was told last
        self._told: deque[str] = deque(maxlen=TOLD)
        self._unanswered: set[ObjectKey] = set()  # Azure did not answer their last request
        self._silent = 0.0  # since when it does not
        self._status = self.console.status(Text())
        self._last: dict[ObjectKey, float] = {}
        self._since: dict[ObjectKey, float] = {}
        self._began = time.monotonic()
        self._watching = False
        # When the first change was seen since everything last matched the documents.
        self._changed = 0.0
        self._matches = True  # as it was told last; trouble ends that without any change
        self._rollouts: Rollouts = {}
        self._looked = 0.0

    def begin(self, daemon: Daemon) -> None:
        """Call it first: everything else asks the daemon."""
        self.daemon = daemon
        self.console.print(f"target: [bold]{escape(self.settings.target_title)}[/]")
        if daemon.checkout is not None:
            place, commit = daemon.checkout.place, daemon.checkout.commit
            self.console.print(
                f"git:    {escape(place.shown)} {escape(place.path)} @ {commit[:12]}"
            )
        if daemon.page is not None:
            self.console.print(f"page:   {escape(daemon.page.address)}")
        if self.console.is_terminal:
            self._status.start()

    def waits_for_azure(self, text: str) -> None:
        """The first look at Azure failed for this reason and is made again."""
        self._line(self.settings.target_title, f"{text}. Moorage tries again by itself.", "yellow")

    def saw(self, key: ObjectKey, outcome: Outcome, _took: float) -> None:
        """A reconcile pass over one object has ended."""
        if outcome.reason in OUTAGE and outcome.event is None:
            self._outage(key, outcome)
            return
        self._answered(key)
        if outcome.event is not None:
            self._changed = self._changed or time.monotonic()
            self._line(
                key, outcome.event.message, "yellow" if outcome.event.type == "Warning" else ""
            )
            self._begun[key] = outcome.reason
        elif outcome.troubled:
            self._matches = False
            self._news(key, f"{outcome.reason}: {outcome.message}", "red")
        elif outcome.phase in SLOW and outcome.message:
            # "create X" was just told; "creating X" is news only when it takes long.
            begun = self._begun.pop(key, None)
            told = begun is not None and begun is outcome.reason
            self._waits(key, outcome.message, told=told)
        elif outcome.phase in ENDED:
            self._said.pop(key, None)  # what comes after it is news, also in the same words

    def _outage(self, key: ObjectKey, outcome: Outcome) -> None:
        """Azure does not answer: told once, although the words change (a reset, a timeout) and many
        objects need an answer.
        """
        if not self._unanswered:
            self._silent = time.monotonic()
            self._line(key, f"{outcome.reason}: {outcome.message}", "red")
        self._unanswered.add(key)

    def _answered(self, key: ObjectKey) -> None:
        """Azure answers again once no object waits for an answer."""
        if key not in self._unanswered:
            return
        self._unanswered.discard(key)
        self._unanswered &= {record.key for record in self.daemon.controller.records()}
        if not self._unanswered:
            took = time.monotonic() - self._silent
            self._line(self.settings.target_title, f"answers again, after {took:.0f} s", "")

    def ready(self, code: int) -> None:
        self._status.stop()
        took = time.monotonic() - self._began
        self._matches = code == 0
        self.console.print()
        if code:
            self._verdict(UNLIKE, "red")
            self._causes()
        elif reported := self._only_reported():
            self._verdict(REPORTED, "yellow")
            self._causes(reported)
        else:
            self.console.print(f"[green]everything matches the documents[/], after {took:.0f} s")
        self.console.print()
        block = ready_block(self.daemon.store, self.settings, whole=code == 0)
        if block:
            self.console.print(escape(block), soft_wrap=True)

    def _causes(self, rows: Iterable[DocumentRow] | None = None) -> None:
        for row in self.daemon.store.documents() if rows is None else rows:
            self._why(row)

    def _only_reported(self) -> list[DocumentRow]:
        """The documents that differ from Azure, and whose policy is that nothing is written."""
        return [
            row
            for row in self.daemon.store.documents()
            if any(each.reason is Reason.OBSERVE_ONLY for each in row.conditions)
        ]

    def _why(self, row: DocumentRow) -> None:
        """Why Azure does not match the document, one line for each cause."""
        said = dict.fromkeys(
            shorten_ids(f"{condition.reason}: {condition.message}")
            for condition in row.conditions
            if condition.type in (ConditionType.SYNCED, ConditionType.READY)
            and condition.status is not Status.TRUE
        )
        for text in said:
            # "(as above)" alone says nothing, and may be pages away from what it means.
            again = without_repetition(text, self._told) == "(as above)"
            self._line(row.ref, text, "red", again=again)

    async def follow(self) -> None:
        """Until cancelled, report what no single pass shows: a save that is refused or valid again,
        a document that asks for what Azure cannot do, and an edit that all objects have taken.
        """
        told: dict[str, str] = {}
        settled = False
        while True:
            await asyncio.sleep(LOOK)
            refused = self._refused()
            for name, text in refused.items():
                if told.get(name) != text:
                    self._line(name, text, "red")
            for name in told.keys() - refused.keys():
                self._line(name, "is valid again", "")
            told = refused
            self._follow_rollouts()
            code = self._to_tell(refused=bool(refused))
            # Twice in a row: nothing stands between a write and those who wait for it.
            if settled and code is not None:
                self._arrived(code, refused=bool(refused))
            settled = code is not None

    def _to_tell(self, *, refused: bool) -> int | None:
        """The exit class of what was reached by a change, or of what has become right by itself;
        None while there is nothing to tell.
        """
        unlike = not refused and not self._matches
        if not (self._watching and (self._changed or unlike)):
            return None
        code = self.daemon.controller.converged()
        return code if self._changed or code == 0 else None

    def _follow_rollouts(self) -> None:
        """On a terminal the stages of what is under way, below the lines; in a pipe a line for each
        stage that ends. A look takes at most a small part of the daemon's time.
        """
        began = time.monotonic()
        if began < self._looked:
            return
        if self.daemon.controller.rests():
            self._looked = began + ROLLOUTS
            return
        before = self._rollouts
        self._rollouts = rollouts_of(
            self.daemon.store, self.settings.target_title, self.daemon.controller.records()
        )
        ended = time.monotonic()
        self._looked = ended + max(ROLLOUTS, SHARE * (ended - began))
        if not self.console.is_terminal:
            for name, text in arrivals(before, self._rollouts):
                self._line(name, text, "")
        elif self._rollouts:
            width, height = self.console.width - 2, max(3, self.console.height // 2)
            self._show(rollout_lines(self._rollouts, width, height), height)

    def _show(self, lines: Sequence[str], height: int) -> None:
        """Beside the spinner, as many lines as have room."""
        self._status.start()
        self._status.update(Text("\n").join(fit([Text(line) for line in lines], height)))

    def watching(self) -> None:
        self._watching, self._changed = True, 0.0
        way = "push to the repository" if self.daemon.checkout else "edit the file"
        text = f"watching; {way} to change what is served, Ctrl-C stops watching"
        for line in hang("", text, width_of(self.console)):
            self.console.print(line, markup=False)

    def rest(self) -> None:
        """Take the line of what is under way from the terminal."""
        self._status.stop()

    def end(self, *, once: bool, code: int) -> None:
        self._status.stop()
        if code == Exit.INTERRUPTED:
            self._say(
                "interrupted. Azure finishes the operations it has begun; `moorage up` continues"
                " from there."
            )
        elif code == Exit.TIMED_OUT:
            self._say(
                "the time is over and not everything matches the documents; `moorage status`"
                " shows what is missing"
            )
            self._causes()
        elif not once:
            self._say(
                "stopped watching. What is deployed keeps running; `moorage down` removes it."
            )

    def _refused(self) -> dict[str, str]:
        """Why each name is refused: a file that holds no valid documents, a document that Azure
        cannot carry out, or an adapter that cannot be served.
        """
        found = {
            str(ref): f"{refusal.reason}: {refusal.message}"
            for ref, refusal in self.daemon.composition.refusals.items()
            if not refusal.waits
        }
        for ref, why in self.daemon.intake.unfit().items():
            found.setdefault(str(ref), f"{Reason.ADAPTER_FAILED}: {why}")
        problems = self.daemon.store.get("problems")
        if not problems:
            return found
        why = f"is refused; the documents before it stay in force\n{problems}"
        checkout = self.daemon.checkout
        return {**found, f"commit {checkout.commit[:12]}" if checkout else "the last save": why}

    def _arrived(self, code: int, *, refused: bool) -> None:
        began, self._changed = self._changed, 0.0
        after = f", after {time.monotonic() - began:.1f} s" if began else " again"
        self._status.stop()
        clock = time.strftime("%H:%M:%S")
        self._matches = code == 0 and not refused
        if self._matches and self._only_reported():
            self._verdict(f"{clock}  {REPORTED}", "yellow")
        elif self._matches:
            self.console.print(f"{clock}  [green]everything matches the documents[/]{after}")
        else:
            self._verdict(f"{clock}  {UNLIKE}", "yellow")

    def _waits(self, key: ObjectKey, message: str, *, told: bool = False) -> None:
        if self.console.is_terminal:
            if not self._rollouts:  # which say it better
                self._show(self._wait(key, message), max(3, self.console.height // 2))
            return
        now, before = time.monotonic(), self._said.get(key)
        if before is None or _still(before) != _still(message):
            self._since[key] = self._last[key] = now
            self._said[key] = message
            if not told:
                self._line(key, message, "")
        elif now - self._last[key] >= EVERY:
            self._last[key] = now
            self._line(key, f"{message} ({now - self._since[key]:.0f} s)", "")

    def _wait(self, key: ObjectKey, message: str) -> list[str]:
        width, share = self.console.width - 2, uploaded_share(message)
        begin = "" if share is None or width < ROOMY - 2 else f"{bar(share)}  "
        return hang("", f"{begin}{key}: {message}", width)

    def _verdict(self, text: str, style: str) -> None:
        """Its first clause in the colour; on a narrow terminal in several lines."""
        for line in hang("", text, width_of(self.console)):
            shown = Text(line)
            shown.highlight_words([each.partition(";")[0] for each in (UNLIKE, REPORTED)], style)
            self.console.print(shown)

    def _say(self, text: str) -> None:
        self.console.print()
        for line in hang("", text, width_of(self.console)):
            self.console.print(line, markup=False)

    def _news(self, key: ObjectKey, message: str, style: str) -> None:
        # The time in Azure's words about a container that starts again and again is no news.
        if _NUMBERS.sub("#", self._said.get(key, "")) != _NUMBERS.sub("#", message):
            self._said[key] = message
            self._line(key, message, style)

    def _line(self, key: object, message: str, style: str, *, again: bool = False) -> None:
        """`again` is whether it is told in full although it was told before."""
        clock = time.strftime("%H:%M:%S")
        message = shorten_ids(message)
        shown = message if again else without_repetition(message, self._told)
        reason, found, _ = message.partition(": ")
        if shown.startswith("(as above)") and found and " " not in reason:
            shown = f"{reason} {shown}"  # the word by which a person finds what is meant
        if style == "red":
            self._told.append(message[:CAUSE])
        head, plain = f"{clock}  ", len(f"{clock}  {key}  ")
        for line in hang(head, f"{key}  {shown}", width_of(self.console)):
            text = Text(line)
            text.stylize(style, plain)
            plain = 0  # further lines are of the message alone
            self.console.print(text)
