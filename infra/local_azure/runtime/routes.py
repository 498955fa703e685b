"""The routing table that the scheduler pushes to the ingress, as JSON. Its reader is
`ingress.table`.
"""

from collections.abc import Iterable
from typing import Any

from .replica import Replica
from .workload import Workload

_LINGER_S = 60.0


class Routes:
    """Builds tables. An app without routes keeps its port for a minute and answers 404 there,
    because it may be between two revisions.
    """

    def __init__(self, request_timeout_s: float) -> None:
        self.azure: int | None = None  # the port of this Azure itself
        self._request_timeout_s = request_timeout_s
        self._seen: dict[int, tuple[dict[str, Any], float]] = {}

    def table(
        self, workloads: Iterable[Workload], replicas: Iterable[Replica], now: float
    ) -> dict[str, Any]:
        ready: dict[str, list[Replica]] = {}
        for replica in replicas:
            if replica.ready:
                ready.setdefault(replica.record.key, []).append(replica)
        revisions: dict[int, list[dict[str, Any]]] = {}
        for workload in workloads:
            if workload.ingress_port is not None and workload.target_port is not None:
                self._seen[workload.ingress_port] = (_app(workload), now)
                item = _revision(workload, ready.get(workload.key, []))
                revisions.setdefault(workload.ingress_port, []).append(item)
        self._seen = {
            port: (app, seen) for port, (app, seen) in self._seen.items() if now - seen <= _LINGER_S
        }
        apps = [
            {**app, "port": port, "revisions": revisions.get(port, [])}
            for port, (app, _) in sorted(self._seen.items())
        ]
        timeout = self._request_timeout_s
        return {"request_timeout_s": timeout, "apps": apps, "azure": self.azure}


def _app(workload: Workload) -> dict[str, Any]:
    routing = workload.routing
    return {
        "name": workload.app,
        "sticky": routing.sticky,
        "allow_insecure": routing.allow_insecure,
        "tcp": routing.tcp,
    }


def _revision(workload: Workload, replicas: Iterable[Replica]) -> dict[str, Any]:
    """`hold`: with minReplicas 0 a request waits for the first replica instead of failing."""
    return {
        "name": workload.revision,
        "key": workload.key,
        "labels": list(workload.routing.labels),
        "weight": workload.weight,
        "hold": workload.min_replicas == 0,
        "replicas": [
            {
                "name": replica.record.name,
                "socket": str(replica.shim_socket),
                "port": workload.target_port,
            }
            for replica in replicas
        ],
    }
