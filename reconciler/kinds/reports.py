"""Replica reports on the share: how the daemon knows what every replica really serves."""

from __future__ import annotations

import json
from datetime import timedelta

from pydantic import ValidationError

from reconciler.api.resources import ContainerAppSpec, ShareRef
from reconciler.arm import files
from reconciler.kinds.shares import Shares
from serving.catalogue import ReplicaReport

STALE = timedelta(seconds=45)  # a report older than that is silence


class Reports:
    """Reads reports, each again only when its etag changed: 100 services with quiet replicas cost
    listings alone.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._seen: dict[str, tuple[str, ReplicaReport | None]] = {}

    async def read(self, spec: ContainerAppSpec) -> tuple[ReplicaReport, ...]:
        """The reports of one service's engine; stale ones included, torn ones left out until they
        are whole.
        """
        assert spec.share is not None
        return await self.of(spec.share, f"services/{spec.service}/{spec.engine}")

    async def of(self, share: ShareRef, folder: str) -> tuple[ReplicaReport, ...]:
        opened = self.shares.open(share)
        path = f"{folder}/replicas"
        entries, _ = await files.list_directory(opened, path)
        reports = []
        for entry in entries:
            if not entry.path.endswith(".json") or entry.path.startswith("."):
                continue
            where = f"{share.account}/{share.share}/{path}/{entry.path}"
            known = self._seen.get(where)
            if known is None or known[0] != entry.etag:
                known = (entry.etag, _parsed(await files.read(opened, f"{path}/{entry.path}")))
                self._seen[where] = known
            if known[1] is not None:
                reports.append(known[1])
        return tuple(reports)


def _parsed(data: bytes | None) -> ReplicaReport | None:
    try:
        return ReplicaReport.model_validate(json.loads(data or b""))
    except (ValueError, ValidationError):
        return None
