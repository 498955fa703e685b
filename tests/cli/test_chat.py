"""Where the chat page finds its service."""

import pytest

from reconciler.cli.chat import _gateway, _place
from reconciler.cli.exits import CommandError

DOCUMENTS = [
    {"kind": "Environment", "name": "other"},
    {
        "kind": "Environment",
        "name": "dev",
        "gateway": {"endpoint": "https://gw-dev.example.com", "services": [{"name": "phi"}]},
    },
    {"kind": "InferenceService", "name": "phi"},
]


def _app(**ingress):
    return {"properties": {"configuration": {"ingress": ingress}}}


def test_a_service_inside_its_environment_is_reached_through_its_gateway():
    """An address of its own comes first; without either, the error names both ways."""
    gateway = _gateway(DOCUMENTS, "phi")
    outside = _app(fqdn="phi.example.com", external=True)
    inside = _app(fqdn="phi.internal.example.com", external=False)
    assert _place("phi", outside, gateway) == ("https://phi.example.com", False)
    assert _place("phi", inside, gateway) == ("https://gw-dev.example.com", True)
    assert _gateway(DOCUMENTS, "web") == ""
    with pytest.raises(CommandError, match=r"ingress\.external: true.*spec\.gateway: {}"):
        _place("phi", inside, _gateway([], "phi"))


def test_a_service_without_an_endpoint_is_refused():
    """Whatever is missing of its ingress."""
    for app in (_app(), {"properties": {"configuration": {"ingress": None}}}, {"properties": {}}):
        with pytest.raises(CommandError, match="has no endpoint"):
            _place("phi", app, "https://gw-dev.example.com")
