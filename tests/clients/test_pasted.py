"""What `moorage client` prints, run as it stands: curl, Python and JavaScript ask a service with a
certificate of its own CA, and Continue's own schema reads the settings for it.
"""

import asyncio
import json
import os
import re
import ssl
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from infra.local_azure.certificates import ensure
from reconciler.web.snippets import FORMATS, Access
from tests.clients.conftest import installed

KEY = "mk-secret"
WORDS = ("Ahoy", ", matey")
ASKED = web.AppKey("asked", list)


async def complete(request: web.Request) -> web.StreamResponse:
    """An answer as vLLM gives it, whole or streamed, to a caller with the key."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.json_response({"error": {"message": "who?", "code": "invalid_key"}}, status=401)
    asked = await request.json()
    request.app[ASKED].append(asked)
    head = {"id": "1", "created": 1, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({**head, "object": "chat.completion", "choices": choices})
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    for word in WORDS:
        choices = [{"index": 0, "delta": {"content": word}, "finish_reason": None}]
        event = {**head, "object": "chat.completion.chunk", "choices": choices}
        await answer.write(f"data: {json.dumps(event)}\n\n".encode())
    await answer.write(b"data: [DONE]\n\n")
    return answer


@pytest.fixture
async def service(tmp_path):
    """Its access, whose key a command prints, and the requests that it has answered."""
    made = ensure(tmp_path / "a folder" / "tls")
    app = web.Application()
    app[ASKED] = []
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    url = f"https://localhost:{runner.addresses[0][1]}"
    models = ("phi", "support")
    yield (
        Access("phi", url, models, str(made.ca), f"echo {KEY}", python=sys.executable),
        app[ASKED],
    )
    await runner.cleanup()


async def pasted(text: str, folder: Path) -> str:
    """What bash prints for it, in an environment that trusts nothing yet."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        text,
        cwd=folder,
        env=kept,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, wrong.decode()
    return said.decode()


@pytest.mark.parametrize("shown", [True, False], ids=["key", "command"])
@pytest.mark.parametrize("client", ["curl", "python"])
async def test_a_pasted_snippet_gets_an_answer(client, shown, service, tmp_path):
    """With the CA in a folder that has a blank, the key in the text or read by its command."""
    access, asked = service
    text = FORMATS[client][1](replace(access, key=KEY if shown else ""))
    said = await pasted(text, tmp_path)
    assert "".join(WORDS) in said
    assert [each["model"] for each in asked] == ["support"]


async def test_the_variables_are_what_the_openai_package_reads(service, tmp_path):
    """Address, key, model and CA come from the environment alone."""
    access, asked = service
    code = (
        "import os; from openai import OpenAI; print(OpenAI().chat.completions.create("
        "model=os.environ['OPENAI_MODEL'], messages=[{'role': 'user', 'content': '?'}])"
        ".choices[0].message.content)"
    )
    text = f'{FORMATS["env"][1](access)}\n"{sys.executable}" -c "{code}"'
    assert (await pasted(text, tmp_path)).strip() == "".join(WORDS)
    assert asked[0]["model"] == "support"


async def test_the_lines_of_the_readme_get_an_answer(service, tmp_path):
    """With what `moorage client SERVICE --for env` prints; the adapter is the one of `make up`."""
    access, asked = service
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"^```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert "moorage client smol --for env" in block
    command = tmp_path / "moorage"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{FORMATS['env'][1](access)}\nEND\n")
    command.chmod(0o755)
    path = f'PATH="{tmp_path}:{Path(sys.executable).parent}:$PATH"'
    assert (await pasted(f"{path}\n{block}", tmp_path)).strip() == "".join(WORDS)
    assert asked[0]["model"] == "pirate"


@pytest.mark.slow
async def test_the_javascript_package_gets_an_answer(service):
    """The package and Node.js as they are, from a folder where it is installed."""
    access, asked = service
    text = FORMATS["javascript"][1](access)
    assert (await pasted(text, installed("javascript"))).strip() == "".join(WORDS)
    assert asked[0]["model"] == "support"


@pytest.mark.slow
async def test_continue_takes_its_settings(service, tmp_path):
    """By the schema that Continue itself publishes; each of its fields is known to it, and a model
    whose name looks like a number stays a name.
    """
    access, _ = service
    text = FORMATS["continue"][1](replace(access, models=("1e3", "support")))
    (tmp_path / "config.yaml").write_text(text)
    script = (
        'import { configYamlSchema, parseConfigYaml } from "@continuedev/config-yaml";'
        'import { readFileSync } from "node:fs";'
        "const read = parseConfigYaml(readFileSync(process.argv[2], 'utf8'));"
        "console.log(JSON.stringify(configYamlSchema.parse(read)))"
    )
    folder = installed("javascript")
    command = f"node --input-type=module - '{tmp_path}/config.yaml' <<'END'\n{script}\nEND"
    found = json.loads(await pasted(command, folder))
    assert found["models"] == YAML(typ="safe").load(text)["models"]
    assert [each["model"] for each in found["models"]] == ["1e3", "support"]
    assert all(each["apiBase"] == access.base_url for each in found["models"])
