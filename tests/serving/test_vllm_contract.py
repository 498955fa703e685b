"""The vLLM that is installed is one of the supported ones and still has the internals that serving
touches.

Reads vLLM's source instead of importing it, which would take longer than the rest of the suite.
"""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from serving import ENTRY_POINTS
from serving.patches import cpu_lora
from serving.preflight import SUPPORTED_VLLM

ROOT = next(
    iter(
        (Path(__file__).parents[2] / ".venv/images/vllm/lib").glob("python3.*/site-packages/vllm")
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    ROOT is None, reason="the vLLM image's environment is not installed"
)


@cache
def _source(path: str) -> str:
    return (ROOT / path).read_text()


@cache
def _functions(path: str, owner: str = "") -> dict[str, list[str]]:
    """Argument names of the functions of a module or of one of its classes."""
    body = ast.parse(_source(path)).body
    if owner:
        body = next(
            node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner
        )
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {
        f.name: [a.arg for a in [*f.args.args, *f.args.kwonlyargs]]
        for f in body
        if isinstance(f, kinds)
    }


def test_the_installed_version_is_on_the_tested_list():
    """A new image needs its version tested and added."""
    version = re.search(r"__version__ = version = '([\d.]+)", _source("_version.py"))
    assert version[1] in SUPPORTED_VLLM


@pytest.mark.parametrize(
    ("path", "owner", "function", "arguments"),
    [
        ("v1/engine/async_llm.py", "AsyncLLM", "add_lora", ["lora_request"]),
        ("v1/engine/async_llm.py", "AsyncLLM", "remove_lora", ["lora_id"]),
        ("v1/engine/async_llm.py", "AsyncLLM", "list_loras", []),
        ("v1/engine/async_llm.py", "AsyncLLM", "get_supported_tasks", []),
        ("v1/engine/async_llm.py", "AsyncLLM", "get_tokenizer", []),
        ("v1/engine/async_llm.py", "AsyncLLM", "errored", []),
        (
            "v1/engine/output_processor.py",
            "OutputProcessor",
            "process_outputs",
            ["engine_core_outputs"],
        ),
        (
            "v1/structured_output/__init__.py",
            "StructuredOutputManager",
            "_create_grammar",
            ["request"],
        ),
        ("v1/engine/async_llm.py", "AsyncLLM", "add_request", ["request_id", "prompt", "params"]),
        (
            "v1/engine/async_llm.py",
            "AsyncLLM",
            "generate",
            ["prompt", "sampling_params", "request_id", "lora_request"],
        ),
        (
            "entrypoints/openai/models/serving.py",
            "OpenAIServingModels",
            "model_name",
            ["lora_request"],
        ),
        (
            "entrypoints/openai/models/serving.py",
            "OpenAIServingModels",
            "show_available_models",
            [],
        ),
        ("entrypoints/launchers/api_server/entry.py", "", "main", []),
        ("plugins/endpoint_plugins/interface.py", "EndpointPlugin", "attach_router", ["app"]),
        (
            "plugins/endpoint_plugins/interface.py",
            "EndpointPlugin",
            "init_state",
            ["engine_client", "state", "args"],
        ),
    ],
)
def test_what_serving_calls_is_there(path, owner, function, arguments):
    """Name and arguments are as serving/engine.py and plugin.py use them."""
    found = _functions(path, owner)
    assert function in found
    assert set(arguments) <= set(found[function])


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        (
            "entrypoints/openai/models/serving.py",
            "self.lora_requests: dict[str, LoRARequest] = {}",
            "aliases are flipped there",
        ),
        (
            "entrypoints/openai/models/serving.py",
            "self.lora_id_counter = AtomicCounter(0)",
            "ids come from there",
        ),
        (
            "entrypoints/openai/models/serving.py",
            "self.base_model_paths = base_model_paths",
            "the base's public names",
        ),
        (
            "entrypoints/openai/models/api_router.py",
            "handler.show_available_models()",
            "the listing is replaced there",
        ),
        (
            "entrypoints/serve/engine/serving.py",
            "return self.models.lora_requests[request.model]",
            "a request picks its version",
        ),
        (
            "entrypoints/serve/engine/serving.py",
            "if request.model in self.models.lora_requests:",
            "the names there are",
        ),
        (
            "entrypoints/openai/chat_completion/serving.py",
            "self.engine_client.generate(",
            "tokens are counted there",
        ),
        (
            "entrypoints/openai/completion/serving.py",
            "self.engine_client.generate(",
            "tokens are counted there",
        ),
        (
            "entrypoints/openai/responses/serving.py",
            "self.engine_client.generate(",
            "tokens are counted there",
        ),
        ("v1/metrics/prometheus.py", "return REGISTRY", "our metrics are shown with vLLM's"),
        (
            "entrypoints/openai/chat_completion/serving.py",
            "self.models.model_name(lora_request)",
            "a chat is pinned",
        ),
        (
            "entrypoints/openai/completion/serving.py",
            "self.models.model_name(lora_request)",
            "a completion is pinned",
        ),
        (
            "entrypoints/openai/responses/serving.py",
            "self.models.model_name(lora_request)",
            "a response is pinned",
        ),
        (
            "entrypoints/pooling/base/serving.py",
            "self.models.model_name(lora_request)",
            "an embedding is pinned",
        ),
        (
            "v1/engine/async_llm.py",
            "self.output_processor = OutputProcessor(",
            "running requests are found there",
        ),
        (
            "v1/engine/async_llm.py",
            "q = await self.add_request(",
            "the guard against prompt log-probabilities",
        ),
        (
            "v1/engine/output_processor.py",
            "self.request_states: dict[str, RequestState] = {}",
            "running requests",
        ),
        (
            "v1/engine/output_processor.py",
            "self.lora_name = lora_request.lora_name",
            "their adapter",
        ),
        (
            "v1/engine/output_processor.py",
            "req_state.is_prefilling = False",
            "the first output of a request, which lets its key's next prompt in",
        ),
        ("v1/engine/output_processor.py", "self.parent_req = parent_req", "of several choices"),
        (
            "v1/engine/async_llm.py",
            "queue = RequestOutputCollector(params.output_kind, request.request_id)",
            "the name of a prompt that the engine reads",
        ),
        (
            "engine/arg_utils.py",
            "= self.get_batch_defaults(world_size)",
            "how many tokens a step of a CPU reads",
        ),
        (
            "engine/arg_utils.py",
            "model_config.max_model_len,\n                    self.max_num_batched_tokens,",
            "more for models that cannot read in pieces",
        ),
        (
            "config/scheduler.py",
            "max_num_batched_tokens: int",
            "how many tokens of a key's prompts the engine reads at a time",
        ),
        (
            "entrypoints/serve/middleware/register.py",
            "app.add_middleware(imported)",
            "the gate is installed",
        ),
        (
            "entrypoints/launchers/app.py",
            "attach_endpoint_plugins(app, supported_tasks)",
            "the plugin is called",
        ),
        (
            "entrypoints/launchers/api_server/app_state.py",
            "await init_endpoint_plugins_state(",
            "after the models are set up",
        ),
        ("engine/arg_utils.py", '"--shutdown-timeout"', "drain when stopped directly"),
        (
            "exceptions.py",
            "class GenerationError(VLLMServerError)",
            "an answer that rests on NaN becomes a 500",
        ),
        ("v1/worker/gpu_model_runner.py", "if envs.VLLM_COMPUTE_NANS_IN_LOGITS:", "who counts NaN"),
        (
            "v1/core/sched/scheduler.py",
            "num_nans_in_logits=request.num_nans_in_logits,",
            "who tells the server",
        ),
        (
            "v1/engine/async_llm.py",
            "output_processor.process_outputs(",
            "where a request with NaN is ended",
        ),
        ("v1/engine/async_llm.py", "if processed_outputs.reqs_to_abort:", "and the engine told so"),
        (
            "v1/kv_cache_interface.py",
            "def needs_kv_cache_zeroing(self) -> bool:",
            "blocks are zeroed when a request gets them",
        ),
        (
            "v1/core/sched/scheduler.py",
            "= kv_cache_config.needs_kv_cache_zeroing",
            "if that says so",
        ),
        ("exceptions.py", "class VLLMValidationError(VLLMClientError)", "a refusal becomes a 400"),
    ],
)
def test_what_serving_relies_on_is_written_so(path, text, why):
    """The lines whose meaning serving builds on."""
    assert text in _source(path), why


