"""What a fine-tuning run and people have made already: found, used as it is, never overwritten, and
left when we go.
"""

import asyncio
import json
import os
import re
import shutil

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.manifest import load
from reconciler.api.source import SourceRef
from reconciler.arm import apps, environments, files, ids, operations, resources, storage
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.settings import Settings
from reconciler.sources.remote import RemoteSources
from tests import ai_toolkit
from tests.e2e.stage import ask, service
from tests.tiny_model import make_adapter

GROUP, PLACE = "rg-tune", {"location": "westus3"}
ACCOUNT, SHARE, ENVIRONMENT = "aistorageab1cd", "aifileshareab1cd", "aienvab1cd"
STORAGE, LOGS, APP = "aienvstorageab1cd", "ailogab1cd", "handmade"
PROFILES = [
    {"name": "Consumption", "workloadProfileType": "Consumption"},
    {"name": "GPU", "workloadProfileType": "NC24-A100", "minimumCount": 0, "maximumCount": 2},
]

pytestmark = pytest.mark.e2e


def settings(stage):
    return Settings.for_local(stage.facts, {}, state_dir=stage.state)


async def done(arm, operation):
    group = ids.resource_group(arm.subscription_id, GROUP)
    while operation:
        progress = await operations.poll(arm, operation.token, group)
        assert progress.error is None
        if progress.done:
            return
        await asyncio.sleep(0.05)


async def put(arm, local, path):
    """A folder of this machine to the share, as a job leaves it there."""
    share = Share(arm, GROUP, ACCOUNT, SHARE)
    for file in sorted(local.rglob("*")):
        if file.is_file():
            await files.create(
                share, f"{path}/{file.relative_to(local).as_posix()}", file.read_bytes()
            )


@pytest.fixture(scope="module")
async def tuned(stage):
    """The resources of the templates' finetuning.bicep, with a result and a checkpoint on the
    share.
    """
    project = ai_toolkit.build(stage.root / "phi")
    async with Arm(settings(stage)) as arm:
        await resources.put_resource_group(arm, GROUP, PLACE)
        await done(
            arm,
            await resources.put_workspace(
                arm, GROUP, LOGS, {**PLACE, "properties": {"sku": {"name": "PerGB2018"}}}
            ),
        )
        account = {
            **PLACE,
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "properties": {"largeFileSharesState": "Enabled"},
        }
        await done(arm, await storage.put_storage_account(arm, GROUP, ACCOUNT, account))
        await storage.put_share(arm, GROUP, ACCOUNT, SHARE, {"properties": {"shareQuota": 1024}})
        body = {**PLACE, "properties": {"workloadProfiles": PROFILES}}
        await done(arm, await environments.put_environment(arm, GROUP, ENVIRONMENT, body))
        key = (await storage.storage_keys(arm, GROUP, ACCOUNT))[0]
        mount = {
            "accountName": ACCOUNT,
            "accountKey": key,
            "shareName": SHARE,
            "accessMode": "ReadWrite",
        }
        await environments.put_env_storage(
            arm, GROUP, ENVIRONMENT, STORAGE, {"properties": {"azureFile": mount}}
        )
        await put(arm, project / ai_toolkit.MODEL, ai_toolkit.MODEL)
        await put(arm, project / ai_toolkit.ADAPTER, "models/run1/adapter")
        await put(arm, project / ai_toolkit.ADAPTER, "models/checkpoints/checkpoint-9")
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "model-cache")
    return stage


def imported(stage, *options, name="found.yaml", code=0):
    file = stage.root / name
    told = stage.moorage(
        "import",
        "phi",
        "--out",
        str(file),
        "--force",
        "--resource-group",
        GROUP,
        *options,
        code=code,
    ).stderr
    return told, [loaded.document for loaded in load([file]).documents] if code == 0 else []


