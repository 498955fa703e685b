"""The evaluation of a step in a rollout: prompts that the new revision itself must answer as
expected, over OpenAI's API. `trial` asks one prompt a look, so that no look takes long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.engine.clock import Clock
from reconciler.kinds.service import api_keys
from reconciler.kinds.service.ingress_reach import GATEWAY, reaches_ingress
from reconciler.kinds.service.smoke import address
from serving.catalogue import Expectation
from serving.untrusted import UntrustedError, parse

PATIENCE = aiohttp.ClientTimeout(total=60)
LONGEST = 1 << 20  # bytes of an answer that are read
REFUSED = 10.0  # seconds for which the app may refuse a prompt
SHOWN = 60  # characters of a prompt or an answer
TRANSIENT = (408, 429, *GATEWAY)
UNABLE = (400, 404)
DENIED = (401, 403)


@dataclass(frozen=True)
class Answered:
    """`failed` says why the revision does not meet the evaluation, `unmet` what is still to be
    asked; both are empty once it is met.
    """

    failed: str = ""
    unmet: str = ""


@dataclass(frozen=True)
class _Progress:
    """The progress of one app: its step (`revision`, `weight` and the prompts), how many prompts
    were answered as expected (`met`), the API key to ask with, and since when it has not answered.
    """

    revision: str
    weight: int
    cases: tuple[Expectation, ...]
    met: int = 0
    key: str = ""
    silent: float | None = None


class Evaluations:
    """One for all container apps. After a restart a step's prompts are asked again."""

    def __init__(self, arm: Arm, clock: Clock) -> None:
        self.arm, self.clock = arm, clock
        self._progress: dict[str, _Progress] = {}

    async def ask(self, spec: ContainerAppSpec, weight: int, found: Mapping[str, Any]) -> Answered:
        """Ask the wanted revision the next prompt of the step at `weight`."""
        cases = next((s.evaluation for s in spec.steps if s.weight == weight), ())
        known = self._progress.get(spec.name)
        # Prompts that were edited meanwhile are asked from the first one on.
        step = (spec.revision, weight, cases)
        if known is None or (known.revision, known.weight, known.cases) != step:
            known = _Progress(*step, key=await self._key(spec) if cases else "")
        self._progress[spec.name] = known
        if known.met == len(cases):
            return Answered()
        status, text = await self._answer(spec, found, known.key, cases[known.met])
        if status in DENIED:
            # The key may have been rotated since the step began; the next look asks with this one.
            known = replace(known, key=await self._key(spec))
        if status == 200 and not cases[known.met].is_met_by(text):
            return Answered(failed=_mismatch(cases, known.met, text))
        known = self._progress[spec.name] = self._counted(known, status)
        if known.silent is not None:
            return await self._silent(spec, known, found, status, text)
        left = len(cases) - known.met
        return Answered(unmet=f"{left} of {len(cases)} prompts are to be answered" if left else "")

    def _counted(self, known: _Progress, status: int) -> _Progress:
        if status == 200:
            return replace(known, met=known.met + 1, silent=None)
        since = self.clock.elapsed() if known.silent is None else known.silent
        return replace(known, silent=since)

    async def _silent(
        self,
        spec: ContainerAppSpec,
        known: _Progress,
        found: Mapping[str, Any],
        status: int,
        text: str,
    ) -> Answered:
        what = f"answers {status}" if status else "gives no answer"
        told = f"revision {known.revision} {what} to a prompt of the evaluation: {_short(text)}"
        place = address(spec, known.revision, found)
        if place is not None and not await reaches_ingress(self.arm, place[0]):
            # This is not the fault of the revision, but the step needs an answer, so it waits for
            # one.
            self._progress[spec.name] = replace(known, silent=None)
            return Answered(unmet=f"{told}; the daemon does not reach the ingress either")
        patience = spec.deadline_seconds if not status or status in TRANSIENT else REFUSED
        waited = self.clock.elapsed() - (known.silent or 0.0)
        return Answered(failed=told) if waited >= patience else Answered(unmet=told)

    async def _key(self, spec: ContainerAppSpec) -> str:
        if not spec.evaluator:
            return ""
        values = await apps.list_secrets(self.arm, spec.resource_group, spec.name)
        return values.get(api_keys.PREFIX + spec.evaluator, "")

    async def _answer(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], key: str, case: Expectation
    ) -> tuple[int, str]:
        """The status and the text of the answer; without one, 0 and why."""
        place = address(spec, spec.revision, found)
        if place is None:
            return 0, "its endpoint cannot be reached from outside its environment"
        host, named = place
        headers = {"Host": named, "Connection": "close"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        chat = {"messages": [{"role": "user", "content": case.prompt}]}
        status, text = await self._post(host, headers, spec, case, "chat/completions", chat)
        if status in UNABLE:  # a model without a chat template has completions only
            prompt = {"prompt": case.prompt}
            other = await self._post(host, headers, spec, case, "completions", prompt)
            return other if other[0] == 200 else (status, text)
        return status, text

    async def _post(
        self,
        host: str,
        headers: Mapping[str, str],
        spec: ContainerAppSpec,
        case: Expectation,
        route: str,
        body: Mapping[str, Any],
    ) -> tuple[int, str]:
        asked = {"model": spec.service, "max_tokens": case.max_tokens, "temperature": 0, **body}
        try:
            async with self.arm.outside.post(
                f"https://{host}/v1/{route}",
                json=asked,
                headers=headers,
                timeout=PATIENCE,
                allow_redirects=False,
            ) as answer:
                content = await answer.content.read(LONGEST)
                return answer.status, _text(content) if answer.status == 200 else _words(content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 0, type(error).__name__


def _text(content: bytes) -> str:
    """What the model said; an answer of another form says nothing."""
    try:
        choice = parse(content)["choices"][0]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])
    except (UntrustedError, KeyError, IndexError, TypeError):
        return ""


def _words(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())


def _mismatch(cases: tuple[Expectation, ...], place: int, answer: str) -> str:
    case = cases[place]
    return (
        f"prompt {place + 1} of {len(cases)} of the evaluation, {_short(case.prompt)}, is answered"
        f" with {_short(answer)} instead of {_short(case.expect)}"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
