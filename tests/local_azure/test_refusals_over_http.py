"""What Azure refuses, asked with plain HTTPS requests and no SDK between."""

from typing import Any

import pytest

from tests.local_azure.caller import caller  # noqa: F401 - fixture
from tests.local_azure.conftest import IMAGES

REGISTRIES = """
- image: ["locked.example/*"]
  pull: denied
- image: ["silent.example/*"]
  pull: hangs
"""
APP, JOB = "containerApps", "jobs"


@pytest.fixture(scope="module")
def azure(make_azure, tmp_path_factory):
    """A local Azure that knows two registries of its own."""
    file = tmp_path_factory.mktemp("images") / "images.yaml"
    file.write_text(IMAGES.read_text() + REGISTRIES)
    return make_azure("--operation-seconds", "0.02", "--images", str(file))


def mounted(path: str, volume: str = "v") -> dict[str, Any]:
    return {"container": {"volumeMounts": [{"volumeName": volume, "mountPath": path}]}}


V = [{"name": "v", "storageType": "EmptyDir"}]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no scaler", {"scale": {"rules": [{"name": "x"}]}}, "ContainerAppInvalidScaleRule"),
    (
        "a custom scaler without a type",
        {"scale": {"rules": [{"name": "x", "custom": {"metadata": {}}}]}},
        "ContainerAppInvalidScaleRule",
    ),
    ("a relative path", {"volumes": V, **mounted("data")}, "ContainerAppInvalidVolumeMount"),
    ("a path up", {"volumes": V, **mounted("/a/../b")}, "ContainerAppInvalidVolumeMount"),
    ("a volume without a name", {"volumes": [{}]}, "ContainerAppInvalidVolumeName"),
    ("two volumes of one name", {"volumes": [*V, *V]}, "ContainerAppInvalidVolumeName"),
    ("a mount of no volume", mounted("/data"), "ContainerAppInvalidVolumeMount"),
    (
        "a long grace period",
        {"terminationGracePeriodSeconds": 601},
        "ContainerAppInvalidTerminationGracePeriodSeconds",
    ),
    (
        "too many revisions kept",
        {"configuration": {"maxInactiveRevisions": 101}},
        "ContainerAppInvalidMaxInactiveRevisions",
    ),
    ("no image name", {"image": "Not An Image"}, "InvalidParameterValueInContainerTemplate"),
    (
        "no Key Vault URL",
        {"configuration": {"secrets": [{"name": "k", "keyVaultUrl": "v/k", "identity": "system"}]}},
        "ContainerAppSecretKeyVaultUrlInvalid",
    ),
    (
        "a Key Vault URL without identity",
        {
            "configuration": {
                "secrets": [{"name": "k", "keyVaultUrl": "https://v.vault.azure.net/secrets/k"}]
            }
        },
        "ContainerAppSecretInvalid",
    ),
]


@pytest.mark.parametrize(
    ("document", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_a_template_is_refused_at_once(caller, document, code):
    """400 with Azure's code, and there is no app afterwards."""
    status, _, answer = await caller.put(APP, "phi", caller.app(**document))
    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["message"]
    path = f"{caller.group}/providers/Microsoft.App/containerApps/phi"
    assert (await caller.ask("GET", path))[0] == 404


async def test_a_volume_of_secrets_may_have_a_relative_path(caller):
    """As recorded of Azure; the path is shown as it was sent."""
    secrets = {"configuration": {"secrets": [{"name": "k", "value": "v"}]}}
    volumes = [{"name": "v", "storageType": "Secret"}]
    document = caller.app(**secrets, volumes=volumes, **mounted("mnt/secrets"))
    status, _, shown = await caller.put(APP, "phi", document)
    (mount,) = shown["properties"]["template"]["containers"][0]["volumeMounts"]
    assert (status, mount["mountPath"]) == (201, "mnt/secrets")


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("nobody/nothing:9", "MANIFEST_UNKNOWN"),
        ("nobody/nothing@sha256:" + "0" * 64, "MANIFEST_UNKNOWN"),
        ("locked.example/a:1", "UNAUTHORIZED"),
        ("silent.example/a:1", "Operation expired"),
    ],
)
async def test_an_image_fails_the_operation(caller, image, shown):
    """The write is accepted with 201; its operation ends Failed, the app says why and has no
    revision.
    """
    status, headers, _ = await caller.put(APP, "phi", caller.app(image))
    ended = (await caller.ended(headers))[1]
    assert (status, ended["status"]) == (201, "Failed")
    assert ended["error"]["code"] == "ContainerAppOperationError"
    assert shown in ended["error"]["message"]
    path = f"{caller.group}/providers/Microsoft.App/containerApps/phi"
    properties = (await caller.ask("GET", path))[2]["properties"]
    assert properties["provisioningState"] == "Failed"
    assert shown in properties["deploymentErrors"]
    assert (await caller.ask("GET", f"{path}/revisions"))[2]["value"] == []


