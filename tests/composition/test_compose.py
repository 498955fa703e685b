"""Documents become resources: derived names, references, revision names, refusals."""

import json
from pathlib import Path

import pytest

from reconciler.api.adapters import Unfit
from reconciler.api.digest import File, Tree
from reconciler.api.hub import HubAccess, HubModel
from reconciler.api.manifest import load
from reconciler.api.source import Missing, SourceRef
from reconciler.composition import compose
from reconciler.composition.engine_args import engine_args
from reconciler.composition.world import Registered, World

SERVICE = """\
kind: InferenceService
metadata: {{name: phi}}
spec:
  model: {{source: share://models/phi}}
  engine: {{args: {{max-model-len: {length}}}}}
{more}
"""
TREE = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})


def world(**given):
    return World(
        "00000000-0000-0000-0000-000000000001",
        "swedencentral",
        lambda name: f"{name}-owner",
        TREE,
        **given,
    )


def composed(tmp_path, text, **given):
    file = tmp_path / "moorage.yaml"
    file.write_text(text)
    return compose(load([file]).documents, world(**given))


def service(tmp_path, *, length=512, more="", **given):
    found = composed(tmp_path, SERVICE.format(length=length, more=more), **given)
    return next(item for item in found.desired if item.key.kind == "ContainerApp")


def test_one_service_brings_its_environment(tmp_path):
    """Everything that is left out is derived, in Azure's order of creation."""
    kinds = [
        item.key.kind for item in composed(tmp_path, SERVICE.format(length=1, more="")).desired
    ]
    assert kinds == [
        "ResourceGroup",
        "LogAnalyticsWorkspace",
        "StorageAccount",
        "FileShare",
        "ManagedEnvironment",
        "EnvironmentStorage",
        "EnvironmentStorage",
        "PublishedFolder",
        "PublishedFolder",
        "AdapterCatalogue",
        "ContainerApp",
    ]


def test_references_come_before_what_needs_them(tmp_path):
    """No object refers to one that is listed after it."""
    seen = set()
    for item in composed(tmp_path, SERVICE.format(length=1, more="")).desired:
        assert set(item.refs) <= seen
        seen.add(item.key)


def test_the_revision_is_named_for_its_content(tmp_path):
    """The same document gives the same revision name, another template another one."""
    first, again, other = (
        service(tmp_path, length=length).spec.suffix for length in (512, 512, 1024)
    )
    assert first == again != other


def test_an_image_keeps_its_digest_beside_its_tag(tmp_path):
    """What is written is what Azure is asked for and compared with, letter for letter."""
    image = "docker.io/vllm/vllm-openai:v0.32.0@sha256:" + "0" * 64
    text = SERVICE.format(length=1, more="").replace("{args:", f'{{image: "{image}", args:')
    found = composed(tmp_path, text).desired
    app = next(item for item in found if item.key.kind == "ContainerApp")
    assert f'"{image}"' in json.dumps(app.spec, default=vars)


def test_a_new_serving_runtime_alone_boots_nothing(tmp_path):
    """The runtime's digest is in the template, not in the revision's name."""
    newer = World(
        "00000000-0000-0000-0000-000000000001", "swedencentral", str, Tree("c" * 64, TREE.files)
    )
    file = tmp_path / "moorage.yaml"
    file.write_text(SERVICE.format(length=512, more=""))
    app = next(
        item
        for item in compose(load([file]).documents, newer).desired
        if item.key.kind == "ContainerApp"
    )
    assert app.spec.suffix == service(tmp_path).spec.suffix
    assert app.spec.template != service(tmp_path).spec.template


def test_an_api_key_is_not_in_the_template(tmp_path):
    """Adding a key makes no revision."""
    more = "  auth: {apiKeys: [{name: default}, {name: ci}]}"
    assert service(tmp_path, more=more).spec.suffix == service(tmp_path).spec.suffix
    assert service(tmp_path, more=more).spec.key_names == ("default", "ci")


def test_a_service_cannot_move_to_another_environment(tmp_path):
    """The refusal names both Environments; the new one is not built, and the old one is
    left alone.
    """
    found = composed(
        tmp_path, SERVICE.format(length=1, more="  environment: default"), homes={"phi": "dev"}
    )
    assert {str(ref) for ref in found.refusals} == {
        "InferenceService/phi",
        "Environment/default",
        "Environment/dev",
    }
    assert found.desired == ()


@pytest.mark.parametrize(
    ("ranks", "user", "expected", "reason"),
    [
        ([], {}, [], "without adapters LoRA stays off: it costs speed"),
        (
            [8],
            {},
            ["--max-lora-rank", "16", "--max-loras", "4", "--max-cpu-loras", "8"],
            "head-room for more",
        ),
        (
            [8, 64],
            {},
            ["--max-lora-rank", "64", "--max-loras", "4", "--max-cpu-loras", "8"],
            "the largest rank counts",
        ),
        (
            [8] * 5,
            {},
            ["--max-lora-rank", "16", "--max-loras", "8", "--max-cpu-loras", "16"],
            "the next step",
        ),
        (
            [8],
            {"max-lora-rank": 32},
            ["--max-lora-rank", "32", "--max-loras", "4", "--max-cpu-loras", "8"],
            "the user's word",
        ),
    ],
)
def test_capacity_has_head_room(ranks, user, expected, reason):
    """One adapter more, or its next version, must not need a new revision."""
    args = engine_args("/m", "phi", ranks, user)[6:]
    assert [arg for arg in args if arg != "--enable-lora"][: len(expected)] == expected, reason


