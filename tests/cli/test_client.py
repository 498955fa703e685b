"""`moorage client`: settings that work when they are pasted."""

import json
import subprocess
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from reconciler.cli.client import gateway_of
from reconciler.cli.exits import CommandError
from reconciler.cli.logs import LineFilter
from reconciler.cli.output.log_folds import Fold
from reconciler.web.snippets import FORMATS, PLACEHOLDER, Access, curl

LOCAL = Access("phi", "https://localhost:20921", ("phi", "support"), "/p/ca.pem", "moorage key phi")
AZURE = Access("phi", "https://phi.example.io", ("phi",), "", "moorage key phi --target azure")


@pytest.mark.parametrize("access", [LOCAL, AZURE], ids=["local", "azure"])
@pytest.mark.parametrize("client", FORMATS)
def test_every_client_gets_address_model_key_and_trust(client, access):
    """The address with /v1, the model, where the key comes from, and the CA only where one is
    needed.
    """
    text = FORMATS[client][1](access)
    assert f"{access.endpoint}/v1" in text
    assert access.model in text
    assert access.in_shell in text or PLACEHOLDER in text
    assert (access.ca in text) if access.ca else "pem" not in text.lower()


@pytest.mark.parametrize("client", FORMATS)
def test_the_key_is_in_the_text_only_when_it_was_asked_for(client):
    """By default a shell reads it from `moorage key`, and a file has a placeholder."""
    assert "mk-secret" in FORMATS[client][1](replace(LOCAL, key="mk-secret"))
    assert "mk-" not in FORMATS[client][1](LOCAL)


@pytest.mark.parametrize("client", ["curl", "python", "javascript", "env", "open-webui"])
def test_what_a_shell_reads_is_valid_shell(client):
    """Bash parses each of them without running it."""
    text = FORMATS[client][1](LOCAL)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)


def test_continue_reads_its_settings():
    """The YAML names one model for each name that clients may send."""
    value = YAML(typ="safe").load(FORMATS["continue"][1](LOCAL))
    assert [each["model"] for each in value["models"]] == ["phi", "support"]
    assert {each["provider"] for each in value["models"]} == {"openai"}


def test_the_header_of_ai_toolkit_is_json():
    """AI Toolkit takes the headers as one JSON object."""
    line = next(
        line for line in FORMATS["ai-toolkit"][1](LOCAL).splitlines() if line.startswith("HTTP")
    )
    assert json.loads(line.removeprefix("HTTP headers   ")) == {"Authorization": "Bearer API_KEY"}


def test_a_service_of_own_code_is_asked_for_its_root():
    """There is no model to name."""
    own = Access("web", "https://localhost:1", (), "", "")
    assert curl(own) == "curl -s https://localhost:1/"


def test_a_gateway_has_the_models_of_the_services_behind_it():
    """Under the names that its callers use: a name that two services have is qualified, a service
    that is not behind it has none; the example names a base model.
    """
    services = [
        {"name": "phi", "models": ["phi", "support"]},
        {"name": "chat", "models": ["chat", "support", "sales"]},
        {"name": "web", "models": []},
        {"name": "apart", "models": ["apart"]},
    ]
    behind = [{"name": name} for name in ("phi", "chat")]
    gateway = {"name": "gw-dev", "endpoint": "https://gw", "services": behind}
    found = gateway_of({"name": "dev", "gateway": gateway}, services)
    assert found == {
        "name": "gw-dev",
        "endpoint": "https://gw",
        "models": ["phi/support", "chat", "chat/support", "sales", "phi"],
    }
    access = Access(
        found["name"], found["endpoint"], tuple(found["models"]), "", "moorage key gw-dev"
    )
    assert '"model": "phi"' in curl(access)
    assert "https://gw/v1/chat/completions" in curl(access)


LINES = [
    "2020-01-01T00:00:00.1234567Z old",
    "  a line of the old one",
    "2999-01-01T00:00:00.1Z new",
    "  a line of the new one",
]


@pytest.mark.parametrize(
    ("since", "grep", "kept"),
    [
        ("", "", LINES),
        ("10m", "", LINES[2:]),
        ("", "old", LINES[:2]),
        ("2h", "line|new", LINES[2:]),
        ("99999d", "", LINES),
    ],
)
def test_logs_are_filtered_by_age_and_pattern(since, grep, kept):
    """A line without a time belongs to the line before it."""
    wanted = LineFilter.of(since, grep)
    assert [line for line in LINES if wanted.takes(line)] == kept


NOISE = [
    "12:00:01 GET /ready 200",
    "12:00:06 GET /ready 200",
    "12:00:11 GET /ready 200",
    "12:00:12 loaded support@3f9c",
    "12:00:13 ERROR out of memory 1",
    "12:00:14 ERROR out of memory 2",
]


def test_a_terminal_gets_lines_that_repeat_as_a_count():
    """Lines that differ in numbers alone are counted, errors never; a pipe gets every line."""

    def printed(*, on):
        fold = Fold(on=on)
        return [*(each for line in NOISE for each in fold.lines(line)), *fold.rest()]

    assert printed(on=False) == NOISE
    assert printed(on=True) == [NOISE[0], "… 2 more like this", *NOISE[3:]]


def test_lines_that_take_turns_fold_too():
    """vLLM's figures between probes are one noise; the stream's own greeting is nobody's line."""
    figures = "12:00:0{} Engine 000: Avg generation throughput: {} tokens/s"
    said = [
        "2026-11-30T05:45:08.96Z Connecting to the container 'app'...",
        "2026-11-30T05:45:08.96Z Successfully Connected to container: 'app' [Revision: 'r1']",
        *(line for n in range(4) for line in (f"12:00:0{n} GET /ready 200", figures.format(n, n))),
        "12:00:12 loaded support@3f9c",
    ]
    fold = Fold(on=True)
    shown = [*(each for line in said for each in fold.lines(line)), *fold.rest()]
    assert shown == [said[2], said[3], "… 6 more like these", said[-1]]


@pytest.mark.parametrize(("since", "grep"), [("soon", ""), ("10 minutes", ""), ("", "(")])
def test_a_filter_that_cannot_be_used_is_refused(since, grep):
    """Exit code 2 with a sentence."""
    with pytest.raises(CommandError, match=r"must be such as|no regular expression"):
        LineFilter.of(since, grep)
