"""vLLM's arguments and environment as Moorage runs it: the user's own, plus what the gate and the
plugin need.

Pure; launch.py applies it. Arguments that would open a way around the gate are refused with the
reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.patches import nan
from serving.request import media
from serving.request.framing import KEPT_OPEN
from serving.telemetry import tracing

GATE = "serving.gate.Gate"
REFUSED = {
    "--api-key": "API keys come from the document's auth.apiKeys",
    "--api-server-count": "one server process holds the adapters of a replica",
    "--config": "arguments in a file could not be checked",
    "--grpc": "only the OpenAI HTTP interface is served",
    "--headless": "a replica serves HTTP",
    "--lora-modules": "adapters come from the document",
    "--root-path": "routes are allowed by their exact path",
    "--uds": "a replica listens on its port",
}
_NO_GPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # vLLM takes half of the memory otherwise
    # Compiling one small function for log-probabilities stalls every stream for ten seconds and
    # more; with LoRA vLLM compiles nothing else on a CPU.
    "TORCHDYNAMO_DISABLE": "1",
    # vLLM binds every replica of a machine to the same cores, and threads that spin on cores they
    # share cost three quarters of the speed (2.9 instead of 11 tokens a second with two threads on
    # two busy cores).
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2)),
}
_COMPILING = {
    "--enable-lora",
    "--enforce-eager",
    "--compilation-config",
    "--optimization-level",
    "-cc",
}
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


class ArgumentError(ValueError):
    """An argument cannot be combined with Moorage; the text says which and why."""


def server_arguments(
    given: Sequence[str], drain: float, *, full_floats: bool = False, gpu: bool = True
) -> list[str]:
    """The child's arguments. `drain` is how many seconds vLLM may finish requests when it is
    stopped directly.

    `full_floats` asks for float32, see slow_half_floats.
    """
    for argument in given:
        name = _name(argument)
        if name in REFUSED:
            raise ArgumentError(f"{name} cannot be used here: {REFUSED[name]}")
    names = {_name(argument) for argument in given}
    added = ["--middleware", GATE]  # the last one named is the outermost
    if "--shutdown-timeout" not in names:
        added += ["--shutdown-timeout", str(max(1, int(drain)))]
    if "--disable-access-log-for-endpoints" not in names:
        added += ["--disable-access-log-for-endpoints", "/ready,/live"]
    # Without LoRA vLLM compiles on a CPU, too, and ends where TORCHDYNAMO_DISABLE forbids it.
    if not gpu and not names & _COMPILING and not any(one.startswith("-O") for one in given):
        added += ["--enforce-eager"]
    if full_floats and "--dtype" not in names:
        added += ["--dtype", "float32"]
    return [*given, *added]


def trace_arguments(environment: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """What has vLLM send traces where OpenTelemetry's variables say. Raises ArgumentError for what
    vLLM would end over.
    """
    whole, base = (environment.get(name) for name in tracing.ENDPOINTS)
    endpoint = whole or base
    if not endpoint or option(given, "--otlp-traces-endpoint"):
        return []
    protocol = _trace_protocol(environment)
    if protocol not in ("grpc", "http/protobuf"):
        text = f"vLLM sends traces by grpc or http/protobuf, not by {protocol!r}"
        raise ArgumentError(f"OTEL_EXPORTER_OTLP_PROTOCOL cannot be used here: {text}")
    if protocol == "grpc" and endpoint.startswith("https:"):
        text = "vLLM's gRPC is not encrypted; set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf"
        raise ArgumentError(f"{endpoint} cannot be used here: {text}")
    if protocol == "http/protobuf" and not whole:  # the base of all signals, says OpenTelemetry
        endpoint = f"{endpoint.rstrip('/')}/v1/traces"
    return ["--otlp-traces-endpoint", endpoint]


def _trace_protocol(environment: Mapping[str, str]) -> str:
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((environment[name] for name in names if environment.get(name)), "grpc")


def _trace_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The tracing variables that vLLM does not read itself, and the service name if the document
    gives none.
    """
    if not any(given.get(name) for name in tracing.ENDPOINTS):
        return {}
    replica = given.get("CONTAINER_APP_REPLICA_NAME", "")
    attributes = [
        given.get("OTEL_RESOURCE_ATTRIBUTES", ""),
        replica and f"service.instance.id={replica}",
    ]
    return {
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": _trace_protocol(given),
        "OTEL_SERVICE_NAME": given.get("OTEL_SERVICE_NAME")
        or given.get("MOORAGE_SERVICE", "moorage"),
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(part for part in attributes if part),
    }


def server_environment(
    given: Mapping[str, str], arguments: Sequence[str], *, gpu: bool
) -> dict[str, str]:
    """The child's environment: the plugin named, vLLM's own adapter routes off, CPU defaults where
    there is no GPU.
    """
    environment = dict(given)
    plugins = [
        name for name in given.get("VLLM_PLUGINS", "").split(",") if name and name != "moorage"
    ]
    environment["VLLM_PLUGINS"] = ",".join([*plugins, "moorage"])
    # Each opens vLLM to whoever can reach it, or closes it with a key that the gate does not know.
    for name in ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE", "VLLM_API_KEY"):
        environment.pop(name, None)
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    # vLLM closes idle connections after 5 s.
    environment.setdefault("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", str(KEPT_OPEN))
    environment |= nan.ENVIRONMENT | media.ENVIRONMENT | _trace_environment(given)
    # A model in a folder must not make a start depend on the hub's answer.
    if Path(option(arguments, "--model") or "").is_dir():
        environment.setdefault("HF_HUB_OFFLINE", "1")
    if not gpu:
        for name, value in _NO_GPU.items():
            environment.setdefault(name, value)
    return environment


def option(arguments: Sequence[str], name: str) -> str | None:
    """The last value of `--name value` or `--name=value`."""
    value = None
    for index, argument in enumerate(arguments):
        if argument.startswith("--") and _name(argument) == name:
            _, equals, inline = argument.partition("=")
            value = (
                inline if equals else (arguments[index + 1] if index + 1 < len(arguments) else None)
            )
    return value


def slow_half_floats(processor: str) -> bool:
    """True for a CPU without bfloat16 units, by the text of /proc/cpuinfo.

    There float32 is faster: measured with 135M parameters on two AVX2 cores, 1.3 times for one
    request, 4 times for a prompt of 400 tokens and for eight requests at once, and the first
    answers come 60 s sooner.
    """
    return not {"avx512_bf16", "amx_bf16", "bf16"} & set(processor.split())


def has_gpu() -> bool:
    return any(os.path.exists(device) for device in _DEVICES)  # noqa: PTH110 a device node, not a path of ours


def _name(argument: str) -> str:
    """The option's name as documented: vLLM also takes underscores for dashes and
    `--name=value`.
    """
    return argument.partition("=")[0].replace("_", "-") if argument.startswith("--") else argument
