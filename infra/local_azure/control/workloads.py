"""From a stored revision to the `Workload` that the scheduler runs, and the shares of traffic. Used
by `apps`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from infra.local_azure.runtime.schedule import CronRule
from infra.local_azure.runtime.workload import Refusal, Routing, Step, Workload
from infra.local_azure.store import Record, Store

from . import mounts, naming, quotas
from .mounts import MountError, Mounts

Body = dict[str, Any]
_GUESSED_PORT = 80  # Azure looks where the container listens when no port is named


class Workloads:
    """Makes workloads. `mounts` knows where the volumes lie."""

    def __init__(self, store: Store, mounts: Mounts) -> None:
        self._store = store
        self._mounts = mounts

    def of(self, app: Record, revision: Record) -> Workload:
        """The workload of a revision. If a volume cannot be mounted, no new replica starts; running
        ones stay.
        """
        template, ingress = (
            revision.body["template"],
            app.body["properties"]["configuration"]["ingress"],
        )
        container, scale = template["containers"][0], template["scale"]
        environment = self._store.get(app.private["environment"])
        profile = revision.body["workloadProfileName"]
        plain = Workload(
            app=app.name,
            app_id=naming.app_id(app),
            revision=revision.name,
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env={},
            mounts=(),
            probes=tuple(container.get("probes", ())),
            target_port=ingress["targetPort"] or _GUESSED_PORT if ingress else None,
            ingress_port=app.private["port"] if ingress else None,
            fqdn=naming.fqdn(app) if ingress else "",
            dns_suffix=environment.private["domain"] if environment else "",
            min_replicas=int(scale["minReplicas"] or 0),
            max_replicas=int(scale["maxReplicas"]),
            concurrent_requests=_concurrency(scale["rules"]),
            cooldown_s=float(scale["cooldownPeriod"]),
            schedules=tuple(_schedules(scale["rules"])),
            termination_grace_s=float(template["terminationGracePeriodSeconds"] or 30),
            weight=weights(app, routed=True).get(revision.name, 0),
            container=container["name"],
            claims=quotas.claims(environment, profile) if environment else (),
            gpu=quotas.has_gpu(environment, profile) if environment else False,
            routing=_routing(app, revision),
        )
        try:
            return replace(plain, **self._mounted(app, revision))
        except MountError as failed:
            return replace(plain, refusal=Refusal(failed.reason, str(failed)))

    def _mounted(self, app: Record, revision: Record) -> dict[str, Any]:
        """The fields of a workload that depend on volumes and secrets. Raises MountError if one
        cannot be mounted or read.
        """
        template, secrets = revision.body["template"], revision.private["secrets"]
        container, *others = template["containers"]
        return {
            "env": mounts.environment(container, secrets),
            "mounts": self._mounts.of(app.private["environment"], template, container, secrets),
            "first": tuple(
                self._step(app, revision, entry) for entry in template["initContainers"] or []
            ),
            "beside": tuple(self._step(app, revision, entry) for entry in others),
        }

    def _step(self, app: Record, revision: Record, container: Body) -> Step:
        secrets = revision.private["secrets"]
        return Step(
            name=container["name"],
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env=mounts.environment(container, secrets),
            mounts=self._mounts.of(
                app.private["environment"], revision.body["template"], container, secrets
            ),
        )


def weights(app: Record, *, routed: bool = False) -> dict[str, int]:
    """Revision -> share of traffic. `routed` says where requests go: to the last ready revision
    until the newest is ready.
    """
    properties = app.body["properties"]
    ingress = properties["configuration"]["ingress"]
    newest = properties.get("latestRevisionName")
    ready = properties.get("latestReadyRevisionName") or newest
    latest = ready if routed else newest
    if not ingress or not latest:
        return {}
    if properties["configuration"]["activeRevisionsMode"] == "Single":
        return {latest: 100}
    shares: Counter[str] = Counter()
    for entry in ingress["traffic"]:
        shares[latest if entry.get("latestRevision") else entry["revisionName"]] += entry["weight"]
    return dict(shares)


def _routing(app: Record, revision: Record) -> Routing:
    """Labels name a revision in Multiple mode only, a client sticks to its replica in Single mode
    only.
    """
    properties = app.body["properties"]
    ingress, newest = properties["configuration"]["ingress"], properties.get("latestRevisionName")
    if not ingress:
        return Routing()
    single = properties["configuration"]["activeRevisionsMode"] == "Single"
    labels = [
        str(entry["label"]).lower()
        for entry in ingress["traffic"] or []
        if entry.get("label")
        and revision.name == (newest if entry.get("latestRevision") else entry.get("revisionName"))
    ]
    affinity = str((ingress["stickySessions"] or {}).get("affinity") or "none").lower()
    return Routing(
        labels=() if single else tuple(labels),
        sticky=single and affinity == "sticky",
        allow_insecure=bool(ingress["allowInsecure"]),
        tcp=ingress["transport"] == "Tcp",
    )


def _schedules(rules: list[Body] | None) -> Iterator[CronRule]:
    for rule in rules or []:
        custom = rule.get("custom") or {}
        if str(custom.get("type")).lower() == "cron":
            given = custom.get("metadata") or {}
            count = str(given.get("desiredReplicas", ""))
            start, end, zone = (str(given.get(key, "")) for key in ("start", "end", "timezone"))
            yield CronRule(start, end, zone, int(count) if count.isdigit() else 0)


def _concurrency(rules: list[Body] | None) -> int:
    """What the first http or tcp rule allows one replica; Azure's default rule has ten."""
    for rule in rules or []:
        for kind, name in (("http", "concurrentRequests"), ("tcp", "concurrentConnections")):
            if rule.get(kind):
                return int((rule[kind].get("metadata") or {}).get(name, 10))
    return 10
