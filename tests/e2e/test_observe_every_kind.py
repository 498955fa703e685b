"""Under Observe nothing of any kind is written: a model with adapters, keys and a schedule, its job,
and the gateway of its Environment, none of which exists, all of which differ, and all of which are
asked for no more. The replicas are stand-ins that load no model.
"""

import copy
import json
import shutil

import pytest

from reconciler.api.kinds import Kind
from tests import tiny_model
from tests.benchmarks.models import images
from tests.e2e.ground import is_write
from tests.e2e.stage import Stage, environment, service
from tests.hub import HubStandIn

COMMIT = "c0ffee" + "0" * 34


def model(name, source, **spec):
    return {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "environment": "dev",
            "model": {"source": source},
            "workloadProfileName": "Consumption",
            "scale": {"minReplicas": 0, "maxReplicas": 1},
            "terminationGracePeriodSeconds": 2,
            **spec,
        },
    }


def documents(*, more=False):
    """All kinds; with `more` each of them differs."""
    adapters = [{"name": "red", "source": "./adapters/red"}]
    keys = [{"name": "default"}]
    schedule = {"start": "0 7 * * *", "end": "0 19 * * *"}
    if more:
        adapters.append({"name": "green", "source": "./adapters/green"})
        keys.append({"name": "second"})
        schedule["end"] = "0 20 * * *"
    profiles = [{"name": "big", "workloadProfileType": "D4", "minimumCount": 0, "maximumCount": 1}]
    return [
        environment(
            "dev",
            tags={"team": "red" if more else "blue"},
            gateway={"hold": {"seconds": 60 if more else 30}, "apiKeys": keys},
            logAnalytics={"retentionInDays": 60 if more else 30},
            storage={"quotaGiB": 200 if more else 100},
            **({"workloadProfiles": profiles} if more else {}),
        ),
        model(
            "phi",
            "./model",
            adapters=adapters,
            auth={"apiKeys": keys},
            scale={"minReplicas": 0, "maxReplicas": 1, "schedules": [schedule]},
        ),
        model("tiny", "hf://org/tiny@v2" if more else "hf://org/tiny@v1"),
        service("web", environment="dev", env=[{"name": "A", "value": "2" if more else "1"}]),
    ]


def observing(written):
    return [
        {**each, "spec": {**copy.deepcopy(each["spec"]), "reconcilePolicy": "Observe"}}
        for each in written
    ]


@pytest.fixture
def stage(tmp_path):
    tiny_model.build(tmp_path, ("red", "green"))
    files = {"config.json": b"{}", "model.safetensors": b"x" * 98}
    versions = {"v1": COMMIT, "v2": "dead" + COMMIT[4:]}
    with (
        HubStandIn("org/tiny", files, versions).serving() as hub,
        Stage(tmp_path, "--images", str(images(tmp_path / "image"))) as stage,
    ):
        stage.env |= {"HF_ENDPOINT": hub.endpoint}
        stage.code("web")
        yield stage


def written(stage, since):
    """The writes, the lease of the share among them: nobody leads who only observes."""
    return [
        f"{each['method']} {each['path']} {each['query']} {each['status']}"
        for each in stage.journal()[since:]
        if is_write(each) or (each["plane"] == "files" and each["method"] not in ("GET", "HEAD"))
    ]


@pytest.mark.slow
def test_no_kind_is_written_under_observe(stage):
    """Neither a request to Azure that changes something, nor a file on the share, is even tried."""
    stage.save(*observing(documents()))
    mark = len(stage.journal())
    stage.once("-y", code=4)
    assert written(stage, mark) == []

    stage.save(*documents())
    stage.once("-y", "--timeout", "120", code=None)
    made = stage.json("plan", "-f", str(stage.manifest))["changes"]
    kinds = {each["object"].partition("/")[0] for each in made}
    assert kinds >= {str(kind) for kind in Kind}
    assert {each["action"] for each in made} == {"no-op"}

    stage.save(*observing(documents(more=True)))
    (stage.root / "code-web" / "app.py").write_text("# changed")
    mark = len(stage.journal())
    stage.once("-y", "--timeout", "60", code=None)
    told = stage.json("plan", "-f", str(stage.manifest))["changes"]
    differ = {each["object"].partition("/")[0] for each in told if each["problem"]}
    assert differ >= {str(kind) for kind in Kind} - {"EnvironmentStorage"}, json.dumps(told)
    assert written(stage, mark) == []

    stage.save(*observing(documents(more=True))[:1])
    shutil.rmtree(stage.root / "code-web")
    stage.once("-y", "--timeout", "60", code=None)
    assert written(stage, mark) == []