@pytest.mark.parametrize(
    ("user", "ahead", "reason"),
    [
        ({}, True, "vLLM reads ahead by itself on NFS only, and a share is SMB"),
        ({"safetensors-load-strategy": "lazy"}, False, "the user's word"),
        ({"load-format": "runai_streamer"}, False, "another loader has no such strategy"),
    ],
)
def test_weights_are_read_ahead_from_the_share(user, ahead, reason):
    """Prefetch is on unless the document chooses how weights are read."""
    args = engine_args("/m", "phi", [], user)
    assert (args[-2:] == ["--safetensors-load-strategy", "prefetch"]) is ahead, reason


ROTATED = Registered("1a2b3c4d", (("", "read"), ("", "write"), ("99999999", "write")))


def test_a_rotated_key_moves_what_mounts_the_share(tmp_path):
    """Registered shares, their objects and all volumes take the new name, which is a revision; what
    is left behind may go.
    """
    found = composed(
        tmp_path,
        HUB.format(name="phi"),
        models={SourceRef("default", "hf://Org/Tiny-3.5@v1"): TINY},
        registered={"default": ROTATED},
    )
    storages = {
        str(item.key): item.spec.name
        for item in found.desired
        if item.key.kind == "EnvironmentStorage"
    }
    assert storages == {
        "EnvironmentStorage/default/read-1a2b3c4d": "moorage-1a2b3c4d",
        "EnvironmentStorage/default/write-1a2b3c4d": "moorage-1a2b3c4d-rw",
    }
    job, app = (
        next(item for item in found.desired if item.key.kind == kind)
        for kind in ("Job", "ContainerApp")
    )
    for item, template in (
        (job, job.spec.body["properties"]["template"]),
        (app, app.spec.template),
    ):
        assert [volume["storageName"] for volume in template["volumes"]] == [
            "moorage-1a2b3c4d",
            "moorage-1a2b3c4d-rw",
        ]
        assert set(storages) <= {str(ref) for ref in item.refs}
    before = composed(
        tmp_path,
        HUB.format(name="phi"),
        models={SourceRef("default", "hf://Org/Tiny-3.5@v1"): TINY},
    )
    assert (
        app.spec.suffix
        != next(item for item in before.desired if item.key.kind == "ContainerApp").spec.suffix
    )
    assert {str(item.key): item.spec.name for item in found.left} == {
        "EnvironmentStorage/default/read": "moorage",
        "EnvironmentStorage/default/write": "moorage-rw",
        "EnvironmentStorage/default/write-99999999": "moorage-99999999-rw",
    }


@pytest.mark.parametrize(
    ("spec", "name", "named", "reason"),
    [
        (
            {},
            "phi-1a2b3c4d",
            False,
            "the document's own name is behind: what is there under another is ours",
        ),
        (
            {"reconcilePolicy": "Observe"},
            "phi",
            True,
            "who writes the Environment answers for its keys",
        ),
        ({"reconcilePolicy": "Skip"}, "phi", True, "nobody looks at it"),
    ],
)
def test_only_our_own_environments_move(tmp_path, spec, name, named, reason):
    """Where Moorage may not write, nothing is to be registered again."""
    document = {
        "kind": "Environment",
        "metadata": {"name": "dev"},
        "spec": {"managedEnvironment": {"storageName": "phi"}, **spec},
    }
    found = composed(tmp_path, json.dumps(document), registered={"dev": ROTATED})
    first = next(item for item in found.desired if item.key.kind == "EnvironmentStorage")
    assert (first.spec.name, first.spec.named) == (name, named), reason
    assert bool(found.left) is (name != "phi"), reason


def test_the_longest_name_has_room_for_a_rotation(tmp_path):
    """Azure takes 63 letters at most."""
    document = {
        "kind": "Environment",
        "metadata": {"name": "dev"},
        "spec": {"managedEnvironment": {"storageName": "p" * 50}},
    }
    found = composed(tmp_path, json.dumps(document), registered={"dev": ROTATED})
    assert (
        max(len(item.spec.name) for item in found.desired if item.key.kind == "EnvironmentStorage")
        <= 63
    )


HUB = (
    "kind: InferenceService\nmetadata: {{name: {name}}}\nspec: {{model: {{source:"
    " 'hf://Org/Tiny-3.5@v1'}}}}\n"
)
TINY = HubModel("c0ffee" + "0" * 34, 5 << 30)


