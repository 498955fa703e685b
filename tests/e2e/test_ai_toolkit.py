"""docs/from-ai-toolkit.md, walked by a person: every command as it stands there, on an AI Toolkit
project, both ways; and a visit to the chat page in a real browser.

The tests run in order and share the project: the web API is kept, its code changed, then vLLM
serves the same model.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ai_toolkit
from tests.browser import PROGRAM, browser
from tests.e2e.stage import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PAGE = (ROOT / "docs" / "from-ai-toolkit.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")}
CONFIG = "infra/inference.config.json"
KEYS = [
    "SUBSCRIPTION_ID",
    "RESOURCE_GROUP_NAME",
    "STORAGE_ACCOUNT_NAME",
    "FILE_SHARE_NAME",
    "ACA_APP_NAME",
    "ACA_APP_ENDPOINT",
]
ASIDE = "moorage chat"  # stays until it is interrupted: visited by a test of its own


def commands(text: str) -> list[str]:
    """The blocks that name no language: what a person types."""
    return [
        block
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if not language
    ]


class Walk:
    """A shell in the project's folder that types what a section of the page says."""

    def __init__(self, root: Path) -> None:
        self.project = ai_toolkit.build(root / "my-project")
        self.typed: list[str] = []
        hidden = ("MOORAGE_", "AZURE_")
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }
        self.env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        }

    def section(self, title: str) -> str:
        """Type all commands of the section; what they printed. Variables set before are
        still set.
        """
        blocks = [block for block in commands(SECTIONS[title]) if not block.startswith(ASIDE)]
        assert blocks
        kept = re.findall(r"^[A-Z_]+=.*$", "\n".join(self.typed), re.MULTILINE)
        self.typed += blocks
        return self.type("\n".join([*kept, *blocks]))

    def type(self, script: str, code: int = 0) -> str:
        call = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            call,
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        call = [sys.executable, "-c", "from reconciler.cli import main; main()", *arguments]
        return subprocess.Popen(
            call, cwd=self.project, env=self.env, stdout=subprocess.PIPE, text=True
        )

    def config(self) -> dict[str, str]:
        return json.loads((self.project / CONFIG).read_text())

    def ask(self, path: str = "/") -> str:
        return self.type(
            f"curl -s --fail --cacert .moorage/local-azure/tls/ca.pem https://{self.config()['ACA_APP_ENDPOINT']}{path}"
        )


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    one = Walk(tmp_path_factory.mktemp("e"))
    yield one
    one.type("moorage local-azure stop")


@pytest.mark.slow
@pytest.mark.vital
def test_the_web_api_is_kept(walk):
    """Import, plan, provision: the page at /, the adapter's answer at /v1, the configuration filled
    in, and all in sync.
    """
    told = walk.section("Keep the web API you have")
    assert "recommend  one replica is billed round the clock" in told
    assert '"content": "red"' in told
    config = walk.config()
    assert list(config) == KEYS
    assert config["ACA_APP_NAME"] == "my-project"
    assert (walk.project / CONFIG).read_text() == json.dumps(config, indent=2)
    assert "gradio" in walk.ask()
    assert "nothing to do" in walk.type("moorage plan -f moorage.yaml --detailed-exitcode")


@pytest.mark.slow
def test_changed_code_is_published_and_runs(walk):
    """A changed file under inference/: a new revision, and no other folder goes up again."""
    file = walk.project / "inference" / "gradio_chat.py"
    file.write_text(file.read_text().replace('title="Chat"', 'title="Changed"'))
    told = walk.section("Change the code")
    assert told.count("PublishedFolder") == 1
    assert "Changed" in walk.ask()


