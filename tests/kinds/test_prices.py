"""What a service costs in an hour, from the table and what the documents come to."""

import json

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.resources import ContainerAppSpec, ResourceSpec, ShareRef
from reconciler.cli.foresight import _cost
from reconciler.engine.external import Desired, DocumentRef, ObjectKey
from reconciler.kinds.prices import BUILT_IN, Price, Prices, hourly, read, unpriced

GPU = "Consumption-GPU-NC24-A100"
TABLE = Prices("USD", {GPU: 2.0}, core=0.1, gib=0.01, nodes={"D4": 0.5}, management=0.1)
NODES = ObjectKey(Kind.ENVIRONMENT, "dev")


def app(profile: str, least: int, most: int) -> list[Desired]:
    document, key = DocumentRef("InferenceService", "phi"), ObjectKey(Kind.APP, "phi")
    body = {"properties": {"workloadProfileName": profile}}
    profiles = [
        {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"},
        {"name": "big", "workloadProfileType": "D4", "minimumCount": 1, "maximumCount": 3},
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
        ("gpu", TABLE, Price("USD", 0.0, 4.0), "by the type, not by the name"),
        ("big", TABLE, None, "its nodes are paid, whoever runs on them"),
        ("Consumption", TABLE, Price("USD", 0.0, 0.48), "by cores and memory"),
        ("Consumption", BUILT_IN, None, "the table has no price for cores"),
    ],
)
def test_an_app_costs_between_its_fewest_and_its_most_replicas(profile, prices, found, reason):
    """What the table does not know has no price."""
    assert hourly(app(profile, 0, 2), prices).get(ObjectKey(Kind.APP, "phi")) == found, reason


@pytest.mark.parametrize(
    ("profile", "lacks", "reason"),
    [
        ("gpu", None, "it has a price"),
        ("big", None, "its nodes are paid"),
        ("Consumption", "perCoreHour, perGiBHour", "nobody told the price of a core"),
        ("Consumption-GPU-NC8as-T4", "perReplicaHour of Consumption-GPU-NC8as-T4", "a type"),
    ],
)
def test_a_plan_names_what_a_table_lacks(profile, lacks, reason):
    """Silence would read as free."""
    assert unpriced(app(profile, 0, 2), BUILT_IN).get(ObjectKey(Kind.APP, "phi")) == lacks, reason


def test_dedicated_nodes_are_paid_by_the_environment():
    """From the fewest to the most nodes, and what Azure takes for managing them; no app is needed
    for that. What the table does not know is named.
    """
    assert hourly(app("big", 0, 2), TABLE)[NODES] == Price("USD", 0.6, 1.6)
    assert hourly(app("big", 0, 2)[:1], TABLE)[NODES] == Price("USD", 0.6, 1.6)
    assert hourly(app("gpu", 0, 2), BUILT_IN)[NODES] == Price("EUR", 0.0, 0.0, ("D4",))
    serverless = app("gpu", 0, 2)
    serverless[0].spec.body["properties"]["workloadProfiles"].pop(1)
    assert NODES not in hourly(serverless, TABLE)


def test_a_plan_says_what_nodes_cost():
    """And which prices are missing."""
    assert _cost(NODES, Price("EUR", 0.5, 1)).endswith("of dev will cost 0.50 to 1.00 EUR an hour")
    assert "is not known: the table has no price of D4 nodes" in _cost(
        NODES, Price("EUR", 0, 0, ("D4",))
    )
    both = _cost(NODES, Price("EUR", 0.1, 0.1, ("D8",)))
    assert "0.10 EUR an hour; the table has no price of D8 nodes" in both


def test_a_price_is_told_in_words():
    """One number where both are the same."""
    assert str(Price("EUR", 0, 4.32)) == "0.00 to 4.32 EUR an hour"
    assert str(Price("EUR", 2.16, 2.16)) == "2.16 EUR an hour"


def test_a_table_is_read(tmp_path):
    """Prices of cores and memory may be left out."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"currency": "USD", "perReplicaHour": {GPU: 1}}))
    assert read(path) == Prices("USD", {GPU: 1.0})
    nodes = {"perNodeHour": {"D4": 0.5}, "managementHour": 0.1}
    path.write_text(json.dumps({"currency": "USD", "perReplicaHour": {}, **nodes}))
    assert read(path) == Prices("USD", nodes={"D4": 0.5}, management=0.1)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", "[" * 9999),
        '{"currency": "EUR", "perReplicaHour": {"D4": "1"}}',
        '{"currency": "EUR", "perReplicaHour": {"D4": -1}}',
        '{"currency": "EUR", "perReplicaHour": {"D4": 1}}',
        '{"currency": "EUR", "perReplicaHour": {}, "perNodeHour": {"D4": "1"}}',
        '{"currency": "EUR", "perReplicaHour": {}, "perNodeHour": []}',
        '{"currency": "EUR", "perReplicaHour": {}, "managementHour": null}',
    ],
)
def test_what_is_no_table_is_refused(text, tmp_path):
    """With the place and the reason."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^\d+:\d+: "):
        read(path)
