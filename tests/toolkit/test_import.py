"""`moorage import`: projects as the templates make them and as people leave them; what is doubtful
is refused or asked.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from reconciler.api.documents import Environment, InferenceService
from reconciler.api.manifest import load
from reconciler.api.resources import SHARE_OWNER
from reconciler.cli.app import run as moorage
from reconciler.toolkit import existing
from tests.ai_toolkit import ADAPTER, MODEL, build
from tests.tiny_model import make_adapter

ROOT = Path(__file__).parents[2]
PARAMETERS = "infra/provision/inference.parameters.json"
CONFIG = "infra/inference.config.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return build(tmp_path_factory.mktemp("made") / "phi")


@pytest.fixture
def project(made, tmp_path):
    """A project of one's own to spoil."""
    return Path(shutil.copytree(made, tmp_path / "phi"))


class Done(NamedTuple):
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs the command as a user does, in this process: a new one for each would take a minute."""
    for name in [name for name in os.environ if name.startswith(("MOORAGE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))

    def once(project, *options, code=0):
        capsys.readouterr()
        ended = moorage(["import", str(project), *options])
        done = Done(*capsys.readouterr())
        assert ended == code, done.stdout + done.stderr
        return done

    return once


def documents(file):
    found = [loaded.document for loaded in load([file]).documents]
    environment = next(each for each in found if isinstance(each, Environment))
    return environment, next(each for each in found if isinstance(each, InferenceService))


def set_parameter(project, path=PARAMETERS, **values):
    file = project / path
    content = json.loads(file.read_text())
    content["parameters"] |= {name: {"value": value} for name, value in values.items()}
    file.write_text(json.dumps(content, indent=2))


def test_keeps_the_web_api(run, project):
    """Commands, port, image and the one replica are the template's; folders are where the project's
    code looks for them.
    """
    told = run(project).stderr
    environment, service = documents(project / "moorage.yaml")
    spec = service.spec
    assert (spec.code, spec.mount_path, spec.target_port) == (
        "./inference",
        "/mount/inference",
        7860,
    )
    assert spec.command[:2] == ("/bin/bash", "-c")
    assert (
        spec.command[2]
        == "cd /mount; pip install torch transformers peft gradio; cd /mount/inference; python3"
        " ./gradio_chat.py"
    )
    assert {(m.source, m.mount_path) for m in spec.mounts} == {
        (f"./{p}", f"/mount/{p}") for p in (MODEL, ADAPTER)
    }
    assert (spec.scale.min_replicas, spec.scale.max_replicas) == (1, 1)
    assert spec.engine.image.startswith("docker.io/pytorch/pytorch:2.4.0")
    assert environment.metadata.name == spec.environment == service.metadata.name == "phi"
    for word in (
        "billed round the clock",
        "without a key",
        "pip runs for minutes",
        "rank 8",
    ):
        assert word in told


def test_serves_the_same_model_and_adapter_with_vllm(run, project):
    """--engine vllm: scale from zero to maximumInstanceCount, the adapter named for its folder, a
    key by default.
    """
    run(project, "--engine", "vllm", "--out", str(project.parent / "other.yaml"))
    _, service = documents(project.parent / "other.yaml")
    assert service.spec.model.source == f"./phi/{MODEL}"
    assert [(a.name, a.source) for a in service.spec.adapters] == [("qlora", f"./phi/{ADAPTER}")]
    assert (service.spec.scale.min_replicas, service.spec.scale.max_replicas) == (0, 2)


def test_says_that_a_rank_is_beyond_the_engines_default(run, project):
    """The templates train with rank 64, vLLM stands at 16."""
    shutil.rmtree(project / "models")
    make_adapter(project / ADAPTER, "green", model=project / MODEL, rank=64)
    assert (
        "rank 64 is higher than the engine's default of 16"
        in run(project, "--engine", "vllm").stderr
    )


def test_every_parameter_has_its_meaning(run, project):
    """Names, location and count arrive in the document; a dedicated profile takes the count where
    its region has it.
    """
    set_parameter(
        project,
        maximumInstanceCount=3,
        location="West US 3",
        storageAccountName="stone",
        fileShareName="shareone",
        acaEnvironmentName="envone",
        acaEnvironmentStorageName="mountone",
        acaAppName="appone",
        acaLogAnalyticsName="lawone",
        defaultCommands=["cd /mount/inference", "python3 ./gradio_chat.py"],
    )
    told = run(project).stderr
    environment, service = documents(project / "moorage.yaml")
    spec = environment.spec
    assert (spec.location, spec.storage.account_name, spec.storage.share_name) == (
        "westus3",
        "stone",
        "shareone",
    )
    assert (spec.managed_environment.name, spec.managed_environment.storage_name) == (
        "envone",
        "mountone",
    )
    assert (spec.log_analytics.name, service.metadata.name) == ("lawone", "appone")
    profile = spec.workload_profiles[0]
    assert (
        profile.name,
        profile.workload_profile_type,
        profile.minimum_count,
        profile.maximum_count,
    ) == ("GPU", "NC24-A100", 0, 3)
    assert service.spec.command[2] == "cd /mount/inference; python3 ./gradio_chat.py"
    assert "at most 3 nodes (maximumInstanceCount)" in told


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("infra/inference.parameters.json", "the documents leave provision/ out"),
        ("inference.parameters.json", "beside the code"),
        (
            "infra/provision/finetuning.parameters.json",
            "the documents show inference parameters under this name",
        ),
    ],
)
def test_the_parameters_are_found_under_every_path_of_the_documents(run, project, path, reason):
    """Whatever page somebody followed."""
    set_parameter(project, acaAppName="found")
    (project / "infra/provision/finetuning.parameters.json").unlink()
    (project / PARAMETERS).rename(project / path)
    run(project)
    assert documents(project / "moorage.yaml")[1].metadata.name == "found"


@pytest.mark.parametrize(
    "name", ["finetuning.config.json", "finetune.config.json", "fintuning.config.json"]
)
def test_the_resources_of_fine_tuning_are_found_under_every_spelling(run, project, name):
    """All three are in the documents."""
    config = json.loads((project / "infra/finetuning.config.json").read_text())
    (project / "infra/finetuning.config.json").unlink()
    (project / "infra" / name).write_text(
        json.dumps({**config, "STORAGE_ACCOUNT_NAME": "sttuned", "FILE_SHARE_NAME": "tuned"})
    )
    run(project)
    storage = documents(project / "moorage.yaml")[0].spec.storage
    assert (storage.account_name, storage.share_name) == ("sttuned", "tuned")


def edit(path, before, after):
    def change(project):
        file = project / path
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    return change


BROKEN = {
    "a wrong type": (
        edit(PARAMETERS, '"value": 2', '"value": "two"'),
        ":14:16: maximumInstanceCount must be a whole number from 1 to 100, not 'two'",
    ),
    "an unknown parameter": (
        edit(PARAMETERS, '"acaAppName"', '"acaAppname"'),
        ":31:5: there is no parameter 'acaAppname'; did you mean acaAppName?",
    ),
    "a name Azure refuses": (
        edit(
            PARAMETERS,
            '"storageAccountName": {\n      "value": null',
            '"storageAccountName": {\n      "value": "My_Account"',
        ),
        ":20:16: storageAccountName is 'My_Account', which cannot be a storage account's name",
    ),
    "commands as one text": (
        edit(PARAMETERS, '"value": [', '"value": "cd /mount", "x": ['),
        "defaultCommands must be a list of commands",
    ),
    "a parameter without a value": (
        edit(PARAMETERS, '"value": 2', '"val": 2'),
        ":13:29: maximumInstanceCount has no value",
    ),
    "no JSON": (edit(PARAMETERS, '"location": {', '"location": '), "inference.parameters.json:"),
    "a half-filled configuration": (
        edit(CONFIG, '"RESOURCE_GROUP_NAME": null', '"RESOURCE_GROUP_NAME": "rg"'),
        (
            ":2:22: SUBSCRIPTION_ID, STORAGE_ACCOUNT_NAME, FILE_SHARE_NAME, ACA_APP_NAME not filled"
            " in, but RESOURCE_GROUP_NAME"
        ),
    ),
    "an unknown key": (
        edit(CONFIG, "ACA_APP_NAME", "APP_NAME"),
        "there is no key 'APP_NAME'; did you mean ACA_APP_NAME?",
    ),
    "no adapter": (lambda project: shutil.rmtree(project / "models"), "Use --base-only"),
    "two adapters": (
        lambda project: shutil.copytree(project / ADAPTER, project / "models/run2/adapter"),
        f"Use --adapter {ADAPTER}, or --adapter models/run2/adapter.",
    ),
    "an adapter whose configuration is torn": (
        lambda project: (project / ADAPTER / "adapter_config.json").write_text(
            '{\n  "r": 8,\n  "lora'
        ),
        f"{ADAPTER}/adapter_config.json:3:3: this is not JSON",
    ),
    "an adapter whose weights are torn": (
        lambda project: os.truncate(project / ADAPTER / "adapter_model.safetensors", 1000),
        f"{ADAPTER}/adapter_config.json:1:1: the adapter cannot be served: ",
    ),
    "no project": (
        lambda project: shutil.rmtree(project / "infra"),
        "phi: this is not an AI Toolkit project",
    ),
}


@pytest.mark.parametrize("engine", ["code", "vllm"])
@pytest.mark.parametrize(("spoil", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_said_once_with_its_place(run, project, spoil, says, engine):
    """Exit code 2, a sentence, and no file written: never a guess that costs money."""
    spoil(project)
    assert says in run(project, "--engine", engine, code=2).stderr
    assert not (project / "moorage.yaml").exists()


def test_two_files_that_contradict_each_other_are_refused(run, project):
    """The parameters name one account, the configuration another."""
    set_parameter(project, storageAccountName="stone")
    filled = {
        "SUBSCRIPTION_ID": "s",
        "RESOURCE_GROUP_NAME": "rg",
        "STORAGE_ACCOUNT_NAME": "sttwo",
        "FILE_SHARE_NAME": "f",
        "ACA_APP_NAME": "a",
    }
    (project / CONFIG).write_text(json.dumps(filled))
    assert "STORAGE_ACCOUNT_NAME is 'sttwo', but" in run(project, code=2).stderr


def test_a_checkpoint_is_no_adapter(run, project):
    """The trainer's checkpoints hold adapter_config.json too."""
    shutil.copytree(project / ADAPTER, project / "models/checkpoints/checkpoint-100")
    run(project)


