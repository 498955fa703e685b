"""Replica reports on the share: how the daemon knows what every replica really serves.

A report is written by whatever code runs in the replica, so it is read within bounds and checked
against its schema. One that cannot be read is reported as that replica's fault.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from reconciler.api.resources import ContainerAppSpec, ShareRef
from reconciler.arm import files
from reconciler.arm.files import Entry
from reconciler.arm.share import Share
from reconciler.kinds.share.shares import Shares
from serving.catalogue import ReplicaReport, earlier
from serving.untrusted import UntrustedError, parse

STALE = timedelta(seconds=45)  # a report older than that is silence
MOST = 500  # reports of one engine that are read, the latest
AGREEING = timedelta(seconds=15)  # a report is written as fast as the share takes it
LONGEST = 2 << 20  # bytes of one; a hundred adapters with long errors are half of that


class Reports:
    """Reads reports. One whose etag is unchanged is not read again, so quiet replicas cost listings
    only.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._seen: dict[str, tuple[str, ReplicaReport]] = {}

    async def read(self, spec: ContainerAppSpec) -> tuple[ReplicaReport, ...]:
        """The reports of one service's engine, stale ones included. A report that cannot be read is
        replaced by the replica's last good one until that is stale, then by one with `unreadable`.
        """
        assert spec.share is not None
        return await self.of(spec.share, f"services/{spec.service}/{spec.engine}")

    async def of_service(self, share: ShareRef, service: str) -> tuple[ReplicaReport, ...]:
        """The reports of all engines of a service. Each replica writes to the folder of its own."""
        _, engines = await files.list_directory(self.shares.open(share), f"services/{service}")
        found = [await self.of(share, f"services/{service}/{engine}") for engine in engines]
        return tuple(report for each in found for report in each)

    async def of(self, share: ShareRef, folder: str) -> tuple[ReplicaReport, ...]:
        opened = self.shares.open(share)
        path = f"{folder}/replicas"
        entries, _ = await files.list_directory(opened, path)
        named = [e for e in entries if e.path.endswith(".json") and not e.path.startswith(".")]
        oldest = datetime.min.replace(tzinfo=UTC)
        named.sort(key=lambda entry: entry.modified or oldest, reverse=True)
        reports = []
        for entry in sorted(named[:MOST], key=lambda entry: entry.path):
            where = f"{share.account}/{share.share}/{path}/{entry.path}"
            known = self._seen.get(where)
            if known is None or known[0] != entry.etag or known[1].unreadable:
                found = await _report(opened, f"{path}/{entry.path}", entry)
                if found.unreadable and known and _fresh(known[1], opened.arm.time.now()):
                    found = known[1]
                self._seen[where] = known = (entry.etag, found)
            reports.append(known[1])
        return tuple(reports)


async def _report(share: Share, path: str, entry: Entry) -> ReplicaReport:
    name, now = entry.path.removesuffix(".json"), share.arm.time.now()
    written = entry.modified or now
    try:
        if entry.size > LONGEST:  # the listing gives the size, so the file is not fetched
            raise UntrustedError(f"it has more than {LONGEST} bytes")
        report = ReplicaReport.model_validate(parse(await files.read(share, path, LONGEST) or b""))
        if report.replica != name:
            raise UntrustedError(f"it is the report of {report.replica[:100]!r}")
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(step) for step in first["loc"][:5])
        return _unreadable(name, written, f"{at[:100]}: {first['msg'][:200]}")
    except UntrustedError as error:
        return _unreadable(name, written, str(error))
    # A replica whose clock is wrong would be stale at once, or never.
    ahead = report.heartbeat - written
    return report if abs(ahead) < AGREEING else earlier(report, ahead)


def _unreadable(name: str, written: datetime, why: str) -> ReplicaReport:
    return ReplicaReport(
        replica=name,
        revision="",
        pid=0,
        started_at=written,
        heartbeat=written,
        generation=None,
        model_loaded=False,
        ready=False,
        message=f"its report cannot be read: {why}",
        unreadable=why,
    )


def _fresh(report: ReplicaReport, now: datetime) -> bool:
    return not report.unreadable and now - report.heartbeat < STALE