def test_what_fine_tuning_made_is_found(tuned):
    """Null names: the resources in the group go into the document, with the place, the profile and
    the one adapter there is.
    """
    told, (environment, served) = imported(tuned, "--engine", "vllm")
    spec = environment.spec
    assert (spec.resource_group, spec.location) == (GROUP, "westus3")
    assert (spec.storage.account_name, spec.storage.share_name, spec.storage.quota_gib) == (
        ACCOUNT,
        SHARE,
        None,
    )
    assert (spec.managed_environment.name, spec.managed_environment.storage_name) == (
        ENVIRONMENT,
        STORAGE,
    )
    assert spec.log_analytics.name == LOGS
    profile = spec.workload_profiles[0]
    assert (profile.name, profile.workload_profile_type, profile.maximum_count) == (
        "GPU",
        "NC24-A100",
        2,
    )
    assert served.spec.model.source == f"share://{ai_toolkit.MODEL}"
    assert [a.source for a in served.spec.adapters] == ["share://models/run1/adapter"]
    assert f"found      in {GROUP}: " in told


def test_two_that_fit_are_a_question(tuned):
    """Two accounts of the templates' form: the parameter to fill in is named, nothing is chosen."""

    async def another():
        async with Arm(settings(tuned)) as arm:
            account = {
                **PLACE,
                "kind": "StorageV2",
                "sku": {"name": "Standard_LRS"},
                "properties": {},
            }
            await done(
                arm, await storage.put_storage_account(arm, GROUP, "aistoragezz9zz", account)
            )

    async def gone():
        async with Arm(settings(tuned)) as arm:
            await done(arm, await storage.delete_storage_account(arm, GROUP, "aistoragezz9zz"))

    asyncio.run(another())
    told, _ = imported(tuned, code=2)
    assert "holds aistorageab1cd, aistoragezz9zz; say which in storageAccountName" in told
    asyncio.run(gone())


def test_what_the_parameters_ask_is_changed_and_nothing_else(tuned):
    """maximumInstanceCount: the one field of the found environment that differs is the one that
    would be written, and the first one: it adopts the environment.
    """
    parameters = tuned.root / "phi/infra/provision/inference.parameters.json"
    text = parameters.read_text()
    parameters.write_text(text.replace('"value": 2', '"value": 3'))
    imported(tuned, "--engine", "vllm", name="three.yaml")
    parameters.write_text(text)
    changes = tuned.json("plan", "-f", str(tuned.root / "three.yaml"))["changes"]
    written = {
        each["object"]: [field["path"] for field in each["fields"]]
        for each in changes
        if each["action"] in ("update", "adopt")
    }
    assert written == {"ManagedEnvironment/phi": ["properties.workloadProfiles[GPU].maximumCount"]}


async def test_what_is_adopted_is_used_and_not_overwritten(tuned):
    """A service in the found environment: only what was missing is created, and `down` leaves all
    that was there.
    """
    imported(tuned, "--engine", "vllm")
    tuned.code("web")
    text = (tuned.root / "found.yaml").read_text().partition("---")[0]
    web = service("web", environment="phi", workloadProfileName="Consumption")
    tuned.save_text(f"{text}\n---\n{json.dumps(web)}")
    before = len(tuned.journal())
    tuned.once()
    assert ask(tuned.json("status")["documents"][-1]["endpoint"], tuned.ca)["version"] == "one"
    kept = (LOGS, ACCOUNT, SHARE, ENVIRONMENT, STORAGE, GROUP)
    wrote = [
        line.split()[1].rstrip("/").rpartition("/")[2]
        for line in tuned.writes(before)
        if "/subscriptions/" in line
    ]
    assert wrote
    assert not set(wrote) & set(kept)
    assert f"{STORAGE}-rw" in wrote
    told = tuned.moorage("chat", "web", "--listen", "127.0.0.1:0", code=1).stderr
    assert "it runs its own code. Its own page, if it has one, is at https://" in told
    tuned.moorage("down", "-y", "--purge-data")
    async with Arm(settings(tuned)) as arm:
        scope = ids.resource_group(arm.subscription_id, GROUP)
        assert await arm.inventory.get(Kind.ENVIRONMENT, scope, ENVIRONMENT)
        share = await arm.inventory.get(
            Kind.SHARE, ids.storage_account(arm.subscription_id, GROUP, ACCOUNT), SHARE
        )
        assert share["properties"]["shareQuota"] == 1024
        assert await arm.inventory.get(
            Kind.STORAGE,
            ids.environment(arm.subscription_id, GROUP, ENVIRONMENT),
            STORAGE,
        )


