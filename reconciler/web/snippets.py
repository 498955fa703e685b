"""Lines to paste that use a service: with curl, with the openai package, and as variables."""

from __future__ import annotations

import shlex
from typing import NamedTuple


class Snippet(NamedTuple):
    title: str
    text: str


def snippets(
    service: str, endpoint: str | None, models: tuple[str, ...], options: str, ca_file: str
) -> tuple[Snippet, ...]:
    """`options` are those with which a command reaches the same target and state; `ca_file` is
    empty where the machine trusts the endpoint.
    """
    if not endpoint:
        return ()
    key = f"$(moorage key {shlex.quote(service)}{options})"
    trust = f" --cacert {shlex.quote(ca_file)}" if ca_file else ""
    if not models:
        return (Snippet("curl", f"curl{trust} {endpoint}/"),)
    variables = [
        f"export OPENAI_BASE_URL={endpoint}/v1",
        f'export OPENAI_API_KEY="{key}"',
        *([f"export SSL_CERT_FILE={shlex.quote(ca_file)}"] if ca_file else []),
    ]
    model = models[-1]
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    curl = [
        f"curl{trust} {endpoint}/v1/chat/completions \\",
        f'  -H "Authorization: Bearer {key}" \\',
        "  -H 'Content-Type: application/json' \\",
        f"  -d '{body}'",
    ]
    python = [
        "from openai import OpenAI",
        "",
        "answer = OpenAI().chat.completions.create(",
        f'    model="{model}", messages=[{{"role": "user", "content": "Hello"}}]',
        ")",
        "print(answer.choices[0].message.content)",
    ]
    return (
        Snippet("curl", "\n".join(curl)),
        Snippet("Variables", "\n".join(variables)),
        Snippet("Python, with these variables", "\n".join(python)),
    )
