"""The OpenAI API of a service, for the chat page: the list of models, and streamed answers with
their speed.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp

PATIENCE = aiohttp.ClientTimeout(
    total=None, sock_connect=10, sock_read=240
)  # Azure cuts a request after 240 s

VERSION, STICKY = "x-moorage-adapter-version", "x-moorage-sticky"


class EndpointError(Exception):
    """No answer, or an answer that cannot be used; the message is for the person at the page."""


@dataclass(frozen=True)
class EndpointAnswer:
    """The part of an answer that has arrived. `first` is the time to the first token, and `pace`
    the tokens per second since then; both are None until they are known. `version` is that of the
    adapter that answers, as the service names it.
    """

    text: str
    first: float | None = None
    pace: float | None = None
    tokens: int = 0
    done: bool = False
    version: str = ""


class ServedModel(NamedTuple):
    """A model as the service lists it; `longest` are the tokens of prompt and answer together.
    `images` says that the service tells that the model takes images.
    """

    name: str
    longest: int | None = None
    images: bool = False


class Endpoint:
    """One service, at its own address or at the gateway in front of it, where the service's key
    reaches that service alone. `session` trusts its certificate; `key` is sent only in the header.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, key: str, *, gateway: bool = False
    ) -> None:
        self.session = session
        self.url = url
        self.gateway = gateway
        self._headers = {"Authorization": f"Bearer {key}"}

    async def models(self) -> list[ServedModel]:
        """The models: the base model, then its adapters. At the service's own
        address the request starts a replica if none runs.

        Raises:
            EndpointError: the service did not answer.
        """
        try:
            async with self.session.get(
                f"{self.url}/v1/models", headers=self._headers, timeout=PATIENCE
            ) as answer:
                await _check(answer)
                listed = (await answer.json(content_type=None))["data"]
                listed = sorted(listed, key=lambda each: each.get("parent") is not None)
                # A gateway lists phi/support where two services have a support. With a
                # service's own key the name in `root` is enough.
                name = "root" if self.gateway else "id"
                return [
                    ServedModel(str(each[name]), _count(each), _images(each)) for each in listed
                ]
        except (
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            raise EndpointError(_why(error)) from None

    async def wake(self) -> None:
        """Start a replica if none runs, and wait until it answers.

        Raises:
            EndpointError: the service did not answer.
        """
        models = await self.models()
        # A gateway lists the models itself and wakes a service for a prompt alone.
        if self.gateway and models:
            prompt = [{"role": "user", "content": "Hi"}]
            async for _ in self.stream(models[0].name, prompt, max_tokens=1):
                pass

    async def stream(
        self, model: str, messages: Sequence[Mapping[str, Any]], sticky: str = "", **sampling: Any
    ) -> AsyncIterator[EndpointAnswer]:
        """The answer so far, again after each new part. The last one is `done` and has vLLM's own
        count of tokens. Answers to the same `sticky` come from the same version of an adapter.

        Raises:
            EndpointError: the service did not answer, or the answer broke off.
        """
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **sampling,
        }
        began = time.monotonic()
        first = now = 0.0
        text, tokens, version = "", 0, ""
        headers = self._headers | ({STICKY: sticky} if sticky else {})
        try:
            async with self.session.post(
                f"{self.url}/v1/chat/completions",
                json=body,
                headers=headers,
                timeout=PATIENCE,
            ) as answer:
                await _check(answer)
                version = answer.headers.get(VERSION, "")[:64]
                async for event in _events(answer):
                    if usage := event.get("usage"):
                        tokens = int(usage["completion_tokens"])
                    piece = ((event.get("choices") or [{}])[0].get("delta") or {}).get(
                        "content"
                    ) or ""
                    if not piece:
                        continue
                    now = time.monotonic()
                    first = first or now
                    text, tokens = text + piece, tokens + 1
                    pace = _pace(tokens, now - first)
                    yield EndpointAnswer(text, first - began, pace, tokens, version=version)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise EndpointError(_why(error)) from None
        yield EndpointAnswer(
            text,
            first - began if first else None,
            _pace(tokens, now - first),
            tokens,
            done=True,
            version=version,
        )


def _count(card: Mapping[str, Any]) -> int | None:
    longest = card.get("max_model_len")
    return longest if isinstance(longest, int) and longest > 0 else None


def _images(card: Mapping[str, Any]) -> bool:
    inputs = card.get("input_modalities")
    return isinstance(inputs, list) and "image" in inputs


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.content:
        data = line.decode(errors="replace").strip().removeprefix("data:").strip()
        if data == "[DONE]":
            return
        if data.startswith("{"):
            event: dict[str, Any] = json.loads(data)
            if problem := event.get("error"):
                raise EndpointError(f"the service says: {_text(problem)}")
            yield event
    # A proxy may end the answer of a server that died as if it were complete.
    raise EndpointError("the answer broke off")


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 200:
        return
    body = (await answer.text())[:2000]
    try:
        said = _text(json.loads(body).get("error", body))
    except (ValueError, AttributeError):
        said = body.strip()[:200]
    raise EndpointError(f"the service answered {answer.status}{': ' + said if said else ''}")


def _text(problem: Any) -> str:
    return str(problem.get("message", problem)) if isinstance(problem, dict) else str(problem)


def _pace(tokens: int, seconds: float) -> float | None:
    """Tokens per second since the first token; the first token itself does not count."""
    return (tokens - 1) / seconds if tokens > 1 and seconds > 0 else None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the service did not answer in time"
    if isinstance(error, (ValueError, KeyError, TypeError, AttributeError)):
        return "the service answers something else than the OpenAI API"
    return f"the service cannot be reached ({type(error).__name__})"