def test_an_adapter_elsewhere_is_mounted_where_the_code_looks(run, project):
    """The folder's name depends on the accelerator that trained it; the code has one in it."""
    (project / "models/qlora/qlora/gpu_model").rename(project / "models/qlora/qlora/gpu-cpu_model")
    told = run(project).stderr
    mounts = {m.source: m.mount_path for m in documents(project / "moorage.yaml")[1].spec.mounts}
    assert mounts["./models/qlora/qlora/gpu-cpu_model/adapter"] == f"/mount/{ADAPTER}"
    assert "it is mounted where the code reads it" in told


def test_without_an_adapter_the_web_api_says_nothing_so_we_do(run, project):
    """The templates' code serves the base model when its adapter is missing."""
    shutil.rmtree(project / "models")
    assert (
        f"the code reads {ADAPTER}, which does not exist here" in run(project, "--base-only").stderr
    )


def test_placeholders_of_the_template_are_named(run, project):
    """`<prompt_template>` and the like are what a person forgot to fill in."""
    (project / "inference/model.py").write_text('template = "<prompt_template>"\n')
    assert "inference/model.py:1 still contains <prompt_template>" in run(project).stderr


def test_a_file_that_exists_is_kept(run, project):
    """What was edited since is not lost."""
    run(project)
    assert "exists; use --force" in run(project, code=2).stderr
    run(project, "--force")


