"""What others wrote reaches no reader as more than text: one contract for every way out."""

import io
import json
import logging
import re
from pathlib import Path

import aiohttp
import pytest
import structlog

from reconciler import logs
from reconciler.api.conditions import ConditionType
from reconciler.api.reasons import Reason
from reconciler.chat import wording
from reconciler.chat.state import State, StateKind
from reconciler.cli.app import run
from reconciler.web.notices import cloud_event, notices_of, plain, sentence
from tests.cli.test_json_output import DOCUMENT
from tests.web import worlds
from tests.web.worlds import NOW, World

HOSTILE = (
    "\x1b]0;title\x07\x1b[2J\r\x9b1A\u202egnp.exe\u2066<script>alert(1)</script>"
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\\x1b]52;c;eA==\x07"
)
# Of a text without colours: C0 but tab and newline, DEL, C1, marks of direction, halves of surrogates.
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SHOWN = (
    "status",
    "status phi",
    "status phi -o json",
    "events",
    "events -o json",
    "history phi",
    "history held",
    "adapter list",
    "wait phi --timeout 1s",
    "rollback held",
    "approve -y",
    "validate",
)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A state in which every kind of trouble was told by somebody hostile."""
    monkeypatch.setattr(worlds, "FAILED", HOSTILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    Path("moorage.yaml").write_text(DOCUMENT)
    folder = tmp_path / "state" / "daemon" / "local"
    folder.mkdir(parents=True)
    made = World(folder / "state.db")
    for name, state in (("phi", "fails"), ("stalls", "stalls"), ("held", "held")):
        made.service(name, state)
    made.environment(reason=Reason.AZURE_UNREACHABLE, message=HOSTILE)
    made.store.put("problems", HOSTILE)
    yield made
    made.store.close()


@pytest.mark.parametrize("line", SHOWN)
def test_no_command_prints_what_steers_a_terminal(line, world, capsys):
    """Whatever it shows of conditions, events and problems; test_terminal.py holds that no command
    goes around the guard.
    """
    run(line.split())
    shown = capsys.readouterr()
    assert not STEERS.search(shown.out + shown.err), (shown.out + shown.err)[-2000:]


@pytest.mark.parametrize("text", [HOSTILE, "a: \x1b[2J"])
def test_a_document_and_a_name_are_shown_as_text(text, world, capsys):
    """Errors quote what stands in YAML, and what was typed."""
    Path("moorage.yaml").write_text(f"apiVersion: {json.dumps(text)}\n{json.dumps(text)}: 1\n")
    for line in (["validate"], ["status", text], ["explain", text], ["plan", "-f", text]):
        run(line)
    shown = capsys.readouterr()
    assert not STEERS.search(shown.out + shown.err)


async def test_no_page_steers_a_terminal_or_a_browser(world):
    """Of the daemon: read with curl, or shown. Its JSON holds escapes that a reader must undo."""
    async with world.served() as address, aiohttp.ClientSession() as http:
        for path in ("", "/services/phi", "/services/held", "/events", "/metrics", "/status"):
            async with http.get(address + path) as answer:
                text = await answer.text()
                assert answer.status in (200, 404)
                assert not STEERS.search(text), path
                assert "<script>alert" not in text or answer.content_type == "application/json"


def test_no_notice_steers_who_shows_it(world):
    """CloudEvents and webhooks, the sentence of a chat too."""
    notices = notices_of(world.store, NOW)
    assert any("gnp.exe" in one.message for one in notices.values())
    for one in notices.values():
        for text in (one.message, sentence(one, "local Azure"), plain(one)["message"]):
            assert not STEERS.search(text)
        assert not STEERS.search(cloud_event(one, "/x", NOW)["data"]["message"])


@pytest.mark.parametrize("terminal", [True, False])
def test_no_log_line_steers_who_reads_it(terminal, monkeypatch):
    """The daemon's own lines and those of libraries, on a terminal and in a file."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    before = structlog.get_config()
    try:
        logs.configure(stream)
        structlog.get_logger().warning(HOSTILE, said=HOSTILE, several=[HOSTILE])
        try:
            raise RuntimeError(HOSTILE)
        except RuntimeError:
            structlog.get_logger().exception("failed")
        logging.getLogger("library").error("answered %s", HOSTILE)
    finally:
        structlog.configure(**before)
    written = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert written.count("gnp.exe") >= 4
    assert not STEERS.search(written)


def test_the_chat_page_shows_texts_as_text():
    """Messages of a service, of its state and of a person."""
    state = State(StateKind.DOWN, HOSTILE)
    for html in (
        wording.head(HOSTILE, HOSTILE, state),
        wording.notice(state),
        wording.trouble(HOSTILE),
        wording.waiting([HOSTILE]),
    ):
        assert "<script" not in html
        assert not STEERS.search(html)


def test_the_conditions_hold_what_was_said(world):
    """Otherwise this contract would prove nothing."""
    said = [row.conditions for row in world.store.documents()]
    assert any(
        condition.type == ConditionType.READY and "\x1b" in condition.message
        for conditions in said
        for condition in conditions
    )
