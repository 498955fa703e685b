"""Secrets, identities and registries of a document become parts of its container app."""

import pytest

from reconciler.api.reasons import Reason
from reconciler.api.resources import AppSecret
from reconciler.api.source import Missing
from tests.composition.test_compose import SERVICE, composed, service

USER = (
    "/subscriptions/1/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    "/puller"
)
SECRET = f"""\
  secrets:
    - {{name: token, valueFrom: {{env: TOKEN}}}}
    - {{name: vault, keyVaultUrl: "https://kv.vault.azure.net/secrets/x", identity: system}}
    - {{name: login, valueFrom: {{file: ./login}}}}
  env: [{{name: TOKEN, valueFrom: {{secretRef: token}}}}, {{name: COLOUR, value: green}}]
  identity: {{type: "systemassigned, userassigned", userAssignedIdentities: {{{USER}: }}}}
  registries:
    - {{server: phi.azurecr.io, username: phi, passwordSecretRef: login}}
    - {{server: psi.azurecr.io, identity: SYSTEM}}
"""
DIGESTS = {("phi", "token"): "d1", ("phi", "login"): "d2"}


@pytest.fixture
def app(tmp_path):
    def made(**digests):
        secrets = DIGESTS | {("phi", name): digest for name, digest in digests.items()}
        return service(tmp_path, more=SECRET, secrets=secrets).spec

    return made


def test_an_app_is_as_azure_takes_it(app):
    """References in the template, identities and registries in Azure's own words, and no value."""
    spec = app()
    variables = {each["name"]: each for each in spec.template["containers"][0]["env"]}
    assert variables["TOKEN"] == {"name": "TOKEN", "secretRef": "token"}
    assert variables["COLOUR"] == {"name": "COLOUR", "value": "green"}
    identity = {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {USER: {}}}
    assert spec.body["identity"] == identity
    assert spec.body["properties"]["configuration"]["registries"] == [
        {"server": "phi.azurecr.io", "username": "phi", "passwordSecretRef": "login"},
        {"server": "psi.azurecr.io", "identity": "system"},
    ]
    assert spec.secrets == (
        AppSecret("token", "d1"),
        AppSecret("vault", key_vault_url="https://kv.vault.azure.net/secrets/x", identity="system"),
        AppSecret("login", "d2"),
    )


def test_another_value_is_another_revision_where_a_replica_reads_it(app):
    """A variable is read when a replica starts; a registry's password whenever an image is
    pulled.
    """
    assert app(token="d3").revision != app().revision
    assert app(login="d3").revision == app().revision
    assert app(login="d3").secrets != app().secrets


def test_what_is_left_out_stays_as_it_is(tmp_path):
    """The name of a revision without secrets is what it was before there were any."""
    spec = service(tmp_path).spec
    assert "identity" not in spec.body
    assert "registries" not in spec.body["properties"]["configuration"]
    emptied = service(tmp_path, more="  registries: []\n  identity: {type: None}\n").spec
    assert emptied.body["properties"]["configuration"]["registries"] == []
    assert emptied.body["identity"] == {"type": "None"}
    assert emptied.revision == spec.revision


def test_a_secret_without_a_value_holds_up_its_service_alone(tmp_path):
    """The service is left as it is, and the other objects are wanted as before."""
    why = Missing(Reason.SOURCE_UNREADABLE, "m.yaml:7:3: secret token: ./t is empty")
    text = SERVICE.format(length=512, more=SECRET)
    found = composed(tmp_path, text, secrets={**DIGESTS, ("phi", "token"): why})
    assert [(ref.name, r.reason, r.message) for ref, r in found.refusals.items()] == [
        ("phi", why.reason, why.message)
    ]
    assert "ManagedEnvironment" in [item.key.kind for item in found.desired]
    assert "ContainerApp" not in [item.key.kind for item in found.desired]
