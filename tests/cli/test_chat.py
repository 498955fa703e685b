"""Where the chat page finds its service."""

import pytest

from reconciler.cli.chat import _reachable
from reconciler.cli.exits import CommandError


def _app(**ingress):
    return {"properties": {"configuration": {"ingress": ingress}}}


def test_a_service_inside_its_environment_is_not_waited_for():
    """A page on this machine cannot reach it; the error names both ways to chat with it."""
    assert _reachable("phi", _app(fqdn="phi.example.com", external=True)) == "phi.example.com"
    with pytest.raises(CommandError, match=r"ingress\.external: true.*moorage client GATEWAY"):
        _reachable("phi", _app(fqdn="phi.internal.example.com", external=False))
    for app in (_app(), {"properties": {"configuration": {"ingress": None}}}, {"properties": {}}):
        with pytest.raises(CommandError, match="has no endpoint"):
            _reachable("phi", app)