async def test_the_newest_sound_result_is_taken(tuned, tmp_path):
    """Each run has a folder of its own: the newest that can be served is fetched, one that cannot
    is named, checkpoints are none.
    """
    imported(tuned, "--engine", "vllm", "--adapter", "newest", name="newest.yaml")
    documents = load([tuned.root / "newest.yaml"]).documents
    async with Arm(settings(tuned)) as arm:
        shares = {"phi": Share(arm, GROUP, ACCOUNT, SHARE)}
        sources = RemoteSources(tmp_path / "cache", quiet=0)
        newest = SourceRef("phi", "share://models/**", "phi")
        found = await sources.fetch(documents, shares)
        assert found.folders[newest].parts[-3:] == ("models", "run1", "adapter")
        await asyncio.sleep(1.1)  # the share's clock has seconds
        model = ai_toolkit.build(tmp_path / "other") / ai_toolkit.MODEL
        await put(
            arm, make_adapter(tmp_path / "green", "green", model=model), "models/run2/adapter"
        )
        found = await sources.fetch(documents, shares)
        assert found.folders[newest].parts[-2] == "run2"
        await asyncio.sleep(1.1)
        torn = make_adapter(tmp_path / "blue", "blue", model=model)
        os.truncate(torn / "adapter_model.safetensors", 500)
        await put(arm, torn, "models/run3/adapter")
        found = await sources.fetch(documents, shares)
        assert found.folders[newest].parts[-2] == "run2"
        assert list(found.refused[newest]) == ["models/run3/adapter"]
        resting = await RemoteSources(tmp_path / "cache", quiet=3600).fetch(documents, shares)
        assert resting.folders == {}
        assert "one is being written" in resting.missing[newest].message


async def test_a_new_result_waits_for_approval_where_the_policy_says_so(tuned):
    """`automated: false` makes it an offer: the plan shows the new version, and writes nothing."""
    text = (
        (tuned.root / "newest.yaml")
        .read_text()
        .replace("  workloadProfiles:", "  syncPolicy: {automated: false}\n  workloadProfiles:")
    )
    (tuned.root / "held.yaml").write_text(text)
    before = len(tuned.journal())
    plan = tuned.moorage("plan", "-f", str(tuned.root / "held.yaml")).stdout
    assert "PublishedFolder/phi/adapters/tuned/" in plan
    assert tuned.writes(before) == []


