"""The ready block: how to use the services that were just deployed, with commands to paste."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.web.status import status_of

if TYPE_CHECKING:
    from reconciler.engine.store import Store
    from reconciler.settings import Settings


def ready_block(store: Store, settings: Settings) -> str:
    """Target, endpoint, key, models, curl and Python for every service, and the gateways' addresses
    after them.
    """
    documents = status_of(store, settings.target_title, {})["documents"]
    services = [_service(d, settings) for d in documents if d["kind"] == "InferenceService"]
    gateways = [_gateway(d, settings) for d in documents if d.get("gateway")]
    return "\n".join([*services, *gateways])


def _gateway(environment: dict[str, Any], settings: Settings) -> str:
    gateway = environment["gateway"]
    name = gateway["name"]
    return "\n".join(
        [
            f"gateway of Environment {environment['name']}, for all its services",
            f"  endpoint  {gateway['endpoint']}",
            f"  API key   {_program()} key {name}{_options(settings)}",
            "",
        ]
    )


def _program() -> str:
    """How the command is called from here."""
    moorage = Path(sys.argv[0]).resolve()
    return _short(moorage) if moorage.name == "moorage" else "moorage"


def _service(service: dict[str, Any], settings: Settings) -> str:
    name, endpoint, models = service["name"], service["endpoint"], service["models"]
    lines = [f"{name} on the {settings.target_title}", f"  endpoint  {endpoint}"]
    if not models:
        return "\n".join([*lines, ""])
    program = _program()
    options = _options(settings)
    trust = f" --cacert {_short(settings.ca_file)}" if settings.ca_file else ""
    model = models[-1]
    body = (
        f'{{"model": "{model}", "max_tokens": 24, "messages": [{{"role": "user", "content": "What'
        ' is the capital of Italy?"}]}'
    )
    return "\n".join(
        [
            *lines,
            f"  models    {', '.join(models)}",
            f"  API key   {program} key {name}{options}",
            "",
            "  with curl:",
            "",
            f"curl{trust} {endpoint}/v1/chat/completions \\",
            (
                f'  -H "Authorization: Bearer $({program} key {name}{options})" -H "Content-Type:'
                ' application/json" \\'
            ),
            f"  -d '{body}'",
            "",
            "  with the openai package:",
            "",
            _python(endpoint, f"{program} key {name}{options}", model, settings),
            "",
        ]
    )


def _python(endpoint: str, key: str, model: str, settings: Settings) -> str:
    trust = f'SSL_CERT_FILE="{_short(settings.ca_file)}" ' if settings.ca_file else ""
    return "\n".join(
        [
            (
                f"{trust}OPENAI_BASE_URL={endpoint}/v1 OPENAI_API_KEY=$({key})"
                f" {_short(Path(sys.executable))} - <<'END'"
            ),
            "from openai import OpenAI",
            (
                f'stream = OpenAI().chat.completions.create(model="{model}", max_tokens=24,'
                " stream=True,"
            ),
            '    messages=[{"role": "user", "content": "What is the capital of France?"}])',
            "for chunk in stream:",
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
            "print()",
            "END",
        ]
    )


def _options(settings: Settings) -> str:
    """The options with which `moorage key` reaches the same target."""
    state = "" if str(settings.state_dir) == ".moorage" else f" --state-dir {settings.state_dir}"
    return settings.target_option + state


def _short(path: Path) -> str:
    """The path relative to the current folder, if it is below this folder."""
    absolute = path.absolute()
    return (
        str(absolute.relative_to(Path.cwd()))
        if absolute.is_relative_to(Path.cwd())
        else str(absolute)
    )
