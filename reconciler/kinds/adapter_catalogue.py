"""The catalogue of one engine on the share: which adapters it serves under which names, and which
API keys it accepts. A change is a new file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, CatalogueOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import CatalogueAdapter, CatalogueSpec
from reconciler.arm import files
from reconciler.engine.external import (
    Desired,
    Facts,
    Identity,
    Mark,
    ObjectKey,
    Observation,
    Wrote,
)
from reconciler.kinds.catalogue import adapter_history
from reconciler.kinds.catalogue.adapter_history import AdapterSet, aimed, folder_of, returned
from reconciler.kinds.catalogue.canary import explained, hold, versions
from reconciler.kinds.catalogue.catalogue_view import changes_of, outputs_of
from reconciler.kinds.connections import Connections
from reconciler.kinds.share.numbered_files import FolderOnShare, NumberedFiles
from reconciler.kinds.share.reports import STALE
from serving.catalogue import (
    FILE_NAME,
    GATEWAY_KEY,
    LONGEST,
    Adapter,
    AdapterVersion,
    ApiKey,
    Catalogue,
    Held,
    ReplicaReport,
)

Loaded = set[tuple[str, str | None]]  # names and digests
TRIAL = 5.0  # seconds between looks at a canary: replicas report as often


class AdapterCatalogue(FolderOnShare):
    """The replicas of an engine follow its highest valid catalogue."""

    name = Kind.CATALOGUE

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections.shares)
        self.reports = connections.reports
        self.catalogues = NumberedFiles(self.shares, FILE_NAME, Catalogue.load, LONGEST)
        self.history = NumberedFiles(
            self.shares, adapter_history.FILE_NAME, AdapterSet.load, LONGEST
        )

    def identify(self, desired: Desired[CatalogueSpec]) -> Identity:
        spec = desired.spec
        return self.shares.identify(desired.key, spec.share, f"services/{spec.service}")

    async def observe(self, desired: Desired[CatalogueSpec], facts: Facts) -> Observation:
        kept = await self.history.all_at_rest(desired.spec.share, folder_of(desired.spec))
        back = adapter_history.standing(desired.spec, kept)
        spec = aimed(desired.spec, back)
        current = await self.catalogues.at_rest(spec.share, f"{spec.folder}/catalogue")
        before = await self._before(spec, current, facts.last(desired.key, CatalogueOutputs))
        reports = await self.reports.of(spec.share, spec.folder) if _asks(spec, back) else ()
        hashes = _hashes(spec, facts, before)
        wanted = _wanted(spec, before, hashes, reports, self.shares.now(), back)
        missing_keys = [key.name for key in spec.keys if key.name not in hashes]
        # The key comes with the gateway's container app, which then wakes this object.
        no_gateway = spec.gateway is not None and GATEWAY_KEY not in hashes
        on_trial = any(adapter.canary for adapter in wanted.adapters)
        unproven = any(one.required and not one.last_good for one in wanted.adapters)
        if unproven:
            # This read makes the app a dependency, so a replica that loads an adapter wakes this
            # object. Otherwise a single run could end before the catalogue says that the adapter
            # was good, and new replicas would not wait for it.
            facts.part(ObjectKey(Kind.APP, spec.service), AppOutputs, _loaded_in)
        held, faults = _held_because(spec, wanted, back), _faults(spec, back)
        changes = changes_of(current or before, wanted)
        if current is not None:
            changes += adapter_history.changes_of(kept, back)
        return Observation(
            exists=current is not None,
            ready=current is not None,
            changes=changes,
            outputs=outputs_of(desired.spec, current, kept),
            marks=_marks(current, faults),
            reason=held[0][0] if held else Reason.PROGRESSING if missing_keys else None,
            message="; ".join(text for _, text in held)
            or (f"waits for the keys {', '.join(missing_keys)}" if missing_keys else ""),
            # The app makes the keys, so their hashes follow once it exists. A canary is judged by
            # what replicas report.
            poll_after=1.0 if missing_keys else TRIAL if on_trial or unproven else None,
            provisional=bool(missing_keys) or on_trial or no_gateway,
            held=bool(held),
            failed=bool(faults),
            unfinished=bool(missing_keys),
        )

    async def create(self, desired: Desired[CatalogueSpec], facts: Facts) -> Wrote:
        spec = desired.spec
        await self.make(spec.share, [f"{spec.folder}/{name}" for name in ("replicas", "catalogue")])
        return await self._write(spec, facts, facts.last(desired.key, CatalogueOutputs))

    async def update(
        self, desired: Desired[CatalogueSpec], observed: Observation, facts: Facts
    ) -> Wrote:
        return await self._write(desired.spec, facts, facts.last(desired.key, CatalogueOutputs))

    async def _write(
        self, spec: CatalogueSpec, facts: Facts, last: CatalogueOutputs | None
    ) -> Wrote:
        kept, numbers = await self.history.all(spec.share, folder_of(spec))
        back = adapter_history.standing(spec, kept)
        spec = aimed(spec, back)
        reports = await self.reports.of(spec.share, spec.folder)
        current, names = await self._current(spec, spec.engine)
        before = await self._before(spec, current, last)
        epoch, generation = _next(names, reports)
        if before is not None and before.engine != spec.engine:
            reports += await self.reports.of(spec.share, f"services/{spec.service}/{before.engine}")
        catalogue = _wanted(
            spec, before, _hashes(spec, facts, before), reports, self.shares.now(), back
        ).model_copy(update={"epoch": epoch, "generation": generation})
        # Written before the catalogue, because replicas must not follow a decision that the history
        # does not have.
        following = adapter_history.following(catalogue, back, numbers, self.shares.now())
        if not kept or kept[-1].served != following.served:
            await self.history.write(spec.share, folder_of(spec), following, numbers)
        folder = f"{spec.folder}/catalogue"
        if spec.adapters:  # replicas mount it, also while no adapter is published
            await self.make(spec.share, ["adapters"])
        await self.catalogues.write(spec.share, folder, catalogue, names)
        decided = [
            f"adapter {a.name}: {a.held.message}; "
            for a in catalogue.adapters
            if a.held and a.held != _held(before, a.name)
        ]
        return Wrote(f"{''.join(decided)}write catalogue {folder}/{catalogue.file_name}")

    async def _before(
        self, spec: CatalogueSpec, current: Catalogue | None, last: CatalogueOutputs | None
    ) -> Catalogue | None:
        """The catalogue to build on, perhaps of a former engine: decisions and good versions
        outlive the engine that they were made with.
        """
        engine = last.engine if last else spec.engine
        if current is not None and engine == spec.engine:
            return current
        _, engines = await files.list_directory(
            self.shares.open(spec.share), f"services/{spec.service}"
        )
        others = [
            (await self._current(spec, engine))[0]
            for engine in engines
            if engine not in (spec.engine, "history")
        ]
        known = {each.engine: each for each in (*others, current) if each}
        return known.get(engine) or max(known.values(), key=_decided, default=None)

    async def _current(
        self, spec: CatalogueSpec, engine: str
    ) -> tuple[Catalogue | None, list[str]]:
        folder = f"services/{spec.service}/{engine}/catalogue"
        return await self.catalogues.newest(spec.share, folder)


def _next(names: Sequence[str], reports: Sequence[ReplicaReport]) -> tuple[int, int]:
    """The next epoch and generation: above every file and every number that a replica reports.
    Otherwise replicas would ignore the catalogues after a loss of the folder, whose numbers they
    have passed long ago.
    """
    seen = [
        (int(match["epoch"]), int(match["generation"]))
        for name in names
        if (match := FILE_NAME.match(name))
    ]
    seen += [(report.epoch or 0, report.generation) for report in reports if report.generation]
    epoch, generation = max(seen, default=(1, 0))
    return epoch, generation + 1


def _decided(catalogue: Catalogue) -> datetime:
    return max(
        (adapter.held.at for adapter in catalogue.adapters if adapter.held),
        default=datetime.min.replace(tzinfo=UTC),
    )


def _held(catalogue: Catalogue | None, name: str) -> Held | None:
    return (
        next((adapter.held for adapter in catalogue.adapters if adapter.name == name), None)
        if catalogue
        else None
    )


def _loaded_in(app: AppOutputs) -> tuple[tuple[str, str], ...]:
    """The versions that replicas serve."""
    rows = (each for replica in app.replicas for each in replica.adapters)
    return tuple(
        sorted({(each.name, each.digest or "") for each in rows if each.state == "Loaded"})
    )


def _asks(spec: CatalogueSpec, back: AdapterSet | None) -> bool:
    """Whether the catalogue depends on what replicas report."""
    adapters: Sequence[Adapter | CatalogueAdapter] = back.adapters if back else spec.adapters
    return any(adapter.canary or adapter.required for adapter in adapters)


def _held_because(
    spec: CatalogueSpec, wanted: Catalogue, back: AdapterSet | None
) -> list[tuple[Reason, str]]:
    """What keeps the catalogue from being what the document asks for, with its reason: adapters
    that cannot be served, then decisions against the document.
    """
    if back is not None:
        return [(Reason.ROLLED_BACK, adapter_history.explained(back))]
    served = {adapter.name: adapter for adapter in wanted.adapters}
    return [
        *((Reason.ADAPTER_FAILED, fault) for fault in _faults(spec, back)),
        *(
            explained(asked, one.held, one.desired)
            for asked in spec.adapters
            if (one := served.get(asked.name)) and one.held
        ),
    ]


def _faults(spec: CatalogueSpec, back: AdapterSet | None) -> list[str]:
    """Why adapters of the document cannot be served; none while an earlier set serves instead."""
    return [] if back else [adapter.fault for adapter in spec.adapters if adapter.fault]


def _marks(current: Catalogue | None, faults: Sequence[str]) -> tuple[Mark, ...]:
    marks = []
    if current:
        said = f"catalogue {current.file_name}"
        marks.append(Mark(ConditionType.PUBLISHED, Status.TRUE, Reason.PUBLISHED, said))
    if faults:
        marks.append(
            Mark(
                ConditionType.ADAPTERS_LOADED,
                Status.FALSE,
                Reason.ADAPTER_FAILED,
                "; ".join(faults),
            )
        )
    return tuple(marks)


def _wanted(
    spec: CatalogueSpec,
    before: Catalogue | None,
    hashes: Mapping[str, str],
    reports: Sequence[ReplicaReport],
    now: datetime,
    back: AdapterSet | None,
) -> Catalogue:
    """The catalogue that should be there: of the document's adapters, or of those of `back`."""
    there = {adapter.name: adapter for adapter in before.adapters} if before else {}
    # A version that was loaded counts as good even when its replicas are gone. A canary is judged
    # by live replicas only.
    loaded = {
        (a.name, a.digest) for report in reports for a in report.adapters if a.state == "Loaded"
    }
    living = [report for report in reports if now - report.heartbeat < STALE]
    since = (before.epoch, before.generation) if before else (0, 0)
    if back is not None:
        adapters = tuple(_again(each, there.get(each.name), loaded) for each in returned(back))
    else:
        # An adapter that cannot be served keeps its previous version; without one it is left out.
        adapters = tuple(
            _adapter(adapter, there.get(adapter.name), living, loaded, now, since)
            for adapter in spec.adapters
            if adapter.digest or adapter.name in there
        )
    return Catalogue(
        service=spec.service,
        engine=spec.engine,
        epoch=before.epoch if before else 1,
        generation=before.generation if before else 1,
        adapters=adapters,
        api_keys=_keys(spec, hashes),
        limits=spec.limits,
        cors=spec.cors,
        log_prompts=spec.log_prompts,
    )