async def test_code_goes_to_an_app_that_somebody_else_provisioned(tuned):
    """A configuration filled in by hand: changed files go to the share, the app is restarted and
    answers with them.
    """
    project = tuned.root / "own"
    shutil.copytree(ai_toolkit.EXAMPLE, project)
    shutil.rmtree(project / "inference")
    tuned.code("own", "one")
    shutil.copytree(tuned.root / "code-own", project / "inference")
    container = {
        "name": "app",
        "image": "docker.io/library/python:3.11-slim",
        "resources": {"cpu": 0.5, "memory": "1Gi"},
        "command": ["/bin/sh", "-c", "cd /mount/inference && exec python3 app.py 7860"],
        "volumeMounts": [{"volumeName": "v", "mountPath": "/mount"}],
    }
    async with Arm(settings(tuned)) as arm:
        template = {
            "containers": [container],
            "scale": {"minReplicas": 1, "maxReplicas": 1},
            "terminationGracePeriodSeconds": 2,
            "volumes": [{"name": "v", "storageType": "AzureFile", "storageName": STORAGE}],
        }
        managed = ids.environment(arm.subscription_id, GROUP, ENVIRONMENT)
        configuration = {"ingress": {"external": True, "targetPort": 7860, "transport": "Auto"}}
        properties = {
            "managedEnvironmentId": managed,
            "configuration": configuration,
            "template": template,
        }
        await put(arm, project / "inference", "inference")
        await done(arm, await apps.put_app(arm, GROUP, APP, {**PLACE, "properties": properties}))
        filled = (arm.subscription_id, GROUP, ACCOUNT, SHARE, APP)
    config = project / "infra" / "inference.config.json"
    config.write_text(
        json.dumps(dict(zip(json.loads(config.read_text()), (*filled, None), strict=True)))
    )
    first = tuned.moorage("deploy", "own").stdout
    endpoint = f"https://{json.loads(config.read_text())['ACA_APP_ENDPOINT']}"
    assert ask(endpoint, tuned.ca)["version"] == "one"
    tuned.code("own", "two")
    shutil.copy(tuned.root / "code-own" / "app.py", project / "inference" / "app.py")
    second = tuned.moorage("deploy", "own").stdout
    assert ask(endpoint, tuned.ca)["version"] == "two"
    assert len(set(re.search(r"published (\d+) of (\d+) files", first).groups())) == 1
    assert "published 1 of " in second
    assert ": ready" in second


def test_the_app_that_the_configuration_names_is_taken_over(tuned):
    """It goes into the document with its environment, profile, size and scale, and the plan is an
    adoption; vLLM takes it, too.
    """
    file = tuned.root / "own.yaml"
    told = tuned.moorage("import", "own", "--out", str(file), "--base-only").stderr
    made, served = (loaded.document for loaded in load([file]).documents)
    assert (made.spec.resource_group, made.spec.storage.share_name) == (GROUP, SHARE)
    assert made.spec.managed_environment.name == ENVIRONMENT
    spec = served.spec
    assert (served.metadata.name, spec.adoption_policy, spec.workload_profile_name) == (
        APP,
        "AdoptOrCreate",
        "Consumption",
    )
    assert (
        spec.resources.cpu,
        spec.resources.memory,
        spec.scale.min_replicas,
        spec.scale.max_replicas,
    ) == (0.5, "1Gi", 1, 1)
    assert f"takes over {APP}, which Moorage did not create" in told
    before = len(tuned.journal())
    plan = {line["object"]: line for line in tuned.json("plan", "-f", str(file))["changes"]}
    fields = {field["path"] for field in plan[f"ContainerApp/{APP}"]["fields"]}
    assert plan[f"ContainerApp/{APP}"]["action"] == "adopt"
    assert {"properties.configuration.activeRevisionsMode", "tags.moorage-adopted"} <= fields
    assert tuned.writes(before) == []
    tuned.moorage(
        "import",
        "own",
        "--out",
        str(file),
        "--force",
        "--engine",
        "vllm",
        "--base-only",
        "--model",
        "share://m",
    )
    assert load([file]).documents[1].document.spec.adoption_policy == "AdoptOrCreate"


def test_an_app_that_no_file_names_is_not_taken_over_by_chance(tuned):
    """A name on the command line that is taken: said, with what would take it over; the document
    does not.
    """
    told, (_, served) = imported(
        tuned, "--base-only", "--engine", "vllm", "--name", APP, name="chance.yaml"
    )
    assert served.spec.adoption_policy == "Create"
    assert f"{APP} exists, Moorage did not create it" in told
    assert "adoptionPolicy: AdoptOrCreate" in told


def test_a_project_with_nothing_to_deploy_to_says_both_ways(tuned):
    """No documents and an empty configuration: exit code 2."""
    shutil.copytree(ai_toolkit.EXAMPLE, tuned.root / "bare")
    told = tuned.moorage("deploy", "bare", code=2).stderr
    assert "moorage import bare" in told
    assert "inference.config.json" in told
