"""`moorage provision` and `moorage deploy`: commands with names that users of AI Toolkit know."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import Files, StateDir, Target, Yes, ask, settings_of
from reconciler.cli.durations import Timeout
from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.toolkit.deploy import Deployed

Project = Annotated[
    Path,
    typer.Argument(
        help=(
            "The project's folder, with the moorage.yaml that `moorage import` wrote (default: this"
            " one)."
        ),
        metavar="DIR",
    ),
]
DOCUMENTS = "moorage.yaml"


def provision(
    project: Project = Path(),
    file: Files = None,
    yes: Yes = False,
    timeout: Timeout = 3600.0,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Create or update what the documents name. The same as `moorage up --once`."""
    from reconciler.cli.up import up

    files = file or _documents(project)
    if not files:
        raise CommandError(
            f"{project / DOCUMENTS} does not exist; `moorage import {project}` writes it.",
            Exit.INVALID,
        )
    up(files, once=True, yes=yes, timeout=timeout, target=target, state_dir=state_dir)


def deploy(
    project: Project = Path(),
    file: Files = None,
    yes: Yes = False,
    timeout: Timeout = 3600.0,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Publish the project's code and run it. It does the same as `moorage up --once`, or uses the
    container app that inference.config.json names.
    """
    files = file or _documents(project)
    if files:
        provision(project, files, yes, timeout, target, state_dir)
        return
    config = _filled_in(project)
    settings = settings_of(target, state_dir, [project], start=True)
    if config["SUBSCRIPTION_ID"].lower() != settings.subscription_id.lower():
        raise CommandError(
            f"inference.config.json names subscription {config['SUBSCRIPTION_ID']}, and the"
            f" {settings.target_title} is another; use --target azure with"
            " MOORAGE_SUBSCRIPTION_ID.",
            Exit.INVALID,
        )
    app = f"{config['ACA_APP_NAME']} in {config['RESOURCE_GROUP_NAME']}"
    print(f"target: {settings.target_title}")
    if settings.asks_first and not yes:
        ask(
            f"Publish {project} and restart {app}?",
            f"This would publish {project} and restart {app}.",
        )
    _tell(asyncio.run(_deploy(settings, project, config, timeout)), project, config)


def _documents(project: Path) -> list[Path]:
    return [project / DOCUMENTS] if (project / DOCUMENTS).is_file() else []


def _filled_in(project: Path) -> dict[str, str]:
    """The values of the project's inference.config.json; exit code 2 with the place if one is
    missing.
    """
    from reconciler.api.problems import ManifestError, Problem
    from reconciler.toolkit.settings_files import CONFIG, config_file, read_config

    problems: list[Problem] = []
    file = config_file(project)
    values = read_config(file, problems) if file else {}
    if problems:
        raise ManifestError(problems)
    if not values:
        raise CommandError(
            f"There is nothing to deploy to: `moorage import {project}` makes documents of the"
            f" project, or fill in {file or project / CONFIG} with an app that exists.",
            Exit.INVALID,
        )
    return {key: str(value.value) for key, value in values.items()}


async def _deploy(
    settings: Settings, project: Path, config: dict[str, str], timeout: float
) -> Deployed:
    from reconciler.api.digest import TreeError
    from reconciler.arm.clients import Arm
    from reconciler.toolkit.deploy import deploy as publish_and_restart

    cache = settings.state_dir / "cache"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        async with Arm(settings) as arm:
            return await asyncio.wait_for(publish_and_restart(arm, project, config, cache), timeout)
    except TreeError as error:
        raise CommandError(f"The project cannot be published: {error}", Exit.INVALID) from None
    except TimeoutError:
        raise CommandError(
            f"{config['ACA_APP_NAME']} was restarted and has no ready replica yet; its log says"
            " why.",
            Exit.TIMED_OUT,
        ) from None


def _tell(done: Deployed, project: Path, config: dict[str, str]) -> None:
    from reconciler.toolkit.config_file import write_config
    from reconciler.toolkit.settings_files import config_file

    print(f"published {done.sent} of {done.files} files")
    if done.replicas:
        print(f"restarted {', '.join(done.restarted)}: ready")
    else:
        print(
            f"restarted {', '.join(done.restarted)}: no replica ran, the next request starts one"
            " with this code"
        )
    print(f"endpoint  https://{done.endpoint}")
    if file := config_file(project):
        try:
            write_config(file, {**config, "ACA_APP_ENDPOINT": done.endpoint})
        except OSError as error:
            print(f"{file} cannot be written ({error.strerror})", file=sys.stderr)