def test_the_last_middleware_is_added_after_vllms_own():
    """Starlette's last added middleware is the outermost."""
    body = _source("entrypoints/serve/middleware/register.py")
    assert body.rindex("app.add_middleware(") == body.index("app.add_middleware(imported)")


def test_the_cpu_operations_that_are_replaced_are_the_ones_in_use():
    """All six names are looked up in punica_cpu's own namespace."""
    tree = ast.parse(_source("lora/punica_wrapper/punica_cpu.py"))
    imported = {
        name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    operations = {name for name in imported if "gmv" in name}
    assert operations == {name for name in dir(cpu_lora) if re.match(r"[bs]gmv_", name)}
    for name in operations:
        theirs = _functions("lora/ops/torch_ops/lora_ops.py")[name]
        assert theirs[:3] == ["inputs", theirs[1], "output_tensor"]
        assert theirs.index("lora_indices_tensor") == (5 if name.startswith("s") else 3)


@pytest.mark.parametrize("points", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
def test_every_entry_point_names_something_that_can_be_called(points):
    """vLLM only logs a plugin that it cannot load, so a wrong name here would go unnoticed."""
    for target in points.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_grammars_compile_in_threads_of_their_own():
    """serving/patches/grammar_threads.py lowers the priority of whichever thread calls _create_grammar."""
    source = _source("v1/structured_output/__init__.py")
    assert "self.executor.submit(self._create_grammar, request)" in source


def test_a_worker_can_be_followed_while_it_loads():
    """The wrapper prepares a device first and hands every other call on to its worker, whose
    `load_model` reads the weights; general plugins are there before that.
    """
    wrapper = _functions("v1/worker/worker_base.py", "WorkerWrapperBase")
    assert wrapper["init_device"] == ["self"]
    assert "__getattr__" in wrapper
    assert "load_model" not in wrapper
    assert "load_model" in _functions("v1/worker/gpu_worker.py", "Worker")
    source = _source("v1/worker/worker_base.py")
    assert source.index("load_general_plugins()") < source.index("def init_device(self):")
