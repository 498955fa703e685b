"""The list of services: in parts, searched and sorted, and what comes before it."""

import re

import pytest

from tests.web.worlds import broken, many, text


async def test_three_hundred_services_are_listed_in_parts(http):
    """The unwell are first; a filter finds one by its name."""
    async with many(300).served() as address:
        _, page = await text(http, address)
        assert page.count("<h3>") == 101  # and the Environment
        assert "page 1 of 3" in page
        rows = re.findall(r'id="row-(service-\d+)"', page)
        assert rows[:4] == ["service-003", "service-004", "service-005", "service-006"]
        _, page = await text(http, f"{address}/?q=service-299")
        assert page.count("<h3>") == 2
        _, page = await text(http, f"{address}/?only=waiting")
        assert page.count("Look at the plan") == 2


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ("", "service-003", 30),
        ("?sort=name", "service-000", 30),
        ("?sort=replicas", "service-000", 30),
        ("?q=quota", "service-004", 1),
        ("?q=SERVICE-01&sort=name", "service-010", 10),
        ("?only=waiting&sort=name", "service-005", 2),
    ],
)
async def test_services_are_searched_and_sorted(http, query, first, count):
    """By name and by what is said of them; problems come first unless another order is asked for."""
    async with many(30).served() as address:
        _, page = await text(http, f"{address}/{query}")
    found = re.findall(r'id="row-(service-\d+)"', page)
    assert (found[0], len(found)) == (first, count)


async def test_an_environment_that_is_not_in_place_comes_first(http):
    """It explains its services, so the verdict names it and it stands above them."""
    async with many(1).served() as address:
        _, well = await text(http, f"{address}/")
    async with broken().served() as address:
        _, page = await text(http, f"{address}/")
    assert "Environment default is not in place." in page
    assert page.index(">Environments<") < page.index(">Services</h2>")
    assert well.index(">Environments<") > well.index(">Services</h2>")
