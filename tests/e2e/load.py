"""Clients that never stop asking: what a change may not cost."""

import asyncio
import json
import ssl
from collections import Counter
from typing import Any, Self

import aiohttp


class Load:
    """`clients` at a time ask `endpoint`, every other one for a slow stream, one in four on a new
    connection each time.
    """

    def __init__(self, endpoint: str, ca: str, clients: int = 8) -> None:
        self.endpoint, self.clients = endpoint, clients
        self.trust = ssl.create_default_context(cafile=ca)
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def reaches(self, count: int) -> None:
        """Wait until so many answers have come."""
        while len(self.answers) + len(self.failures) < count:
            await asyncio.sleep(0.05)

    def seen(self, field: str) -> Counter[str]:
        return Counter(str(answer[field]) for answer in self.answers)

    async def _client(self, number: int) -> None:
        path = "/stream" if number % 2 else "/"
        connector = aiohttp.TCPConnector(ssl=self.trust, force_close=number % 4 == 0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=30)
        ) as http:
            while not self._stop.is_set():
                await self._one(http, path)
                await asyncio.sleep(0.02)

    async def _one(self, http: aiohttp.ClientSession, path: str) -> None:
        try:
            async with http.get(self.endpoint + path) as answer:
                text = await answer.text()
                if answer.status == 200:
                    self.answers.append(json.loads(text))
                else:
                    self.failures.append(f"{path}: {answer.status} {text[:200]}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.failures.append(f"{path}: {error!r}")
