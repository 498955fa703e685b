"""What a service costs as it runs now."""

import aiohttp
import pytest

from reconciler.web.spending import ReplicaPrice, Spending, total
from tests.web.worlds import World, ago

GPU = ReplicaPrice("EUR", 2.16)


def test_what_runs_is_billed_since_it_was_created():
    """Two replicas that serve: twice the price of one, since the first was created."""
    world = World()
    world.service("phi")
    world.prices = {"phi": GPU}
    view = world.look()
    spent = view.spending(view.services[0])
    assert (spent.replicas, spent.idle, spent.since) == (2, 0, ago(seconds=41))
    assert (spent.hourly, view.costs) == ("4.32 EUR an hour", "4.32 EUR")


def test_a_replica_that_does_not_serve_is_told_apart():
    """It is billed, and its price is what nobody gets an answer for."""
    world = World()
    world.service("phi", "starts")
    world.prices = {"phi": GPU}
    view = world.look()
    assert view.spending(view.services[0]).wasted == "2.16 EUR an hour"


def test_a_service_that_sleeps_costs_nothing():
    """No replica, no price."""
    world = World()
    world.service("phi", "asleep")
    assert world.look().costs == "nothing"


@pytest.mark.parametrize(
    ("spent", "text", "reason"),
    [
        ([], "nothing", "nothing runs"),
        ([Spending(1, 0, None, GPU)] * 3, "6.48 EUR", "a sum"),
        ([Spending(2, 0, None, None)], "not known", "no table knows it"),
        (
            [Spending(1, 0, None, GPU), Spending(2, 0, None, None)],
            "at least 2.16 EUR",
            "a part is known",
        ),
        (
            [Spending(1, 0, None, GPU), Spending(1, 0, None, ReplicaPrice("USD", 1.0))],
            "2.16 EUR + 1.00 USD",
            "currencies are not added",
        ),
    ],
)
def test_the_sum_of_all_services(spent, text, reason):
    """Each currency by itself, and what is not known is said."""
    assert total(spent) == text, reason


async def test_the_page_shows_it():
    """A service's page and the overview."""
    world = World()
    world.service("phi", "starts")
    world.prices = {"phi": GPU}
    async with world.served() as address, aiohttp.ClientSession() as http:
        page = await (await http.get(f"{address}/services/phi")).text()
        overview = await (await http.get(address)).text()
    assert "Billed: 1 replica for <time" in page
    assert "Billed and not serving: 1, 2.16 EUR an hour." in page
    assert "<dt>cost of an hour</dt><dd>2.16 EUR</dd>" in overview


async def test_the_plan_says_what_stops_where_it_is_read():
    """Before the person opens the form: what stops, and each field that changes."""
    world = World()
    world.service("phi", "manual")
    async with world.served() as address, aiohttp.ClientSession() as http:
        page = await (await http.get(f"{address}/services/phi")).text()
    plan = page.partition('id="plan"')[2].partition("</section>")[0]
    assert "If that needs a new revision, phi does not serve while it starts" in plan
    assert "<li><code>template.scale.maxReplicas: 1 →\N{NO-BREAK SPACE}4</code></li>" in plan
