"""infra/deploy/kubernetes.yaml against Kubernetes' own schemas, strictly: an unknown field is an
error. kubernetes-schema.json says where they come from.
"""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.docs.variants import commented

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests" / "docs" / "kubernetes-schema.json").read_text())
MANIFESTS = list(
    YAML(typ="safe").load_all((ROOT / "infra" / "deploy" / "kubernetes.yaml").read_text())
)


def faults(manifest):
    reference = {"$ref": f"#/definitions/{SCHEMA['kinds'][manifest['kind']]}"}
    validator = jsonschema.Draft7Validator({**reference, "definitions": SCHEMA["definitions"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each["kind"])
def test_each_object_is_valid(manifest):
    """Every object of the manifest, with the fields of its kind and no other."""
    assert faults(manifest) == []


def test_the_lines_in_comments_are_valid_too():
    """Documents from a mounted share, and from Git, in place of the ConfigMap."""
    deployment = copy.deepcopy(next(each for each in MANIFESTS if each["kind"] == "Deployment"))
    pod = deployment["spec"]["template"]["spec"]
    volume, arguments = commented("kubernetes.yaml")
    pod["volumes"][0] = volume
    pod["containers"][0]["args"] = arguments
    assert volume["name"] == pod["containers"][0]["volumeMounts"][0]["name"]
    assert faults(deployment) == []


def test_the_schemas_find_what_is_wrong():
    """A misspelt field of a pod, a number as text, a missing selector."""
    deployment = next(each for each in MANIFESTS if each["kind"] == "Deployment")
    wrong = copy.deepcopy(deployment)
    pod = wrong["spec"]["template"]["spec"]
    pod["serviceAcountName"] = pod.pop("serviceAccountName")
    wrong["spec"]["replicas"] = "one"
    del wrong["spec"]["selector"]
    text = "\n".join(faults(wrong))
    assert "serviceAcountName" in text
    assert "'one' is not of type" in text
    assert "'selector' is a required property" in text
