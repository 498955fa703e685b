"""A process that stands in for vLLM where a hundred of them would not fit on a machine: it loads
nothing and says so quickly.

It keeps a replica's contract with the daemon (probes, catalogue, report) and answers chat
completions in a few words to whoever has a key of the catalogue. Standard library only; run by a
replica in place of python3, with whatever arguments the template gives.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLL, HEARTBEAT = 1.0, 5.0  # seconds, as `serving` has them
STARTED = datetime.now(UTC).isoformat()
REPLICA = os.environ.get("CONTAINER_APP_REPLICA_NAME", "replica")


def main() -> None:
    if fault := os.environ.get("FAILS"):
        raise SystemExit(fault)
    threading.Thread(target=_follow, daemon=True).start()
    ThreadingHTTPServer(("", 8000), Probe).serve_forever()


class Probe(BaseHTTPRequestHandler):
    """`keys` are the SHA-256 of the keys in the catalogue."""

    keys: frozenset[str] = frozenset()

    def do_GET(self) -> None:
        self._answer(200, {"ok": True, "reason": ""})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if hashlib.sha256(token.encode()).hexdigest() not in self.keys:
            self._answer(
                401, {"error": {"message": "Incorrect API key.", "code": "invalid_api_key"}}
            )
            return
        said = f"{asked['model']} for {self.headers.get('x-moorage-key-name')} in {REPLICA}"
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"index": 0, "finish_reason": "stop"}
        head = {"id": "c", "created": 1, "model": asked["model"], "usage": usage}
        if not asked.get("stream"):
            choice["message"] = {"role": "assistant", "content": said}
            self._answer(200, {**head, "object": "chat.completion", "choices": [choice]})
            return
        choice["delta"] = {"role": "assistant", "content": said}
        chunk = json.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]})
        body = f"data: {chunk}\n\ndata: [DONE]\n\n".encode()
        self._send(200, "text/event-stream", body)

    def _answer(self, status: int, value: dict) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
            Probe.keys = frozenset(key["sha256"] for key in catalogue.get("apiKeys", ()))
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
