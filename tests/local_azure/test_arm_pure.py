"""The parts of the local Azure that need no server: ids, merge patch, filters, shapes,
signatures.
"""

import base64
import hmac
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local_azure.arm.errors import ArmError
from infra.local_azure.arm.ids import parse
from infra.local_azure.arm.merge import merge
from infra.local_azure.arm.reply import Items, page
from infra.local_azure.files import names, signature
from infra.local_azure.files.errors import FilesError
from infra.local_azure.providers.app import app_fields, app_shape
from infra.local_azure.providers.resource_filter import matcher


@pytest.mark.parametrize(
    ("path", "route", "group", "found"),
    [
        ("/subscriptions", "subscriptions", None, ()),
        ("/subscriptions/S/resourcegroups/G", "subscriptions/{}/resourcegroups/{}", "G", ()),
        ("/subscriptions/S/providers/microsoft.app/register", "subscriptions/{}/providers/{}/register", None, ()),
        ("/subscriptions/S/operationresults/abc", "subscriptions/{}/operationresults/{}", None, ()),
        ("/subscriptions/S/resourceGroups/G/providers/Microsoft.App/containerApps", "microsoft.app/containerapps", "G", ()),
        ("/subscriptions/S/resourceGroups/G/providers/MICROSOFT.APP/containerapps/A/listSecrets",
         "microsoft.app/containerapps/{}/listsecrets", "G", ("A",)),
        ("/subscriptions/S/providers/Microsoft.App/locations/eastus/usages", "microsoft.app/locations/{}/usages", None, ("eastus",)),
    ],
)  # fmt: skip
def test_a_path_has_a_shape_and_names(path, route, group, found):
    """The shape is the key into the providers' tables; names keep their case."""
    target = parse(path)
    assert (target.route, target.group, target.names) == (route, group, found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


@given(JSON, JSON)
def test_merging_twice_is_merging_once(document, patch):
    """A repeated PATCH changes nothing more, and a null never survives in an object."""
    once = merge(document, patch)
    assert merge(once, patch) == once
    if isinstance(patch, dict):
        assert merge({}, patch) == without_nulls(patch)


def test_merge_replaces_lists_and_deletes_nulls():
    """RFC 7396: objects merge, lists and scalars replace, null deletes."""
    before = {"ingress": {"traffic": [1], "cors": {}}, "keep": 1}
    after = merge(before, {"ingress": {"traffic": [2], "cors": None}})
    assert after == {"ingress": {"traffic": [2]}, "keep": 1}
    assert before["ingress"]["traffic"] == [1]


ITEM = {
    "id": "/subscriptions/s/resourceGroups/Rg/x",
    "name": "phi",
    "type": "Microsoft.App/containerApps",
    "location": "eastus",
    "tags": {"env": "dev"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("resourceType eq 'microsoft.app/containerapps'", True),
        ("resourceType ne 'Microsoft.App/containerApps'", False),
        ("tagName eq 'env' and tagValue eq 'dev'", True),
        ("tagName eq 'env' and tagValue eq 'prod'", False),
        ("substringof('ph', name)", True),
        ("name eq 'x' or resourceGroup eq 'rg'", True),
        ("name eq 'phi' and location eq 'westus'", False),
        (None, True),
    ],
)
def test_filters(text, matches):
    """ARM's comparisons, without case."""
    assert matcher(text)(ITEM) is matches


def test_a_filter_nobody_understands_is_refused():
    """A condition that is ignored would list too much."""
    with pytest.raises(ArmError, match="InvalidFilterInQueryString"):
        matcher("colour gt 'red'")


def test_azures_spelling_of_an_app():
    """Strings become numbers, 1.0Gi becomes 1Gi, empty lists vanish, the disk follows the CPU."""
    sent = {
        "containers": [
            {
                "name": "a",
                "image": "i",
                "env": [],
                "resources": {"cpu": "1.25", "memory": "2.50Gi", "ephemeralStorage": "1Gi"},
            }
        ]
    }
    container = app_shape.template(sent, fill=True)["containers"][0]
    resources = {"cpu": 1.25, "memory": "2.5Gi", "ephemeralStorage": "8Gi"}
    shown = app_fields.TEMPLATE.render({"containers": [container]}, "2025-01-01")["containers"]
    assert shown == [{"name": "a", "image": "i", "resources": resources}]
    entry = {"revisionName": "a--b", "weight": "50", "latestRevision": False, "label": None}
    ingress = app_shape.configuration({"ingress": {"traffic": [entry]}}, fill=True)["ingress"]
    assert ingress["traffic"] == [{"revisionName": "a--b", "weight": 50}]


@pytest.mark.parametrize(
    ("version", "fields", "reason"),
    [
        ("2024-03-01", {"minReplicas", "maxReplicas", "rules"}, "before the cooldown could be set"),
        (
            "2024-10-02-preview",
            {"minReplicas", "maxReplicas", "cooldownPeriod", "pollingInterval", "rules"},
            "a preview has it first",
        ),
        (
            "2025-01-01",
            {"minReplicas", "maxReplicas", "cooldownPeriod", "pollingInterval", "rules"},
            "then the stable one",
        ),
    ],
)
def test_an_api_version_shows_its_own_fields(version, fields, reason):
    """A document is written for the api-version that asks."""
    scale = app_shape.template({}, fill=True)["scale"]
    assert set(app_fields.SCALE.render(scale, version)) == fields, reason


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"containers": {"name": "a"}}, "an object where a list belongs"),
        ({"scale": {"minReplicas": "some"}}, "a word where a number belongs"),
        ({"terminationGracePeriodSeconds": 1.5}, "a fraction where an integer belongs"),
        ({"containers": [{"name": {"a": 1}}]}, "an object where a string belongs"),
    ],
)
def test_a_document_of_another_type_is_refused(sent, reason):
    """What cannot be read as the field's type is ARM's 400, never a fault of the server."""
    with pytest.raises(ArmError) as refused:
        app_shape.template(sent, fill=True)
    assert (refused.value.status, refused.value.code) == (400, "InvalidRequestContent"), reason