def _again(adapter: Adapter, before: Adapter | None, loaded: Loaded) -> Adapter:
    """An adapter of an earlier set that a person went back to."""
    good = _last_good(before, adapter.desired, loaded, required=adapter.required)
    return adapter.model_copy(update={"last_good": good})


def _adapter(
    adapter: CatalogueAdapter,
    before: Adapter | None,
    living: Sequence[ReplicaReport],
    loaded: Loaded,
    now: datetime,
    since: tuple[int, int],
) -> Adapter:
    held = hold(adapter, before, living, now, since)
    version, canary = versions(_served(adapter, before), before, held)
    return Adapter(
        name=adapter.name,
        desired=version,
        last_good=_last_good(before, version, loaded, required=adapter.required),
        required=adapter.required,
        evaluation=adapter.evaluation,
        canary=canary,
        held=held,
        shutdown_date=adapter.shutdown_date,
    )


def _served(adapter: CatalogueAdapter, before: Adapter | None) -> CatalogueAdapter:
    """The adapter with a version that can be served: its own, or the one before it."""
    if adapter.digest or before is None:
        return adapter
    return replace(adapter, digest=before.desired.digest, path=before.desired.path)


def _last_good(
    before: Adapter | None,
    version: AdapterVersion,
    loaded: Loaded,
    *,
    required: bool,
) -> AdapterVersion | None:
    """The version that serves while `version` cannot be loaded: the one it replaces, if a replica
    has loaded that, else that one's own last good version. For a required adapter without either,
    `version` itself once a replica has loaded it, so that new replicas know that it was good.
    """
    if before is None:
        return None
    was_good = any(
        name == before.name and before.desired.digest.startswith(digest or "-")
        for name, digest in loaded
    )
    if before.desired != version:
        return before.desired if was_good else before.last_good
    return version if required and was_good and not before.last_good else before.last_good


