"""The routing table that the scheduler pushes to the ingress, as JSON. Its reader is `ingress.table`."""

from collections.abc import Collection, Iterable
from typing import Any

from .replica import Replica
from .workload import Workload

_LINGER_S = 60.0


class Routes:
    """Builds tables. An app that vanished keeps its port for a minute and answers 404 there (between two revisions)."""

    def __init__(self, request_timeout_s: float) -> None:
        self._request_timeout_s = request_timeout_s
        self._ports: dict[str, tuple[int, float]] = {}

    def table(self, workloads: Iterable[Workload], replicas: Iterable[Replica], now: float) -> dict[str, Any]:
        ready: dict[str, list[Replica]] = {}
        for replica in replicas:
            if replica.ready:
                ready.setdefault(replica.record.revision, []).append(replica)
        apps: dict[str, list[dict[str, Any]]] = {}
        for workload in workloads:
            if workload.ingress_port is None or workload.target_port is None:
                self._ports.pop(workload.app, None)
                continue
            self._ports[workload.app] = (workload.ingress_port, now)
            apps.setdefault(workload.app, []).append(_revision(workload, ready.get(workload.revision, [])))
        self._forget({workload_port for workload_port, _ in (self._ports[app] for app in apps)}, apps, now)
        listed = [{"name": app, "port": port, "revisions": apps.get(app, [])} for app, (port, _) in sorted(self._ports.items())]
        return {"request_timeout_s": self._request_timeout_s, "apps": listed}

    def _forget(self, ports: Collection[int], apps: Collection[str], now: float) -> None:
        for app, (port, seen) in list(self._ports.items()):
            if app not in apps and (now - seen > _LINGER_S or port in ports):
                del self._ports[app]


def _revision(workload: Workload, replicas: Iterable[Replica]) -> dict[str, Any]:
    """`hold`: with minReplicas 0 a request waits for the first replica instead of failing."""
    return {
        "name": workload.revision,
        "weight": workload.weight,
        "hold": workload.min_replicas == 0,
        "replicas": [
            {"name": replica.record.name, "socket": str(replica.shim_socket), "port": workload.target_port}
            for replica in replicas
        ],
    }
