"""Where the chat page finds its service."""

import pytest

from reconciler.chat.state import WORDS, StateKind, words
from reconciler.cli import chat
from reconciler.cli.app import run
from reconciler.cli.chat import _gateway, _place, _predicted
from reconciler.cli.exits import CommandError
from reconciler.settings import Settings
from tests.web.worlds import World

DOCUMENTS = [
    {"kind": "Environment", "name": "other"},
    {
        "kind": "Environment",
        "name": "dev",
        "gateway": {"endpoint": "https://gw-dev.example.com", "services": [{"name": "phi"}]},
    },
    {"kind": "InferenceService", "name": "phi"},
]


def _app(**ingress):
    return {"properties": {"configuration": {"ingress": ingress}}}


def test_a_service_inside_its_environment_is_reached_through_its_gateway():
    """An address of its own comes first; without either, the error names both ways."""
    gateway = _gateway(DOCUMENTS, "phi")
    outside = _app(fqdn="phi.example.com", external=True)
    inside = _app(fqdn="phi.internal.example.com", external=False)
    assert _place("phi", outside, gateway) == ("https://phi.example.com", False)
    assert _place("phi", inside, gateway) == ("https://gw-dev.example.com", True)
    assert _gateway(DOCUMENTS, "web") == ""
    with pytest.raises(CommandError, match=r"ingress\.external: true.*spec\.gateway: {}"):
        _place("phi", inside, _gateway([], "phi"))


def test_a_service_without_an_endpoint_is_refused():
    """Whatever is missing of its ingress."""
    for app in (_app(), {"properties": {"configuration": {"ingress": None}}}, {"properties": {}}):
        with pytest.raises(CommandError, match="has no endpoint"):
            _place("phi", app, "https://gw-dev.example.com")


def test_the_page_knows_how_long_a_start_takes(tmp_path):
    """From what the daemon saw; without a daemon nobody guesses."""
    settings = Settings(
        "azure", "00000000-0000-0000-0000-000000000000", "azure-cli", state_dir=tmp_path
    )
    assert _predicted(settings, "phi") is None
    settings.daemon_dir.mkdir(parents=True)
    world = World(settings.daemon_dir / "state.db", settings.target_key)
    world.service("phi", "starts")
    world.store.close()
    assert _predicted(settings, "phi") == 300
    assert _predicted(settings, "other") is None


def test_who_wakes_it_reads_how_long_it_takes():
    """Asleep and starting; where nobody knows, no number is said."""
    assert "takes about 140 s and is billed" in words(StateKind.ASLEEP, 140)
    assert words(StateKind.STARTING, 140).endswith("loads the model. A start takes about 140 s.")
    assert words(StateKind.STARTING, None) == WORDS[StateKind.STARTING]


def test_a_line_comes_before_anything_that_takes_long(monkeypatch, capsys):
    """Before Azure is asked, so that nobody looks at an empty terminal. Standard output begins with
    the page's address.
    """
    told = []

    def opened(_):
        told.append(capsys.readouterr())
        raise CommandError("no connection")

    settings = Settings("azure", "00000000-0000-0000-0000-000000000000", "azure-cli")
    monkeypatch.setattr(chat, "settings_of", lambda *_: settings)
    monkeypatch.setattr("reconciler.arm.clients.Arm", opened)
    assert run(["chat", "phi", "--listen", "127.0.0.1:0"]) == 1
    assert told == [("", f"looking for phi on the {settings.target_title}…\n")]
