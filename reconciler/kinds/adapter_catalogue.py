"""The catalogue of one engine on the share: which adapters under which alias, and whose keys. A change is a new file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api.reasons import Reason
from reconciler.api.resources import CatalogueSpec
from reconciler.arm import files
from reconciler.engine.external import Change, Desired, Facts, Mark, ObjectKey, Observation, Progress, Wrote
from reconciler.kinds.reports import Reports
from reconciler.kinds.shares import Shares
from serving.catalogue import FILE_NAME, Adapter, AdapterVersion, ApiKey, Catalogue, ReplicaReport

KEPT = 10  # catalogues left on the share, for replicas with an old listing and for people


class AdapterCatalogue:
    """Never overwrites: readers over SMB could see half of a file. The highest valid generation wins."""

    name = "AdapterCatalogue"

    def __init__(self, shares: Shares, reports: Reports) -> None:
        self.shares = shares
        self.reports = reports
        self._read: dict[str, Catalogue | None] = {}

    async def observe(self, desired: Desired, facts: Facts) -> Observation:
        spec: CatalogueSpec = desired.spec
        current, _ = await self._current(spec)
        hashes = _hashes(spec, facts)
        wanted = _wanted(spec, current, hashes, ())
        missing_keys = len(wanted.api_keys) < len(spec.key_names)
        return Observation(
            exists=current is not None,
            ready=current is not None,
            changes=_changes(current, wanted),
            outputs=_outputs(current),
            marks=(Mark("Published", "True", Reason.PUBLISHED, f"catalogue {current.file_name}"),) if current else (),
            # The app makes the keys; their hashes follow as soon as it is there.
            poll_after=1.0 if missing_keys else None,
            provisional=missing_keys,
        )

    async def create(self, desired: Desired, facts: Facts) -> Wrote:
        spec: CatalogueSpec = desired.spec
        share = self.shares.open(spec.share)
        await files.make_parents(share, [f"{spec.folder}/replicas/x", f"{spec.folder}/catalogue/x"])
        return await self._write(spec, facts)

    async def update(self, desired: Desired, observed: Observation, facts: Facts) -> Wrote:
        return await self._write(desired.spec, facts)

    async def delete(self, desired: Desired) -> Wrote | None:
        spec: CatalogueSpec = desired.spec
        await files.delete_tree(self.shares.open(spec.share), f"services/{spec.service}")
        return Wrote(f"delete services/{spec.service}")

    async def poll(self, desired: Desired, operation: str) -> Progress:
        return Progress(done=True)

    async def _write(self, spec: CatalogueSpec, facts: Facts) -> Wrote:
        share = self.shares.open(spec.share)
        reports = await self.reports.of(spec.share, spec.folder)
        current, names = await self._current(spec)
        epoch, generation = _next(names, reports)
        catalogue = _wanted(spec, current, _hashes(spec, facts), reports).model_copy(
            update={"epoch": epoch, "generation": generation}
        )
        await files.write(share, f"{spec.folder}/catalogue/{catalogue.file_name}", catalogue.dump())
        for old in names[:-KEPT]:
            await files.delete(share, f"{spec.folder}/catalogue/{old}")
        return Wrote(f"write catalogue {spec.folder}/catalogue/{catalogue.file_name}")

    async def _current(self, spec: CatalogueSpec) -> tuple[Catalogue | None, list[str]]:
        """The highest valid catalogue and all catalogue file names in ascending order."""
        share = self.shares.open(spec.share)
        entries, _ = await files.list_directory(share, f"{spec.folder}/catalogue")
        listed = sorted((entry.path, entry.etag) for entry in entries if FILE_NAME.match(entry.path))
        for name, etag in reversed(listed):
            known = f"{spec.share}/{spec.folder}/{name}#{etag}"
            if known not in self._read:
                self._read[known] = Catalogue.load(await files.read(share, f"{spec.folder}/catalogue/{name}") or b"")
            catalogue = self._read[known]
            if catalogue is not None and catalogue.file_name == name:
                return catalogue, [each for each, _ in listed]
        return None, [each for each, _ in listed]


def _next(names: Sequence[str], reports: Sequence[ReplicaReport]) -> tuple[int, int]:
    """The next epoch and generation: above every file, and above all that a replica has ever seen, so that a catalogue
    folder that was lost does not leave replicas waiting for a number they passed long ago.
    """
    seen = [(int(match["epoch"]), int(match["generation"])) for name in names if (match := FILE_NAME.match(name))]
    seen += [(report.epoch or 0, report.generation) for report in reports if report.generation]
    epoch, generation = max(seen, default=(1, 0))
    return epoch, generation + 1


def _wanted(
    spec: CatalogueSpec, current: Catalogue | None, hashes: Mapping[str, str], reports: Sequence[ReplicaReport]
) -> Catalogue:
    before = {adapter.name: adapter for adapter in current.adapters} if current else {}
    loaded = {(a.name, a.digest) for report in reports for a in report.adapters if a.state == "Loaded"}
    adapters = []
    for adapter in spec.adapters:
        version = AdapterVersion(digest=adapter.digest, path=adapter.path)
        good = _last_good(before.get(adapter.name), version, loaded)
        adapters.append(Adapter(name=adapter.name, desired=version, last_good=good, required=adapter.required))
    keys = tuple(ApiKey(name=name, sha256=hashes[name]) for name in spec.key_names if name in hashes)
    return Catalogue(
        service=spec.service,
        engine=spec.engine,
        epoch=current.epoch if current else 1,
        generation=current.generation if current else 1,
        adapters=tuple(adapters),
        api_keys=keys,
    )


def _last_good(before: Adapter | None, version: AdapterVersion, loaded: set[tuple[str, str | None]]) -> AdapterVersion | None:
    """What serves while `version` cannot be loaded: the version it replaces, if a replica has loaded that, else what stood
    in for that one.
    """
    if before is None:
        return None
    if before.desired == version:
        return before.last_good
    was_good = any(name == before.name and before.desired.digest.startswith(digest or "-") for name, digest in loaded)
    return before.desired if was_good else before.last_good


def _changes(current: Catalogue | None, wanted: Catalogue) -> tuple[Change, ...]:
    if current is None:
        return ()
    there = {adapter.name: adapter for adapter in current.adapters}
    changes = []
    for adapter in wanted.adapters:
        old = there.pop(adapter.name, None)
        if old is None or old.desired != adapter.desired or old.required != adapter.required:
            path = f"adapters[{adapter.name}].digest"
            changes.append(Change(path, old.desired.digest if old else None, adapter.desired.digest, "hot"))
    changes += [Change(f"adapters[{name}].digest", old.desired.digest, None, "hot") for name, old in there.items()]
    now = {key.name: key.sha256 for key in current.api_keys}
    for name, value in {key.name: key.sha256 for key in wanted.api_keys}.items():
        if now.pop(name, None) != value:
            changes.append(Change(f"apiKeys[{name}]", "(secret)" if name in now else None, "(secret)", "hot"))
    changes += [Change(f"apiKeys[{name}]", "(secret)", None, "hot") for name in now]
    return tuple(changes)


def _hashes(spec: CatalogueSpec, facts: Facts) -> dict[str, str]:
    pairs = facts.last(ObjectKey("ContainerApp", spec.service)).get("apiKeys") or ()
    return {name: value for name, value in pairs if name in spec.key_names}


def _outputs(current: Catalogue | None) -> dict[str, Any]:
    if current is None:
        return {}
    return {
        "epoch": current.epoch,
        "generation": current.generation,
        "adapters": [{"name": adapter.name, "digest": adapter.desired.digest} for adapter in current.adapters],
    }
