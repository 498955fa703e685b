"""What a stage stands on: a local Azure of its own, its journal, and the daemon's state."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.engine.events import Event
from reconciler.engine.store import Store
from reconciler.web.status import status_of

ROOT = Path(__file__).parents[2]
READ_ACTIONS = (
    "/listkeys",
    "/listsecrets",
    "/sharedkeys",
    "/getauthtoken",
    "/listaccountsas",
    "/checknameavailability",
)


class Ground:
    """A state folder with a local Azure; `azure_options` are given to its first start."""

    def __init__(self, state: Path, *azure_options: str) -> None:
        self.state = state
        self.azure_dir = state / "local-azure"
        self.azure_options = azure_options
        self.facts: dict[str, str] = {}
        self._journal: tuple[int, int, list[dict[str, Any]]] = (0, 0, [])  # file, place, entries

    def azure(self, command: str, *options: str) -> Any:
        call = [
            sys.executable,
            "-m",
            "infra.local_azure",
            command,
            "--state-dir",
            str(self.azure_dir),
            "-o",
            "json",
            *options,
        ]
        done = subprocess.run(
            call, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start_azure(self) -> dict[str, str]:
        self.facts = self.azure("start", "--operation-seconds", "0.05", *self.azure_options)
        return self.facts

    @property
    def ca(self) -> str:
        return str(self.azure_dir / "tls" / "ca.pem")

    def journal(self) -> list[dict[str, Any]]:
        """Every request so far: what `moorage local-azure journal -o json` prints, read from its
        file. Only what is new is read, because long tests ask often.
        """
        path = self.azure_dir / "journal.jsonl"
        if not path.exists():
            return []
        with path.open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            known, place, entries = self._journal
            if known != number:
                place, entries = 0, []
            file.seek(place)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        # A line that a kill tore goes on with the next one.
        entries += [json.loads(line) for line in whole.splitlines() if line.endswith(b"}")]
        self._journal = number, place + len(whole), entries
        return list(entries)

    def events(self) -> tuple[Event, ...]:
        """What `moorage events` shows, read from where it reads it, because asking often must be
        cheap.
        """
        store = Store.read(self.state / "daemon" / "local" / "state.db", "local")
        assert store is not None
        try:
            return store.events()
        finally:
            store.close()

    def documents(self) -> list[dict[str, Any]]:
        """The documents of `moorage status -o json`, read from where it reads them."""
        store = Store.read(self.state / "daemon" / "local" / "state.db", "local")
        try:
            documents: list[dict[str, Any]] = status_of(store, "", {})["documents"]
            return documents
        finally:
            if store:
                store.close()

    def document(self, name: str) -> dict[str, Any]:
        return next(found for found in self.documents() if found["name"] == name)

    def writes(self, since: int = 0) -> list[str]:
        """Requests of Moorage from entry `since` on that change something, as `METHOD path status`;
        renewing the lease does not.
        """
        ours = [entry for entry in self.journal()[since:] if entry["client"].startswith("moorage/")]
        return [f"{e['method']} {e['path']} {e['status']}" for e in ours if is_write(e)]


def aimed_at(facts: Mapping[str, str]) -> dict[str, str]:
    """The settings of `--target azure` by which Moorage drives the local Azure that printed
    `facts`.
    """
    return {
        "MOORAGE_TARGET": "azure",
        "MOORAGE_ARM_ENDPOINT": facts["armEndpoint"],
        "MOORAGE_AUTHORITY": facts["authority"],
        "MOORAGE_CA_FILE": facts["caFile"],
        "MOORAGE_SUBSCRIPTION_ID": facts["subscriptionId"],
        "MOORAGE_CREDENTIAL": "service-principal",
        "AZURE_TENANT_ID": facts["tenantId"],
        "AZURE_CLIENT_ID": facts["clientId"],
        "AZURE_CLIENT_SECRET": facts["clientSecret"],
    }


def is_write(entry: dict[str, Any]) -> bool:
    """Whether a journal entry stands for a change of Azure; reading keys is none, nor are
    the lease and the word of who holds it.
    """
    if entry["plane"] == "login" or entry["method"] in ("GET", "HEAD"):
        return False
    if entry["plane"] == "files":
        return "comp=lease" not in entry["query"] and "leader.json" not in entry["path"]
    return not (entry["method"] == "POST" and entry["path"].lower().endswith(READ_ACTIONS))
