"""`moorage client SERVICE`: settings of clients of a service or a gateway, ready to paste.
`snippets` writes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    open_store,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import subject_in
from reconciler.cli.unknown import unknown

if TYPE_CHECKING:
    from reconciler.engine.store import Store
    from reconciler.settings import Settings
    from reconciler.web.snippets import Access


def client(
    service: Service,
    kind: Annotated[
        str,
        typer.Option(
            "--for",
            help="curl, python, javascript, env, ai-toolkit, continue or open-webui; all, if left"
            " out.",
            metavar="CLIENT",
        ),
    ] = "",
    model: Annotated[
        str,
        typer.Option(help="The model that examples name (default: the last).", metavar="MODEL"),
    ] = "",
    name: Annotated[
        str, typer.Option(help="Which of the service's API keys.", metavar="NAME")
    ] = "",
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Put the API key itself into the text.")
    ] = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Print settings of clients for a service, ready to paste. They hold address, models, key and
    the CA to trust. A gateway has the name of its container app, such as gw-dev, and the models of
    all services behind it.
    """
    from reconciler.web.snippets import FORMATS

    as_json = check_output(output)
    if kind and kind not in FORMATS:
        raise CommandError(f"--for must be one of {', '.join(FORMATS)}, not {kind!r}", Exit.INVALID)
    store, title, _ = open_store(target, state_dir)
    found = _document(store, service, title)
    settings = settings_of(target, state_dir)
    key = asyncio.run(_key(settings, service, name)) if show_key else ""
    access = _access(found, settings, name, key, model)
    usable = FORMATS if access.models else {"curl": FORMATS["curl"]}
    chosen = {each: text for each, (_, text) in usable.items() if kind in ("", each)}
    if not chosen:
        raise CommandError(f"{service} runs its own code; only --for curl is known for it.")
    if as_json:
        facts: dict[str, Any] = {
            "service": service,
            "endpoint": access.endpoint,
            "models": list(access.models),
            "caFile": access.ca or None,
        }
        texts = {each: write(access) for each, write in chosen.items()}
        print_value("Client", {**facts, "clients": texts}, subject_in(store, title))
        return
    for each, write in chosen.items():
        if not kind:
            print(f"# {FORMATS[each][0]}")
        print(write(access))
        if not kind:
            print()


def _document(store: Store | None, service: str, title: str) -> dict[str, Any]:
    from reconciler.web.status import status_of

    documents = status_of(store, title, {})["documents"]
    services = [each for each in documents if each["kind"] == "InferenceService"]
    gateways = [gateway_of(each, services) for each in documents if each.get("gateway")]
    there = {each["name"]: each for each in (*services, *gateways)}
    found: dict[str, Any] | None = there.get(service)
    if found is None:
        raise unknown("service or gateway" if gateways else "service", service, there, title)
    if not found["endpoint"]:
        raise CommandError(f"{service} has no endpoint yet; `moorage status` says what it lacks.")
    if found in gateways and not found["models"]:
        raise CommandError(f"No service is behind {service} yet; `moorage status` shows them.")
    return found


def gateway_of(environment: dict[str, Any], services: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A gateway as if it were a service with the models of all that are behind it, under the names
    that its callers use. The last one is the base model of the first service.
    """
    from reconciler.web.snippets import gateway_models

    gateway = environment["gateway"]
    behind = {each["name"] for each in gateway["services"]}
    models = [
        (each["name"], model)
        for each in services
        if each["name"] in behind
        for model in each["models"]
    ]
    return {
        "name": gateway["name"],
        "endpoint": gateway["endpoint"],
        "models": list(gateway_models(models)),
    }


def _access(found: dict[str, Any], settings: Settings, name: str, key: str, model: str) -> Access:
    from reconciler.cli.output.ready import access_of

    models = list(found["models"])
    if model and model not in models:
        raise CommandError(
            f"{found['name']} has no model {model!r}; it has {', '.join(models) or 'none'}.",
            Exit.INVALID,
        )
    if model:
        models.remove(model)
        models.append(model)
    return access_of({**found, "models": models}, settings, name=name, key=key, whole=True)


async def _key(settings: Settings, service: str, name: str) -> str:
    from reconciler.arm.clients import Arm
    from reconciler.cli.key import read_key

    async with Arm(settings) as arm:
        return await read_key(arm, service, name)
