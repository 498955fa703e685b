"""launch around a child that is no vLLM but speaks its line: arguments, report, drain, death."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from serving.launch import Launch, without_lora
from serving.processes import descendants
from serving.start.arguments import (
    ArgumentError,
    option,
    server_arguments,
    server_environment,
    slow_half_floats,
    trace_arguments,
)
from tests.patience import LEAST

CHILD = """
import json, os, signal, socket, subprocess, sys, threading, time
line = socket.socket(fileno=int(os.environ["MOORAGE_CONTROL_FD"]))
state = {"type": "state", "running": 1, "draining": False, "engineAlive": True, "modelLoaded": True, "ready": True,
         "generation": 3, "epoch": 1, "adapters": [], "apiKeys": ["default"], "message": ""}
def tell(**changes):
    state.update(changes)
    line.sendall(json.dumps(state).encode() + b"\\n")
"""
READY = CHILD + "tell()\n"
# Nothing runs on it, so that it may end as soon as it is asked to drain.
IDLE = """
line.makefile().readline()
tell(running=0, draining=True, ready=False)
time.sleep(60)
"""
DRAINS = (
    READY
    + """
for text in line.makefile():
    assert json.loads(text) == {"type": "drain"}
    tell(draining=True, ready=False)
    time.sleep(0.3)
    tell(running=0)
"""
)
NEVER_IDLE = READY + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)\n"
ORPHANS = (
    READY + "open(os.environ['ORPHAN'], 'w').write(str(subprocess.Popen(['sleep',"
    " '60']).pid))\nos._exit(0)\n"
)


@pytest.fixture
def launch(tmp_path):
    """Start launch on a child's source; returns its task and the report's reader."""

    def start(source, **environment):
        script = tmp_path / "child.py"
        script.write_text(textwrap.dedent(source))
        reports = tmp_path / "replicas"
        reports.mkdir(exist_ok=True)
        full = {
            **os.environ,
            "MOORAGE_REPORTS": str(reports),
            "CONTAINER_APP_REPLICA_NAME": "r1",
            **environment,
        }
        one = Launch(["--model", "m"], full, (sys.executable, str(script)))

        def report():
            path = reports / "r1.json"
            return json.loads(path.read_text()) if path.exists() else {}

        return asyncio.create_task(one.run()), report

    return start


async def _until(condition, seconds=LEAST):
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_the_report_follows_what_the_server_says(launch):
    """Starting, then what the plugin tells, with the server's pid."""
    task, report = launch("import time; time.sleep(0.5)" + DRAINS)
    await _until(lambda: report().get("message") == "vLLM is starting")
    assert report()["ready"] is False
    await _until(lambda: report()["ready"])
    assert (
        report()["generation"],
        report()["apiKeys"],
        report()["pid"] in descendants(os.getpid()),
    ) == (3, ["default"], True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_a_stop_drains_first(launch):
    """The server is asked to drain and only ended when nothing runs on it."""
    task, report = launch(DRAINS)
    await _until(lambda: report().get("ready"))
    began = asyncio.get_running_loop().time()
    os.kill(os.getpid(), signal.SIGTERM)
    await _until(lambda: report()["message"] == "Draining" or task.done())
    assert await task == 0
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert (report()["ready"], report()["message"]) == (False, "Stopped")


async def test_a_server_that_does_not_stop_is_ended_within_the_grace(launch):
    """The platform's patience is not exceeded."""
    task, report = launch(NEVER_IDLE, MOORAGE_GRACE_SECONDS="7")
    await _until(lambda: report().get("ready"))
    began = asyncio.get_running_loop().time()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0
    assert asyncio.get_running_loop().time() - began < 7
    assert not descendants(os.getpid())


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (READY + "os._exit(0)", "vLLM ended by itself with code 0"),
        (READY + "os._exit(3)", "vLLM ended by itself with code 3"),
        ("import os; os._exit(1)", "vLLM ended by itself with code 1 before it was ready"),
        (
            "import os; os._exit(78)",
            "this image's vLLM version is not supported by the Moorage runtime",
        ),
        (READY + "os.kill(os.getpid(), 9)", "vLLM was killed by signal 9"),
        (CHILD + "tell(engineAlive=False)\ntime.sleep(60)", "vLLM's engine died"),
    ],
    ids=["exit 0", "exit 3", "early", "version", "killed", "engine"],
)
async def test_a_server_that_ends_by_itself_is_a_crash(launch, source, sentence):
    """Exit code 1, the reason in the report, no process left: the platform starts a fresh
    container.
    """
    task, report = launch(source)
    assert await task == 1
    await _until(lambda: report().get("message") == sentence)
    assert (report()["ready"], report()["modelLoaded"]) == (False, False)
    assert not descendants(os.getpid())


