"""`moorage open`: the page of the running daemon, or a service in Azure's portal, in a browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    daemon_facts,
    open_store,
)
from reconciler.cli.exits import CommandError
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import subject_in
from reconciler.cli.unknown import check_service

if TYPE_CHECKING:
    from reconciler.engine.store import Store

PORTALS = {
    "AzureCloud": "https://portal.azure.com",
    "AzureUSGovernment": "https://portal.azure.us",
    "AzureChinaCloud": "https://portal.azure.cn",
}
MOST = 4096  # bytes of the file with the page's address


def open_page(
    service: Annotated[
        str,
        typer.Argument(help="One InferenceService; the overview, if left out.", metavar="SERVICE"),
    ] = "",
    portal: Annotated[
        bool, typer.Option("--portal", help="The container app in Azure's portal instead.")
    ] = False,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the address and open nothing.")
    ] = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Open the page of the running daemon in a browser. Without a terminal, and with -o json, it
    only prints the address.
    """
    import webbrowser

    as_json = check_output(output)
    store, title, folder = open_store(target, state_dir)
    if service:
        check_service(store, service, title)
    address = _portal(store, service, title) if portal else _page(folder, service)
    if as_json:
        print_value("Page", {"address": address}, subject_in(store, title))
        return
    print(address)
    if sys.stdout.isatty() and not print_only and not webbrowser.open(address):
        say("no browser could be started here; open the address yourself", aside=True)


def _page(folder: Path, service: str) -> str:
    """The address that the running daemon has written down."""
    from reconciler.page import ADDRESS

    if not daemon_facts(folder)["running"]:
        raise CommandError(
            "No daemon runs on these documents, so there is no page: `moorage up` serves it."
        )
    try:
        with (folder / ADDRESS).open("rb") as file:
            address = str(json.loads(file.read(MOST))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandError(
            "The running daemon serves no page: it was started with `--listen none`."
        ) from None
    return f"{address.rstrip('/')}/services/{service}" if service else address


def _portal(store: Store | None, service: str, title: str) -> str:
    from reconciler.api.kinds import Kind
    from reconciler.api.outputs import AppOutputs

    if title == "local Azure":
        raise CommandError("The local Azure has no portal; `moorage open` opens the page.")
    if not service:
        raise CommandError("Say which service: `moorage open SERVICE --portal`.")
    records = store.objects() if store else ()
    record = next((r for r in records if (r.key.kind, r.key.name) == (Kind.APP, service)), None)
    app = AppOutputs.load(record.outputs) if record and record.exists else None
    if app is None or not app.id:
        raise CommandError(f"{service} has no container app yet; `moorage status` says why.")
    return f"{_portal_host()}/#resource{app.id}"


def _portal_host() -> str:
    import os

    return PORTALS.get(os.environ.get("MOORAGE_CLOUD", "AzureCloud"), PORTALS["AzureCloud"])
