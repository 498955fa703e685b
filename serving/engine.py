"""The only file that touches vLLM's internals: loads and unloads adapters, flips aliases, lists
public names, runs probes.

Every attribute used here is checked by tests/serving/test_vllm_contract.py against the versions in
preflight.SUPPORTED_VLLM.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from serving.catalogue import AdapterReason, Expectation
from serving.patches import nan
from serving.proof import (
    BASES,
    FLOOR,
    FLOORS,
    LIKELIEST,
    PROMPTS,
    TOKENS,
    Proof,
    Run,
    Trial,
    judge,
    unmet,
)
from serving.request import media
from serving.request.traffic import Call, current_call
from serving.turns.prefills import STEPS, Prefills
from serving.versions import Route, Version

log = logging.getLogger("moorage.engine")


class Aliases(dict[str, Any]):
    """Maps public names to LoRARequests and replaces vLLM's own mapping. Where a canary runs, the
    current call decides which of the two versions it gets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.canaries: dict[
            str, tuple[Any, int]
        ] = {}  # the canary's LoRARequest, and the percentage of calls that get it

    def __getitem__(self, name: str) -> Any:
        call, canary = current_call.get(), self.canaries.get(name)
        if canary is not None and call is not None and call.draws(name) < canary[1]:
            return canary[0]
        return super().__getitem__(name)


