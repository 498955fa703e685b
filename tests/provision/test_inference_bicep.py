"""`infra/provision/inference.bicep`: the resources that the reconciler creates, under an AI Toolkit
project's parameters.
"""

import json
from pathlib import Path

import pytest

from infra.local_azure.templates.evaluation import Scope
from infra.local_azure.templates.template import Template
from reconciler.api.digest import Tree
from reconciler.api.manifest import load
from reconciler.composition import compose
from reconciler.composition.world import World
from reconciler.kinds.arm_template import arm_template
from tests.conformance import types
from tests.provision.bicep import BicepError, Compiler

FOLDER = Path(__file__).parents[2] / "infra" / "provision"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUP = {"id": f"{ROOT}/resourceGroups/rg-ai", "name": "rg-ai", "location": "swedencentral"}
# What only one of the two has: ownership, and the revision's name, which is a hash that no template
# can compute.
DAEMONS = {"tags", "metadata", "revisionSuffix", "traffic", "secrets"}

# The project's web API as a document, with the names that the template derives for this resource
# group.
DOCUMENT = """
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {{name: ai}}
spec:
  resourceGroup: rg-ai
  logAnalytics: {{name: ailog{suffix}}}
  storage: {{accountName: aistorage{suffix}, shareName: aifileshare{suffix}, quotaGiB: 1024}}
  managedEnvironment: {{name: aienv{suffix}, storageName: aienvstorage{suffix}}}
  workloadProfiles: [{{name: GPU, workloadProfileType: NC24-A100, minimumCount: 0, maximumCount: 2}}]
---
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: aiacaapp{suffix}}}
spec:
  environment: ai
  code: share://inference
  mountPath: /mount/inference
  engine: {{image: "docker.io/pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime"}}
  command: [/bin/bash, -c, {commands}]
  targetPort: 7860
  progressDeadlineSeconds: 1200
  workloadProfileName: GPU
  scale: {{minReplicas: 1, maxReplicas: 1}}
"""


@pytest.fixture(scope="module")
def given():
    return json.loads((FOLDER / "inference.parameters.json").read_text())["parameters"]


class Azure(dict):
    """Answers whatever an expression asks, with what was asked, so that two bodies are equal if
    they ask for the same.
    """

    def __contains__(self, request):
        return True

    def __getitem__(self, request):
        asked = f"{request.method} {request.path} {request.version}".lower()
        return {
            "properties": {"customerId": asked},
            "keys": [{"value": asked}],
            "primarySharedKey": asked,
        }


@pytest.fixture(scope="module")
def opened(given):
    """The template as Azure opens it with the parameters file, nulls and all."""
    scope = Scope(
        {"id": ROOT, "subscriptionId": SUBSCRIPTION}, {}, {}, {"name": "d"}, GROUP, answers=Azure()
    )
    return Template(Compiler(FOLDER / "inference.bicep").template(), given, scope)


def test_the_parameters_are_the_projects(given, opened):
    """Every name of the project's parameters file, no other but the suffix, and the value of each
    is of its type.
    """
    assert set(opened.source["parameters"]) == {*given, "resourceSuffix"}
    assert list(given) == [
        "defaultCommands",
        "maximumInstanceCount",
        "location",
        "storageAccountName",
        "fileShareName",
        "acaEnvironmentName",
        "acaEnvironmentStorageName",
        "acaAppName",
        "acaLogAnalyticsName",
    ]


def bare(value):
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items() if key not in DAEMONS}
    return [bare(item) for item in value] if isinstance(value, list) else value


def test_the_resources_are_the_reconcilers(given, opened, tmp_path):
    """The same types, versions, names and bodies as `moorage export arm` gives for the same
    documents.
    """
    suffix = opened.parameters.names.get("resourceSuffix")
    path = tmp_path / "moorage.yaml"
    commands = json.dumps("; ".join(given["defaultCommands"]["value"]))
    path.write_text(DOCUMENT.format(suffix=suffix, commands=commands))
    world = World(SUBSCRIPTION, "swedencentral", lambda name: f"{name}-owner", Tree("a" * 64, {}))
    wanted = Template(
        arm_template(compose(load([path]).documents, world).desired), {}, opened.scope
    )
    by_hand = {
        (one.kind, one.version, one.name): one for one in opened.resources if not one.existing
    }
    ours = {(one.kind, one.version, one.name): one for one in wanted.resources}
    assert by_hand.keys() == ours.keys()
    for key, one in ours.items():
        assert bare(by_hand[key].body()) == bare(one.body()), key
        assert {need.lower() for need in one.needs} <= _all_needs(by_hand[key], opened), key


def _all_needs(resource, template):
    """What a resource waits for, directly or through another."""
    known = {one.key: one for one in template.resources}
    found = {need.lower() for need in resource.needs}
    for need in list(found):
        found |= _all_needs(known[need], template)
    return found


@pytest.mark.skipif(types.folder() is None, reason="the type data is not here")
def test_the_bodies_are_right_for_azures_types(opened):
    """Every body passes the type data of its resource."""
    wrong = [
        f"{one.kind} {text}"
        for one in opened.resources
        if not one.existing
        for text in types.violations(one.kind, one.version, one.body(), types.Use(answer=False))
    ]
    assert wrong == []


WRONG = [
    ("param a string\n", "1:1: a is never used", "a parameter for nothing"),
    ("output b string = nobody\n", "1:19: nobody is not declared", "an unknown symbol"),
    ("param a string = 'x\n", "not Bicep", "an open string"),
    ("var a = {\n  b: 1\n\noutput c object = a\n", "not Bicep", "a missing brace"),
    (
        "resource r 'A.B/c@2020-01-01' = {\n  name: 'x'\n  p: s.id\n}\n",
        "is not declared",
        "no such resource",
    ),
    (
        "resource r 'A.B/c/d@2020-01-01' = {\n  name: 'x'\n}\n",
        "needs 2 names",
        "a child without its parent",
    ),
]


@pytest.mark.parametrize(("text", "wanted", "reason"), WRONG, ids=[case[2] for case in WRONG])
def test_the_check_finds_what_is_wrong(tmp_path, text, wanted, reason):
    """A check that cannot fail is none."""
    path = tmp_path / "wrong.bicep"
    path.write_text(text)
    with pytest.raises(BicepError, match=wanted):
        Compiler(path).template()
