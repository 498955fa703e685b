"""What a service costs in an hour, from the table and what the documents come to."""

import json

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.resources import ContainerAppSpec, ResourceSpec, ShareRef
from reconciler.engine.external import Desired, DocumentRef, ObjectKey
from reconciler.kinds.prices import BUILT_IN, Price, Prices, hourly, read

TABLE = Prices("USD", {"D4": 1.0}, core=0.1, gib=0.01)


def app(profile: str, least: int, most: int) -> list[Desired]:
    document, key = DocumentRef("InferenceService", "phi"), ObjectKey(Kind.APP, "phi")
    body = {"properties": {"workloadProfileName": profile}}
    profiles = [
        {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"},
        {"name": "big", "workloadProfileType": "D4"},
        {"name": "Consumption", "workloadProfileType": "Consumption"},
    ]
    template = {
        "containers": [{"resources": {"cpu": 2, "memory": "4Gi"}}],
        "scale": {"minReplicas": least, "maxReplicas": most},
    }
    spec = ContainerAppSpec(
        name="phi",
        resource_group="rg",
        environment="dev",
        body=body,
        template=template,
        share=ShareRef("dev", "rg", "a", "s"),
    )
    home = ResourceSpec("cae", "rg", "dev", {"properties": {"workloadProfiles": profiles}})
    return [
        Desired(ObjectKey(Kind.ENVIRONMENT, "dev"), document, home),
        Desired(key, document, spec),
    ]


@pytest.mark.parametrize(
    ("profile", "prices", "found", "reason"),
    [
        ("gpu", BUILT_IN, Price("EUR", 0.0, 4.32), "a replica has the GPU for itself"),
        ("big", TABLE, Price("USD", 0.0, 2.0), "by the type, not by the name"),
        ("Consumption", TABLE, Price("USD", 0.0, 0.48), "by cores and memory"),
        ("Consumption", BUILT_IN, None, "the table has no price for cores"),
        ("big", BUILT_IN, None, "the table has no price for the profile"),
    ],
)
def test_an_app_costs_between_its_fewest_and_its_most_replicas(profile, prices, found, reason):
    """What the table does not know has no price."""
    assert hourly(app(profile, 0, 2), prices).get(ObjectKey(Kind.APP, "phi")) == found, reason


def test_a_price_is_told_in_words():
    """One number where both are the same."""
    assert str(Price("EUR", 0, 4.32)) == "0.00 to 4.32 EUR an hour"
    assert str(Price("EUR", 2.16, 2.16)) == "2.16 EUR an hour"


def test_a_table_is_read(tmp_path):
    """Prices of cores and memory may be left out."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"currency": "USD", "perReplicaHour": {"D4": 1}}))
    assert read(path) == Prices("USD", {"D4": 1.0})


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", "[" * 9999),
        '{"currency": "EUR", "perReplicaHour": {"D4": "1"}}',
        '{"currency": "EUR", "perReplicaHour": {"D4": -1}}',
    ],
)
def test_what_is_no_table_is_refused(text, tmp_path):
    """With the place and the reason."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^\d+:\d+: "):
        read(path)
