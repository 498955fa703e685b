"""What the daemon observed, as conditions: `ConditionSet.mark` is the only writer. Pure; the clock
is injected.

docs/conditions.md explains the words to users; the engine fills them, the CLI and the
status API show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, PlainSerializer, PlainValidator, TypeAdapter, field_serializer
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from reconciler.api.reasons import Cause, Reason, read_reason

Clock = Callable[[], datetime]


class ConditionType(StrEnum):
    """The subject of a condition. `Ready`, `Synced`, `Stalled` and `Progressing` are the summary,
    the others its parts.
    """

    READY = "Ready"
    SYNCED = "Synced"
    STALLED = "Stalled"
    PROGRESSING = "Progressing"
    PROVISIONED = "Provisioned"
    PUBLISHED = "Published"
    REVISION_HEALTHY = "RevisionHealthy"
    MODEL_LOADED = "ModelLoaded"
    ADAPTERS_LOADED = "AdaptersLoaded"
    ADAPTER_PROVEN = "AdapterProven"
    ENDPOINT_REACHABLE = "EndpointReachable"
    DRIFTED = "Drifted"
    WATCHED = "Watched"


class Status(StrEnum):
    """`Unknown` means that nobody could look; it says nothing about the thing itself."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"

    @classmethod
    def of(cls, truth: bool) -> Status:
        return cls.TRUE if truth else cls.FALSE


def _cause(value: object) -> Cause:
    return read_reason(str(value))


@dataclass(
    frozen=True,
    slots=True,  # a daemon keeps ten of each service: 0.1 KB each, and 1.1 KB as a model
    kw_only=True,
    config=ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid"),
)
class Condition:
    """One statement about a document. `reason` is a word for programs, `message` a sentence for
    people.
    """

    type: ConditionType
    status: Status
    reason: Annotated[Cause, PlainValidator(_cause), PlainSerializer(str)]
    message: str = ""
    observed_generation: int
    last_transition_time: datetime

    @staticmethod
    def load(value: object) -> Condition:
        """What `dump` wrote. `ValueError` where another release did, in another form."""
        return _CONDITION.validate_python(value)

    def dump(self) -> dict[str, object]:
        """JSON values in camel case."""
        return dict(_CONDITION.dump_python(self, mode="json", by_alias=True))

    @field_serializer("last_transition_time")
    def _time(self, value: datetime) -> str:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_CONDITION = TypeAdapter(Condition)


class ConditionSet:
    """The conditions of one document, at most one of each type, in the order of `ConditionType`."""

    def __init__(self, clock: Clock, conditions: Iterable[Condition] = ()) -> None:
        self._clock = clock
        self._conditions = {condition.type: condition for condition in conditions}

    def mark(
        self,
        kind: ConditionType,
        status: Status,
        reason: Cause,
        message: str = "",
        *,
        generation: int,
    ) -> bool:
        """State a condition; returns whether anything changed, so that a status is written only
        when it must be.

        The time moves only when `status` changes.
        """
        before = self._conditions.get(kind)
        moved = before is None or before.status != status
        after = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=self._clock()
            if before is None or moved
            else before.last_transition_time,
        )
        self._conditions[kind] = after
        return before != after

    def get(self, kind: ConditionType) -> Condition | None:
        return self._conditions.get(kind)

    def drop(self, kind: ConditionType) -> bool:
        """Forget a condition that no longer applies (a service without adapters has no
        `AdaptersLoaded`).
        """
        return self._conditions.pop(kind, None) is not None

    def dump(self) -> list[dict[str, object]]:
        """JSON values in camel case; `load` reads them back."""
        return [condition.dump() for condition in self]

    @classmethod
    def load(cls, clock: Clock, values: Iterable[object]) -> ConditionSet:
        """The set `dump` wrote; values of another release that cannot be read are left out, for
        they will be observed again.
        """
        readable = []
        for value in values:
            try:
                readable.append(Condition.load(value))
            except ValueError:
                continue
        return cls(clock, readable)

    def __iter__(self) -> Iterator[Condition]:
        return iter([self._conditions[kind] for kind in ConditionType if kind in self._conditions])

    def __len__(self) -> int:
        return len(self._conditions)


def advice(reason: Reason) -> str:
    """The remedy of a reason as a sentence, as a message ends with it."""
    return f"{reason.remedy[:1].upper()}{reason.remedy[1:]}." if reason.remedy else ""
