"""Settings of clients, ready to paste: pure text from an endpoint, the names of its models and the
place of the key. `client`, the ready block of `up` and the page show them.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

PLACEHOLDER = "API_KEY"


@dataclass(frozen=True)
class Access:
    """How a service is reached. `endpoint` is without `/v1`; `model` is the one that examples name;
    `ca` is the file to trust besides the machine's own, or empty; `key_command` prints the API key;
    `key` is its value where the caller wants it in the text, else empty.
    """

    service: str
    endpoint: str
    models: tuple[str, ...]
    ca: str
    key_command: str
    key: str = ""
    python: str = "python3"

    @property
    def model(self) -> str:
        return self.models[-1]

    @property
    def base_url(self) -> str:
        return f"{self.endpoint}/v1"

    @property
    def in_shell(self) -> str:
        """The key as a shell reads it."""
        return self.key or f"$({self.key_command})"

    @property
    def in_file(self) -> str:
        """The key as a file holds it, where no command can stand."""
        return self.key or PLACEHOLDER


def gateway_models(models: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The names by which a gateway's callers ask for `models` (service and model): where two
    services have a model of one name, only with the service before it. The last one is the base
    model of the first service, which examples name.
    """
    owners = Counter(model for _, model in models)
    names = [model if owners[model] == 1 else f"{service}/{model}" for service, model in models]
    first = names[0:1]
    return (*(name for name in names if name not in first), *first)


def curl(access: Access) -> str:
    trust = f" --cacert {shlex.quote(access.ca)}" if access.ca else ""
    if not access.models:
        return f"curl -s{trust} {access.endpoint}/"
    body = (
        f'{{"model": "{access.model}", "max_tokens": 24, "messages": [{{"role": "user", "content":'
        ' "What is the capital of Italy?"}]}'
    )
    return "\n".join(
        [
            f"curl{trust} {access.base_url}/chat/completions \\",
            (
                f'  -H "Authorization: Bearer {access.in_shell}" -H "Content-Type:'
                ' application/json" \\'
            ),
            f"  -d '{body}'",
        ]
    )


def python(access: Access) -> str:
    trust = f'SSL_CERT_FILE="{access.ca}" ' if access.ca else ""
    return "\n".join(
        [
            (
                f"{trust}OPENAI_BASE_URL={access.base_url} OPENAI_API_KEY={access.in_shell}"
                f" {access.python} - <<'END'"
            ),
            "from openai import OpenAI",
            (
                f'stream = OpenAI().chat.completions.create(model="{access.model}", max_tokens=24,'
                " stream=True,"
            ),
            '    messages=[{"role": "user", "content": "What is the capital of France?"}])',
            "for chunk in stream:",
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
            "print()",
            "END",
        ]
    )


def javascript(access: Access) -> str:
    trust = f'NODE_EXTRA_CA_CERTS="{access.ca}" ' if access.ca else ""
    return "\n".join(
        [
            (
                f"{trust}OPENAI_BASE_URL={access.base_url} OPENAI_API_KEY={access.in_shell}"
                " node --input-type=module - <<'END'"
            ),
            'import OpenAI from "openai";',
            "const answer = await new OpenAI().chat.completions.create({",
            f'  model: "{access.model}", max_tokens: 24,',
            '  messages: [{role: "user", content: "What is the capital of France?"}],',
            "});",
            "console.log(answer.choices[0].message.content);",
            "END",
        ]
    )


def env(access: Access) -> str:
    """The variables that OpenAI's packages and most tools read."""
    lines = [
        f"export OPENAI_BASE_URL={access.base_url}",
        f"export OPENAI_API_KEY={access.in_shell}",
        f"export OPENAI_MODEL={access.model}",
    ]
    if access.ca:
        lines += [
            "# programs of this shell then trust the local Azure alone",
            f'export SSL_CERT_FILE="{access.ca}"',
            f'export NODE_EXTRA_CA_CERTS="{access.ca}"',
        ]
    return "\n".join(lines)


def ai_toolkit(access: Access) -> str:
    """What the dialogue "Add a custom model" of AI Toolkit for VS Code asks for, for each model."""
    header = json.dumps({"Authorization": f"Bearer {access.in_file}"})
    lines = [
        "# AI Toolkit: My Models, Add models, Add a custom model; these answers for each model",
        f"endpoint URL   {access.base_url}/chat/completions",
    ]
    for model in access.models:
        lines += [f"model name     {model}", f"display name   {access.service}: {model}"]
    lines.append(f"HTTP headers   {header}")
    if access.ca:
        lines.append(f'# start VS Code with NODE_EXTRA_CA_CERTS="{access.ca}"')
    return "\n".join(lines)


def continue_(access: Access) -> str:
    """`config.yaml` of Continue."""
    lines = [f"name: {access.service}", "version: 1.0.0", "schema: v1", "models:"]
    for model in access.models:
        lines += [
            f"  - name: {json.dumps(f'{access.service}: {model}')}",
            "    provider: openai",
            f"    model: {json.dumps(model)}",  # a name such as 1e3 would be a number
            f"    apiBase: {access.base_url}",
            f"    apiKey: {json.dumps(access.in_file)}",
            "    roles: [chat, edit]",
        ]
        if access.ca:
            lines.append(f"    requestOptions: {{caBundlePath: {json.dumps(access.ca)}}}")
    return "\n".join(lines)


def open_webui(access: Access) -> str:
    """A container of Open WebUI that offers the models at http://localhost:8080."""
    trust = (
        # Its own variable: SSL_CERT_FILE would take the trust from its downloads.
        f' -v "{access.ca}:/moorage-ca.pem:ro" -e AIOHTTP_CLIENT_SSL_CERT_FILE=/moorage-ca.pem'
        if access.ca
        else ""
    )
    return "\n".join(
        [
            f"docker run --rm --network host{trust} \\",
            f"  -e OPENAI_API_BASE_URL={access.base_url} -e OPENAI_API_KEY={access.in_shell} \\",
            f"  -e DEFAULT_MODELS={access.model} \\",
            "  ghcr.io/open-webui/open-webui:main",
        ]
    )


FORMATS: Mapping[str, tuple[str, Callable[[Access], str]]] = {
    "curl": ("curl", curl),
    "python": ("the openai package for Python", python),
    "javascript": ("the openai package for JavaScript", javascript),
    "env": ("variables of the shell", env),
    "ai-toolkit": ("AI Toolkit for VS Code", ai_toolkit),
    "continue": ("Continue (~/.continue/config.yaml)", continue_),
    "open-webui": ("Open WebUI", open_webui),
}
