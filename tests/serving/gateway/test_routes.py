"""What a gateway is told: a file that carries its own hash, and a state and usage it writes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.catalogue import STAGES, ApiKey, Catalogue
from serving.gateway.routes import (
    GatewayRoutes,
    HoldLimits,
    RoutedModel,
    RoutedService,
    StartPrediction,
    UsageLine,
)

PHI = RoutedService(
    name="phi",
    endpoint="https://phi.example",
    models=(RoutedModel(name="support", kind="adapter", aliases=("phi/support",)),),
    keys=(ApiKey(name="default", sha256="0" * 64),),
    predicted=StartPrediction(seconds=90, stages={"weights": 60}),
)
ROUTES = GatewayRoutes(environment="dev", generation=3, services=(PHI,))


def test_routes_come_back_as_they_were_written():
    """Routes are read back equal, and their file is named by the generation."""
    assert GatewayRoutes.load(ROUTES.dump()) == ROUTES
    assert ROUTES.file_name == "000000003.json"
    assert set(PHI.predicted.stages) <= set(STAGES)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_torn_file_is_never_taken(data):
    """A file that lacks bytes, or has one wrong byte that changes what it says, is not taken."""
    whole = ROUTES.dump()
    at = data.draw(st.integers(0, len(whole) - 1))
    assert GatewayRoutes.load(whole[:at]) is None
    other = bytes([data.draw(st.integers(32, 126))])
    taken = GatewayRoutes.load(whole[:at] + other + whole[at + 1 :])
    assert taken in (None, ROUTES)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"sha256": 1, "routes": []}', b'{"routes": {}}', b"[" * 90],
)
def test_a_foreign_file_is_not_taken(body):
    """What is no file of routes is refused without an error."""
    assert GatewayRoutes.load(body) is None
    assert Catalogue.load(body) is None


def test_a_catalogue_is_not_taken_for_routes():
    """A file with a right hash of another kind is refused."""
    catalogue = Catalogue(service="phi", engine="e", epoch=1, generation=1)
    assert GatewayRoutes.load(catalogue.dump()) is None


def test_what_is_left_at_its_default_is_not_written():
    """An older gateway follows routes that use nothing it does not know."""
    body = json.loads(GatewayRoutes(environment="dev", generation=1).dump())["routes"]
    assert body == {"environment": "dev", "generation": 1}


@pytest.mark.parametrize("seconds", [0, 236, float("nan"), float("inf")])
def test_no_request_is_held_beyond_what_the_ingress_allows(seconds):
    """`hold.seconds` stays below the 240 s after which Container Apps cuts a request."""
    with pytest.raises(ValidationError):
        HoldLimits(seconds=seconds)


def test_usage_cannot_be_negative():
    """Lines are added up, so that a negative one would take back what was used."""
    with pytest.raises(ValidationError):
        UsageLine(day="2026-11-29", key="k", model="m", requests=-1)
