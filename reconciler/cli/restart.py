"""`moorage restart SERVICE` and `moorage warm SERVICE`: what a person asks of running replicas."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    Yes,
    ask,
    daemon_facts,
    settings_of,
    writable_store,
)
from reconciler.cli.durations import Timeout
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import subject_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.arm.clients import Arm
    from reconciler.settings import Settings

LOOK = 1.0
T = TypeVar("T")
SAY = 15.0  # seconds between two lines about the same wait
COOLDOWN = 300  # seconds, where the app names none
HELD = 240.0  # seconds after which Azure cuts a request off


def restart(
    service: Service,
    yes: Yes = False,
    timeout: Timeout = 1800.0,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Restart the replicas of a service and wait until they are ready. There is no new revision;
    requests fail while no replica is ready.
    """
    as_json, settings = check_output(output), settings_of(target, state_dir)
    if settings.asks_first and not yes:
        if as_json:
            raise CommandError(
                f"This would restart the replicas of {service}. Use -y to do it.", Exit.HUMAN
            )
        ask(
            f"Restart the replicas of {service} on the {settings.target_title}?",
            f"This would restart the replicas of {service} on the {settings.target_title}.",
        )
    if not as_json:
        subject_of(settings).show()
    work = _restart(settings, service, _quiet if as_json else _say)
    revisions, seconds = asyncio.run(_within(work, timeout, f"{service} was restarted and"))
    note_deed(settings, service, f"restarted {', '.join(revisions) or 'no revision'}")
    if as_json:
        value = {"service": service, "revisions": revisions, "seconds": seconds}
        print_value("Restart", value, subject_of(settings))


