"""Streams of chat requests that never stop, against the gate, as the official client makes them;
every answer is kept.
"""

import asyncio
import ssl
from collections import Counter
from typing import Any, Self

import openai


class Chat:
    """`streams` at a time; one in two is streamed. `models` may change while it runs."""

    def __init__(
        self, endpoint: str, key: str, ca: str, models: tuple[str, ...], streams: int = 8
    ) -> None:
        trust = ssl.create_default_context(cafile=ca)
        self.http = openai.DefaultAsyncHttpxClient(verify=trust, timeout=120, trust_env=False)
        self.client = openai.AsyncOpenAI(
            base_url=f"{endpoint}/v1", api_key=key, http_client=self.http, max_retries=0
        )
        self.models, self.streams = models, streams
        self.answers: list[tuple[str, str]] = []
        self.failures: list[str] = []

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._ask_on(number)) for number in range(self.streams)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self.http.aclose()

    async def more(self, count: int) -> None:
        """Wait for so many more answers, from requests that begin now as well."""
        goal = len(self.answers) + len(self.failures) + count
        while len(self.answers) + len(self.failures) < goal:
            await asyncio.sleep(0.05)

    def seen(self, model: str, since: int = 0) -> Counter[str]:
        return Counter(text for name, text in self.answers[since:] if name == model)

    async def _ask_on(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            model = self.models[turn % len(self.models)]
            turn += 1
            try:
                self.answers.append((model, await self.ask(model, stream=number % 2 == 0)))
            except Exception as error:  # whatever a user would have seen
                self.failures.append(f"{model}: {error!r}")

    async def ask(self, model: str, *, stream: bool = False) -> str:
        """One question; the whole answer."""
        question: Any = {
            "model": model,
            "max_tokens": 8,
            "temperature": 0,
            "messages": [{"role": "user", "content": "hello"}],
        }
        if not stream:
            answer = await self.client.chat.completions.create(**question)
            return (answer.choices[0].message.content or "").strip()
        parts = [
            chunk
            async for chunk in await self.client.chat.completions.create(**question, stream=True)
        ]
        assert parts[-1].choices[0].finish_reason, "the stream was cut"
        return "".join(part.choices[0].delta.content or "" for part in parts).strip()
