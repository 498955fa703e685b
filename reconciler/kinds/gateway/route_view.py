"""What a gateway's routes should say, from the documents and what was last seen of the services'
container apps and catalogues; and which of their fields differ. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, CatalogueOutputs, RevisionRow, SeenStart
from reconciler.api.reasons import Reason
from reconciler.api.resources import CatalogueKey, GatewayRoutesSpec, RouteSpec
from reconciler.engine.external import Change, Facts, ObjectKey
from reconciler.engine.fingerprint import fingerprint
from reconciler.kinds.service.starts import expected
from serving.catalogue import GATEWAY_KEY, ApiKey
from serving.gateway.routes import (
    GatewayRoutes,
    RoutedModel,
    RoutedService,
    StartFault,
    StartPrediction,
)


def wanted_routes(
    spec: GatewayRoutesSpec, before: GatewayRoutes | None, facts: Facts
) -> GatewayRoutes:
    """The routes; a service is routed once it has an endpoint. `before` supplies the routes of
    services whose documents are refused now and, until the first look at a container app, those of
    its service: a daemon that lost its state must not take a route away.
    """
    there = {service.name: service for service in before.services} if before else {}
    found = [_service(route, facts, there.get(route.service)) for route in spec.services]
    kept = [there[name] for name in spec.kept if name in there]
    return GatewayRoutes(
        environment=spec.environment,
        generation=before.generation if before else 1,
        services=tuple(sorted((*filter(None, found), *kept), key=lambda each: each.name)),
        keys=_keys(spec.keys, _hashes(spec.app, facts, before.keys if before else ())),
        hold=spec.hold,
        cors=spec.cors,
        ca=spec.ca,
        entra=spec.entra,
    )


def lacking(spec: GatewayRoutesSpec, facts: Facts) -> list[str]:
    """The keys that existing container apps have not made yet. An app that does not exist is
    reported by its own object.
    """
    found = []
    wanted = [(spec.app, spec.keys), *((route.service, route.keys) for route in spec.services)]
    for name, keys in wanted:
        app = seen_app(name, facts)
        if app is not None and app.endpoint is not None:
            known = dict(app.api_keys)
            found += [f"{name}/{key.name}" for key in keys if key.name not in known]
    return found


class SeenApp(NamedTuple):
    """The facts of a container app that routes depend on; heartbeats and ages are left out."""

    endpoint: str | None
    api_keys: tuple[tuple[str, str], ...]
    revisions: tuple[RevisionRow, ...]
    replicas: tuple[str, ...]
    engine: str | None
    adapters: tuple[str, ...]
    starts: tuple[SeenStart, ...] = ()

    @classmethod
    def of(cls, app: AppOutputs) -> SeenApp:
        replicas = tuple(replica.name for replica in app.replicas)
        return cls(
            app.endpoint,
            app.api_keys,
            app.revisions,
            replicas,
            app.engine,
            app.served_adapters,
            app.starts,
        )


def seen_app(name: str, facts: Facts) -> SeenApp | None:
    return facts.part(ObjectKey(Kind.APP, name), AppOutputs, SeenApp.of)


def changes_of(current: GatewayRoutes | None, wanted: GatewayRoutes) -> tuple[Change, ...]:
    """The differences that a write would settle; none before there are routes."""
    if current is None or current == wanted:  # so it is at almost every look
        return ()
    before, after = dict(_fields(current)), dict(_fields(wanted))
    paths = [*after, *(path for path in before if path not in after)]
    # A file carries its own hash and is never edited: what differs follows the services.
    return tuple(
        Change(path, before.get(path), after.get(path), "hot", follows=True)
        for path in paths
        if before.get(path) != after.get(path)
    )


def _service(route: RouteSpec, facts: Facts, before: RoutedService | None) -> RoutedService | None:
    app = seen_app(route.service, facts)
    endpoint = app.endpoint if app else before.endpoint if before else None
    if endpoint is None:
        return None
    stopped = _stopped(app.revisions) if app else before.stopped if before else None
    predicted = StartPrediction.model_validate(
        {"seconds": sum(route.startup.values()), "stages": dict(route.startup)}
    )
    fallbacks, dates = dict(route.fallbacks), dict(route.shutdown_dates)
    adapters = tuple(
        RoutedModel(
            name=name,
            kind="adapter",
            aliases=(f"{route.service}/{name}",),
            fallback=fallbacks.get(name),
            shutdown_date=dates.get(name),
        )
        for name in _served(route, app, facts, before)
    )
    return RoutedService(
        name=route.service,
        endpoint=endpoint,
        models=(RoutedModel(name=route.service), *adapters),
        reports=replace(route, engine=(app and app.engine) or route.engine).reports,
        keys=_keys(route.keys, _hashes(route.service, facts, before.keys if before else ())),
        limits=route.limits,
        min_replicas=route.min_replicas,
        predicted=predicted,
        learned=_learned(predicted, app, before),
        stopped=stopped,
        fallback=route.fallback,
    )


def _served(
    route: RouteSpec, app: SeenApp | None, facts: Facts, before: RoutedService | None
) -> tuple[str, ...]:
    """The adapters that replicas answer for: after a rollback, others than the document's. While
    nothing is known of them, the document's and those routed so far.
    """
    if app and app.engine and app.engine != route.engine:  # a rollback: its replicas report them
        return app.adapters or route.adapters
    key = ObjectKey(Kind.CATALOGUE, route.service)
    known = facts.part(key, CatalogueOutputs, partial(_named, route.engine))
    if known is not None:
        return known
    kept = [each.name for each in before.models] if before and app is None else []
    names = dict.fromkeys([*kept, *route.adapters])
    return tuple(name for name in names if name != route.service)


def _named(engine: str, catalogue: CatalogueOutputs) -> tuple[str, ...] | None:
    if catalogue.engine != engine:
        return None
    return tuple(adapter.name for adapter in catalogue.adapters)


def _learned(
    predicted: StartPrediction, app: SeenApp | None, before: RoutedService | None
) -> StartPrediction | None:
    """The prediction by the starts so far, in whole seconds: a gateway needs no finer ones."""
    if app is None:
        return before.learned if before else None
    if not app.starts:
        return None
    found = expected(predicted, app.starts)
    stages = {stage: float(math.ceil(seconds)) for stage, seconds in found.stages.items()}
    return StartPrediction(seconds=math.ceil(found.seconds), stages=stages)


def _stopped(revisions: Iterable[RevisionRow]) -> StartFault | None:
    """Why no replica of the revisions that requests go to can start; None where one can."""
    carrying = [each for each in revisions if each.traffic_weight]
    faults = [fault for each in carrying if (fault := _fault(each))]
    return faults[0] if faults and len(faults) == len(carrying) else None


def _fault(revision: RevisionRow) -> StartFault | None:
    if not revision.active:
        message = f"revision {revision.name} is inactive"
        return StartFault(reason=Reason.REVISION_INACTIVE, message=message)
    if revision.failed:
        message = f"revision {revision.name}: {revision.error or revision.running_state}"
        return StartFault(reason=Reason.REVISION_FAILED, message=message)
    return None


def _hashes(app: str, facts: Facts, before: Iterable[ApiKey]) -> dict[str, str]:
    found = seen_app(app, facts)
    return dict(found.api_keys) if found else {key.name: key.sha256 for key in before}


def _keys(keys: Iterable[CatalogueKey], hashes: Mapping[str, str]) -> tuple[ApiKey, ...]:
    return tuple(
        key.with_hash(hashes[key.name])
        for key in keys
        if key.name in hashes and key.name != GATEWAY_KEY
    )


def _fields(routes: GatewayRoutes) -> Iterator[tuple[str, Any]]:
    """What differs, by path, in words that a person may see."""
    for service in routes.services:
        at = f"services[{service.name}]"
        yield f"{at}.endpoint", service.endpoint
        yield f"{at}.models", ", ".join(model.name for model in service.models)
        yield f"{at}.stopped", service.stopped.message if service.stopped else None
        for key in service.keys:
            yield f"{at}.keys[{key.name}]", _key_words(key)
        rest = service.model_copy(update={"keys": (), "stopped": None})
        yield f"{at}.digest", fingerprint(rest.model_dump(mode="json"))
    for key in routes.keys:
        yield f"keys[{key.name}]", _key_words(key)
    yield "hold", f"{routes.hold.seconds:g} s, {routes.hold.max_requests} requests"
    yield "cors", routes.cors.model_dump(exclude_defaults=True) if routes.cors else None
    yield "entra", routes.entra.model_dump_json(exclude_defaults=True) if routes.entra else None
    yield "ca", fingerprint(routes.ca) if routes.ca else None


def _key_words(key: ApiKey) -> str:
    """A digest, so that not even the key's hash is shown."""
    return fingerprint(key.model_dump(mode="json"))[:12]
