"""What a run would do, and what of it a person must approve. `plan` shows it, `approve` and `up`
ask about it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.output.plan_view import as_value, loaded_value, times_value
from reconciler.cli.output.subject import Subject

if TYPE_CHECKING:
    from reconciler.api.outputs import ReplicaRow
    from reconciler.daemon import Daemon
    from reconciler.engine.external import DocumentRef, ObjectKey
    from reconciler.engine.plan import PlanLine
    from reconciler.kinds.foreseen import ServedAfter
    from reconciler.kinds.prices import Price, Prices
    from reconciler.settings import Settings
    from reconciler.sources.git import GitCheckout
    from serving.catalogue import ReplicaReport


@dataclass(frozen=True)
class Foreseen:
    """A plan, what each document that must be approved comes to, the key of the set's state, and
    what container apps will cost; `unpriced` says what the table lacks for others. `subject` is the
    set that was planned, `loaded` has the replicas that follow each catalogue, `times` says when
    what boots a revision serves. `elsewhere` are other files of the set, which are not read.
    """

    lines: tuple[PlanLine, ...]
    versions: Mapping[DocumentRef, str]
    key: str
    prices: Mapping[ObjectKey, Price]
    subject: Subject
    loaded: Mapping[ObjectKey, tuple[ReplicaRow, ...]]
    times: Mapping[ObjectKey, ServedAfter]
    unpriced: Mapping[ObjectKey, str]
    elsewhere: Sequence[Path] = ()

    @property
    def costs(self) -> list[str]:
        """A sentence for each app, and for the nodes of each Environment, that is written."""
        found = ((key, self.prices.get(key)) for key in self._written)
        return [_cost(key, price) for key, price in found if price]

    @property
    def notes(self) -> list[str]:
        """What a person who misses a deletion wants to know."""
        files = ", ".join(map(str, self.elsewhere))
        return [f"not read: {files}, of the same set; nothing is deleted"] if files else []

    @property
    def unknown_costs(self) -> list[str]:
        """A sentence for the apps that are written whose price the table does not know."""
        apps = {key.name: self.unpriced[key] for key in self._written if key in self.unpriced}
        if not apps:
            return []
        names, lacks = ", ".join(apps), " and ".join(dict.fromkeys(apps.values()))
        return [f"the price of {names} is not known: the table has no {lacks} (--prices FILE)"]

    @property
    def _written(self) -> list[ObjectKey]:
        written = ("create", "adopt", "update", "replace")
        return [line.key for line in self.lines if line.action in written]

    @property
    def waiting(self) -> list[PlanLine]:
        """What a person must approve."""
        return [line for line in self.lines if line.waits]

    def as_value(self) -> dict[str, Any]:
        """The plan as JSON, see docs/status.md."""
        changes = [
            {
                **as_value(line),
                "version": self.versions.get(line.document),
                "price": asdict(self.prices[line.key]) if line.key in self.prices else None,
                "loaded": loaded_value(self.loaded[line.key]) if line.key in self.loaded else None,
                "seconds": times_value(self.times.get(line.key)),
            }
            for line in self.lines
        ]
        return {"changes": changes}


def _cost(key: ObjectKey, price: Price) -> str:
    from reconciler.api.kinds import Kind

    if key.kind != Kind.ENVIRONMENT:
        return f"{key.name} will cost {price}"
    types = ", ".join(price.unknown)
    missing = f"the table has no price of {types} nodes: add perNodeHour (--prices FILE)"
    if types and not price.most:
        return f"what the dedicated nodes of {key.name} cost is not known: {missing}"
    return f"the dedicated nodes of {key.name} will cost {price}" + (
        f"; {missing}" if types else ""
    )


@asynccontextmanager
async def planning(
    settings: Settings,
    files: Sequence[Path],
    *,
    keep: bool = False,
    checkout: GitCheckout | None = None,
) -> AsyncIterator[tuple[Daemon, Subject]]:
    """A daemon on a copy of the state, to plan with, and the set that is planned. `keep` as
    `foresee` has it.
    """
    from reconciler import logs
    from reconciler.daemon import Daemon
    from reconciler.engine.store import Store
    from reconciler.sources import sets
    from reconciler.sources.identity import set_of

    logs.configure(level="ERROR", last=False)  # standard output is the command's own
    store = Store.copy(settings.daemon_dir / "state.db", settings.target_key)
    last = sets.last(store)
    documents = set_of(files, settings.owner, last, keep=keep)
    # The first run gives documents their identity.
    is_known = keep or bool(store.of_set(documents.identity.id).documents())
    known = documents if is_known else None
    async with Daemon(
        settings, files, store=store, documents=documents, checkout=checkout
    ) as daemon:
        yield daemon, Subject(settings.target_title, known, files)


async def _reports_before(
    daemon: Daemon, lines: Sequence[PlanLine]
) -> Mapping[ObjectKey, Sequence[ReplicaReport]]:
    """What the replicas say of services that get a new engine; nothing where the share fails."""
    from reconciler.api.resources import CatalogueSpec
    from reconciler.engine.errors import ReconcileError
    from reconciler.engine.external import with_spec
    from reconciler.kinds.foreseen import new_engines
    from reconciler.kinds.share.reports import Reports

    asked, reports = new_engines(lines), Reports(daemon.shares)
    found: dict[ObjectKey, Sequence[ReplicaReport]] = {}
    for item in with_spec(daemon.composition.desired, CatalogueSpec):
        if item.key in asked:
            with suppress(ReconcileError):
                found[item.key] = await reports.of_service(item.spec.share, item.spec.service)
    return found


async def foresee(
    settings: Settings,
    files: Sequence[Path],
    *,
    keep: bool = False,
    prices: Prices | None = None,
    checkout: GitCheckout | None = None,
) -> Foreseen:
    """The plan, on a copy of the daemon's state, so that planning changes nothing. With `keep`
    documents without an identity are given one, because the next plan is to be the same.
    """
    from reconciler.kinds.foreseen import loaded_by, served_after, with_rates
    from reconciler.kinds.prices import BUILT_IN, hourly, unpriced
    from reconciler.single_run import plan
    from reconciler.sources.policy import version_of

    given = prices or prices_in(settings.prices_file)
    table = given or BUILT_IN
    # Where nothing costs anything, only who gives a table wants to know what it lacks.
    asks = given or not settings.price_note
    async with planning(settings, files, keep=keep, checkout=checkout) as (daemon, subject):
        lines = with_rates(await plan(daemon), daemon.controller.records())
        found = {line.document: version_of(daemon.store, line.document) for line in lines}
        versions = {ref: version for ref, version in found.items() if version}
        desired = daemon.composition.desired
        return Foreseen(
            lines,
            versions,
            daemon.store.target,
            hourly(desired, table),
            subject,
            loaded_by(lines, await _reports_before(daemon, lines)),
            served_after(lines, desired),
            unpriced(desired, table) if asks else {},
            daemon.elsewhere,
        )


def print_plan(foreseen: Foreseen, settings: Settings) -> None:
    """The plan for a person, with its notes and what it costs."""
    from reconciler.cli.output.layout import say
    from reconciler.cli.output.plan_view import show

    show(foreseen.lines, foreseen.subject, foreseen.loaded, foreseen.times)
    for text in (*foreseen.notes, *foreseen.costs, *foreseen.unknown_costs):
        say(text)
    if foreseen.costs and settings.price_note:
        say(settings.price_note)


def prices_in(path: Path | None) -> Prices | None:
    """The user's table of prices, if there is one. Exit code 2 where it cannot be read."""
    from reconciler.cli.exits import CommandError, Exit
    from reconciler.kinds.prices import read

    if path is None:
        return None
    try:
        return read(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error}", Exit.INVALID) from None
    except ValueError as error:
        raise CommandError(f"{path}:{error}", Exit.INVALID) from None