def test_orphans_of_a_server_that_died_are_ended_too(tmp_path):
    """Engine and worker processes, whose parent is gone, do not outlive launch."""
    (tmp_path / "child.py").write_text(ORPHANS)
    code = (
        "import asyncio, os, sys; from serving.launch import Launch, adopt_orphans;"
        " adopt_orphans()\n"
    )
    code += (
        "async def run(): return await Launch([], os.environ, (sys.executable,"
        " sys.argv[1])).run()\n"
    )
    code += "sys.exit(asyncio.run(run()))"
    command = [sys.executable, "-c", code, str(tmp_path / "child.py")]
    ended = subprocess.run(
        command, env={**os.environ, "ORPHAN": str(tmp_path / "pid")}, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


async def test_a_share_that_cannot_be_written_hurts_nobody(launch, tmp_path):
    """Serving and stopping go on without reports."""
    task, _ = launch(DRAINS, MOORAGE_REPORTS=str(tmp_path / "none"))
    await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


@pytest.mark.parametrize(
    "argument", ["--api-key", "--api_key=x", "--root-path", "--lora-modules", "--uds", "--config"]
)
def test_arguments_that_open_a_way_around_the_gate_are_refused(argument):
    """The sentence names the argument."""
    with pytest.raises(ArgumentError, match=argument.partition("=")[0].replace("_", "-")):
        server_arguments([argument, "x"], 20)


def test_the_gate_is_the_last_middleware_and_the_users_choices_stay():
    """What the user set is not set again."""
    arguments = server_arguments(["--middleware", "mine.M", "--shutdown-timeout", "5"], 20)
    assert arguments[-2:] == ["--disable-access-log-for-endpoints", "/ready,/live"]
    assert [arguments[i + 1] for i, name in enumerate(arguments) if name == "--middleware"] == [
        "mine.M",
        "serving.gate.Gate",
    ]
    assert arguments.count("--shutdown-timeout") == 1
    assert option(server_arguments([], 20), "--shutdown-timeout") == "20"


@pytest.mark.parametrize(
    ("variables", "endpoint", "protocol"),
    [
        ({"ENDPOINT": "http://c:4317"}, "http://c:4317", "grpc"),
        (
            {"ENDPOINT": "https://c/", "PROTOCOL": "http/protobuf"},
            "https://c/v1/traces",
            "http/protobuf",
        ),
        (
            {"TRACES_ENDPOINT": "https://c/x", "ENDPOINT": "y", "TRACES_PROTOCOL": "http/protobuf"},
            "https://c/x",
            "http/protobuf",
        ),
    ],
    ids=["the base", "over HTTP", "traces alone"],
)
def test_opentelemetrys_variables_have_vllm_send_traces(variables, endpoint, protocol):
    """As the SDK reads them; each service and replica sends under its own name."""
    given = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()}
    assert trace_arguments(given, []) == ["--otlp-traces-endpoint", endpoint]
    given |= {"MOORAGE_SERVICE": "phi", "CONTAINER_APP_REPLICA_NAME": "phi--1"}
    environment = server_environment(given, [], gpu=True)
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == protocol
    assert environment["OTEL_SERVICE_NAME"] == "phi"
    assert environment["OTEL_RESOURCE_ATTRIBUTES"] == "service.instance.id=phi--1"
    assert trace_arguments(given, ["--otlp-traces-endpoint=x"]) == []
    assert trace_arguments({}, []) == []
    assert not [name for name in server_environment({}, [], gpu=True) if "OTEL" in name]


@pytest.mark.parametrize(
    ("endpoint", "protocol"), [("http://c", "http/json"), ("https://c:4317", "grpc")]
)
def test_traces_that_vllm_cannot_send_are_refused_with_the_reason(endpoint, protocol):
    """vLLM would end in a loop over the one, and send the other in clear."""
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    with pytest.raises(ArgumentError, match="cannot be used here"):
        trace_arguments(given, [])


def test_the_environment_names_the_plugin_and_closes_vllms_own_ways(tmp_path):
    """Runtime LoRA updating stays off even when the user's env asks for it; CPU defaults yield to
    the user's.
    """
    given = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_API_KEY": "k",
        "VLLM_PLUGINS": "x,moorage",
        "VLLM_CPU_KVCACHE_SPACE": "3",
    }
    environment = server_environment(given, ["--model", str(tmp_path)], gpu=False)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment
    assert "VLLM_API_KEY" not in environment
    assert environment["VLLM_PLUGINS"] == "x,moorage"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in server_environment({}, [], gpu=True)
    assert (
        server_environment({"VLLM_COMPUTE_NANS_IN_LOGITS": "0"}, [], gpu=True)[
            "VLLM_COMPUTE_NANS_IN_LOGITS"
        ]
        == "1"
    )
    assert "HF_HUB_OFFLINE" not in server_environment({}, ["--model", "org/name"], gpu=True)


