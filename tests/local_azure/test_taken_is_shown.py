"""What an environment or an app takes it shows again, and of secrets that they are there."""

import pytest

from tests.local_azure.caller import caller  # noqa: F401 - fixture

SHOWN = {
    "managedEnvironments": (
        "2024-10-02-preview",
        {
            "kind": "kubernetes",
            "properties": {
                "availabilityZones": ["1", "2"],
                "appInsightsConfiguration": {"connectionString": "a secret"},
                "customDomainConfiguration": {
                    "dnsSuffix": "a.example",
                    "certificateKeyVaultProperties": {"identity": "system", "keyVaultUrl": "u"},
                },
                "openTelemetryConfiguration": {
                    "destinationsConfiguration": {
                        "dataDogConfiguration": {"site": "s", "key": "a secret"},
                        "otlpConfigurations": [
                            {"name": "o", "headers": [{"key": "k", "value": "a secret"}]}
                        ],
                    },
                    "tracesConfiguration": {"destinations": ["o"], "includeDapr": True},
                },
            },
        },
    ),
    "containerApps": ("2025-07-01", {"kind": "functionapp", "managedBy": "somebody"}),
}
NEWER = {"ingressConfiguration": {"workloadProfileName": "p", "requestIdleTimeout": 4}}


def joined(one, other):
    """Both documents, the second over the first."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: joined(one[key], other[key])
            if key in one and key in other
            else {**one, **other}[key]
            for key in {**one, **other}
        }
    return other


def lost(sent, shown, path=""):
    """The paths of what was sent and is not shown; a secret is shown as null."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if not isinstance(shown, dict) or name not in shown:
                yield f"{path}.{name}"
            else:
                yield from lost(value, shown[name], f"{path}.{name}")
    elif isinstance(sent, list):
        for one, other in zip(sent, shown or [], strict=True):
            yield from lost(one, other, f"{path}[]")
    elif shown != (None if sent == "a secret" else sent):
        yield path


@pytest.mark.parametrize("kind", SHOWN)
async def test_what_is_taken_is_shown(caller, kind):
    """By the GET after the write, and after a PATCH of something else."""
    version, document = SHOWN[kind]
    base = caller.app() if kind == "containerApps" else {"location": "swedencentral"}
    path = f"{caller.group}/providers/Microsoft.App/{kind}/shown"
    status, headers, _ = await caller.ask("PUT", path, joined(base, document), version)
    assert status == 201
    await caller.ended(headers)
    for _ in range(2):
        _, _, shown = await caller.ask("GET", path, None, version)
        assert list(lost(document, shown)) == []
        assert "a secret" not in str(shown)
        change = {"location": "swedencentral", "tags": {"a": "b"}, "properties": {}}
        _, headers, _ = await caller.ask("PATCH", path, change, version)
        if "Location" in headers:
            await caller.ended(headers)


async def test_an_environments_ingress_is_shown(caller):
    """From the api-version on that has it."""
    body = {"location": "swedencentral", "properties": NEWER}
    _, headers, _ = await caller.ask("PUT", caller.home, body, "2025-07-01")
    await caller.ended(headers)
    shown = (await caller.ask("GET", caller.home, None, "2025-07-01"))[2]["properties"]
    assert list(lost(NEWER, shown)) == []
