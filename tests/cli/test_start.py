"""What a short command imports, which is most of the time that it takes."""

import os
import subprocess
import sys

import pytest

MAIN = "from reconciler.cli import main; main()"
DOCUMENTS = ("reconciler.api.documents", "ruamel.yaml.main")
AZURE = ("azure.core", "azure.identity", "azure.mgmt.core", "aiohttp")


@pytest.mark.parametrize(
    ("line", "unused"),
    [
        ("--help", (*AZURE, *DOCUMENTS, "pydantic", "rich.console", "reconciler.daemon")),
        ("status", (*AZURE, DOCUMENTS[0], "reconciler.daemon")),
        ("validate", (*AZURE, "rich.console", "reconciler.daemon")),
    ],
)
def test_a_command_imports_what_it_uses(line, unused, tmp_path):
    """`--help` parses nothing, `status` reads no documents, and neither talks to Azure."""
    (tmp_path / "moorage.yaml").write_text(
        "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: default}\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", MAIN, line],
        cwd=tmp_path,
        env={**os.environ, "MOORAGE_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [row.rpartition("|")[2].strip() for row in done.stderr.splitlines() if "|" in row]
    assert "reconciler.cli.app" in rows, done.stderr
    assert sorted(set(unused) & set(rows)) == []
