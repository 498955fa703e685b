"""10,000 requests through cold starts, rollouts, deaths of replicas and updates of the gateway: none
fails that the service could have answered.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.serving.gateway.stand_in import StandIn, served
from tests.serving.gateway.test_process import process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REQUESTS, CALLERS = 10_000, 64
# What a revision switch, a replica's death and an ingress in between look like to the gateway.
FAILURES = (502, 503, 503, 503, 504, 404, "cut")


class Troubled(StandIn):
    """One request in thirty fails before its first byte, and the service falls asleep at times."""

    def __init__(self):
        super().__init__(awake=False, starts_in=0.5)
        self.dice = random.Random(13)
        self.told = Counter()

    async def handle(self, request):
        if request.path != "/ready" and self.dice.random() < 1 / 30:
            self.failures = [self.dice.choice(FAILURES)]
            self.told[str(self.failures[0])] += 1
        return await super().handle(request)

    async def fall_asleep(self):
        """Requests that come now get what the ingress says of an app without replicas."""
        self.awake.clear()
        self._starting = None
        self.told["asleep"] += 1


async def test_ten_thousand_requests_and_none_fails(tmp_path):
    """Streamed and plain by turns, while the service sleeps and breaks and two gateways follow one
    another.
    """
    phi, outcomes = Troubled(), Counter()
    async with served(phi.handle) as url, AsyncExitStack() as stack:
        current = [await stack.enter_async_context(process(tmp_path, url))]
        left = iter(range(REQUESTS))
        began = time.monotonic()

        async def caller():
            for number in left:
                outcomes[await _ask(current[-1][1], stream=number % 2 == 0)] += 1

        async def trouble():
            for turn in range(1000):
                await asyncio.sleep(3)
                await phi.fall_asleep()
                if turn in (1, 3):
                    current.append(await stack.enter_async_context(process(tmp_path, url)))
                    current[-2][0].send_signal(signal.SIGTERM)

        troubled = asyncio.create_task(trouble())
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        troubled.cancel()
        seconds = time.monotonic() - began
        print(f"{REQUESTS} requests in {seconds:.0f} s; {dict(outcomes)}; {dict(phi.told)}")
    assert outcomes == {"answered": REQUESTS}
    assert phi.told["asleep"] > 1
    assert len(current) > 1


async def _ask(session, *, stream):
    body = {"model": "phi", "messages": [], "stream": stream}
    for _ in range(3):
        try:
            async with session.post("/v1/chat/completions", json=body) as answer:
                text = await answer.text()
                whole = "[DONE]" in text if stream else '"one two three"' in text
                good = answer.status == 200 and whole and '"error"' not in text
                return "answered" if good else f"{answer.status} {text[-300:]}"
        except aiohttp.ClientConnectorError:
            # The ingress would have sent it to the other gateway: this one no longer listens.
            continue
    return "not reached"
