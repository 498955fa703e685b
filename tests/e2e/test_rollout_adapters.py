"""A person goes back to the adapters of an earlier generation. The replicas are stand-ins that load
no model; catalogue, reports and share are as for vLLM.
"""

import shutil

import pytest

from tests import tiny_model
from tests.benchmarks.models import images
from tests.e2e.stage import Stage


@pytest.fixture
def stage(tmp_path):
    tiny_model.build(tmp_path, ("red", "green"))
    with Stage(tmp_path, "--images", str(images(tmp_path / "image"))) as stage:
        yield stage


def document(*names, variable="one"):
    return {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "phi"},
        "spec": {
            "model": {"source": "./model"},
            "adapters": [{"name": name, "source": f"./adapters/{name}"} for name in names],
            "workloadProfileName": "Consumption",
            "env": [{"name": "VARIABLE", "value": variable}],
            "scale": {"minReplicas": 1, "maxReplicas": 1},
            "terminationGracePeriodSeconds": 2,
        },
    }


def loaded(stage):
    """The adapters that the replicas report, and what the document's Synced says."""
    found = next(d for d in stage.json("status")["documents"] if d["name"] == "phi")
    synced = next(c for c in found["conditions"] if c["type"] == "Synced")
    reported = {
        (adapter["name"], adapter["digest"])
        for replica in found["replicas"]
        for adapter in replica["adapters"]
    }
    return reported, (synced["status"], synced["reason"])


def test_the_adapters_of_a_kept_generation_serve_again(stage):
    """Version and number of adapters are those of then, held until the next save, also by a daemon
    that has lost its memory; the history, the plan and the status say so.
    """
    stage.save(document("red"))
    stage.once("-y")
    first, _ = loaded(stage)
    shutil.copy(
        stage.root / "adapters/green/adapter_model.safetensors", stage.root / "adapters/red"
    )
    stage.save(document("red", "green"))
    stage.once("-y")
    second, synced = loaded(stage)
    assert (len(second), synced) == (2, ("True", "InSync"))
    assert not first & second
    rows = stage.json("history", "phi")["generations"]
    assert [len(each["adapters"]) for each in rows] == [2, 1]
    said = stage.moorage("rollback", "phi").stdout
    assert "Its adapters serve again: red " in said
    stage.once("-y", code=4)
    assert loaded(stage) == (first, ("False", "RolledBack"))
    assert "earlier adapters serve" in stage.moorage("history", "phi").stdout
    assert "earlier adapters" in stage.moorage("status").stdout
    assert "earlier adapters" in stage.moorage("plan", "-f", str(stage.manifest)).stdout
    assert "rolled back already" in stage.moorage("rollback", "phi", code=1).stderr
    shutil.rmtree(stage.state / "daemon")
    stage.once("-y", code=4)
    assert loaded(stage) == (first, ("False", "RolledBack"))
    stage.save(document("red", "green", variable="two"))
    stage.once("-y")
    assert loaded(stage) == (second, ("True", "InSync"))
