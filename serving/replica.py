"""Everything Moorage does inside vLLM's API process, composed: catalogue, adapters, the gate's
door, the line to launch.

Built by plugin.py when vLLM has loaded its model and before it listens.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.adapters import Adapters
from serving.catalogue import Catalogue, Stage, TrafficReport
from serving.control import Control, inherited_end
from serving.engine import VllmEngine
from serving.gate import Door
from serving.jam import Jam
from serving.local_copy import LocalCopies
from serving.request.traffic import Call, Traffic
from serving.telemetry.metrics import Metrics
from serving.watch import CatalogueWatch

POLL = 1.0
PROMPT_LIMIT = 4096  # characters of a body in the request log
log = logging.getLogger("moorage.replica")
requests = logging.getLogger("moorage.requests")


@dataclass(frozen=True)
class Place:
    """Where this replica finds its catalogue and keeps its copies; read from the environment its
    template sets.
    """

    share: Path
    service: str
    engine: str
    local: Path

    @classmethod
    def from_environment(cls) -> Place:
        replica = os.environ.get("CONTAINER_APP_REPLICA_NAME", "replica")
        return cls(
            share=Path(os.environ.get("MOORAGE_SHARE", "/mnt/moorage")),
            service=os.environ["MOORAGE_SERVICE"],
            engine=os.environ["MOORAGE_ENGINE"],
            local=Path(os.environ.get("MOORAGE_LOCAL", "/tmp/moorage")) / replica / "adapters",
        )

    @property
    def catalogue(self) -> Path:
        return self.share / "services" / self.service / self.engine / "catalogue"


class Replica:
    """Polls, loads, reports. `door` is what the gate asks."""

    def __init__(
        self, engine: VllmEngine, place: Place, base: Path | None, metrics: Metrics
    ) -> None:
        self._engine, self._metrics = engine, metrics
        self._watch = CatalogueWatch(place.catalogue, place.service, place.engine)
        self._adapters = Adapters(engine, LocalCopies(place.share, place.local), base)
        self._adapters.on_failure = metrics.failed
        # A thread of its own, so that a share that hangs blocks only the next look.
        self._share_thread = ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        self._control: Control | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._catalogue: Catalogue | None = None
        # The catalogue whose removed versions no longer answer; the report is about this one.
        self._followed: Catalogue | None = None
        self._tested, self._was_ready = False, False
        self._message = ""
        self._traffic = Traffic()
        self.door = Door(
            ready=self._ready,
            alive=lambda: engine.alive,
            base=engine.base_names[0],
            models=lambda: engine.names,
            on_idle=self._tell,
            ended=self._ended,
            state=self._state,
        )
        self._jam = Jam(
            lambda: self.door.calls,
            engine.self_test,
            engine.structured_test,
            lambda: engine.answered,
        )

    async def start(self) -> None:
        if end := inherited_end():
            self._control = Control(end, self._hear)
            await self._control.start()
        self._tasks = [
            asyncio.create_task(self._follow(), name="catalogue"),
            asyncio.create_task(self._work(), name="adapters"),
            asyncio.create_task(self._jam.watch(), name="jam"),
        ]

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                catalogue = await loop.run_in_executor(self._share_thread, self._watch.read)
                if catalogue is not None and catalogue is not self._catalogue:
                    self._adopt(catalogue)
            except Exception:
                log.exception("looking for a catalogue failed and is tried again")
            await asyncio.sleep(POLL)

    def _adopt(self, catalogue: Catalogue) -> None:
        log.info("following catalogue %s", catalogue.file_name)
        self._catalogue = catalogue
        self._adapters.want(catalogue)
        self._engine.shutdown_dates = {one.name: one.shutdown_date for one in catalogue.adapters}
        self.door.keys.replace(catalogue.api_keys, catalogue.limits)
        self.door.limits, self.door.cors = catalogue.limits, catalogue.cors
        self.door.log_prompts = catalogue.log_prompts
        self.door.open = True
        self._adapters.changed.set()

    async def _work(self) -> None:
        while True:
            try:
                catalogue = self._catalogue
                await self._adapters.step()
                self._followed = catalogue
                if catalogue is not None and not self._adapters.missing():
                    await self._self_test()
            except Exception as error:
                log.exception("the adapter loop failed and tries again")
                self._message = f"the adapter loop failed: {error}"
            self._metrics.resident(self._adapters.resident())
            self._was_ready = self._ready()[0] or self._was_ready
            self._tell()
            try:
                await asyncio.wait_for(self._adapters.changed.wait(), POLL)
            except TimeoutError:
                continue
            self._adapters.changed.clear()

    async def _self_test(self) -> None:
        if not self._tested:
            self._tell()  # that everything but the first token is done
            await self._engine.self_test()
            self._tested = True
            self._message = ""

    def _ready(self) -> tuple[bool, str]:
        """Whether the replica is ready. Once it was, it stays so while its engine lives: a new
        adapter that is still loading must not take it out of service.
        """
        if not self._engine.alive:
            return False, "the engine is dead"
        if self.door.draining:
            return False, "draining"
        if self._jam.message:
            return False, self._jam.message
        if self._was_ready:
            return True, ""
        if self._catalogue is None:
            return False, self._watch.problem or "no catalogue has been read yet"
        if missing := self._adapters.missing():
            return False, f"waiting for the adapters {', '.join(missing)}"
        return self._tested, "" if self._tested else "the self-test has not passed yet"

    def _stage(self) -> Stage | None:
        """Where the start is: the plugin begins when the model is loaded and compiled. The first
        token comes last, because requests come next.
        """
        if self._was_ready:
            return None
        waits = self._catalogue is None or self._adapters.missing()
        return "adapters" if waits and not self._tested else "first_token"

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is not None and message.get("type") == "drain":
            log.info("draining: %d requests are running", self.door.running)
            self.door.draining = True
            self._tell()

    def _ended(self, call: Call, body: bytes) -> None:
        """Count a call that is over, and write it to the request log."""
        self._metrics.ended(call)
        if call.model:
            self._traffic.saw(failed=call.failed, first_token=call.first_token)
        line = call.line()
        if body:
            line["body"] = body[:PROMPT_LIMIT].decode(errors="replace")
        requests.info("%s", json.dumps(line, ensure_ascii=False))

    def _tell(self) -> None:
        """Send the state to launch at least once a second, so that launch knows that the event loop
        runs.
        """
        if self._control is not None:
            self._control.send({"type": "state", **self._state()})

    def _state(self) -> dict[str, Any]:
        """The state as launch and admin keys see it."""
        ready, reason = self._ready()
        catalogue = self._followed
        return {
            "running": self.door.running,
            "draining": self.door.draining,
            "engineAlive": self._engine.alive,
            "modelLoaded": True,
            "ready": ready,
            "stage": self._stage(),
            "generation": catalogue.generation if catalogue else None,
            "epoch": catalogue.epoch if catalogue else None,
            "adapters": [
                report.model_dump(mode="json", by_alias=True) for report in self._adapters.report()
            ],
            "traffic": TrafficReport(**self._traffic.report()).model_dump(
                mode="json", by_alias=True
            ),
            "resident": sorted(version.key for version in self._adapters.resident()),
            "apiKeys": self.door.keys.names,
            "message": self._message or reason or self._watch.problem,
        }
