"""The unmodified az and azcopy in environments of their own, and a local Azure for them. `make
clients` fetches both, and the JavaScript packages.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.local_azure.conftest import LocalAzure

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv" / "clients"
IMAGE = "docker.io/library/python:3.11-slim"
# One argument with blanks in it, which az does not take for an option of its own.
SERVER = (
    "-cimport http.server as h; print('serving', flush=True); h.test(h.SimpleHTTPRequestHandler,"
    " port=8080, bind='127.0.0.1')"
)


@dataclass
class Tool:
    """A program with its environment; `ran` keeps the output of the last call for the message of a
    failure.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run it to the end; what it printed on stdout, or on stderr when it was to fail."""
        call = [*self.command, *arguments]
        environment = {"PATH": os.environ["PATH"], **self.environment}
        done = subprocess.run(
            call, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == status, (
            f"{shlex.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout if status == 0 else done.stderr + done.stdout


@dataclass
class Az(Tool):
    azure: LocalAzure | None = field(default=None, repr=False)

    def __call__(self, line: str, *more: str) -> Any:
        """Run `az LINE MORE…` and read the JSON that it printed."""
        text = self.run(*shlex.split(line), *more)
        return json.loads(text) if text.strip() else None

    def refused(self, line: str, *more: str, status: int = 1) -> str:
        """Run what must fail; what az said."""
        return self.run(*shlex.split(line), *more, status=status)


def installed(name: str) -> Path:
    """The folder of a client, or a skip that says how to get it."""
    folder = CLIENTS / name
    if not (folder / ".installed").exists():
        pytest.skip(
            f"{name} is not in .venv/clients: `make clients` installs it, which takes a package"
            " index (az) and npm (azcopy, javascript)"
        )
    return folder


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAzure]:
    azure = LocalAzure(
        tmp_path_factory.mktemp("azure") / "local-azure", ["--operation-seconds", "0.05"]
    )
    yield azure.start()
    azure.stop()


@pytest.fixture(scope="session")
def az(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Az:
    """az, logged in to the local Azure."""
    python = installed("az") / "bin" / "python"
    environment = {
        "REQUESTS_CA_BUNDLE": azure.facts["caFile"],
        "AZURE_CONFIG_DIR": str(tmp_path_factory.mktemp("az")),
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        "AZURE_CORE_NO_COLOR": "true",
        "AZURE_CORE_OUTPUT": "json",
        "COLUMNS": "200",
    }
    az = Az([str(python), "-m", "azure.cli"], environment, azure)
    az(f"cloud register -n Local --endpoint-resource-manager {azure.endpoint}/")
    az("cloud set -n Local")
    facts = azure.facts
    az(
        f"login --service-principal -u {facts['clientId']} -p={facts['clientSecret']} --tenant"
        f" {facts['tenantId']}"
    )
    return az


@pytest.fixture(scope="session")
def group(az: Az) -> str:
    az("group create -n rg-az -l swedencentral")
    return "rg-az"


@pytest.fixture(scope="session")
def account(az: Az, group: str) -> str:
    """A storage account; az finds its data plane in the environment, as it does on Azure."""
    az(f"storage account create -n staz -g {group} -l swedencentral --sku Standard_LRS")
    key = az(f"storage account keys list -n staz -g {group}")[0]["value"]
    endpoint = az(f"storage account show -n staz -g {group}")["primaryEndpoints"]["file"]
    az.environment["AZURE_STORAGE_CONNECTION_STRING"] = (
        f"DefaultEndpointsProtocol=https;AccountName=staz;AccountKey={key};FileEndpoint={endpoint}"
    )
    return "staz"


@pytest.fixture(scope="session")
def environment(az: Az, group: str) -> str:
    az(f"containerapp env create -n cae -g {group} -l swedencentral --logs-destination none")
    return "cae"


@pytest.fixture(scope="session")
def azcopy(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    folder = installed("azcopy")
    home = tmp_path_factory.mktemp("azcopy")
    environment = {
        "SSL_CERT_FILE": azure.facts["caFile"],
        "LD_LIBRARY_PATH": str(folder / "lib/usr/lib/x86_64-linux-gnu"),
        "AZCOPY_LOG_LOCATION": str(home),
        "AZCOPY_JOB_PLAN_LOCATION": str(home),
        "AZCOPY_DISABLE_SYSLOG": "true",
        "HOME": str(home),
    }
    return Tool([str(folder / "azcopy")], environment)
