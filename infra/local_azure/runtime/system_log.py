"""System events of an app as JSON lines, shaped as Container Apps' system log stream. The scheduler
and its replicas write.
"""

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

_MAX_BYTES = 1024 * 1024


class SystemLog:
    """One file per app under `directory`; past 1 MiB it becomes `<name>.1`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, app_id: str) -> Path:
        """The app's name and a few letters of its id: two groups may have an app of one name."""
        low = app_id.lower()
        return (
            self._directory
            / f"{low.rpartition('/')[2]}-{hashlib.sha256(low.encode()).hexdigest()[:8]}.log"
        )

    def write(
        self,
        app_id: str,
        reason: str,
        message: str,
        *,
        revision: str = "",
        replica: str = "",
        warning: bool = False,
        count: int = 1,
    ) -> None:
        """Appends one event. `message` must hold no secret: never a command line or an
        environment.
        """
        event = {
            "TimeStamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " +0000 UTC",
            "Type": "Warning" if warning else "Normal",
            "ContainerAppName": app_id.rpartition("/")[2],
            "RevisionName": revision,
            "ReplicaName": replica,
            "Msg": message,
            "Reason": reason,
            "EventSource": "ContainerAppController",
            "Count": count,
        }
        path = self.path(app_id)
        with suppress(OSError):  # a full disk must not stop the scheduler
            if path.exists() and path.stat().st_size > _MAX_BYTES:
                path.replace(path.with_name(path.name + ".1"))
            with path.open("a") as log:
                log.write(json.dumps(event) + "\n")
