"""`moorage chat`: a page on this machine to chat with a service, and to compare its base model with
its adapters.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import Service, StateDir, Target, settings_of
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.settings import Settings


def chat(
    service: Service,
    listen: Annotated[
        str,
        typer.Option(
            help="Serve the page on HOST:PORT; port 0 takes a free one.", metavar="HOST:PORT"
        ),
    ] = "127.0.0.1:7861",
    name: Annotated[
        str, typer.Option(help="Which of the service's API keys.", metavar="NAME")
    ] = "",
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Open a chat page for a service. It shows the base model and the adapters, alone or side by
    side. Where the model takes images, an image can be added to a message. A service with
    ingress.external: false is reached through the gateway of its Environment. Ctrl-C closes the
    page.
    """
    import importlib.util

    if importlib.util.find_spec("gradio") is None:
        raise CommandError(
            "The chat page needs Gradio: pip install 'moorage[chat]' (make install brings it)."
        )
    settings, listening = settings_of(target, state_dir), _listening(listen)
    try:
        asyncio.run(_chat(settings, service, name, listening))
    except KeyboardInterrupt:  # how the page is closed
        print("\nthe page is closed; the service goes on")


def _listening(text: str) -> socket.socket:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise CommandError(
            f"--listen must be HOST:PORT, such as 127.0.0.1:7861, not {text!r}", Exit.INVALID
        )
    try:
        return socket.create_server((host, int(port)))
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"The page cannot listen on {text} ({getattr(error, 'strerror', error)}); choose"
            " another address with --listen."
        ) from None


def _documents(settings: Settings) -> list[dict[str, Any]]:
    """What the daemon last saw; empty where none ran from here."""
    from reconciler.engine.store import Store
    from reconciler.web.status import status_of

    path = settings.daemon_dir / "state.db"
    store = Store.read(path, settings.target_key) if path.exists() else None
    if store is None:
        return []
    documents: list[dict[str, Any]] = status_of(store, "", {})["documents"]
    store.close()
    return documents


def _canaries(settings: Settings, service: str) -> frozenset[str]:
    """The adapters of which two versions serve, as the daemon last saw it."""
    return frozenset(
        adapter["name"]
        for document in _documents(settings)
        if document["kind"] == "InferenceService" and document["name"] == service
        for adapter in document["adapters"]
        if adapter.get("canary")
    )


def _predicted(settings: Settings, service: str) -> int | None:
    """Seconds that a start takes: as predicted of the present one, else as the newest took."""
    from reconciler.engine.store import Store
    from reconciler.web.service_view import app_of

    path = settings.daemon_dir / "state.db"
    store = Store.read(path, settings.target_key) if path.exists() else None
    if store is None:
        return None
    app = app_of({record.key: record for record in store.objects()}, service)
    store.close()
    running = (each.startup.predicted_seconds for each in app.replicas if each.startup)
    took = (math.ceil(each.start.seconds) for each in app.starts[-1:])
    return next(chain(running, took), None)


def _gateway(documents: Sequence[Mapping[str, Any]], service: str) -> str:
    """The address of the gateway in front of the service; empty where there is none."""
    gateways = [each["gateway"] for each in documents if each.get("gateway")]
    found = (g for g in gateways if any(each["name"] == service for each in g["services"]))
    return next((str(g["endpoint"]) for g in found if g["endpoint"]), "")


def _place(service: str, app: Mapping[str, Any], gateway: str) -> tuple[str, bool]:
    """The address at which this machine reaches the service, and whether it is that of `gateway`,
    the address of the gateway in front of it.
    """
    ingress = (app["properties"].get("configuration") or {}).get("ingress") or {}
    if not ingress.get("fqdn"):
        raise CommandError(f"Service {service} has no endpoint.")
    if ingress.get("external"):
        return f"https://{ingress['fqdn']}", False
    if not gateway:
        raise CommandError(
            f"Service {service} takes requests from its own managed environment alone, and this"
            " page runs outside of it. Set ingress.external: true, or give the Environment a"
            " gateway (spec.gateway: {}), through which the page then goes."
        )
    return gateway, True


async def _chat(settings: Settings, service: str, name: str, listening: socket.socket) -> None:
    # At once, because what follows takes half a minute on a busy machine.
    say(f"looking for {service} on the {settings.target_title}…", aside=True)
    from reconciler.arm.clients import Arm
    from reconciler.chat.endpoint import Endpoint
    from reconciler.chat.state import look
    from reconciler.cli.apps import find_app
    from reconciler.cli.key import read_key
    from reconciler.web.hosts import is_loopback

    async with Arm(settings) as arm:
        group, app = await find_app(arm, service)
        url, through = _place(service, app, _gateway(_documents(settings), service))
        try:
            key = await read_key(arm, service, name)
        except CommandError as error:
            raise CommandError(f"{error} Its own page, if it has one, is at {url}.") from None
        # After the service was found, because Gradio alone takes seconds to load.
        say("the page is being prepared, which takes a few seconds…", aside=True)
        from reconciler.chat.page import Page
        from reconciler.chat.server import serve

        page = Page(
            service,
            settings.target_title,
            Endpoint(arm.outside, url, key, gateway=through),
            lambda: look(arm, group, str(app["name"]), lambda: _predicted(settings, service)),
            lambda: _canaries(settings, service),
        )
        host, port = listening.getsockname()[:2]
        # The page uses the service's key, so on an address beyond this machine it asks for a token.
        token = "" if is_loopback(host) else secrets.token_urlsafe(24)
        print(
            f"{service} on the {settings.target_title}: http://{host}:{port}"
            f"{f'/?token={token}' if token else ''}   (Ctrl-C ends the page)",
            flush=True,
        )
        # A Ctrl-C during the imports ends it here: the web server would print a traceback.
        await asyncio.sleep(0)
        await serve(page, listening, token)