def test_what_is_printed_can_be_read_back(run, project, monkeypatch):
    """--out - prints a document relative to where one stands; reading and importing again gives the
    same.
    """
    monkeypatch.chdir(project)
    text = run(project, "--out", "-").stdout
    (project / "printed.yaml").write_text(text)
    run(project)
    assert load([project / "printed.yaml"]).digest == load([project / "moorage.yaml"]).digest


def test_a_person_at_a_terminal_is_asked(project):
    """Two adapters: the question lists them, the answer is taken."""
    shutil.copytree(project / ADAPTER, project / "models/run2/adapter")
    leader, follower = pty.openpty()
    os.write(leader, b"7\n2\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [
        sys.executable,
        "-c",
        "from reconciler.cli import main; main()",
        "import",
        str(project),
        "--engine",
        "vllm",
    ]
    done = subprocess.run(
        call, stdin=follower, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "The project has several adapters" in done.stderr
    assert documents(project / "moorage.yaml")[1].spec.adapters[0].source == "./models/run2/adapter"
    os.close(leader)
    os.close(follower)


@pytest.mark.slow
def test_what_the_projects_own_fine_tuning_makes_is_taken(run, project):
    """The example's script trains with PEFT; its result passes the same check as everybody's."""
    shutil.rmtree(project / "models")
    subprocess.run(
        [sys.executable, "finetuning/tune.py"],
        cwd=project,
        check=True,
        capture_output=True,
        timeout=110,
    )
    run(project, "--engine", "vllm")
    assert documents(project / "moorage.yaml")[1].spec.adapters[0].source == f"./{ADAPTER}"


@pytest.mark.parametrize(
    ("metadata", "quota"), [({SHARE_OWNER: "me"}, 1024), ({}, None), (None, None)]
)
def test_a_share_of_moorage_keeps_its_quota_and_one_of_others_its_silence(metadata, quota):
    """A second import writes the quota that the first one asked for; without it the default would
    come back. What others made is not to be owned.
    """
    share = {"properties": {"shareQuota": 1024, "metadata": metadata}}
    assert existing._quota(share) == quota
    assert existing._quota({}) is None
