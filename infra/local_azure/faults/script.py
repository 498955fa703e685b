"""Reads fault scripts: a YAML file, or one fault of the command line. Every mistake is reported
with its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from .fault import Fault
from .kinds import KINDS, PLANES

_METHODS = ("GET", "LIST", "HEAD", "PUT", "PATCH", "POST", "DELETE")
_SPELLING = {name.lower(): name for name in KINDS}


class ScriptError(Exception):
    """A script that cannot be used; each problem is `file:line:column: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Script:
    """A file's faults, and the seed of their probabilities."""

    faults: tuple[Fault, ...]
    seed: int = 0


class _Wrong(Exception):
    """A field and what is wrong with it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def _number(low: float, high: float = float("inf"), *, whole: bool = False) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            upper = "" if high == float("inf") else f" to {high:g}"
            raise ValueError(
                f"must be a {'whole ' if whole else ''}number from {low:g}{upper or ' on'}"
            )
        return int(value) if whole else float(value)

    return check


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        found = next(
            (
                choice
                for choice in choices
                if isinstance(value, str) and choice.lower() == value.lower()
            ),
            None,
        )
        if found is None:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return found

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "id": _text,
    "plane": _one_of(*PLANES),
    "method": _one_of(*_METHODS),
    "operation": _text,
    "name": _text,
    "client": _text,
    "after": _number(0, whole=True),
    "times": _number(1, whole=True),
    "probability": _number(0, 1),
    "lasts": _number(0),
}
PARAMETERS: Mapping[str, Callable[[Any], Any]] = {
    "seconds": _number(0),
    "retryAfter": _number(1, 86400, whole=True),
    "status": _number(400, 599, whole=True),
    "code": _text,
    "message": _text,
    "policy": _text,
    "key": _one_of("key1", "key2"),
    "bytesPerSecond": _number(1),
}


def read(path: Path) -> Script:
    """The script in a file. Raises ScriptError with everything that is wrong with it, OSError when
    it cannot be read.
    """
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ScriptError([f"{place}: {error.problem}"]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ScriptError([f"{path}:1:1: {error}"]) from None
    return _ScriptReader(path).script(document)


def single(fields: Mapping[str, Any], known: set[str]) -> Fault:
    """One fault given by name and value, as on the command line. Raises ScriptError."""
    try:
        return _fault(fields, known)
    except _Wrong as wrong:
        raise ScriptError([f"{wrong.field}: {wrong}"]) from None


class _ScriptReader:
    """Collects the problems of one file with their places."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems: list[str] = []

    def script(self, document: Any) -> Script:
        if isinstance(document, list):
            document = {"faults": document}
        if not isinstance(document, dict) or not isinstance(document.get("faults"), list):
            raise ScriptError(
                [
                    f"{self._path}:1:1: must be a list of faults, or a mapping with `faults` and"
                    " perhaps `seed`"
                ]
            )
        for key in document.keys() - {"faults", "seed"}:
            self._tell(document, key, f"unknown field {key!r}; there are faults and seed")
        faults: list[Fault] = []
        for index, entry in enumerate(document["faults"]):
            if not isinstance(entry, dict):
                self._tell(document["faults"], index, "must be a mapping with the field `fault`")
                continue
            try:
                faults.append(_fault(entry, {fault.id for fault in faults}))
            # Goes on after a mistake, so that one reading reports all of them.
            except _Wrong as wrong:
                self._tell(entry, wrong.field, str(wrong))
        seed = document.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            self._tell(document, "seed", "seed must be a whole number")
        if self._problems:
            raise ScriptError(self._problems)
        return Script(tuple(faults), seed)

    def _tell(self, node: Any, key: Any, text: str) -> None:
        """Report a problem at its key, or at the mapping that lacks the key."""
        place = getattr(node, "lc", None)
        line, column = (place.line, place.col) if place else (0, 0)
        if place and place.data and key in place.data:
            line, column = place.data[key][:2]
        self._problems.append(f"{self._path}:{line + 1}:{column + 1}: {text}")


def _fault(entry: Mapping[str, Any], known: set[str]) -> Fault:
    name = entry.get("fault")
    kind = _SPELLING.get(name.lower()) if isinstance(name, str) else None
    if kind is None:
        raise _Wrong("fault", f"fault must be one of {', '.join(KINDS)}, not {name!r}")
    values: dict[str, Any] = {}
    takes: dict[str, Any] = {}
    for field, value in entry.items():
        if field == "fault":
            continue
        check = FIELDS.get(field) or PARAMETERS.get(field)
        if check is None or (field in PARAMETERS and field not in KINDS[kind].takes):
            allowed = ", ".join(("fault", *FIELDS, *KINDS[kind].takes))
            raise _Wrong(str(field), f"{kind} has no field {field!r}; it has {allowed}")
        try:
            (takes if field in PARAMETERS else values)[field] = check(value)
        except ValueError as wrong:
            raise _Wrong(field, f"{field} {wrong}, not {value!r}") from None
    planes = KINDS[kind].planes
    if values.get("plane", planes[0]) not in planes:
        raise _Wrong("plane", f"{kind} happens on {', '.join(planes)}, not on {values['plane']}")
    values.setdefault(
        "id",
        next(
            f"{kind}-{number}"
            for number in range(1, len(known) + 2)
            if f"{kind}-{number}" not in known
        ),
    )
    if values["id"] in known:
        raise _Wrong("id", f"there is a fault {values['id']!r} already")
    return Fault(kind=kind, takes=takes, **values)