@pytest.mark.slow
@pytest.mark.vital
def test_vllm_serves_the_same_model(walk):
    """Imported again with the other engine: the app becomes vLLM with a key, and the adapter
    answers as it did.
    """
    told = walk.section("Let vLLM serve the same model")
    assert '"content":"red"' in told
    assert "shareQuota" not in told, "the share keeps what the first import asked for"
    assert "models            my-project, qlora" in told


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine (apt install chromium)"
)
async def test_a_visit_to_the_chat_page(walk, tmp_path):
    """Choose a model, talk, keep the conversation, set sampling, compare side by side; nothing is
    fetched from elsewhere.
    """
    page = walk.start("chat", "my-project", "--listen", "127.0.0.1:0")
    try:
        url = re.search(r"http://\S+", page.stdout.readline())[0]
        async with browser(url) as tab:
            await tab.sees("ready", "#head", 90)
            await tab.sees("on the local Azure", "#head")
            assert await tab.text("#model input") == "qlora"
            await tab.type("#ask textarea", "What is the capital of Italy?", enter=True)
            await tab.sees("red", "#talk", 60)
            await tab.sees("2 tokens", "#pace")  # the word, and the mark that ends the answer
            assert "first token after" in await tab.text("#pace")
            await tab.click("#model input")
            await tab.click("[role=option]", "my-project")
            await tab.type("#length input[type=number]", "4", enter=True)
            await tab.type("#ask textarea", "And of France?")
            await tab.click("#send")
            talk = await tab.sees("plain", "#talk", 60)
            assert (
                talk.index("Italy") < talk.index("red") < talk.index("France") < talk.index("plain")
            )
            await tab.picture(tmp_path / "chat.png")
            await tab.click("#fresh")
            await tab.sees("Ask something", "#talk")
            await tab.click("button[role=tab]", "Compare")
            await tab.sees("Prompt")
            assert (await tab.text("#left-model input"), await tab.text("#right-model input")) == (
                "my-project",
                "qlora",
            )
            await tab.type("#prompt textarea", "What is the capital of Italy?")
            await tab.click("#both")
            await tab.sees("plain", "#left-answer", 60)
            await tab.sees("red", "#right-answer", 60)
            await tab.sees("first token after", "#left-pace")
            await tab.sees("first token after", "#right-pace")
            await tab.picture(tmp_path / "compare.png")
            home = url.removeprefix("http://")
            assert not [
                each
                for each in tab.requests
                if each.startswith(("http", "ws")) and f"//{home}" not in each
            ]
            assert tab.console == []
    finally:
        page.send_signal(signal.SIGINT)
        assert page.wait(90) == 0
        page.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine (apt install chromium)"
)
async def test_a_visit_while_it_sleeps_and_after_it_is_gone(walk):
    """The page of a service at rest says so, wakes nobody by being looked at, and wakes it when
    asked; then the app goes.
    """
    document = walk.project / "moorage.yaml"
    document.write_text(
        document.read_text().replace("{minReplicas: 0,", "{cooldownPeriod: 300, minReplicas: 0,")
    )
    walk.type("moorage deploy")
    page = walk.start("chat", "my-project", "--listen", "127.0.0.1:0")
    try:
        url = re.search(r"http://\S+", page.stdout.readline())[0]
        await asyncio.to_thread(_until_asleep, walk)
        async with browser(url) as tab:
            await tab.sees("Asleep", seconds=90)
            await asyncio.sleep(7)  # two looks of the page
            assert await tab.text("#ask") == ""
            assert await asyncio.to_thread(_asleep, walk)
            await tab.click("#wake")
            await tab.sees("being started")
            await tab.sees("ready", "#head", 300)
            await tab.sees("Send")
            await asyncio.to_thread(walk.type, "moorage down -y")
            await tab.sees("does not exist any more", seconds=60)
    finally:
        page.send_signal(signal.SIGINT)
        assert page.wait(90) == 0
        page.stdout.close()


def _asleep(walk):
    """Whether no replica runs, as `moorage logs` says."""
    done = subprocess.run(
        ["moorage", "logs", "my-project", "--tail", "0"],
        cwd=walk.project,
        env=walk.env,
        capture_output=True,
        text=True,
        check=False,
    )
    return "No replica of my-project runs" in done.stderr


def _until_asleep(walk):
    deadline = time.monotonic() + 500
    while not _asleep(walk):
        assert time.monotonic() < deadline
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.vital
def test_all_of_it_is_taken_away(walk):
    """`down` leaves the storage, and nothing that is billed by the hour."""
    walk.section("Remove it")
    assert "No service 'my-project' is known" in walk.type("moorage key my-project", code=1)


@pytest.mark.slow
def test_no_command_of_the_page_is_left_out(walk):
    """Every block of the page was typed, but for the chat, which has its visit, and the one for a
    subscription.
    """
    assert [
        block for block in commands(PAGE) if block not in walk.typed and not block.startswith(ASIDE)
    ] == []