def test_an_idle_connection_outlives_that_of_the_ingress():
    """Else a request may meet a connection that vLLM just closes. A person's own value counts."""
    name = "VLLM_HTTP_TIMEOUT_KEEP_ALIVE"
    assert int(server_environment({}, [], gpu=True)[name]) > 3600
    assert server_environment({name: "9"}, [], gpu=True)[name] == "9"


@pytest.mark.parametrize(
    ("flags", "given", "added"),
    [
        ("avx2", [], True),
        ("avx512f avx512_bf16", [], False),
        ("amx_bf16 avx2", [], False),
        ("avx2", ["--dtype", "auto"], False),
    ],
)
def test_a_cpu_without_bfloat16_units_computes_in_float32(flags, given, added):
    """Unless the user chose a type."""
    arguments = server_arguments(
        given, 20, full_floats=slow_half_floats(f"flags : fpu {flags} sse")
    )
    assert (option(arguments, "--dtype") == "float32") is added


def test_options_are_read_as_vllm_reads_them():
    """Both spellings, the last one wins."""
    assert option(["--port", "1", "--port=2"], "--port") == "2"
    assert option(["--max_model_len", "7"], "--max-model-len") == "7"
    assert option(["--port"], "--port") is None


def test_descendants_are_found_below_and_not_beside():
    """The process itself is not its own descendant."""
    assert os.getpid() not in descendants(os.getpid())
    assert Path("/proc").exists()


COMPILES = (
    CHILD
    + """
root = os.environ["VLLM_CACHE_ROOT"]
tell(ready=False, stage="adapters", message="found" if os.path.exists(root + "/code") else "nothing")
os.makedirs(root, exist_ok=True)
open(root + "/code", "w").write("compiled")
time.sleep(0.3)
tell(ready=True, message="")
"""
    + IDLE
)


async def test_what_one_start_compiled_the_next_one_finds(launch, tmp_path):
    """On a disk of its own, as after the platform has placed another replica."""
    compiled = tmp_path / "replicas" / "compile"
    for disk, told in (("first", "nothing"), ("second", "found")):
        task, report = launch(COMPILES, MOORAGE_ENGINE="e1", MOORAGE_LOCAL=str(tmp_path / disk))
        await _until(lambda told=told, report=report: report().get("message") == told)
        await _until(lambda report=report: report()["ready"])
        await _until(lambda: list(compiled.glob("*.tar.gz")))
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0
    assert len(list(compiled.iterdir())) == 1


MARKS = (
    CHILD
    + """
def mark(stage):
    with open(os.environ["MOORAGE_STAGE_MARKS"], "a") as file:
        file.write(f"{stage} {time.monotonic()}\\n")
mark("weights")
while not os.path.exists(os.environ["SEEN"]): time.sleep(0.02)
mark("compile")
tell(ready=False, stage="first_token", modelLoaded=True)
time.sleep(0.3)
tell(ready=True)
"""
    + IDLE
)


async def test_the_report_tells_the_stage_of_the_start(launch, tmp_path):
    """In words as well, while the server says nothing itself; once it is ready only the times
    stay.
    """
    task, report = launch(MARKS, MOORAGE_LOCAL=str(tmp_path / "d"), SEEN=str(tmp_path / "seen"))
    await _until(lambda: report().get("stage") == "weights")
    assert report()["message"] == "vLLM is starting: reading weights"
    (tmp_path / "seen").touch()
    await _until(lambda: report()["stage"] == "first_token")
    await _until(lambda: report()["ready"])
    assert report()["stage"] is None
    assert list(report()["stages"]) == ["runtime", "weights", "compile", "first_token"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


@pytest.mark.parametrize(
    ("given", "gpu", "eager"),
    [
        (["--model", "m"], False, True),
        (["--model", "m"], True, False),
        (["--enable-lora"], False, False),
        (["-O1"], False, False),
        (["--compilation-config={}"], False, False),
    ],
)
def test_a_model_without_adapters_is_not_compiled_on_a_cpu(given, gpu, eager):
    """The environment forbids it there, and vLLM ended before it was ready."""
    assert ("--enforce-eager" in server_arguments(given, 20, gpu=gpu)) == eager


@pytest.mark.parametrize(
    ("architecture", "kept"), [("GPT2LMHeadModel", False), ("Qwen2ForCausalLM", True), ("", True)]
)
def test_lora_is_off_where_vllm_has_none_for_the_model(tmp_path, architecture, kept):
    """VLLM would not start, and one adapter in the document would keep the model from answering."""
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    given = ["--model", str(tmp_path), "--enable-lora", "--max-loras", "4"]
    assert ("--enable-lora" in without_lora(given)) is kept
    assert without_lora(["--model", "org/name", "--enable-lora"])[2:] == ["--enable-lora"]
