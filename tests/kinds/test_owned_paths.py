"""Every field that a kind claims to own is one that the loop puts right: each is altered in Azure
behind the loop's back, named by the next look, and as it was after a few writes. What Azure lets
nobody alter is listed with the reason.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.api.resources import SHARE_OWNER
from reconciler.arm import operations
from reconciler.engine.diff import diff
from reconciler.engine.errors import NotOwned, ReconcileError
from reconciler.engine.external import Change
from reconciler.engine.rules import Rules
from reconciler.kinds import rules_of
from reconciler.kinds.arm_resource import SETTLED
from reconciler.kinds.storage_account import StorageAccount
from tests.kinds.bench import CHANGED, Bench, bench_of, is_done
from tests.kinds.bench import hub as hub  # noqa: PLC0414 - fixtures
from tests.kinds.bench import stage as stage  # noqa: PLC0414

ARM_KINDS = [kind for kind in Kind if kind.arm]
every_kind = pytest.mark.parametrize("kind", ARM_KINDS)
STAYS = "only the key of an environment storage can change"
FIXED = {  # what Azure refuses to alter, or takes no notice of: there is nothing to put right
    "location": "a resource stays in its region",
    "kind": "an account stays of its kind",
    "properties.azureFile.accountName": STAYS,
    "properties.azureFile.shareName": STAYS,
    "properties.azureFile.accessMode": STAYS,
    "properties.template.containers.env.secretRef": "the secret must be there",
    "properties.configuration.registries.passwordSecretRef": "the secret must be there",
    "properties.template.containers.volumeMounts.volumeName": "the volume must be there",
    "properties.configuration.triggerType": "another trigger needs settings of its own",
}
OWNERSHIP = {  # altered, they say that the resource is another set's
    f"tags.{tags.OWNER}",
    f"properties.metadata.{SHARE_OWNER}",
}
VALUES: dict[str, Any] = {  # another value that Azure takes
    "identity.type": "None",
    "sku.name": "Standard_GRS",
    "properties.retentionInDays": 90,
    "properties.workloadProfileName": "big",
    "properties.minimumTlsVersion": "TLS1_1",
    "properties.workloadProfiles.workloadProfileType": "D8",
    "properties.appLogsConfiguration.destination": "azure-monitor",
    "properties.configuration.activeRevisionsMode": "Single",
    "properties.configuration.ingress.transport": "Http",
    "properties.template.containers.resources.memory": "3Gi",
    "properties.template.volumes.storageType": "EmptyDir",
}


@dataclass(frozen=True)
class Leaf:
    """A field that a kind owns: where it is in the body, and how the rules name it."""

    at: tuple[Any, ...]
    path: str
    value: Any


def leaves(value: Any, rules: Rules, at: tuple[Any, ...] = (), path: str = "") -> Iterator[Leaf]:
    """The plain values, and lists of them. The field that identifies an entry is left out: altered,
    it is another entry.
    """
    key = rules.traits(tuple(path.split("."))).key if path else None
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            if not (key and name == key):
                yield from leaves(inner, rules, (*at, name), below)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for entry in value:
            yield from leaves(entry, rules, (*at, (key, entry[key])), path)
    elif value not in (None, "", []):
        yield Leaf(at, path, value)


def altered(leaf: Leaf) -> Any:
    if leaf.path in VALUES:
        return VALUES[leaf.path]
    if isinstance(leaf.value, bool):
        return not leaf.value
    if isinstance(leaf.value, int | float):
        return leaf.value - 1 if leaf.value > 1 else leaf.value + 1
    return [*leaf.value, "x"] if isinstance(leaf.value, list) else f"{leaf.value}x"


def put(body: Any, at: tuple[Any, ...], value: Any) -> None:
    """Set what is there, in entries that are found by their key."""
    for step in at[:-1]:
        if isinstance(step, tuple):
            body = next(each for each in body if each.get(step[0]) == step[1])
        else:
            body = body.setdefault(step, {})
    body[at[-1]] = value


def writable(body: Any) -> Any:
    """A copy without what Azure computes inside of lists."""
    if isinstance(body, dict):
        return {name: writable(v) for name, v in body.items() if name != "ephemeralStorage"}
    return [writable(each) for each in body] if isinstance(body, list) else body


def patch(body: dict[str, Any], wanted: list[Leaf]) -> dict[str, Any]:
    """What alters these fields: lists, tags and metadata whole, of everything else just the
    field.
    """
    sent: dict[str, Any] = {}
    for leaf in wanted:
        inner, source = sent, body
        for step in leaf.at:
            last = step in ("tags", "metadata") or not isinstance(source[step], dict)
            source = source[step]
            if last:
                inner[step] = source
                break
            inner = inner.setdefault(step, {})
    return sent


@pytest.fixture
async def bench(stage):
    async with bench_of(stage, CHANGED) as bench:
        yield bench


async def write(bench: Bench, item: Any, values: list[tuple[Leaf, Any]]) -> None:
    """Do to the resource what somebody else would, past the kind."""
    arm, kind = bench.daemon.arm, bench.daemon.kinds[item.key.kind]
    id_, version = kind.identify(item).id, item.key.kind.listing.api_version
    body = writable(await arm.get_json(id_, version))
    for leaf, value in values:
        put(body, leaf.at, value)
    method = "PUT" if item.key.kind == Kind.STORAGE else "PATCH"
    sent = patch(body, [leaf for leaf, _ in values])
    if item.key.kind == Kind.APP and "properties" in sent:
        sent["properties"].setdefault("template", {})["revisionSuffix"] = "altered"
    await arm._send(method, id_, version, sent)
    async with asyncio.timeout(90):
        while operations.state_of(await arm.get_json(id_, version)) not in SETTLED:
            await asyncio.sleep(0.05)


async def alter(bench: Bench, item: Any, wanted: list[Leaf]) -> None:
    await write(bench, item, [(leaf, altered(leaf)) for leaf in wanted])


async def owned(bench: Bench, item: Any) -> list[Leaf]:
    kind = bench.daemon.kinds[item.key.kind]
    body = dict(kind._owned(item.spec, await kind.find(item.spec)))
    if item.key.kind == Kind.APP:
        body["properties"] = {**body["properties"], "template": item.spec.template}
    return [
        leaf
        for leaf in leaves(body, kind.rules)
        if ("name", "Consumption") not in leaf.at  # what is called so is of that type
    ]


async def converge(bench: Bench, item: Any) -> None:
    """Write until nothing is left to write, a few times at most."""
    kind, writes = bench.daemon.kinds[item.key.kind], 0
    async with asyncio.timeout(60):
        while not ((seen := await bench.settled(item)).exists and is_done(seen)):
            if not seen.exists or seen.changes:
                writes += 1
                assert writes <= 6, seen.changes
                write = kind.update(item, seen, bench.facts) if seen.exists else None
                write = write or kind.create(item, bench.facts)
                await bench.ended(item, await write)
            await asyncio.sleep(0.05)


@contextmanager
def elsewhere(bench: Bench, item: Any) -> Iterator[Any]:
    """The item in another region; an app in another managed environment."""
    body = {**item.spec.body, **({"location": "mars"} if "location" in item.spec.body else {})}
    known = {**bench.facts.seen}
    for key, seen in known.items():
        if key.kind == Kind.ENVIRONMENT and item.key.kind == Kind.APP:
            bench.facts.seen[key] = replace(seen, id=f"{seen.id}-two")
    yield replace(item, spec=replace(item.spec, body=body))
    bench.facts.seen.update(known)


def bare(path: str) -> str:
    """The path without the names of entries, as the rules have it."""
    kept, depth = "", 0
    for letter in path:
        depth += letter == "["
        kept += letter if not depth else ""
        depth -= letter == "]"
    return kept


async def test_everything_is_made(bench):
    """All kinds, with everything that documents can ask for."""
    for item in bench.desired:
        await converge(bench, item)
        await bench.learn()


@every_kind
async def test_what_somebody_alters_is_named_and_put_right(bench, kind):
    """All owned fields that Azure lets anybody alter, at once: the look names each, and the last
    one finds all as before.
    """
    await bench.learn()
    for item in [each for each in bench.desired if each.key.kind == kind]:
        apart = {*FIXED, *OWNERSHIP}
        wanted = [leaf for leaf in await owned(bench, item) if leaf.path not in apart]
        assert wanted or kind == Kind.STORAGE
        if not wanted:
            continue
        await alter(bench, item, wanted)
        seen = await bench.settled(item)
        named = {bare(change.path) for change in (*seen.changes, *seen.later)}
        assert {leaf.path for leaf in wanted} - named == set()
        await converge(bench, item)
        whole = await bench.daemon.kinds[kind].find(item.spec)
        assert diff(item.spec.body, whole, rules_of(kind)) == ()


@every_kind
async def test_what_azure_refuses_to_alter_is_refused(bench, kind):
    """Nobody can alter it, so the look finds it as it was."""
    await bench.learn()
    for item in [each for each in bench.desired if each.key.kind == kind]:
        for leaf in [each for each in await owned(bench, item) if each.path in FIXED]:
            with suppress(ReconcileError):
                await alter(bench, item, [leaf])
        assert (await bench.settled(item)).changes == ()


@every_kind
async def test_a_resource_that_says_it_is_anothers_is_left_alone(bench, kind):
    """Who alters the mark of ownership takes the resource: the look says so and nothing is
    written. It says so, too, where the document asks for what Azure cannot change.
    """
    await bench.learn()
    for item in [each for each in bench.desired if each.key.kind == kind]:
        for leaf in [each for each in await owned(bench, item) if each.path in OWNERSHIP]:
            await alter(bench, item, [leaf])
            try:
                with pytest.raises(NotOwned):
                    await bench.look(item)
                with elsewhere(bench, item) as moved, pytest.raises(NotOwned):
                    await bench.look(moved)
            finally:
                await write(bench, item, [(leaf, leaf.value)])


def test_a_storage_account_is_replaced_only_where_azure_cannot_change_it():
    """Geo-redundancy changes in place; another medium needs another account, which a person
    approves.
    """
    kind = StorageAccount.__new__(StorageAccount)
    effects = {
        after: kind.judged(Change("sku.name", "Standard_LRS", after, "replace")).effect
        for after in ("Standard_RAGRS", "standard_grs", "Standard_ZRS", "Premium_LRS")
    }
    assert [*effects.values()] == ["update in place"] * 2 + ["replace"] * 2
