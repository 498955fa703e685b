"""Scripting faults of a running local Azure, for the tests of faults."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from infra.local_azure.faults import commands
from infra.local_azure.faults.fault_store import FaultStore

ROOT = Path(__file__).parents[2]


GROUPS = "Microsoft.Resources/resourceGroups"


ENVIRONMENT = {"location": "swedencentral", "properties": {"workloadProfiles": []}}


ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


def faults(azure, *words, code=0):
    """`faults …` as a user types it; what it printed."""
    call = [
        sys.executable,
        "-m",
        "infra.local_azure",
        "faults",
        words[0],
        "--state-dir",
        str(azure.state),
        *words[1:],
    ]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def script(azure, tmp_path, *entries, seed=0):
    """Make these the whole script, as `faults load` does."""
    file = tmp_path / "faults.json"  # JSON is YAML
    file.write_text(json.dumps({"seed": seed, "faults": list(entries)}))
    assert commands.load(azure.state / "faults.db", file) == 0


def book(azure):
    return closing(FaultStore(azure.state / "faults.db"))


@pytest.fixture(autouse=True)
def none_left(request):
    """A test's faults end with it."""
    yield
    if "azure" in request.fixturenames:
        with book(request.getfixturevalue("azure")) as opened:
            opened.clear()


async def put_group(clients, name):
    return await clients.raw(
        "PUT", clients.group(name), {"location": "swedencentral"}, version="2025-04-01"
    )
