"""A report to paste holds no secret, wherever a person put it."""

import pytest

from reconciler.cli.app import run
from reconciler.cli.hidden import HIDDEN, HiddenValues

SECRET = "S3CRET-of-somebody"
DOCUMENT = f"""\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: web}}
spec:
  code: ./app
  command: [python, main.py, --password={SECRET}1, --db-token, {SECRET}2, --max-tokens, "24"]
  env:
    - {{name: ANYTHING, value: {SECRET}3}}
    - {{name: URL, value: "postgres://u:{SECRET}4@db/x"}}
  # {SECRET}5
  engine: {{args: {{api-key: {SECRET}6, max-model-len: 1024, served: "http://u:{SECRET}7@h"}}}}
"""
SETTINGS = {
    "MOORAGE_WEB_TOKEN": SECRET,
    "MOORAGE_NOTIFY_URL": f"https://hooks.example.com/{SECRET}",
    "AZURE_CLIENT_SECRET": SECRET,
    "HF_TOKEN": SECRET,
    "MOORAGE_GIT_TOKEN": SECRET,
}


def test_a_report_holds_no_secret_of_documents_settings_and_logs(tmp_path, monkeypatch, capsys):
    """Flags, variables, addresses, comments; and the log of a daemon that repeats one of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "moorage.yaml").write_text(DOCUMENT)
    log = tmp_path / "state" / "daemon" / "local" / "daemon.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"\n{{}}\n{{}} connecting with {SECRET}3 to {SECRET}2\n")

    assert run(["diagnose"]) == 0
    report = capsys.readouterr().out
    assert SECRET not in report
    assert "connecting with" in report
    for kept in ("main.py", "max-model-len: 1024", "--max-tokens", "'24'", "ANYTHING"):
        assert kept in report
    assert all(name in report for name in SETTINGS)


@pytest.mark.parametrize(
    ("value", "shown", "reason"),
    [
        ({"tokenizer": "gpt2"}, {"tokenizer": "gpt2"}, "no secret, though the name begins so"),
        ({"maxTokens": 24}, {"maxTokens": 24}, "a number is no secret"),
        ({"accountKey": "x"}, {"accountKey": HIDDEN}, "a name in one word"),
        ({"apiKeys": [{"name": "default"}]}, {"apiKeys": [{"name": "default"}]}, "names of keys"),
        (["sh", "-c", "TOKEN=x python a.py"], ["sh", "-c", f"TOKEN={HIDDEN} python a.py"], "shell"),
        (["--key", "--other"], ["--key", "--other"], "a flag is no value"),
    ],
)
def test_what_is_hidden(value, shown, reason):
    """By the name of the field, the flag or the variable."""
    assert HiddenValues({}).of_document(value) == shown, reason


SAID = [
    f"connected with token={SECRET}",
    f"password: {SECRET}",
    f'{{"api_key": "{SECRET}", "model": "phi"}}',
    f"Authorization: Bearer {SECRET}",
    f"Server=x;User Id=a;Password={SECRET};Encrypt=yes",
    f"GET /share/a?sv=2024&sig={SECRET}&se=2027",
    f"amqp://bob:{SECRET}@host/queue",
    "ghp_" + "a1B2" * 9,
    "sk-proj-" + "a1B2" * 5,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl",
    "a1B2" * 21 + "c3==",
]


@pytest.mark.parametrize("line", SAID)
def test_a_log_that_prints_a_secret_of_its_own(line):
    """No document knows the value: its name or its form tells."""
    shown = HiddenValues({}).clean(f"2026-11-30T06:16:44Z INFO {line} and goes on")
    assert HIDDEN in shown
    assert SECRET not in shown
    assert "a1B2" not in shown
    assert "eyJ" not in shown
    assert shown.startswith("2026-11-30T06:16:44Z INFO ")
    assert shown.endswith("and goes on")


@pytest.mark.parametrize(
    "line",
    [
        "Engine 000: prompt_tokens=24 max tokens: 4096",
        "  API key   moorage key gw-dev",
        "phi serves support@3f9c21aa0000 on 1 of 1 replica",
        "revision web--r1: 0 of 1 replicas are ready; https://localhost:8000/v1",
        "db-password: (hidden)",
    ],
)
def test_a_log_without_a_secret_stays_as_it_is(line):
    """Counts, names, addresses and what is hidden already."""
    assert HiddenValues({}).clean(line) == line


def test_a_long_line_is_cleaned_at_once():
    """Each name is short, so that a line of a megabyte takes no more than its length."""
    import time

    began = time.monotonic()
    HiddenValues({}).clean("key" * 100_000 + " " + "a:" * 100_000)
    assert time.monotonic() - began < 20
