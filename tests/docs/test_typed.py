"""What the pages show to type, typed in the order of the page on a local Azure: README.md,
docs/operations.md, git.md, notify.md, local-azure.md, and the Python of gateway.md. Only addresses,
and what Azure alone has, are replaced. `test_recipes` types the pages whose commands write nothing,
tests/clients/test_recipe.py the blocks for az and azcopy.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from tests.docs.test_recipes import DOCS, blocks
from tests.e2e.ground import aimed_at
from tests.e2e.outside import outside
from tests.e2e.stage import Stage, environment, service
from tests.e2e.vaults import make_vault, token

ROOT = DOCS.parent
GROUP = "rg-typed"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("typed")) as stage:
        stage.code("web")
        stage.save(environment(resourceGroup=GROUP), service("web"))
        stage.once()
        yield stage


def readme(beginning):
    """The lines of the block that begins so, each as the words behind `moorage`."""
    text = next(each for each in blocks("../README.md", "") if each.startswith(beginning))
    lines = [line for line in text.splitlines() if line.startswith("moorage ")]
    assert lines
    return [shlex.split(line.replace(" manifests", f" {ROOT}/manifests"))[1:] for line in lines]


@pytest.mark.slow
def test_the_examples_of_the_readme_are_valid_and_can_be_planned(tmp_path):
    """With a state directory that is empty."""
    with Stage(tmp_path) as stage:
        validate, plan = readme("moorage validate")
        assert "InferenceService chat: valid" in stage.moorage(*validate).stdout
        assert "+ ContainerApp/tools" in stage.moorage(*plan).stdout
        assert stage.writes() == []


@pytest.mark.slow
def test_the_first_commands_on_azure(tmp_path):
    """`doctor` finds nothing in the way, `plan` and `up` show the same, and nothing is written
    before a person has said yes. `az` is replaced by the local Azure's own facts.
    """
    with Stage(tmp_path) as stage:
        env = aimed_at(stage.facts)
        del env["MOORAGE_TARGET"]  # the commands of the page name it
        doctor, plan, up = readme("export MOORAGE_SUBSCRIPTION_ID")
        assert "nothing stands in the way" in stage.moorage(*doctor, **env).stdout
        shown = stage.moorage(*plan, **env).stdout
        assert "+ ContainerApp/tools" in shown
        asked = stage.moorage(*up, code=4, **env)
        assert "+ ContainerApp/tools" in asked.stdout
        assert "-y" in asked.stderr
        assert stage.writes() == []


@pytest.mark.slow
async def test_a_change_by_hand_is_read_and_accepted(stage):
    """operations.md: pause, diff, accept and resume, after somebody has changed the app."""
    (block,) = (text for text in blocks("operations.md", "") if "moorage accept" in text)
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [words[0] for words in lines] == ["pause", "diff", "accept", "resume"]
    said = {"pause": stage.moorage(*lines[0]).stdout}
    async with outside(stage) as azure:
        ingress = {"external": False, "targetPort": 9000}
        patch = {"properties": {"configuration": {"ingress": ingress}}}
        await (await azure.apps.container_apps.begin_update(GROUP, "web", patch)).result()
    for words in lines[1:]:
        more = ["-y"] if words[0] == "accept" else []
        said[words[0]] = stage.moorage(*words, *more).stdout
    assert "ingress.external" in said["diff"]
    assert "written: " in said["accept"]
    assert {each["action"] for each in stage.json("plan")["changes"]} == {"no-op"}


@pytest.mark.slow
def test_a_template_and_a_role_come_from_the_commands_of_the_page(stage):
    """operations.md: `export arm` writes a template, `role` a role for a subscription."""
    shell = blocks("operations.md", "")
    export = next(line for text in shell for line in text.splitlines() if "export arm" in line)
    words = shlex.split(export.replace("FILE", str(stage.manifest)).partition(" > ")[0])
    template = json.loads(stage.moorage(*words[1:]).stdout)
    assert {each["type"] for each in template["resources"]} >= {"Microsoft.App/containerApps"}
    role = next(line for text in shell for line in text.splitlines() if "moorage role" in line)
    subscription = "11111111-2222-3333-4444-555555555555"
    file = stage.root / "role.json"
    words = shlex.split(role.replace("$MOORAGE_SUBSCRIPTION_ID", subscription))
    stage.moorage(*words[1:-1], str(file))
    assert json.loads(file.read_text())["AssignableScopes"] == [f"/subscriptions/{subscription}"]


@pytest.mark.slow
def test_the_test_notice_arrives(stage):
    """notify.md: the settings of the page, with the address of a receiver on this machine."""
    server = received(lambda *_: {}, stage)
    (block,) = blocks("notify.md", "")
    exported = dict(re.findall(r"export (\w+)=(\S+)", block))
    assert list(exported) == ["MOORAGE_NOTIFY_URL", "MOORAGE_NOTIFY_FORMAT"]
    exported["MOORAGE_NOTIFY_URL"] = f"https://localhost:{server.server_port}/hook"
    env = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": stage.ca, **exported}
    program = Path(sys.executable).parent / "moorage"
    done = subprocess.run([program, "notify"], env=env, capture_output=True, text=True, check=True)
    assert "localhost accepted a test notice (webhook)" in " ".join(done.stdout.split())
    ((_, body),) = server.said
    assert {"text", "id", "occasion"} <= set(json.loads(body))
    server.shutdown()


@pytest.mark.slow
def test_a_plan_comes_from_a_repository(stage):
    """git.md: the options of the page, with a repository on this machine."""
    (block,) = blocks("git.md", "")
    repository = stage.root / "repository"
    live = repository / "live"
    live.mkdir(parents=True)
    (live / "moorage.yaml").write_text(stage.manifest.read_text())
    shutil.copytree(stage.root / "code-web", live / "code-web")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    words = shlex.split(block.replace("https://github.com/OWNER/REPOSITORY", str(repository)))[1:]
    words = [word for word in words if word not in ("--target", "azure")]
    owner = {"MOORAGE_OWNER": "walks"}
    assert "not matches" not in stage.moorage(*words, "--once", code=None, **owner).stdout
    plan = [word for word in words if word not in ("up", "-y")]
    assert "web" in stage.moorage("plan", *plan, code=None, **owner).stdout


@pytest.mark.slow
def test_faults_are_added_listed_and_cleared(stage):
    """local-azure.md: the two faults of the page are in force until `clear`."""
    (text,) = (each for each in blocks("local-azure.md", "") if "faults add" in each)
    lines = [shlex.split(line)[1:] for line in text.splitlines()]
    assert [words[2] for words in lines] == ["add", "add", "list", "clear"]
    for words in lines[:2]:
        stage.moorage(*words)
    listed = stage.moorage(*lines[2]).stdout
    assert "Throttle" in listed
    assert "ResetAfter" in listed
    stage.moorage(*lines[3])
    assert stage.json("local-azure", "faults", "list")["faults"] == []


@pytest.mark.slow
async def test_a_secret_is_put_into_a_vault_as_the_page_shows(stage):
    """local-azure.md: curl finds the vault by a name of this machine and trusts its certificate."""
    (text,) = (each for each in blocks("local-azure.md", "") if "vault.localhost" in each)
    async with outside(stage) as azure:
        await make_vault(azure, stage.facts, GROUP, "kv-phi")
    port = stage.facts["armEndpoint"].rpartition(":")[2]
    typed = text.replace("PORT", port).replace(".moorage/local-azure", str(stage.azure_dir))
    said = shell(typed, TOKEN=await token(stage.facts))
    assert json.loads(said)["id"].startswith("https://kv-phi.vault")


@pytest.mark.slow
async def test_a_label_is_asked_for_as_the_page_shows(stage):
    """local-azure.md: curl reaches the revision with the label `next` by the name in `Host`."""
    (text,) = (each for each in blocks("local-azure.md", "") if "---next" in each)
    async with outside(stage) as azure:
        app = await azure.apps.container_apps.get(GROUP, "web")
        (revision,) = (each.revision_name for each in app.configuration.ingress.traffic)
        traffic = [{"revisionName": revision, "weight": 100, "label": "next"}]
        patch = {"properties": {"configuration": {"ingress": {"traffic": traffic}}}}
        await (await azure.apps.container_apps.begin_update(GROUP, "web", patch)).result()
    port = re.search(r":(\d+)", app.configuration.ingress.fqdn)[1]
    said = shell(text.replace("PORT", port), caFile=stage.ca)
    assert json.loads(said)["revision"] == revision


def test_the_python_of_the_gateway_page_runs(monkeypatch):
    """gateway.md: an answer that is fetched later, and a client whose key is a token of Entra ID,
    as a container app's own identity gets it. The packages ask as the page says.
    """
    states = iter(["queued", "in_progress", "completed"])

    def answers(_, path):
        if path.startswith("/token"):
            assert "resource=api://moorage" in unquote(path)
            until = str(int(time.time()) + 3600)
            return {"access_token": "ey.token", "expires_on": until, "token_type": "Bearer"}
        if path == "/v1/models":
            return {"object": "list", "data": []}
        part = {"type": "output_text", "text": "ahoy", "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
        return {"id": "r", "object": "response", "created_at": 1, "model": "phi"} | {
            "status": next(states),
            "output": [message | {"content": [part]}],
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
        }

    later, entra = blocks("gateway.md", "python")
    server = received(answers)
    url = f"http://127.0.0.1:{server.server_port}"
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    names = {"time": SimpleNamespace(sleep=lambda seconds: None)}
    exec(entra.replace("https://GATEWAY", url), names)
    names["client"].models.list()
    assert server.said[-1][0]["authorization"] == "Bearer ey.token"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(later, names)
    assert said.getvalue() == "ahoy\n"
    assert [json.loads(body)["background"] for _, body in server.said if b"background" in body] == [
        True
    ]
    server.shutdown()


class Receiver(BaseHTTPRequestHandler):
    """Keeps what was posted in `server.said`, and answers with what `server.answers` names for the
    path.
    """

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.said.append(
            (self.headers, self.rfile.read(int(self.headers["content-length"])))
        )
        self.answer()

    def do_GET(self):
        self.server.said.append((self.headers, b""))
        self.answer()

    def answer(self):
        body = json.dumps(self.server.answers(self.command, self.path)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing."""


def received(answers, stage=None):
    """A server of its own thread; with `stage` under the local Azure's certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.said, server.answers = [], answers
    if stage:
        tls = stage.azure_dir / "tls"
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls / "server.pem", tls / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def shell(text, **env):
    """What bash prints for it."""
    call = ["bash", "-euo", "pipefail", "-c", text]
    env = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
