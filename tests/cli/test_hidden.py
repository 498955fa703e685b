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