def _hashes(spec: CatalogueSpec, facts: Facts, before: Catalogue | None) -> dict[str, str]:
    """The hashes of the service's keys and of its gateway's key. Until the first look at the
    container app, they are taken from the catalogue `before`: a daemon that lost its state must not
    take everybody's key away.
    """
    there = {key.name: key.sha256 for key in before.api_keys} if before else {}
    names = {key.name for key in spec.keys}
    made = _made(spec.service, facts, there)
    found = {name: value for name, value in made.items() if name in names}
    if spec.gateway is None:
        return found
    gateways = _made(spec.gateway.app, facts, there)
    return found | {name: value for name, value in gateways.items() if name == GATEWAY_KEY}


def _made(app: str, facts: Facts, there: dict[str, str]) -> dict[str, str]:
    key = ObjectKey(Kind.APP, app)
    found = facts.part(key, AppOutputs, lambda app: app.api_keys)
    return there if found is None else dict(found)


def _keys(spec: CatalogueSpec, hashes: Mapping[str, str]) -> tuple[ApiKey, ...]:
    keys = [key.with_hash(hashes[key.name]) for key in spec.keys if key.name in hashes]
    if spec.gateway and GATEWAY_KEY in hashes:
        own, limits = hashes[GATEWAY_KEY], spec.gateway.limits
        keys.append(ApiKey(name=GATEWAY_KEY, sha256=own, limits=limits, evaluation=True))
    return tuple(keys)
