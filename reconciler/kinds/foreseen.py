"""What a plan adds to its lines from what is known beside them: how long uploads take, and what
each replica has loaded of a catalogue that changes. Pure; `cli.foresight` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, ReplicaRow
from reconciler.engine.external import ObjectKey
from reconciler.engine.plan import PlanLine
from reconciler.engine.record import ObjectRecord

# Where nothing was uploaded yet: 80 Mbit/s, what an office line sends. It is called assumed.
ASSUMED = 10 * 2**20


def with_rates(lines: Iterable[PlanLine], records: Iterable[ObjectRecord]) -> tuple[PlanLine, ...]:
    """`lines` with the rate of uploads: the median of the last upload of each folder, else one that
    is assumed.
    """
    rates = [record.outputs.get("bytesPerSecond") for record in records]
    known = [rate for rate in rates if isinstance(rate, int) and rate > 0]
    rate = int(median(known)) if known else ASSUMED
    return tuple(
        replace(line, transfer=replace(line.transfer, rate=rate, measured=bool(known)))
        if line.transfer
        else line
        for line in lines
    )


def loaded_by(lines: Sequence[PlanLine]) -> Mapping[ObjectKey, tuple[ReplicaRow, ...]]:
    """The replicas of each service with a catalogue, by the catalogue's key: their rows say which
    version of each adapter they serve now.
    """
    replicas = {
        line.key.name: line.outputs.replicas
        for line in lines
        if line.key.kind == Kind.APP and isinstance(line.outputs, AppOutputs)
    }
    return {
        line.key: replicas.get(line.key.name, ())
        for line in lines
        if line.key.kind == Kind.CATALOGUE
    }
