"""The exported template: every ARM resource once, in the words of its kind, without a secret, and
right for Azure's types.
"""

from pathlib import Path

import pytest

from infra.local_azure.templates.evaluation import Scope
from infra.local_azure.templates.template import Template
from reconciler.api.digest import Tree
from reconciler.api.manifest import load
from reconciler.composition import compose
from reconciler.composition.world import World
from reconciler.kinds.arm_template import WRITTEN, arm_template
from tests.conformance import types

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TREE = Tree("a" * 64, {})
SECRETS = {("phi-3", "token"): "d1"}
MODEL = """
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {name: phi-3}
spec:
  environment: dev
  model: {source: share://models/phi}
  auth: {apiKeys: [{name: default}, {name: team-a}]}
  env: [{name: ODD, value: "[it's]"}, {name: TOKEN, valueFrom: {secretRef: token}}]
  secrets:
    - {name: token, valueFrom: {env: TOKEN}}
    - {name: vault, keyVaultUrl: "https://kv.vault.azure.net/secrets/x", identity: system}
  identity: {type: SystemAssigned}
  registries: [{server: phi.azurecr.io, identity: system}]
---
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {name: dev}
spec: {resourceGroup: rg-dev, storage: {shareName: data, quotaGiB: 7}}
"""


@pytest.fixture
def composition(tmp_path: Path):
    path = tmp_path / "moorage.yaml"
    path.write_text(MODEL)
    world = World(
        SUBSCRIPTION, "swedencentral", lambda name: f"{name}-owner", TREE, secrets=SECRETS
    )
    return compose(load([path]).documents, world)


@pytest.fixture
def opened(composition):
    """The template as Azure opens it, with keys given."""
    template = arm_template(composition.desired)
    keys = {name: {"value": f"mk-{name}"} for name in template["parameters"]}
    root = f"/subscriptions/{SUBSCRIPTION}"
    group = {"id": f"{root}/resourceGroups/rg-dev", "name": "rg-dev", "location": "swedencentral"}
    return Template(
        template,
        keys,
        Scope({"id": root, "subscriptionId": SUBSCRIPTION}, {}, {}, {"name": "d"}, group),
    )


def test_every_arm_resource_is_there_once(composition, opened):
    """What composition wants, less the group and what lies on the share; each waits for what it
    refers to.
    """
    wanted = [each for each in composition.desired if each.key.kind in WRITTEN]
    assert len(opened.resources) == len(wanted) == 7
    for desired, resource in zip(wanted, opened.resources, strict=True):
        assert resource.kind == WRITTEN[desired.key.kind].name
        assert len(resource.needs) >= sum(ref.kind in WRITTEN for ref in desired.refs)


def test_bodies_are_the_desired_ones(composition, opened):
    """Whatever composition puts into a body arrives in the deployed one, brackets and quotes
    included.
    """

    def within(part, whole):
        if isinstance(part, dict):
            return all(key in whole and within(value, whole[key]) for key, value in part.items())
        return part == whole

    wanted = [each for each in composition.desired if each.key.kind in WRITTEN]
    for desired, resource in zip(wanted, opened.resources, strict=True):
        assert within(desired.spec.body, resource.body(defer=True)), desired.key
    app = opened.resources[-1].body(defer=True)["properties"]
    assert {"name": "ODD", "value": "[it's]"} in app["template"]["containers"][0]["env"]


def test_keys_are_secure_parameters(composition, opened):
    """One securestring for each API key and secret, nothing generated, nothing with a default; what
    a Key Vault holds needs none.
    """
    template = arm_template(composition.desired)
    names = {"phi_3_default_apiKey", "phi_3_team_a_apiKey", "phi_3_token_secret"}
    assert set(template["parameters"]) == names
    assert {each["type"] for each in template["parameters"].values()} == {"securestring"}
    assert all("defaultValue" not in each for each in template["parameters"].values())
    secrets = opened.resources[-1].body(defer=True)["properties"]["configuration"]["secrets"]
    assert secrets == [
        {"name": "api-key-default", "value": "mk-phi_3_default_apiKey"},
        {"name": "api-key-team-a", "value": "mk-phi_3_team_a_apiKey"},
        {"name": "token", "value": "mk-phi_3_token_secret"},
        {
            "name": "vault",
            "keyVaultUrl": "https://kv.vault.azure.net/secrets/x",
            "identity": "system",
        },
    ]


@pytest.mark.skipif(types.folder() is None, reason="the type data is not here")
def test_bodies_are_right_for_azures_types(opened):
    """Each body passes the type data of its resource; expressions that only a deployment can
    evaluate pass as texts.
    """
    wrong = [
        f"{resource.kind} {text}"
        for resource in opened.resources
        for text in types.violations(
            resource.kind, resource.version, resource.body(defer=True), types.Use(answer=False)
        )
    ]
    assert wrong == []
