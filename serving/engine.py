"""The only file that touches vLLM's internals: loads and unloads adapters, flips aliases, tells public names, runs probes.

Every attribute used here is checked by tests/serving/test_vllm_contract.py against the versions in preflight.SUPPORTED_VLLM.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

from serving.adapters import Version
from serving.gate import current_call
from serving.proof import LIKELIEST, PROMPT, TOKENS, Proof, Run, compare

log = logging.getLogger("moorage.engine")


class VllmEngine:
    """An Engine (see adapters.py) over vLLM's AsyncLLM and its OpenAIServingModels, both of the API server's process."""

    def __init__(self, client: Any, models: Any, tasks: tuple[str, ...]) -> None:
        lora = client.vllm_config.lora_config
        self._client, self._models = client, models
        self._generates = "generate" in tasks
        self._requests: dict[int, Any] = {}
        self._by_key: dict[str, Version] = {}
        self._base_run: Run | None = None
        self.capacity: int = (lora.max_cpu_loras or lora.max_loras) if lora else 0
        self.base_names = tuple(str(one.name) for one in models.base_model_paths)
        self.max_rank: int | None = lora.max_lora_rank if lora else None
        models.model_name = self._public_name
        models.show_available_models = self.list_models
        if lora:
            self._add_request = client.add_request
            client.add_request = self._guarded_add_request

    @property
    def alive(self) -> bool:
        return not self._client.errored

    def next_id(self) -> int:
        return int(self._models.lora_id_counter.inc(1))

    async def load(self, version: Version) -> None:
        """Load under `name@digest`. Raises whatever vLLM raises; the engine survives a refused adapter."""
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
        """Drop the weights; then bring back what vLLM's cache evicted while one adapter too many was loaded."""
        await self._client.remove_lora(version.id)
        self._requests.pop(version.id, None)
        self._by_key.pop(version.key, None)
        resident = await self._client.list_loras()
        for number in set(self._requests) - set(resident):
            await self._client.add_lora(self._requests[number])

    def publish(self, name: str, version: Version | None) -> None:
        """Flip the alias: one assignment, seen by the next request; requests in flight hold the old LoRARequest."""
        if version is None:
            self._models.lora_requests.pop(name, None)
        else:
            self._models.lora_requests[name] = self._requests[version.id]

    def busy(self, version: Version) -> bool:
        """True while the engine works on a request of this version, also one that no HTTP call waits for."""
        states = self._client.output_processor.request_states.values()
        return any(state.lora_name == version.key for state in states)

    async def self_test(self) -> None:
        """One token of the base model, which proves tokenizer, scheduler and kernels. Raises when it fails."""
        if self._generates:
            await self._probe(None)

    async def prove(self, version: Version) -> Proof:
        """Warm the adapter with a few tokens and compare their log-probabilities with the base model's. Never raises."""
        if not self._generates:
            return Proof("Unproven", "the model does not generate text")
        try:
            if self._base_run is None:
                self._base_run = await self._probe(None)
            return compare(self._base_run, await self._probe(self._requests[version.id]))
        except Exception as error:  # noqa: BLE001 an adapter that answers is not taken away for want of a proof
            log.warning("adapter %s could not be proven: %s", version.key, error)
            return Proof("Unproven", f"the proof could not run: {error}")

    async def list_models(self) -> Any:
        """`/v1/models`: plain public names, and no mount path in `root`, which vLLM would show."""
        from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList, ModelPermission

        base = self._models.base_model_paths
        limit = self._models.model_config.max_model_len
        cards = [ModelCard(id=one.name, root=one.name, max_model_len=limit, permission=[ModelPermission()]) for one in base]
        for name, request in self._models.lora_requests.items():
            card = ModelCard(id=name, root=request.lora_name, parent=base[0].name, permission=[ModelPermission()])
            cards.append(card)
        return ModelList(data=cards)

    def _public_name(self, lora_request: Any = None) -> str:
        """What `model` says in an answer. vLLM asks right after it chose a version, so this is where the call is pinned."""
        if lora_request is None:
            return str(self._models.base_model_paths[0].name)
        version = self._by_key.get(lora_request.lora_name)
        call = current_call.get()
        if version is not None and call is not None:
            call.pin(version)
        return str(lora_request.lora_name).rpartition("@")[0] or str(lora_request.lora_name)

    async def _guarded_add_request(self, request_id: str, prompt: Any, params: Any, *args: Any, **options: Any) -> Any:
        """Refuse log-probabilities of the prompt: with LoRA on, vLLM maps them to other requests' adapters.

        As soon as another request runs, the sizes differ and the engine dies (vllm issues 16668 and 29955; seen on 0.32).
        """
        if getattr(params, "prompt_logprobs", None) is not None:
            from vllm.exceptions import VLLMValidationError

            raise VLLMValidationError(
                "Log-probabilities of the prompt (prompt_logprobs, echo with logprobs) are not served here."
            )
        return await self._add_request(request_id, prompt, params, *args, **options)

    async def _probe(self, request: Any) -> Run:
        """Greedy tokens after the fixed prompt, each with its likeliest alternatives."""
        from vllm import SamplingParams

        tokens = self._client.get_tokenizer().encode(PROMPT)[: max(1, self._models.model_config.max_model_len - TOKENS)]
        sampling = SamplingParams(max_tokens=TOKENS, temperature=0.0, logprobs=LIKELIEST)
        name = f"moorage-{uuid.uuid4().hex}"
        rows: list[Any] = []
        async for output in self._client.generate({"prompt_token_ids": tokens}, sampling, name, lora_request=request):
            rows = output.outputs[0].logprobs or rows
        return [{token: entry.logprob for token, entry in row.items()} for row in rows]
