"""A process that stands in for vLLM where a hundred of them would not fit on a machine: it loads
nothing and says so quickly.

It keeps a replica's contract with the daemon (probes, catalogue, report) and answers no API.
Standard library only; run by a replica in place of python3, with whatever arguments the template
gives.
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

POLL, HEARTBEAT = 1.0, 5.0  # seconds, as `serving` has them
STARTED = datetime.now(UTC).isoformat()
REPLICA = os.environ.get("CONTAINER_APP_REPLICA_NAME", "replica")


def main() -> None:
    threading.Thread(target=_follow, daemon=True).start()
    HTTPServer(("", 8000), Probe).serve_forever()


class Probe(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _follow() -> None:
    service, engine = os.environ["MOORAGE_SERVICE"], os.environ["MOORAGE_ENGINE"]
    folder = Path(os.environ["MOORAGE_SHARE"]) / "services" / service / engine / "catalogue"
    catalogue: dict = {}
    newest, reported = "", 0.0
    while True:
        names = sorted(path.name for path in folder.glob("*.json"))
        if names and names[-1] != newest:
            newest, reported = names[-1], 0.0
            catalogue = json.loads((folder / newest).read_text())["catalogue"]
        if time.monotonic() - reported >= HEARTBEAT:
            reported = time.monotonic()
            _report(catalogue)
        time.sleep(POLL)


def _report(catalogue: dict) -> None:
    report = {
        "replica": REPLICA,
        "revision": os.environ.get("CONTAINER_APP_REVISION", ""),
        "pid": os.getpid(),
        "startedAt": STARTED,
        "heartbeat": datetime.now(UTC).isoformat(),
        "generation": catalogue.get("generation"),
        "epoch": catalogue.get("epoch"),
        "modelLoaded": True,
        "ready": True,
        "adapters": [_adapter(adapter) for adapter in catalogue.get("adapters", ())],
        "apiKeys": [key["name"] for key in catalogue.get("apiKeys", ())],
        "message": "",
    }
    target = Path(os.environ["MOORAGE_REPORTS"]) / f"{REPLICA}.json"
    scratch = target.with_name(f".{target.name}.tmp")
    scratch.write_text(json.dumps(report))
    scratch.replace(target)


def _adapter(adapter: dict) -> dict:
    digest = adapter["desired"]["digest"]
    return {
        "name": adapter["name"],
        "digest": digest,
        "desired": digest,
        "state": "Loaded",
        "loadedAt": STARTED,
    }


if __name__ == "__main__":
    main()
