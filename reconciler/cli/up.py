"""`moorage up`: converge and keep watching; `--once` converges and exits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    Yes,
    ask,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.durations import DURATION, duration
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.git_documents import Branch, Every, Folder, Git, checked_out, valid_commit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.cli.output.narrator import Narrator
    from reconciler.daemon import Daemon
    from reconciler.edges.notify import Receiver
    from reconciler.engine.verdict import ExitClass
    from reconciler.settings import Settings
    from reconciler.sources.git import GitCheckout

DEFAULT_ADDRESS = "127.0.0.1:8787"


Once = Annotated[bool, typer.Option("--once", help="Converge, then exit.")]
Longest = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="With --once: how long to wait; exit code 5 when it is over.",
        parser=duration(),
        metavar=DURATION,
    ),
]
Resync = Annotated[
    float | None,
    typer.Option(
        help="How often to look at everything (default 1m).",
        parser=duration(),
        metavar=DURATION,
    ),
]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="JSON log lines on stderr, for a service.")
]
Listen = Annotated[
    str,
    typer.Option(
        help=(
            "Serve the page, health, metrics and the status API on HOST:PORT, or nothing with"
            f" `none`. Without it: {DEFAULT_ADDRESS}, or a free port; with --once, nothing."
        ),
        metavar="HOST:PORT",
    ),
]


def up(
    file: Files = None,
    once: Once = False,
    yes: Yes = False,
    timeout: Longest = 3600.0,
    resync: Resync = None,
    log_json: LogJson = False,
    listen: Listen = "",
    git: Git = "",
    branch: Branch = "",
    path: Folder = ".",
    git_every: Every = 30.0,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Converge on the documents and keep watching. Edit a file and save it to change what is
    served.
    """
    from reconciler.lock import Locked, LockLost
    from reconciler.notification import receiver_of
    from reconciler.settings import notify_settings

    receiver, checkout = receiver_of(notify_settings()), None
    if git:
        if file:
            raise CommandError("Say -f or --git, not both.", Exit.INVALID)
        settings = settings_of(target, state_dir, start=True, resync=resync)
        checkout = checked_out(settings, git, branch, path)
        files = [checkout.documents]
        valid_commit(checkout, once=once, every=git_every)
    else:
        manifest_of(file)  # before anything starts: a bad save must start nothing
        files = documents_of(file)
        settings = settings_of(target, state_dir, files, start=True, resync=resync)
    if settings.asks_first and not yes:
        _ask(settings, files)
    options = UpOptions(once, timeout, log_json, _listening(listen, once=once), checkout, git_every)
    try:
        code = asyncio.run(_run(settings, files, options, receiver))
    except (Locked, LockLost) as error:
        raise CommandError(str(error)) from None
    raise typer.Exit(code)


def _ask(settings: Settings, files: Sequence[Path]) -> None:
    from reconciler.cli.foresight import foresee, print_plan
    from reconciler.cli.plan import pending

    foreseen = asyncio.run(foresee(settings, files))
    print_plan(foreseen, settings)
    if not pending(foreseen.lines):
        return
    ask(f"Change the {settings.target_title}?", f"This would change the {settings.target_title}.")


@dataclass(frozen=True)
class UpOptions:
    """How a person wants it to run."""

    once: bool
    timeout: float  # seconds, with `once`
    log_json: bool
    listening: socket.socket | None
    checkout: GitCheckout | None
    git_every: float  # seconds


async def _run(
    settings: Settings, files: Sequence[Path], options: UpOptions, receiver: Receiver | None
) -> int:
    from reconciler import logs
    from reconciler.cli.first_look import first_look
    from reconciler.cli.output.narrator import Narrator
    from reconciler.daemon import Daemon, lock

    os.umask(0o077)  # only the owner may read the daemon's state
    narrator, once = Narrator(settings, quiet=options.log_json), options.once
    with lock(settings) as held, logs.opened(settings.daemon_dir / "daemon.log") as file:
        logs.configure(sys.stderr if options.log_json else file)
        async with Daemon(
            settings,
            files,
            watcher=narrator.saw,
            listening=options.listening,
            lock=held,
            checkout=options.checkout,
            git_every=options.git_every,
            receiver=receiver,
        ) as daemon:
            narrator.begin(daemon)
            began = time.monotonic()
            try:
                async with asyncio.timeout(options.timeout if once else None):
                    await first_look(daemon.load, narrator.waits_for_azure, once=once)
            except TimeoutError:
                narrator.end(once=once, code=Exit.TIMED_OUT)
                return Exit.TIMED_OUT
            left = max(0.0, options.timeout - (time.monotonic() - began))
            return await _serve(daemon, narrator, once=once, timeout=left)


def _listening(text: str, *, once: bool) -> socket.socket | None:
    """The socket that a person asked for; else one on this machine, whichever is free."""
    if text == "none" or (once and not text):
        return None
    host, _, port = (text or DEFAULT_ADDRESS).rpartition(":")
    if not host or not port.isdigit():
        raise CommandError(
            f"--listen must be HOST:PORT, such as {DEFAULT_ADDRESS}, or none, not {text!r}",
            Exit.INVALID,
        )
    try:
        return _bound(host, int(port))
    except (OSError, OverflowError) as error:
        if not text:
            return _bound(host, 0)
        why = getattr(error, "strerror", None) or error
        raise CommandError(
            f"{text} cannot be listened on ({why}); choose another: --listen"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    plain = host.strip("[]")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    return socket.create_server((plain, port), family=family)


def ending_signals() -> list[signal.Signals]:
    """The signals at which a run stops in order. That of a closed terminal is one of them, unless
    `nohup` has asked to outlive the terminal.
    """
    found = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        found.append(hangup)
    return found


async def _serve(daemon: Daemon, narrator: Narrator, *, once: bool, timeout: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        _on_signal(loop, number, stop)
    keeper = asyncio.create_task(_keep_local(daemon.settings))
    teller = asyncio.create_task(narrator.follow())
    running = asyncio.create_task(daemon.run(stop))
    settled = asyncio.create_task(daemon.controller.settled())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(
            [running, settled, stopped],
            timeout=timeout if once else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if running.done():
            running.result()
        code = _verdict(settled, stopped)
        if settled.done():
            narrator.ready(code)
        if not once and not stopped.done():
            narrator.watching()
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
            code = Exit.DONE
        stop.set()
        await running
        narrator.end(once=once, code=code)
        return code
    finally:
        for task in (keeper, teller, settled, stopped):
            task.cancel()


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, stop: asyncio.Event
) -> None:
    """Set `stop` when the signal comes."""
    try:
        loop.add_signal_handler(number, stop.set)
    except NotImplementedError:  # the loop of Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


def _verdict(settled: asyncio.Task[ExitClass], stopped: asyncio.Task[bool]) -> int:
    if settled.done():
        return int(settled.result())
    return Exit.INTERRUPTED if stopped.done() else Exit.TIMED_OUT


async def _keep_local(settings: Settings) -> None:
    """Start the local Azure again when it dies, because this command started it."""
    from urllib.parse import urlsplit

    from reconciler.cli.local_program import start_local

    if not settings.runs_here:
        return
    where = urlsplit(settings.arm_endpoint)
    while True:
        await asyncio.sleep(1.0)
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(where.hostname, where.port), 5.0
            )
            writer.close()
        except (OSError, TimeoutError):
            try:
                await asyncio.to_thread(start_local, settings.state_dir)
            except CommandError as error:
                print(error, file=sys.stderr)
                await asyncio.sleep(5.0)