async def test_a_revision_suffix_belongs_to_one_template(caller):
    """The same suffix with the same template is no new revision; with another it is refused."""
    for image, wanted in (("nothing:1", 201), ("nothing:1", 201), ("nothing:2", 400)):
        status, headers, answer = await caller.put(
            APP, "phi", caller.app(image, revisionSuffix="one")
        )
        assert status == wanted
        if status == 201:
            await caller.ended(headers)
    assert answer["error"]["code"] == "ContainerAppRevisionSuffixInUse"


@pytest.mark.parametrize("kind", [APP, JOB, "managedEnvironments"])
async def test_an_identity_that_does_not_exist_is_refused(caller, kind):
    """By every type that has identities; one that was deleted later may stay assigned."""
    users = {caller.nobody: {}}
    identity = {"identity": {"type": "UserAssigned", "userAssignedIdentities": users}}
    bodies = {APP: caller.app(), JOB: caller.job(), "managedEnvironments": {"location": "eastus"}}
    body = {**bodies[kind], **identity}
    status, _, answer = await caller.put(kind, "other", body)
    assert (status, answer["error"]["code"]) == (400, "FailedIdentityOperation")
    assert '{"error":{"code":"BadRequest","message":"Resource' in answer["error"]["message"]
    there = "2023-01-31"
    assert (await caller.ask("PUT", caller.nobody, {"location": "eastus"}, there))[0] == 201
    for _ in range(2):
        status, headers, _ = await caller.put(kind, "other", body)
        assert status in {200, 201}
        if status == 201:
            await caller.ended(headers)
        await caller.ask("DELETE", caller.nobody, None, there)


async def test_an_environments_identity_alone_is_an_operation(caller, slow_operations):
    """202, and the environment says Updating until it has ended."""
    owned = {"identity": {"type": "SystemAssigned"}}
    status, headers, _ = await caller.ask("PATCH", caller.home, owned)
    state = (await caller.ask("GET", caller.home))[2]["properties"]["provisioningState"]
    assert (status, state) == (202, "Updating")
    status, shown = await caller.ended(headers)
    assert (status, shown["properties"]["provisioningState"]) == (200, "Succeeded")
    assert shown["identity"]["type"] == "SystemAssigned"


@pytest.mark.parametrize("rule", [{"name": "q"}, {"type": "azure-queue"}])
async def test_a_jobs_scale_rule_has_a_name_and_a_type(caller, rule):
    """Without one of them it is refused."""
    status, _, answer = await caller.put(JOB, "fit", caller.job(rule))
    assert (status, answer["error"]["code"]) == (400, "ContainerAppsJobInvalidScaleRule")


async def test_empty_parts_of_a_scale_rule_are_dropped(caller):
    """A GET shows neither what a rule left empty nor what is no field of it, of jobs as of apps."""
    rule = {"name": "q", "type": "redis", "metadata": {"a": "b"}, "auth": [], "identity": None}
    _, headers, _ = await caller.put(JOB, "fit", caller.job({**rule, "azureQueue": None}))
    await caller.ended(headers)
    custom = {key: rule[key] for key in ("type", "metadata", "auth", "identity")}
    app = {"name": "q", "custom": custom, "http": None, "azureQueue": None}
    _, headers, _ = await caller.put(APP, "phi", caller.app(scale={"rules": [app]}))
    await caller.ended(headers)
    kept = {"type": "redis", "metadata": {"a": "b"}}
    where = f"{caller.group}/providers/Microsoft.App"
    job = (await caller.ask("GET", f"{where}/jobs/fit"))[2]["properties"]
    scale = job["configuration"]["eventTriggerConfig"]["scale"]
    assert scale["rules"] == [{"name": "q", **kept}]
    shown = (await caller.ask("GET", f"{where}/containerApps/phi"))[2]["properties"]
    assert shown["template"]["scale"]["rules"] == [{"name": "q", "custom": kept}]


async def test_no_exposed_headers_are_null(caller):
    """Azure gives null back for the empty list."""
    ingress = {"targetPort": 80, "corsPolicy": {"allowedOrigins": ["*"], "exposeHeaders": []}}
    _, headers, _ = await caller.put(APP, "phi", caller.app(configuration={"ingress": ingress}))
    await caller.ended(headers)
    path = f"{caller.group}/providers/Microsoft.App/containerApps/phi"
    shown = (await caller.ask("GET", path))[2]["properties"]["configuration"]["ingress"]
    assert shown["corsPolicy"]["exposeHeaders"] is None


@pytest.mark.parametrize("version", ["2031-01-01", "garbage", "2025-13-45", "2009-09-19"])
async def test_an_unknown_version_of_the_files_plane_is_refused(http, version):
    """400 with the header and its value, before anything else is looked at."""
    async with http.get("/nobody/share", headers={"x-ms-version": version}) as answer:
        text = await answer.text()
    assert (answer.status, answer.headers["x-ms-error-code"]) == (400, "InvalidHeaderValue")
    named = f"<HeaderName>x-ms-version</HeaderName><HeaderValue>{version}</HeaderValue>"
    assert named in text
