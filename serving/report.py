"""Writes the replica's report to the share, from a thread in launch, so that a share that hangs or
fails does not stop the server. Only this replica writes the file. The daemon reads it, and ignores
a report with a heartbeat older than 45 s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.catalogue import ReplicaReport, TrafficReport

INTERVAL = 5.0
log = logging.getLogger("moorage.report")


class Reporter:
    """Writes `<folder>/<replica>.json` every few seconds, and at once when `update` changes the
    report.
    """

    def __init__(
        self, folder: Path | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder, self._clock = folder, clock
        self._report: ReplicaReport | None = None
        self._news, self._written, self._stopped = threading.Event(), threading.Event(), False
        self._trouble = ""
        # A daemon thread, so that the process can end while a share hangs.
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)
        if folder is not None:
            self._thread.start()

    def update(self, report: ReplicaReport) -> None:
        """Take over a report; written at once when anything but the heartbeat and what was counted
        changed.
        """
        before, self._report = self._report, report
        if before is None or _news(before) != _news(report):
            self._written.clear()
            self._news.set()

    def close(self, patience: float = 2.0) -> None:
        """Wait a moment for the last report to reach the share."""
        if self._folder is not None and self._report is not None:
            self._written.wait(patience)
        self._stopped = True
        self._news.set()

    def _run(self) -> None:
        while not self._stopped:
            self._news.wait(INTERVAL)
            self._news.clear()
            if (report := self._report) is not None and not self._stopped:
                self._write(report.model_copy(update={"heartbeat": self._clock()}))
            if not self._news.is_set():
                self._written.set()

    def _write(self, report: ReplicaReport) -> None:
        assert self._folder is not None
        target = self._folder / f"{report.replica}.json"
        scratch = self._folder / f".{report.replica}.json.tmp"
        try:
            scratch.write_bytes(report.model_dump_json(by_alias=True, indent=1).encode())
            scratch.replace(target)
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:
                log.warning("the report cannot be written: %s", error)
            self._trouble = str(error)


def _news(report: ReplicaReport) -> dict[str, Any]:
    value = report.model_dump(exclude={"heartbeat", "traffic"})
    for adapter in value["adapters"]:
        for one in (adapter, adapter["canary"] or {}):
            for counted in TrafficReport.model_fields:
                one.pop(counted, None)
    return value
