"""10,000 streamed and plain requests through a gateway with two replicas on the local Azure, while
its service sleeps, rolls out, dies and rolls back, and the gateway itself loses a replica and is
updated.

tests/serving/gateway/test_soak.py is its fast neighbour, with one process and faults by dice.
"""

import asyncio
import os
import signal
import ssl
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from infra.local_azure.runtime.processes import labelled
from tests import tiny_model
from tests.benchmarks.models import images
from tests.e2e.inside import inside
from tests.e2e.machine import label_of
from tests.e2e.stage import Stage, environment
from tests.e2e.test_gateway import PHI

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
REQUESTS, CALLERS = 10_000, 24
RETRIES = 2  # of OpenAI's clients


def service(**more):
    spec = {**PHI["spec"], "rollout": {"strategy": "Surge"}, **more}
    spec["scale"] = {"minReplicas": 0, "maxReplicas": 2, "cooldownPeriod": 12}
    return {**PHI, "spec": spec}


def documents(cpu=0.25, **more):
    gateway = {"minReplicas": 2, "cpu": cpu, "hold": {"maxRequests": 200}}
    return environment("default", gateway=gateway), service(**more)


class Crowd:
    """Callers that never stop asking, as OpenAI's clients do: two retries of what has not begun.
    `outcomes` counts by phase how each request ended, `why` the reasons for retries.
    """

    def __init__(self, endpoint, key, ca):
        self.url = f"{endpoint}/v1/chat/completions"
        self.trust = ssl.create_default_context(cafile=ca)
        self.headers = {"authorization": f"Bearer {key}"}
        self.outcomes, self.why, self.phase = Counter(), Counter(), "warm"
        self.asked, self.gate = 0, asyncio.Event()
        self.gate.set()

    def answered(self):
        return sum(self.outcomes.values())

    @asynccontextmanager
    async def asking(self):
        connector = aiohttp.TCPConnector(ssl=self.trust, limit=0)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks = [asyncio.create_task(self._caller(session)) for _ in range(CALLERS)]
            try:
                yield
                self.gate.set()
                while self.answered() < REQUESTS:
                    await asyncio.sleep(0.1)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _caller(self, session):
        while True:
            await self.gate.wait()
            self.asked += 1
            phase = self.phase
            self.outcomes[phase, await self._ask(session, stream=self.asked % 2 == 0)] += 1

    async def _ask(self, session, *, stream):
        body = {"model": "phi", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        how, pause = "at once", 0.5
        for left in range(RETRIES, -1, -1):
            try:
                async with session.post(self.url, json=body, headers=self.headers) as answer:
                    text = await answer.text()
                    if answer.status == 200 and '"error"' not in text and "phi for" in text:
                        return how if not stream or "[DONE]" in text else f"cut: {text[-200:]}"
                    how = f"{answer.status} {text[-300:]}"
                    if answer.status < 500:
                        return how
                    pause = float(answer.headers.get("retry-after", pause))
            except (aiohttp.ClientError, TimeoutError) as error:
                how = repr(error)
            if left:
                self.why[self.phase, how[:200]] += 1
                how = "asked again"
                await asyncio.sleep(pause)
        return how


def processes(stage, app, word):
    """The processes of an app's replicas whose command has `word`."""
    found = []
    for folder in sorted((stage.azure_dir / "replicas").glob(f"{app}--*")):
        with suppress(OSError):  # it is gone meanwhile
            found += [
                pid
                for pid in labelled(label_of(stage.azure_dir, folder.name))
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
    return found


@pytest.fixture
def stage(tmp_path):
    tiny_model.make_model(tmp_path / "model")
    with Stage(tmp_path, "--images", str(images(tmp_path / "image"))) as stage:
        yield stage


async def test_ten_thousand_requests_through_every_disturbance(stage):
    """Each is answered at once, also by a gateway that is updated. Only the requests that were in a
    killed replica of the gateway are asked again, by the client itself.
    """
    stage.save(*documents())
    async with inside(stage, "soak") as daemon:
        await daemon.converged("phi", seconds=120)
        await daemon.until(
            lambda: daemon.condition("default", "Ready", "Environment")["status"] == "True",
            "the gateway serves",
            120,
        )
        key = await asyncio.to_thread(stage.moorage, "key", "gw-default")
        endpoint = daemon.document("default", "Environment")["gateway"]["endpoint"]
        crowd = Crowd(endpoint, key.stdout.strip(), stage.ca)
        began = time.monotonic()
        async with crowd.asking():
            for trouble in (cold, rollout, death, gateway_killed, gateway_updated, rollback):
                crowd.phase = trouble.__name__
                await trouble(stage, daemon, crowd)
                share = crowd.answered() + REQUESTS // 8
                while crowd.answered() < share:
                    await asyncio.sleep(0.1)
            crowd.phase = "after"
    for (phase, how), count in sorted(crowd.outcomes.items()):
        print(f"{phase:16} {how:12} {count}")
    for (phase, why), count in sorted(crowd.why.items()):
        print(f"{phase:16} {count} asked again: {why}")
    print(f"{crowd.answered()} requests in {time.monotonic() - began:.0f} s")
    assert {how for _, how in crowd.outcomes} <= {"at once", "asked again"}
    assert {phase for phase, _ in crowd.why} <= {"gateway_killed"}
    assert sum(crowd.why.values()) <= 2 * CALLERS
    assert crowd.answered() >= REQUESTS


async def cold(stage, daemon, crowd):
    """Nobody asks until the service sleeps; then all at once."""
    crowd.gate.clear()
    await daemon.until(
        lambda: daemon.condition("phi", "Ready")["reason"] == "ScaledToZero", "phi sleeps", 120
    )
    crowd.gate.set()


async def rollout(stage, daemon, crowd):
    before = carrying(daemon)
    await daemon.save(*documents(env=[{"name": "COLOUR", "value": "red"}]))
    await changed(daemon, before)


async def death(stage, daemon, crowd):
    """kill -9 of the service's replica, five times, each while requests are in it."""
    for _ in range(5):
        for pid in processes(stage, "phi", "stand_in"):
            os.kill(pid, signal.SIGKILL)
        seen = crowd.answered()
        while crowd.answered() < seen + 200:
            await asyncio.sleep(0.1)


async def gateway_killed(stage, daemon, crowd):
    first = processes(stage, "gw-default", "serving.gateway")
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    await daemon.until(
        lambda: (
            set(now := processes(stage, "gw-default", "serving.gateway")) - set(first)
            and len(now) == 2
        ),
        "the gateway's replica is back",
        60,
    )


async def gateway_updated(stage, daemon, crowd):
    first = processes(stage, "gw-default", "serving.gateway")
    await daemon.save(*documents(cpu=0.5, env=[{"name": "COLOUR", "value": "red"}]))
    await daemon.until(
        lambda: (
            (now := processes(stage, "gw-default", "serving.gateway")) and not set(now) & set(first)
        ),
        "the gateway's old revision is gone",
        180,
    )


async def rollback(stage, daemon, crowd):
    """A revision that ends at once: it gets no traffic, and the old one goes on."""
    await daemon.save(*documents(cpu=0.5, env=[{"name": "FAILS", "value": "now"}]))
    await daemon.until(
        lambda: daemon.condition("phi", "Synced")["reason"] == "RolledBack", "it rolled back", 180
    )


def carrying(daemon):
    """The revisions that have traffic."""
    return {each["name"] for each in daemon.document("phi")["revisions"] if each["trafficWeight"]}


async def changed(daemon, before):
    await daemon.until(lambda: not carrying(daemon) & before, "the traffic has moved", 120)
    await daemon.converged("phi", seconds=120)