def test_services_with_one_hub_model_share_one_job(tmp_path):
    """The job belongs to the Environment, writes below models/<repository>/<commit>, and both
    services wait for it.
    """
    text = "---\n".join(HUB.format(name=name) for name in ("one", "two"))
    found = composed(
        tmp_path,
        text,
        models={SourceRef("default", "hf://Org/Tiny-3.5@v1"): TINY},
        hub=HubAccess("http://hub", token=True),
    )
    (job,) = [item for item in found.desired if item.key.kind == "Job"]
    assert (str(job.document), job.spec.folder) == (
        "Environment/default",
        "models/org--tiny-3.5/c0ffee000000",
    )
    container = job.spec.body["properties"]["template"]["containers"][0]
    env = {each["name"]: each.get("value", each.get("secretRef")) for each in container["env"]}
    assert env["MOORAGE_REVISION"] == TINY.commit
    assert (env["HF_ENDPOINT"], env["HF_TOKEN"]) == ("http://hub", "hf-token")
    apps = [item for item in found.desired if item.key.kind == "ContainerApp"]
    assert all(job.key in app.refs for app in apps)
    assert f"/mnt/moorage/{job.spec.folder}" in apps[0].spec.template["containers"][0]["args"]
    seen = set()
    for item in found.desired:
        assert set(item.refs) <= seen
        seen.add(item.key)


def test_a_hub_model_that_nobody_knows_yet_holds_its_service(tmp_path):
    """Nothing of the service is written before commit and size are known; its Environment goes
    ahead.
    """
    found = composed(
        tmp_path,
        HUB.format(name="one"),
        missing={
            SourceRef("default", "hf://Org/Tiny-3.5@v1"): Missing(
                "FetchFailed", "the hub does not answer"
            )
        },
    )
    assert [refusal.message for refusal in found.refusals.values()] == ["the hub does not answer"]
    assert {item.document.kind for item in found.desired} == {"Environment"}


def test_probes_and_cooldown_follow_from_the_size(tmp_path):
    """Five GiB at a standard share's slowest are read within the startup budget, and KEDA does not
    end the replica before.
    """
    found = composed(
        tmp_path,
        HUB.format(name="one"),
        models={SourceRef("default", "hf://Org/Tiny-3.5@v1"): TINY},
    )
    template = next(item for item in found.desired if item.key.kind == "ContainerApp").spec.template
    startup = next(
        probe for probe in template["containers"][0]["probes"] if probe["type"] == "Startup"
    )
    seconds = TINY.size / (60 << 20)
    assert startup["periodSeconds"] * startup["failureThreshold"] > 2 * seconds
    assert template["scale"]["cooldownPeriod"] > seconds + 300


def test_a_schedule_is_a_cron_rule(tmp_path):
    """Beside the HTTP rule, in the words of KEDA's scaler."""
    more = "  scale: {schedules: [{start: 0 7 * * 1-5, end: 0 19 * * 1-5, timezone: Europe/Rome}]}"
    http, cron = service(tmp_path, more=more).spec.template["scale"]["rules"]
    assert http["name"] == "http"
    assert cron["custom"] == {
        "type": "cron",
        "metadata": {
            "timezone": "Europe/Rome",
            "start": "0 7 * * 1-5",
            "end": "0 19 * * 1-5",
            "desiredReplicas": "1",
        },
    }


ADAPTERS = "  adapters: [{name: red, source: ./red}, {name: blue, source: ./blue}]"


def with_adapters(tmp_path, **unfit):
    """The objects of a service with two adapters, of which some cannot be served."""
    folders = {name: tmp_path / name for name in ("red", "blue")}
    [folder.mkdir(exist_ok=True) for folder in folders.values()]
    found = composed(
        tmp_path,
        SERVICE.format(length=1, more=ADAPTERS),
        # A folder without a tree, as a link or a folder that holds no adapter has none.
        trees={f: Tree("d" * 64, {}) for name, f in folders.items() if name not in unfit},
        unfit={("phi", folders[name]): each for name, each in unfit.items()},
    ).desired
    return {item.key.kind: item for item in found}, [item.key.name for item in found]


def test_an_adapter_that_cannot_be_served_is_not_published(tmp_path):
    """The other one is, and the engine is the one that serves both, so that a repair is hot."""
    good, _ = with_adapters(tmp_path)
    found, names = with_adapters(tmp_path, blue=Unfit("m.yaml:5:1: it is torn"))
    red, blue = found["AdapterCatalogue"].spec.adapters
    assert (red.digest, red.fault) == ("d" * 64, "")
    assert (blue.digest, blue.path, blue.fault) == ("", "", "m.yaml:5:1: it is torn")
    assert not [name for name in names if "adapters/blue" in name]
    assert found["ContainerApp"].spec.suffix == good["ContainerApp"].spec.suffix


def test_a_model_that_takes_no_lora_is_started_without(tmp_path):
    """VLLM does not start for one with LoRA switched on: then the model would not answer either."""
    none = Unfit("vLLM has no LoRA for GPT2LMHeadModel", takes_lora=False)
    found, _ = with_adapters(tmp_path, red=none, blue=none)
    (container,) = found["ContainerApp"].spec.template["containers"]
    assert "--enable-lora" not in container["args"]
    assert "adapters" not in [mount["subPath"] for mount in container["volumeMounts"]]
    assert [bool(one.fault) for one in found["AdapterCatalogue"].spec.adapters] == [True, True]
