"""Many small services on a local Azure whose replicas are on paper, and what somebody sees of them
who looks at the state file and the journal alone. Neighbours: `scale` measures, `paper_azure` is
started here.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from infra.local_azure import lifecycle
from infra.local_azure.options import Options
from tests.benchmarks.azure import connected
from tests.benchmarks.house import ROOT, Call, House, code_service, house, save
from tests.e2e.ground import aimed_at
from tests.local_azure.conftest import LocalAzure

_CODE = "code-of-all"
SETTLED = 20.0  # seconds in which a daemon that stands by comes to rest
_ENVIRONMENT = """\
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {{name: {name}}}
spec: {{resourceGroup: rg-{name}}}
"""


class Crowd:
    """`services` code services spread over `environments`; one folder of code serves all."""

    def __init__(self, one: House, services: int, environments: int) -> None:
        self.house, self.services, self._environments = one, services, environments
        self._journal = one.state / "local-azure" / "journal.jsonl"
        self._at = 0
        for number in range(environments):
            name = f"env-{number:02}"
            save(one.documents / f"{name}.yaml", _ENVIRONMENT.format(name=name))
        for number in range(services):
            self.write(number)

    def write(self, number: int, *, most: int = 1) -> float:
        """Save the document of one service with `maxReplicas: most`; when it was there."""
        path = self.house.documents / f"service-{number:04}.yaml"
        text = code_service(self.house.documents, _CODE, replicas=1).replace(
            f"name: {_CODE}}}", f"name: {name_of(number)}}}"
        )
        text = text.replace("maxReplicas: 1", f"maxReplicas: {most}")
        return save(path, text + f"  environment: {self._environment(number)}\n")

    def ready(self) -> list[int]:
        """The services that are Ready at the generation of their document."""
        found = []
        for name, now, observed, conditions in self._rows("name, generation, observed, conditions"):
            statuses = {each["type"]: each["status"] for each in json.loads(conditions)}
            if statuses.get("Ready") == "True" and observed == now:
                found.append(int(name.partition("-")[2]))
        return found

    def told_of(self, since: float) -> set[str]:
        """The services of which a warning was told after `since`, in seconds since the epoch."""
        query = "SELECT document_name FROM events WHERE type='Warning' AND last >= ?"
        return {name for (name,) in self._query(query, since)}

    async def deactivate(self, numbers: Sequence[int]) -> None:
        """Stop the newest revision of services, as somebody else would."""
        folder = self.house.state / "local-azure"
        azure = LocalAzure(folder, facts=lifecycle.facts(Options(folder)))
        async with connected(azure) as arm:
            for number in numbers:
                group = f"rg-{self._environment(number)}"
                app = (
                    f"{azure.subscription}/resourceGroups/{group}"
                    f"/providers/Microsoft.App/containerApps/{name_of(number)}"
                )
                found = await arm.call("GET", app)
                newest = found["properties"]["latestRevisionName"]
                await arm.call("POST", f"{app}/revisions/{newest}/deactivate")

    @contextmanager
    def standing_by(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another daemon of the same documents, as on another machine, once it knows them all."""
        facts = lifecycle.facts(Options(self.house.state / "local-azure"))
        state = self.house.folder / "other"
        environment = {**aimed_at(facts), "MOORAGE_STATE_DIR": str(state)}
        with self.house.up(*options, environment=environment) as daemon:
            known = "SELECT count(*) FROM documents"
            self.house.until(
                lambda: _query(state, known) == [(self.services + self._environments,)],
                daemon,
                300,
                every=1.0,
            )
            time.sleep(SETTLED)
            yield daemon

    def news(self) -> list[Call]:
        """The daemon's calls that were answered since the last time."""
        with self._journal.open() as journal:
            journal.seek(self._at)
            lines = journal.readlines()
            self._at = journal.tell() - (len(lines[-1]) if lines and lines[-1][-1] != "\n" else 0)
        return [call for line in lines if line[-1] == "\n" and (call := Call.read(line))]

    def _environment(self, number: int) -> str:
        return f"env-{number % self._environments:02}"

    def _rows(self, columns: str) -> list[Any]:
        return self._query(f"SELECT {columns} FROM documents WHERE kind='InferenceService'")

    def _query(self, query: str, *values: Any) -> list[Any]:
        return _query(self.house.state, query, *values)


def _query(state: Path, query: str, *values: Any) -> list[Any]:
    """Ask the state file of a daemon; nothing while it is just being made."""
    for path in state.glob("daemon/*/state.db"):
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db,
        ):
            return db.execute(query, values).fetchall()
    return []


def name_of(number: int) -> str:
    return f"web-{number:04}"


@contextmanager
def crowd(services: int, environments: int, *options: str) -> Iterator[Crowd]:
    """A house with its documents and a started local Azure."""
    with house() as one:
        made = Crowd(one, services, environments)
        with _paper_azure(one, *options):
            yield made


@contextmanager
def _paper_azure(one: House, *options: str) -> Iterator[None]:
    folder = one.state / "local-azure"
    line = [sys.executable, "-m", "tests.benchmarks.paper_azure", "serve", "--state-dir"]
    with (one.folder / "azure.log").open("ab") as log:
        azure = subprocess.Popen(
            [*line, str(folder), *options], cwd=ROOT, env=one.environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not lifecycle.healthy(Options(folder)):
            if azure.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((one.folder / "azure.log").read_text()[-3000:])
            time.sleep(0.1)
        yield
    finally:
        azure.terminate()
        azure.wait(60)