def warm(
    service: Service,
    name: Annotated[
        str, typer.Option(help="Which of the service's API keys.", metavar="NAME")
    ] = "",
    timeout: Timeout = 1800.0,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Start a replica of a service that sleeps. The command waits until it answers. On Azure the
    replica is billed until its cooldown is over.
    """
    as_json, settings = check_output(output), settings_of(target, state_dir)
    if not as_json:
        subject_of(settings).show()
    work = _warm(settings, service, name)
    seconds, scale = asyncio.run(_within(work, timeout, f"{service} was asked and"))
    note_deed(settings, service, "let a replica start with `moorage warm`")
    if as_json:
        value = {"service": service, "seconds": round(seconds, 1), **scale}
        print_value("Warm", value, subject_of(settings))
    else:
        print(f"{service} answers, after {seconds:.0f} s\n{_until(scale)}")


def note_deed(settings: Settings, service: str, what: str) -> None:
    """Say in the events who did `what` to the service, and let a running daemon look at it now:
    `status` would show the replicas from before until its next resync.
    """
    from reconciler.engine.external import DocumentRef
    from reconciler.engine.store import Store
    from reconciler.sources.decisions import caller, note_decision
    from reconciler.sources.orders import order_look

    folder, document = settings.daemon_dir, DocumentRef("InferenceService", service)
    known = Store.read(folder / "state.db", settings.target_key)
    if known is None:
        return
    key, documents = known.target, [row.ref for row in known.documents()]
    known.close()
    if document not in documents:
        return
    # It is done already, so a store that cannot be written does not make it fail.
    with suppress(CommandError), writable_store(folder, key) as store:
        note_decision(store, document, what, caller(), time.time())
        if daemon_facts(folder)["running"]:
            order_look(store, document, time.time())


def _say(text: str) -> None:
    print(text, flush=True)


def _quiet(_: str) -> None:
    """One value is printed at the end instead."""


async def _within(work: Awaitable[T], timeout: float, what: str) -> T:
    try:
        return await asyncio.wait_for(work, timeout)
    except TimeoutError:
        raise CommandError(
            f"{what} has not answered within {timeout:.0f} s; `moorage logs` and `moorage status`"
            " say more.",
            Exit.TIMED_OUT,
        ) from None


async def _restart(
    settings: Settings, service: str, say: Callable[[str], None]
) -> tuple[list[str], float | None]:
    """The revisions that were restarted, and the seconds until they were ready again; None where no
    replica ran.
    """
    from reconciler.arm import apps
    from reconciler.arm.clients import Arm
    from reconciler.cli.apps import find_app

    async with Arm(settings) as arm:
        group, app = await find_app(arm, service)
        name = str(app["name"])
        active = await _active(arm, group, name)
        before = {replica for replica, _ in await _replicas(arm, group, name, active)}
        for revision in active:
            await apps.restart_revision(arm, group, name, revision)
        say(f"restarted {', '.join(active) or 'nothing: no revision is active'}")
        if not before:
            say("no replica ran; the next request starts one")
            return active, None
        began = told = time.monotonic()
        while not _fresh(now := await _replicas(arm, group, name, active), before):
            if time.monotonic() - told >= SAY:
                told = time.monotonic()
                print(_progress(service, now, before, told - began), file=sys.stderr, flush=True)
                left = [each for each in active if each in await _active(arm, group, name)]
                if not left:
                    say(f"a rollout has stopped {', '.join(active)} meanwhile")
                    return active, None
                active = left
            await asyncio.sleep(LOOK)
        seconds = time.monotonic() - began
        say(f"ready again after {seconds:.0f} s")
        return active, round(seconds, 1)


async def _active(arm: Arm, group: str, name: str) -> list[str]:
    from reconciler.arm import apps

    return [
        str(each["name"])
        for each in await apps.list_revisions(arm, group, name)
        if each["properties"].get("active")
    ]


def _progress(service: str, now: list[tuple[str, bool]], before: set[str], passed: float) -> str:
    """A line for who waits: how many of the new replicas are ready."""
    new = [ready for replica, ready in now if replica not in before]
    return f"{service}: {sum(new)} of {len(new)} new replicas are ready, {passed:.0f} s"


def _fresh(now: list[tuple[str, bool]], before: set[str]) -> bool:
    """Whether there are new replicas, and all of them are ready."""
    new = [ready for replica, ready in now if replica not in before]
    return bool(new) and all(new)


async def _replicas(
    arm: Arm, group: str, name: str, revisions: list[str]
) -> list[tuple[str, bool]]:
    from reconciler.arm import apps, ids

    arm.inventory.invalidate(ids.app(arm.subscription_id, group, name))
    found = []
    for revision in revisions:
        for each in await apps.list_replicas(arm, group, name, revision):
            containers = each["properties"].get("containers") or ()
            ready = all(container.get("ready") for container in containers)
            found.append((str(each["name"]), ready))
    return found


def _until(scale: dict[str, int]) -> str:
    """How long the replica stays."""
    if least := scale["minReplicas"]:
        return f"a replica always runs, because minReplicas is {least}"
    return f"its replica stops after {scale['cooldownPeriod']} s without requests (cooldownPeriod)"


async def _warm(settings: Settings, service: str, name: str) -> tuple[float, dict[str, int]]:
    """The seconds until the service answered, and by what its replicas stop again."""
    from reconciler.arm.clients import Arm
    from reconciler.cli.apps import find_app
    from reconciler.cli.key import chosen_key, keys_of

    async with Arm(settings) as arm:
        group, app = await find_app(arm, service)
        fqdn = ((app["properties"].get("configuration") or {}).get("ingress") or {}).get("fqdn")
        if not fqdn:
            raise CommandError(f"Service {service} has no endpoint, so no request can reach it.")
        keys = await keys_of(arm, group, str(app["name"]))
        headers = {}
        if keys:
            headers["Authorization"] = f"Bearer {chosen_key(keys, service, name)}"
        path = "/v1/models" if keys else "/"
        began = told = time.monotonic()
        while (said := await _asked(arm, f"https://{fqdn}{path}", headers)) is not None:
            if time.monotonic() - told >= SAY:
                told = time.monotonic()
                waited = f"{told - began:.0f} s"
                print(f"{service} is starting: {said}, {waited}", file=sys.stderr, flush=True)
            await asyncio.sleep(LOOK)
        scale = (app["properties"].get("template") or {}).get("scale") or {}
        return time.monotonic() - began, {
            "minReplicas": int(scale.get("minReplicas") or 0),
            "cooldownPeriod": int(scale.get("cooldownPeriod") or COOLDOWN),
        }


async def _asked(arm: Arm, url: str, headers: dict[str, str]) -> str | None:
    """None once the service itself answers, else what came instead."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=HELD + 10)
        async with arm.outside.get(url, headers=headers, timeout=timeout) as answer:
            await answer.read()
            if answer.status in (401, 403):
                raise CommandError(f"The service refuses its own API key ({answer.status}).")
            return f"status {answer.status}" if answer.status >= 500 else None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return type(error).__name__
