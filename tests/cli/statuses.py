"""Values as `moorage status -o json` prints them, for the tests of what people read."""

from datetime import UTC, datetime, timedelta
from typing import Any


def stamp(seconds_ago: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": stamp(200),
    }


def conditions(**changed: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Those of a document that is as it should be, but for `changed`."""
    good = {
        "Ready": ("True", "AllGood", ""),
        "Synced": ("True", "InSync", ""),
        "Stalled": ("False", "NotStalled", ""),
        "Progressing": ("False", "InSync", ""),
    }
    return [condition(name, *said) for name, said in (good | changed).items()]


def service(name: str = "phi", **fields: Any) -> dict[str, Any]:
    revision = {
        "name": f"{name}--r549f460d1",
        "active": True,
        "trafficWeight": 100,
        "healthState": "Healthy",
        "runningState": "RunningAtMaxScale",
        "serving": True,
        "error": None,
    }
    adapter = {"name": "support", "digest": "3f9c0000aaaabbbb", "state": "Loaded", "canary": None}
    replica = {
        "name": f"{name}--r549f460d1-w4278l59s-lc7dx",
        "revision": revision["name"],
        "ready": True,
        "restarts": 0,
        "pid": 4711,
        "startedAt": stamp(180),
        "adapters": [adapter],
        "message": "",
        "startup": {"predictedSeconds": 60, "seconds": 58.2},
    }
    return {
        "kind": "InferenceService",
        "name": name,
        "generation": 1,
        "observedGeneration": 1,
        "conditions": conditions(),
        "objects": [],
        "endpoint": f"https://{name}.example",
        "models": [name, "support"],
        "adapters": [{"name": "support", "digest": "3f9c0000aaaabbbb"}],
        "revisions": [revision],
        "replicas": [replica],
        "lookedAt": stamp(5),
        **fields,
    }


def environment(name: str = "default", **changed: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "kind": "Environment",
        "name": name,
        "generation": 1,
        "observedGeneration": 1,
        "conditions": conditions(**changed),
        "objects": [],
    }


def status(*documents: dict[str, Any], running: bool = True) -> dict[str, Any]:
    return {
        "target": "local Azure",
        "daemon": {"running": running, "pid": 123 if running else None},
        "documents": list(documents),
        "set": {"id": "moorage-1", "files": ["/p/moorage.yaml"]},
    }
