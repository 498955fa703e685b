"""The loop's comparison finds nothing to do after a genuine write to Azure, and each altered field.

`writes` pairs each recorded write with the GET of what came of it.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.api.kinds import Kind
from reconciler.engine.diff import Suppression, compare, diff
from reconciler.kinds import rules_of
from tests.conformance import recordings, types, writes
from tests.conformance.types import READ_ONLY, WRITE_ONLY
from tests.conformance.writes import Write

FOLDER, TYPES = recordings.folder(), types.folder()
needs_recordings = pytest.mark.skipif(
    FOLDER is None, reason="there is no folder of recordings (MOORAGE_RECORDINGS)"
)
needs_types = pytest.mark.skipif(TYPES is None, reason="there is no type data (MOORAGE_TYPES)")
RULES = {kind.module.replace("_", "-"): rules_of(kind) for kind in Kind if kind.arm}
WRITES = [
    write
    for path in (sorted(FOLDER.glob("*.jsonl")) if FOLDER else ())
    for write in writes.writes(recordings.load(path))
]
FAKED = "veryFakedCustomerId=="
# What the types call writable and no body can change.
NOT_IN_A_BODY = {
    "name",  # in the address of the request
    "etag",  # made again by each write
    "properties.networkAcls.virtualNetworkRules.state",  # computed, as later versions say
}


def explained(write: Write, path: str) -> str:
    """Why Azure's answer really differs from what was asked there; empty where it must not."""
    configuration = (write.asked.get("properties") or {}).get("configuration") or {}
    if configuration.get("service"):
        return "the app is an add-on, whose template and ingress Azure writes"
    if path.endswith("logAnalyticsConfiguration.customerId") and FAKED in str(write.asked):
        return "the recorder wrote another customer id into the request"
    return ""


def bare(path: str) -> str:
    """The path without its entries: as rules name it."""
    return re.sub(r"\[[^\]]*\]", "", path)


def leaves(value: Any, at: tuple[Any, ...] = (), path: str = "") -> Iterator[Any]:
    """Where each plain value, and each list of plain values, is; its path; and the value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*at, name), f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*at, index), path)
    elif value not in (None, "", []):
        yield at, path, value


def altered(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [altered(value[0]), *value[1:]]
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return f"1{value}"
    return f"1{value}" if value.endswith("Gi") else f"{value}x"


def put(body: dict[str, Any], at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return changed


def taken(body: Any, at: tuple[Any, ...]) -> Any:
    """What is there; None where nothing is."""
    for step in at:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return body


def owned(write: Write) -> Iterator[Any]:
    """The leaves of what was asked that Azure neither computes nor hides."""
    for at, path, value in leaves(write.asked):
        traits = RULES[write.kind].traits(tuple(_lower(name) for name in path.split(".")))
        if not (traits.read_only or traits.write_only or "/" in path):
            yield at, path, value


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


@needs_recordings
def test_every_kind_is_compared():
    """The recordings write every kind that is an ARM resource, hundreds of times in all."""
    assert {write.kind for write in WRITES} == set(RULES)
    assert len(WRITES) > 200


@needs_recordings
def test_a_write_that_azure_took_leaves_nothing_to_do():
    """What was asked, against the next GET: no change but where Azure really altered it."""
    wrong = [
        f"{write.recording} #{write.index}: {change}"
        for write in WRITES
        for change in diff(write.asked, write.found, RULES[write.kind])
        if not explained(write, change.path)
    ]
    assert wrong == []


@needs_recordings
def test_the_body_of_a_patch_alone_leaves_nothing_to_do():
    """A PATCH that is compared by itself names a part of the resource, and that is as asked."""
    wrong = [
        f"{write.recording} #{write.index}: {change}"
        for write in WRITES
        for change in diff(write.sent, write.found, RULES[write.kind])
        if not explained(write, change.path)
    ]
    assert wrong == []


@needs_recordings
def test_an_altered_field_is_the_only_change():
    """Each owned field of each write, altered on one side and on the other: that field differs, and
    no other.
    """
    wrong, tried = [], 0
    for write in WRITES:
        rules = RULES[write.kind]
        if diff(write.asked, write.found, rules):
            continue  # the first test knows why
        for at, path, value in owned(write):
            pairs = [(put(write.asked, at, altered(value)), write.found)]
            if taken(write.found, at) == value:
                pairs.append((write.asked, put(write.found, at, altered(value))))
            for asked, found in pairs:
                tried += 1
                paths = [bare(change.path) for change in diff(asked, found, rules)]
                named = [bare(change.path) for change in compare(asked, found, rules).changes]
                right = path in named and len(named) == 1 and len(paths) == 1
                if not right:
                    wrong.append(f"{write.recording} #{write.index} {path}: {paths} {named}")
    assert wrong == []
    assert tried > 3000


@needs_recordings
def test_whatever_reads_differently_is_told_with_its_class():
    """Nothing is both a change and suppressed, secrets are never shown, and each class occurs."""
    classes = set()
    for write in WRITES:
        found = compare(write.asked, write.found, RULES[write.kind])
        changed = {change.path for change in found.changes}
        assert not changed & {each.path for each in found.suppressed}
        classes |= {each.why for each in found.suppressed}
        for each in found.suppressed:
            if each.why is Suppression.WRITE_ONLY:
                assert each.asked == "(secret)"
    assert classes == set(Suppression)


@needs_types
@pytest.mark.parametrize("kind", sorted(RULES))
def test_azures_types_agree_on_what_is_computed_and_what_is_hidden(kind):
    """What Azure's own types mark read-only or write-only is so in the rules, and its enums are
    compared in any case.
    """
    assert TYPES is not None
    arm = next(each.arm for each in Kind if each.arm and each.module.replace("_", "-") == kind)
    seen = 0
    for path, flags, is_enum in types.fields(arm.name):
        traits = RULES[kind].traits(tuple(path.split(".")))
        seen += 1
        if flags & READ_ONLY:
            assert traits.read_only, f"Azure computes {path}"
        else:
            assert not traits.read_only or path in NOT_IN_A_BODY, f"{path} is writable"
        if flags & WRITE_ONLY:
            assert traits.write_only, f"Azure hides {path}"
        if is_enum and not traits.read_only:
            assert traits.ignore_case, f"{path} is an enum, which Azure spells as it likes"
    assert seen > 3