@given(st.text(max_size=30))
def test_no_decoded_name_leaves_its_folder(text):
    """Whatever a path decodes to, its segments are single names."""
    try:
        segments = names.split(text, keep_dot=True)
    except FilesError:
        return
    assert all(
        segment not in {"", ".", ".."} and "/" not in segment and "\\" not in segment
        for segment in segments
    )


KEY = base64.b64encode(b"k" * 64).decode()


def signed(path="/acct/acct/share/f", query="", when=None, key=KEY):
    date = formatdate(time.time() if when is None else when, usegmt=True)
    text = "PUT\n\n\n\n\n\n\n\n\n\n\n\n" + f"x-ms-date:{date}\nx-ms-version:2026-10-06\n" + path
    mark = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()
    headers = [
        ("Authorization", f"SharedKey acct:{mark}"),
        ("x-ms-version", "2026-10-06"),
        ("x-ms-date", date),
        ("Content-Length", "0"),
    ]
    return {
        "method": "PUT",
        "path": "/acct/share/f",
        "query": query,
        "headers": headers,
        "account": "acct",
        "keys": [KEY],
    }


def test_a_signature_holds_for_one_request_and_a_quarter_of_an_hour():
    """The right key passes; another path, an added header, another key or an old date do not."""
    signature.check(**signed())
    for wrong in (
        {**signed(), "path": "/acct/share/g"},
        {**signed(), "method": "GET"},
        {**signed(), "query": "comp=range"},
        {**signed(), "headers": [*signed()["headers"], ("x-ms-lease-id", "1")]},
        signed(key=base64.b64encode(b"other").decode()),
        signed(when=time.time() - 1000),
    ):
        with pytest.raises(FilesError, match="AuthenticationFailed"):
            signature.check(**wrong)


def test_a_page_costs_what_it_shows():
    """Of a thousand apps the items of one page are made, not those of all."""
    made = []

    def show(number):
        made.append(number)
        return {"name": number}

    body = page(Items(range(1000), show), {"$skipToken": "300"}, "https://arm/apps", 100)
    assert made == list(range(300, 400))
    assert body["value"][0] == {"name": 300}
    assert body["nextLink"].endswith("%24skipToken=400")