class VllmEngine:
    """An Engine (see adapters.py) over vLLM's AsyncLLM and its OpenAIServingModels, both of the API
    server's process.
    """

    def __init__(self, client: Any, models: Any, tasks: tuple[str, ...]) -> None:
        lora = client.vllm_config.lora_config
        self._client, self._models = client, models
        self._generates = "generate" in tasks
        self._requests: dict[int, Any] = {}
        self._by_key: dict[str, Version] = {}
        self.shutdown_dates: dict[str, str | None] = {}  # of adapters, by public name
        self.capacity: int = (lora.max_cpu_loras or lora.max_loras) if lora else 0
        self.base_names = tuple(str(one.name) for one in models.base_model_paths)
        self.max_rank: int | None = lora.max_lora_rank if lora else None
        self._inputs = media.modalities(models.model_config)
        models.model_name = self._public_name
        models.show_available_models = self.list_models
        models.lora_requests = self._aliases = Aliases()
        self._lora, self._add_request, self._generate = (
            bool(lora),
            client.add_request,
            client.generate,
        )
        client.add_request, client.generate = self._guarded_add_request, self._counted_generate
        nan.end_requests(client.output_processor)
        step = client.vllm_config.scheduler_config.max_num_batched_tokens
        self._prefills = Prefills(STEPS * step)
        self._prefills.follow(client.output_processor)

    @property
    def names(self) -> list[str]:
        """All public names, the base model's first."""
        return [*self.base_names, *self._aliases]

    @property
    def alive(self) -> bool:
        return not self._client.errored

    @property
    def answered(self) -> float:
        """When the engine last had a token for anybody, by time.monotonic."""
        return self._prefills.answered

    def next_id(self) -> int:
        return int(self._models.lora_id_counter.inc(1))

    async def load(self, version: Version) -> None:
        """Load under `name@digest`. Raises whatever vLLM raises; the engine survives a refused
        adapter.
        """
        from vllm.lora.request import LoRARequest

        request = LoRARequest(
            lora_name=version.key,
            lora_int_id=version.id,
            lora_path=str(version.path),
            base_model_name=self._models.base_model_paths[0].name,
        )
        await self._client.add_lora(request)
        self._requests[version.id] = request
        self._by_key[version.key] = version

    async def unload(self, version: Version) -> None:
        """Unload the weights. Then reload the adapter that vLLM's cache evicted while there was one
        too many.
        """
        await self._client.remove_lora(version.id)
        self._requests.pop(version.id, None)
        self._by_key.pop(version.key, None)
        resident = await self._client.list_loras()
        for number in set(self._requests) - set(resident):
            await self._client.add_lora(self._requests[number])

    def publish(self, name: str, route: Route | None) -> None:
        """Flip the alias: seen by the next request; requests in flight hold the old LoRARequest."""
        if route is not None and route.canary is not None:
            self._aliases.canaries[name] = (self._requests[route.canary.id], route.weight)
        else:
            self._aliases.canaries.pop(name, None)
        if route is None:
            self._aliases.pop(name, None)
        else:
            self._aliases[name] = self._requests[route.stable.id]

    def busy(self, version: Version) -> bool:
        """True while the engine works on a request of this version, even if its client has
        disconnected.
        """
        states = self._client.output_processor.request_states.values()
        return any(state.lora_name == version.key for state in states)

    async def self_test(self) -> None:
        """One token of the base model, which proves tokenizer, scheduler and kernels. Raises when
        it fails.
        """
        if self._generates:
            await self._probe(PROMPTS[0], None)

    async def structured_test(self) -> None:
        """One token within a schema: proves that grammars are compiled. Raises when it fails."""
        from vllm.sampling_params import StructuredOutputsParams

        if self._generates:
            tokens = self._client.get_tokenizer().encode(PROMPTS[0])
            schema = StructuredOutputsParams(json={"type": "boolean"})
            await self._greedy(tokens, 1, None, structured_outputs=schema)

    async def prove(self, version: Version) -> Proof:
        """Warm the adapter with a few tokens and compare their log-probabilities with those of the
        base model, measured beside it. Never raises.
        """
        if not self._generates:
            return Proof(AdapterReason.UNPROVEN, "the model does not generate text")
        try:
            request = self._requests[version.id]
            kind = str(self._client.vllm_config.model_config.dtype).removeprefix("torch.")
            trials = [await self._trial(prompt, request) for prompt in PROMPTS]
            return judge(trials, FLOORS.get(kind, FLOOR))
        except Exception as error:  # noqa: BLE001 an unmeasured adapter still serves
            log.warning("adapter %s could not be proven: %s", version.key, error)
            return Proof(AdapterReason.UNPROVEN, f"the proof could not run: {error}")

    async def evaluate(self, version: Version, evaluation: Sequence[Expectation]) -> str:
        """What is wrong with the version's answers to the evaluation; empty if nothing is. Raises
        if vLLM could not answer.
        """
        if not self._generates:
            raise RuntimeError("the model does not generate text")
        request = self._requests[version.id]
        answers = await asyncio.gather(*(self._answer(case, request) for case in evaluation))
        return unmet(evaluation, answers)

    async def list_models(self) -> Any:
        """`/v1/models`: the public names that the key may use, and what the model takes. `root`
        shows no mount path, which vLLM's own answer would.
        """
        from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList, ModelPermission

        base = self._models.base_model_paths
        limit = self._models.model_config.max_model_len
        inputs = {"input_modalities": self._inputs}
        cards = [
            ModelCard(
                id=one.name,
                root=one.name,
                max_model_len=limit,
                permission=[ModelPermission()],
                **inputs,
            )
            for one in base
        ]
        for name, request in self._aliases.items():
            until = self.shutdown_dates.get(name)
            card = ModelCard(
                id=name,
                root=request.lora_name,
                parent=base[0].name,
                permission=[ModelPermission()],
                **inputs,
                **({"shutdown_date": until} if until else {}),
            )
            cards.append(card)
        call = current_call.get()
        # Outside of a request, as when vLLM starts, there is no key that limits it.
        allowed = call.models if call is not None else None
        return ModelList(data=[card for card in cards if allowed is None or card.id in allowed])

    def _public_name(self, lora_request: Any = None) -> str:
        """The name that stands as `model` in an answer. vLLM asks for it right after it chose a
        version, so the call is pinned to that version here.
        """
        name = str(self._models.base_model_paths[0].name)
        if lora_request is not None:
            name = str(lora_request.lora_name).rpartition("@")[0] or str(lora_request.lora_name)
        call = current_call.get()
        if call is not None:
            call.model = name
            if call.models is not None and name not in call.models:
                raise _refused(f"This key may not use the model {name!r}.")
            if (
                lora_request is not None
                and (version := self._by_key.get(lora_request.lora_name)) is not None
            ):
                call.pin(version)
        return name

    async def _guarded_add_request(
        self, request_id: str, prompt: Any, params: Any, *args: Any, **options: Any
    ) -> Any:
        """Bound the length of the answer, and refuse prompts beyond the limit. Also refuse
        log-probabilities of the prompt, unless the key may have them. With LoRA no key may: vLLM
        computes them with the adapter mapping of other requests, and the engine dies as soon as
        another request runs, because the sizes differ (vllm issues 16668 and 29955; seen on 0.32).
        """
        call = current_call.get()
        if getattr(params, "prompt_logprobs", None) is not None and (
            self._lora or call is None or not call.prompt_logprobs
        ):
            raise _refused(
                "Log-probabilities of the prompt (prompt_logprobs, echo with logprobs) are not"
                " served here."
            )
        if call is not None:
            if call.output_limit is not None and getattr(params, "max_tokens", None) is not None:
                params.max_tokens = min(params.max_tokens, call.output_limit)
            # The tokens of a chat are known only here; the gate can only estimate them.
            tokens = len(prompt.get("prompt_token_ids") or ()) if isinstance(prompt, dict) else 0
            if call.prompt_limit is not None and tokens > call.prompt_limit:
                raise _refused(
                    f"The maximum context length here is {call.prompt_limit} tokens of prompt;"
                    f" this prompt has {tokens}."
                )
            call.prompt_tokens += tokens
            return await self._admitted_request(
                call, tokens, request_id, prompt, params, *args, **options
            )
        return await self._add_request(request_id, prompt, params, *args, **options)

    async def _admitted_request(self, call: Call, tokens: int, *args: Any, **options: Any) -> Any:
        """The request, once its key's prompts leave room for it in the engine."""
        call.on_engine()
        admission = await self._prefills.enter(call, tokens)
        queue = await self._add_request(*args, **options)
        self._prefills.name(admission, queue.request_id)
        return queue

    async def _counted_generate(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """The answers of vLLM's `generate`, counted in the call that they belong to. An answer that
        was computed from NaN becomes an error.
        """
        from vllm.exceptions import GenerationError, VLLMClientError

        call = current_call.get()
        async with aclosing(self._generate(*args, **options)) as outputs:
            try:
                async for output in outputs:
                    if any(one.stop_reason == nan.REASON for one in output.outputs):
                        raise GenerationError(
                            "The model computed values that are no numbers (NaN) for this prompt."
                        )
                    if call is not None:
                        call.produced(sum(len(one.token_ids) for one in output.outputs))
                        call.failed |= any(one.finish_reason == "error" for one in output.outputs)
                    yield output
            except Exception as error:
                # The client's mistake says nothing about the adapter, and must not end its canary.
                if call is not None and not isinstance(error, VLLMClientError):
                    call.failed = True
                raise

    async def _trial(self, prompt: str, request: Any) -> Trial:
        """The base model alone, and in one batch with the adapter: the difference that the batch
        and the prefix cache make is noise.
        """
        alone = await self._probe(prompt, None)
        together = [self._probe(prompt, each) for each in [None] * (BASES - 1) + [request]]
        *bases, adapted = await asyncio.gather(*together)
        return (alone, *bases), adapted

    async def _probe(self, prompt: str, request: Any) -> Run:
        """Greedy tokens after a fixed prompt, each with its likeliest alternatives. The salt keeps
        a run from using the cache of another run, which would hide the noise.
        """
        tokens = self._client.get_tokenizer().encode(prompt)
        salt = uuid.uuid4().hex
        output = await self._greedy(tokens, TOKENS, request, salt=salt, logprobs=LIKELIEST)
        return [
            {token: entry.logprob for token, entry in row.items()} for row in output.logprobs or ()
        ]

    async def _answer(self, case: Expectation, request: Any) -> str:
        """The answer to a chat with this one message. A model without a chat template continues the
        text instead.
        """
        tokenizer = self._client.get_tokenizer()
        if getattr(tokenizer, "chat_template", None):
            messages = [{"role": "user", "content": case.prompt}]
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            tokens = tokenizer.encode(text, add_special_tokens=False)
        else:
            tokens = tokenizer.encode(case.prompt)
        return str((await self._greedy(tokens, case.max_tokens, request)).text)

    async def _greedy(
        self, tokens: list[int], most: int, request: Any, *, salt: str = "", **options: Any
    ) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.FINAL_ONLY
        sampling = SamplingParams(max_tokens=most, temperature=0.0, output_kind=kind, **options)
        prompt: dict[str, Any] = {
            "prompt_token_ids": tokens[: max(1, self._models.model_config.max_model_len - most)]
        }
        if salt:
            prompt["cache_salt"] = salt
        outputs = self._generate(
            prompt, sampling, f"moorage-{uuid.uuid4().hex}", lora_request=request
        )
        return [output async for output in outputs][-1].outputs[0]


def _refused(message: str) -> Exception:
    """An error that vLLM answers with status 400."""
    from vllm.exceptions import VLLMValidationError

    error: Exception = VLLMValidationError(message)
    return error
