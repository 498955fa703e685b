"""A catalogue as people see it: which of its fields differ, and its part of the status. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reconciler.api.outputs import (
    AdapterOutputs,
    CatalogueOutputs,
    HeldOutputs,
    NamedVersion,
    TrialOutputs,
)
from reconciler.api.resources import CatalogueAdapter, CatalogueSpec
from reconciler.engine.external import Change
from reconciler.engine.fingerprint import fingerprint
from reconciler.kinds.catalogue import adapter_history
from reconciler.kinds.catalogue.adapter_history import AdapterSet
from reconciler.kinds.catalogue.canary import SHORT, asked, source_of
from serving.catalogue import Adapter, ApiKey, Catalogue, Expectation


def changes_of(current: Catalogue | None, wanted: Catalogue) -> tuple[Change, ...]:
    """The differences that a write would settle; none before there is a catalogue. Of a new engine,
    `current` is the catalogue of the one before it, whose adapters the replicas have.
    """
    if current is None:
        return ()
    before, after = _fields(current), _fields(wanted)
    secrets = {f"apiKeys[{key.name}]": key.sha256 for key in current.api_keys}
    changed = {
        f"apiKeys[{key.name}]"
        for key in wanted.api_keys
        if secrets.get(f"apiKeys[{key.name}]", key.sha256) != key.sha256
    }
    paths = [
        path
        for path in (*after, *(before.keys() - after.keys()))
        if path in changed or before.get(path) != after.get(path)
    ]
    # The app holds the keys: a hash that differs follows from a rotation there. That a version was
    # good follows from what a replica reports.
    told = {path for path in paths if path.endswith(".wasGood") and after.get(path)}
    return tuple(
        Change(path, before.get(path), after.get(path), "hot", follows=path in changed | told)
        for path in paths
    )


def _fields(catalogue: Catalogue) -> dict[str, Any]:
    """The fields that a person sees, by path. `last_good` is left out, because it follows from the
    others, except whether a required adapter has one: readiness waits for that.
    """
    found: dict[str, Any] = {}
    for adapter in catalogue.adapters:
        at = f"adapters[{adapter.name}]"
        found[f"{at}.digest"] = adapter.desired.digest
        if adapter.required:
            found[f"{at}.required"] = True
            found[f"{at}.wasGood"] = adapter.last_good is not None
        found |= {f"{at}.evaluation": _cases(adapter.evaluation)} if adapter.evaluation else {}
        if adapter.shutdown_date:
            found[f"{at}.shutdownDate"] = adapter.shutdown_date
        if canary := adapter.canary:
            found[f"{at}.canary"] = f"{canary.weight} % to {canary.version.digest[:SHORT]}"
            found |= (
                {f"{at}.canary.evaluation": _cases(canary.evaluation)} if canary.evaluation else {}
            )
        if held := adapter.held:
            found[f"{at}.held"] = f"{held.outcome} ({held.asked[:SHORT]})"
    for key in catalogue.api_keys:
        found[f"apiKeys[{key.name}]"] = ", ".join(["(secret)", *_allowed(key)])
    defaults = Catalogue.model_fields["limits"].default
    found |= (
        {}
        if catalogue.limits == defaults
        else {"limits": catalogue.limits.model_dump_json(by_alias=True, exclude_defaults=True)}
    )
    if catalogue.cors is not None:
        found["corsPolicy"] = catalogue.cors.model_dump_json(by_alias=True, exclude_defaults=True)
    return found | ({"requestLog.prompts": True} if catalogue.log_prompts else {})


def _allowed(key: ApiKey) -> list[str]:
    """The rights and limits of a key; empty for a key that may use all models without limits."""
    counts = (
        (key.requests_per_minute, "requests a minute"),
        (key.tokens_per_minute, "tokens a minute"),
        (key.parallel_requests, "requests at a time"),
    )
    own = key.limits.model_dump(by_alias=True, exclude_none=True) if key.limits else {}
    return [
        *([f"models {', '.join(key.models)}"] if key.models is not None else []),
        *(f"{count} {what}" for count, what in counts if count),
        *(f"{name} {value}" for name, value in own.items()),
        *(["evaluation"] if key.evaluation else []),
        *(["admin"] if key.admin else []),
    ]


def _cases(evaluation: Sequence[Expectation]) -> str:
    return f"{len(evaluation)} prompts ({fingerprint(evaluation)[:SHORT]})"


def outputs_of(
    spec: CatalogueSpec, current: Catalogue | None, kept: Sequence[AdapterSet]
) -> CatalogueOutputs | None:
    """The facts for dependents and for the status; `kept` are the sets of adapters so far."""
    if current is None:
        return None
    documented = {adapter.name: adapter for adapter in spec.adapters}
    adapters = tuple(_output(adapter, documented.get(adapter.name)) for adapter in current.adapters)
    words = adapter_history.asked_set(spec)
    decided = kept[-1].decision if kept else None
    return CatalogueOutputs(
        current.engine,
        current.epoch,
        current.generation,
        adapters,
        words,
        adapter_history.outputs_of(kept),
        held=decided is not None and decided.asked == words,
    )


def _output(adapter: Adapter, documented: CatalogueAdapter | None) -> AdapterOutputs:
    good, canary, held = adapter.last_good, adapter.canary, adapter.held
    found = AdapterOutputs(
        adapter.name,
        adapter.desired.digest,
        good.digest if good else None,
        good.path if good else None,
        TrialOutputs(canary.version.digest, canary.weight) if canary else None,
    )
    if documented is None:
        return found
    trial = documented.canary
    return replace(
        found,
        asked=asked(documented),
        source=documented.source,
        document_canary=NamedVersion(trial.digest, trial.source) if trial else None,
        held=HeldOutputs(
            held.outcome,
            held.message,
            held.at.isoformat(timespec="seconds"),
            source_of(documented, adapter.desired),
        )
        if held
        else None,
    )
