"""The forms in which people have the two bodies that `moorage diff KIND` compares."""

import json

import pytest

from reconciler.cli.app import run

APP = {
    "id": "/subscriptions/0/resourceGroups/rg/providers/Microsoft.App/containerapps/app",
    "type": "Microsoft.App/containerApps",
    "location": "Sweden Central",
    "tags": {"team": "chat"},
    "properties": {
        "provisioningState": "Succeeded",
        "template": {"containers": [{"name": "vllm", "image": "vllm:2"}]},
    },
}
ASKED = {
    "location": "swedencentral",
    "properties": {"template": {"containers": [{"name": "vllm", "image": "vllm:1"}]}},
}
IMAGE = "properties.template.containers[vllm].image"


@pytest.fixture
def diff(tmp_path, capsys):
    """Compares two bodies, given as JSON or as bytes, and returns the code and what was said."""

    def compare(kind, asked, found):
        paths = tmp_path / "asked.json", tmp_path / "found.json"
        for path, body in zip(paths, (asked, found), strict=True):
            path.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        words = ["--asked", str(paths[0]), "--found", str(paths[1]), "-o", "json"]
        code = run(["diff", kind, *words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    return compare


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_shell_writes_the_file_in_its_own_encoding(encoding, diff):
    """PowerShell 5 writes UTF-16 and other programs begin with a mark; both are read."""
    found = json.dumps(APP).encode(encoding)
    code, said = diff("container-app", ASKED, found)
    assert code == 0
    assert [change["path"] for change in said["changes"]] == [IMAGE]


@pytest.mark.parametrize("of_asked", [False, True], ids=["whole", "properties"])
@pytest.mark.parametrize("of_found", [False, True], ids=["whole", "properties"])
def test_the_properties_alone_stand_for_the_resource(of_asked, of_found, diff):
    """Each side may be a resource or what is in its `properties`; the paths are the same."""
    asked = ASKED["properties"] if of_asked else ASKED
    found = APP["properties"] if of_found else {**APP, "location": "Sweden Central"}
    code, said = diff("container-app", asked, found)
    assert code == 0
    expected = ["location", IMAGE] if of_found and not of_asked else [IMAGE]
    assert [change["path"] for change in said["changes"]] == expected


@pytest.mark.parametrize(
    ("kind", "asked", "found", "changed"),
    [
        (
            "storage-account",
            {
                "sku": {"name": "standard_lrs"},
                "kind": "StorageV2",
                "properties": {"accessTier": "Cool", "allowSharedKeyAccess": True},
            },
            {
                "id": "/subscriptions/0/a",
                "name": "a",
                "resourceGroup": "rg",
                "type": "Microsoft.Storage/storageAccounts",
                "sku": {"name": "Standard_LRS", "tier": "Standard"},
                "kind": "StorageV2",
                "accessTier": "Hot",
                "allowSharedKeyAccess": True,
                "provisioningState": "Succeeded",
            },
            "properties.accessTier",
        ),
        (
            "log-analytics",
            {"properties": {"sku": {"name": "pergb2018"}, "retentionInDays": 30}},
            {
                "customerId": "1",
                "name": "logs",
                "resourceGroup": "rg",
                "retentionInDays": 60,
                "sku": {"lastSkuUpdate": "2026-01-01", "name": "PerGB2018"},
            },
            "properties.retentionInDays",
        ),
    ],
    ids=["storage-account", "log-analytics"],
)
def test_az_prints_some_resources_without_their_properties(kind, asked, found, changed, diff):
    """Their fields stand beside the name; the SKU stays beside it where the kind has it there."""
    code, said = diff(kind, asked, found)
    assert code == 0
    assert [change["path"] for change in said["changes"]] == [changed]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {**APP, "type": "microsoft.app/managedenvironments"},
            "a resource of type Microsoft.App/managedEnvironments, not Microsoft.App/containerApps",
        ),
        (
            {"error": {"code": "ResourceNotFound", "message": "no"}},
            "an error of Azure (ResourceNotFound), not a resource",
        ),
        ({"value": [APP]}, "a list of resources; save one entry of its value"),
        ({"status": 200, "body": APP}, "a recorded exchange; save its body alone"),
        ({"request": {}, "response": {"body": APP}}, "a recorded exchange; save its body alone"),
        ({"parameters": {}, "responses": {"200": {}}}, "a recorded exchange; save its body alone"),
        ({"$schema": "s", "resources": [APP]}, "a template; save one entry of its resources"),
    ],
    ids=[
        "another type",
        "an error",
        "a list",
        "an exchange",
        "a cassette",
        "an example",
        "a template",
    ],
)
def test_what_is_no_resource_of_the_kind_is_refused(found, said, diff):
    """Code 2 and what it is, where every field would seem to be missing in Azure."""
    code, told = diff("container-app", ASKED, found)
    assert code == 2
    assert f"found.json:1:1: this is {said}" in str(told)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"null", "a JSON object, not null"),
        (b"[1]", "a JSON object, not an array"),
        (b'"x"', "a JSON object, not a text"),
        (b"1", "a JSON object, not a number"),
        (b'{"properties": [1]}', "its properties are no JSON object but an array"),
        (b'// asked\n{"location": "x"}', "this is no JSON"),
        (b"location: x", "this is no JSON"),
        (b'{"environment_id": "/x"}', "'environment_id' is no name of Azure's"),
        (b'{"properties": {"minimum_tls_version": "x"}}', "'minimum_tls_version' is no name of"),
    ],
)
def test_what_is_no_body_is_one_error(asked, said, diff):
    """Code 2, the place, and what the file is in JSON's own words."""
    code, told = diff("container-app", asked, APP)
    assert code == 2
    assert "asked.json:1:1: " in str(told)
    assert said in str(told)


def test_properties_that_are_null_ask_for_nothing(diff):
    """As a body without them."""
    code, told = diff("container-app", {"location": "swedencentral", "properties": None}, APP)
    assert (code, told["changes"]) == (0, [])
