"""The table of resource types: what its providers say of themselves fits together."""

from collections import Counter
from pathlib import Path

import pytest

from infra.local_azure import certificates
from infra.local_azure.assembly import assemble
from infra.local_azure.options import Options
from infra.local_azure.providers import catalogue


@pytest.fixture
def providers(tmp_path, monkeypatch):
    """Every provider of the table, with its real parts."""
    made = []
    build = catalogue.build
    monkeypatch.setattr(catalogue, "build", lambda parts: made.extend(build(parts)) or made)
    assemble(Options(tmp_path), certificates.ensure(tmp_path / "tls")).close()
    return made


def test_no_two_types_claim_one_route_or_one_operation(providers):
    """A route leads to one handler, and the end of an operation has one meaning in the store."""
    routes = Counter(route for provider in providers for route in provider.routes())
    finishers = Counter(name for provider in providers for name in provider.finishers())
    assert routes
    assert finishers
    assert [name for name, count in (routes + finishers).items() if count > 1] == []


def test_every_shape_is_the_shape_of_a_body_that_is_taken(providers):
    """A provider names the shapes of its own routes, and only of those that take a body."""
    for provider in providers:
        taken = {
            route.split(" ", 1)[1]
            for route in provider.routes()
            if route.startswith(("put ", "patch ", "post "))
        }
        assert set(provider.shapes) <= taken, type(provider).__name__


def test_a_type_is_one_file_and_one_line():
    """Each provider of the table lies in a module of its own."""
    modules = Counter(kind.__module__ for kind in catalogue.TYPES)
    assert set(modules.values()) == {1}
    source = Path(catalogue.__file__).read_text(encoding="utf-8")
    for kind in catalogue.TYPES:
        assert source.count(kind.__name__) == 1, "one line of the table names it"
