"""What the web server of this daemon shows and may do: puts `web.pages` together with the store,
the documents and the settings, and writes down where the page is.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from reconciler.api.resources import ContainerAppSpec, Return
from reconciler.composition import Composition
from reconciler.engine.clock import SystemClock
from reconciler.engine.external import with_spec
from reconciler.engine.record import ObjectRecord
from reconciler.engine.store import Store
from reconciler.engine.waiting import Waiting
from reconciler.kinds.prices import BUILT_IN, Prices, per_replica, read
from reconciler.settings import DEFAULT_STATE_DIR, Settings, SettingsError
from reconciler.sources.orders import order_rollback
from reconciler.sources.policy import grant
from reconciler.web.decisions import keep_token
from reconciler.web.git_hook import GitHook
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.server import Status, WebServer
from reconciler.web.spending import ReplicaPrice
from reconciler.web.view import PageFacts, PageView, view_of

SHARE = 20.0  # a view is reused for this many times the seconds that it took to make
ADDRESS = "page.json"


class DaemonPage:
    """The page of one daemon, on the socket `listening`. An async context manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        status: Status,
        metrics: DaemonMetrics,
        composition: Callable[[], Composition],
        records: Callable[[], Iterable[ObjectRecord]],
        leading: Callable[[], bool],
        stands_by: Callable[[], bool],
        listening: socket.socket,
        pushed: Callable[[], None] | None = None,
    ) -> None:
        self._settings, self._store = settings, store
        self._composition, self._stands_by, self._records = composition, stands_by, records
        self._clock = SystemClock()
        self._table = _prices(settings)
        self._priced: tuple[Composition, dict[str, ReplicaPrice]] | None = None
        self._seen: tuple[float, PageView] | None = None  # until when it may be shown
        token = keep_token(settings.daemon_dir, settings.page_token)
        self._server = WebServer(
            listening,
            status,
            metrics,
            leading,
            Pages(store, self.look, self, token),
            settings.web_token,
            GitHook(settings.webhook_secret, pushed)
            if settings.webhook_secret and pushed
            else None,
        )

    @property
    def address(self) -> str:
        return self._server.address

    async def __aenter__(self) -> DaemonPage:  # noqa: PYI034 - one class, no subclasses
        await self._server.__aenter__()
        with suppress(OSError):  # the page itself works without
            place = {"address": self.address, "pid": os.getpid()}
            _write(self._settings.daemon_dir / ADDRESS, json.dumps(place))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        forget_address(self._settings.daemon_dir)
        await self._server.__aexit__(kind, error, at)

    def look(self, fresh: bool) -> PageView:
        """The view: the present one, or the last one for so long that views take at most a
        twentieth of the daemon's time.
        """
        now = self._clock.elapsed()
        if self._seen and not fresh and now < self._seen[0]:
            return self._seen[1]
        facts = PageFacts(
            self._settings.target_title,
            not self._stands_by(),
            options_of(self._settings),
            str(self._settings.ca_file or ""),
            self._clock.boot,
            now,
            self._store.get("commit") or "",
            self._store.database.connection.total_changes,
            self._replica_prices(),
        )
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        view = view_of(self._store, facts, at, self._records())
        ended = self._clock.elapsed()
        self._seen = ended + SHARE * (ended - now), view
        return view

    def _replica_prices(self) -> dict[str, ReplicaPrice]:
        """By service, from the documents as they were last read."""
        composition = self._composition()
        if self._priced is None or self._priced[0] is not composition:
            found = per_replica(composition.desired, self._table)
            by_name = {
                key.name: ReplicaPrice(self._table.currency, amount)
                for key, amount in found.items()
            }
            self._priced = composition, by_name
        return self._priced[1]

    # what the page may do

    def approve(self, waits: Waiting, who: str) -> None:
        with self._store.transaction():
            grant(self._store, [waits], time.time(), who)

    def roll_back(self, service: str, to: Return, who: str) -> None:
        with self._store.transaction():
            order_rollback(self._store, service, to, time.time(), who)

    def strategy(self, service: str) -> str:
        apps = with_spec(self._composition().desired, ContainerAppSpec)
        return next((app.spec.strategy for app in apps if app.spec.service == service), "")


def _prices(settings: Settings) -> Prices:
    """The table of prices in the settings, or the built-in one."""
    if settings.prices_file is None:
        return BUILT_IN
    try:
        return read(settings.prices_file)
    except OSError as error:
        raise SettingsError(f"MOORAGE_PRICES: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"MOORAGE_PRICES: {settings.prices_file}:{error}") from None


def forget_address(folder: Path) -> None:
    """Remove the note of the page's address, because no page is served there any more."""
    with suppress(OSError):
        (folder / ADDRESS).unlink(missing_ok=True)


def options_of(settings: Settings) -> str:
    """The options with which a command reaches the same target and state."""
    plain = str(settings.state_dir) == DEFAULT_STATE_DIR
    return settings.target_option + ("" if plain else f" --state-dir {settings.state_dir}")


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
