"""The same resources made twice on fresh local Azures: by `moorage up --once`, and by a script of
the real `az` as its documentation has it. From the first command until the service is healthy.

`make clients` installs az. Its sign-in is not counted, nor is the start of the local Azure.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.house import House, code_service, house, save
from tests.benchmarks.report import Figure, Section, median
from tests.clients.conftest import CLIENTS, Az
from tests.local_azure.conftest import LocalAzure

RUNS = 3
PLACE = "-g rg-script -l swedencentral"


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of the commands, their number, and the calls at ARM and Files."""

    seconds: float
    cpu: float
    commands: int
    calls: int


def measure() -> Section:
    if not (CLIENTS / "az" / ".installed").exists():
        raise RuntimeError("az is not in .venv/clients: `make clients` installs it")
    pairs = [(with_moorage(), with_az()) for _ in range(RUNS)]
    rows = [
        (who, cost.seconds, cost.cpu, cost.commands, cost.calls)
        for pair in pairs
        for who, cost in zip(("moorage up --once", "az"), pair, strict=True)
    ]
    ratios = [az.seconds / ours.seconds for ours, az in pairs]
    worst = max(ours.calls - az.calls for ours, az in pairs)
    figures = [
        Figure("az's time to moorage's (median of pairs)", median(ratios), "times", 2, "at least"),
        Figure("calls more than az's", worst, "calls", 0, "at most"),
    ]
    notes = [
        "A resource group, a workspace, an account with a share, a managed environment, the share"
        " registered for reading and for writing, one folder of code, one container app.",
        "Moorage also elects a leader, keeps the history, checks what runs and asks the endpoint.",
    ]
    columns = ("what", "seconds", "CPU s", "commands", "calls")
    return Section("Provisioning against a script of az", figures, columns, rows, notes)


def with_moorage() -> Cost:
    with house() as one:
        one.start_azure()
        save(one.documents / "service.yaml", code_service(one.documents, "web", replicas=1))
        since = time.time()
        done = one.run("up", "--once", "-y", "-f", str(one.documents))
        if done.code:
            raise RuntimeError(done.output[-2000:])
        return Cost(done.wall, done.cpu, 1, len(one.calls(since)))


def with_az() -> Cost:
    with house() as one, tempfile.TemporaryDirectory() as folder:
        one.start_azure()
        code_service(one.documents, "web")
        azure = LocalAzure(one.state / "local-azure").start()
        az = signed_in(azure, Path(folder))
        since, began, cpu = time.time(), time.monotonic(), _children()
        commands = script(az, one, Path(folder))
        seconds, used = time.monotonic() - began, _children() - cpu
        return Cost(seconds, used, commands, len(one.calls(since)))


def signed_in(azure: LocalAzure, folder: Path) -> Az:
    facts = azure.facts
    environment = {
        "REQUESTS_CA_BUNDLE": facts["caFile"],
        "AZURE_CONFIG_DIR": str(folder / "az"),
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        "AZURE_CORE_OUTPUT": "json",
    }
    az = Az([str(CLIENTS / "az" / "bin" / "python"), "-m", "azure.cli"], environment, azure)
    az(f"cloud register -n Local --endpoint-resource-manager {azure.endpoint}/")
    az("cloud set -n Local")
    login = f"-u {facts['clientId']} -p={facts['clientSecret']} --tenant {facts['tenantId']}"
    az(f"login --service-principal {login}")
    return az


def script(az: Az, one: House, folder: Path) -> int:
    """What a pipeline would run, one after the other; how many commands that were."""
    count = 0

    def run(line: str) -> Any:
        nonlocal count
        count += 1
        return az(line)

    run("group create -n rg-script -l swedencentral")
    law = run(f"monitor log-analytics workspace create {PLACE} -n law-script")["customerId"]
    shared = run("monitor log-analytics workspace get-shared-keys -g rg-script -n law-script")
    run(f"storage account create {PLACE} -n stscript --sku Standard_LRS")
    run("storage share-rm create -g rg-script --storage-account stscript -n files --quota 100")
    key = run("storage account keys list -g rg-script -n stscript")[0]["value"]
    account = run("storage account show -g rg-script -n stscript")
    run(
        f"containerapp env create {PLACE} -n cae --logs-workspace-id {law}"
        f" --logs-workspace-key {shlex.quote(shared['primarySharedKey'])}"
    )
    for name, mode in (("files", "ReadOnly"), ("files-rw", "ReadWrite")):
        run(
            f"containerapp env storage set -g rg-script -n cae --storage-name {name} --access-mode"
            f" {mode} --azure-file-account-name stscript --azure-file-account-key {key}"
            " --azure-file-share-name files"
        )
    endpoint = account["primaryEndpoints"]["file"]
    az.environment["AZURE_STORAGE_CONNECTION_STRING"] = (
        "DefaultEndpointsProtocol=https;AccountName=stscript;"
        f"AccountKey={key};FileEndpoint={endpoint}"
    )
    code = one.documents / "code" / "web"
    run("storage directory create -s files -n code")
    run(f"storage file upload-batch -d files --destination-path code -s {code}")
    body = folder / "app.json"
    environment = f"{az.azure.subscription}/resourceGroups/rg-script/providers"
    body.write_text(json.dumps(_app(f"{environment}/Microsoft.App/managedEnvironments/cae")))
    made = run(f"containerapp create -g rg-script -n web --yaml {body}")
    revision = made["properties"]["latestRevisionName"]
    show = f"containerapp revision show -g rg-script -n web --revision {revision}"
    while run(show)["properties"]["healthState"] != "Healthy":
        time.sleep(0.5)
    return count


def _app(environment: str) -> dict[str, Any]:
    """As Moorage writes it: the code from the share, one replica, an address."""
    container = {
        "name": "app",
        "image": "docker.io/library/python:3.11-slim",
        "command": ["/bin/sh", "-c", "cd /code && exec python3 app.py"],
        "resources": {"cpu": 0.5, "memory": "1Gi"},
        "volumeMounts": [{"volumeName": "files", "mountPath": "/code", "subPath": "code"}],
    }
    volume = {"name": "files", "storageType": "AzureFile", "storageName": "files"}
    template = {
        "containers": [container],
        "scale": {"minReplicas": 1, "maxReplicas": 1},
        "volumes": [volume],
    }
    ingress = {"external": True, "targetPort": 8080}
    return {
        "location": "swedencentral",
        "properties": {
            "environmentId": environment,
            "configuration": {"ingress": ingress},
            "template": template,
        },
    }


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
