"""A resource provider that the subscription is not registered for: registered once, or left to a
person.
"""

import asyncio

import pytest

from reconciler.api import versions
from reconciler.arm import environments, ids
from reconciler.engine.errors import NotReadyYet, ReconcileError, WaitingForHuman
from tests.arm.conftest import SUBSCRIPTION

PLACE = ids.environment(SUBSCRIPTION, "rg", "cae")
PROVIDER = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.App"
UNREGISTERED = {
    "error": {
        "code": "MissingSubscriptionRegistration",
        "message": "The subscription is not registered to use namespace 'Microsoft.App'.",
    }
}


def state(name):
    return {"namespace": "Microsoft.App", "registrationState": name}


async def write(arm):
    try:
        await environments.put_environment(arm, "rg", "cae", {"location": "x"})
    except ReconcileError as error:
        return error
    return None


@pytest.fixture
def unregistered(scripted):
    scripted.on("PUT", PLACE, 409, UNREGISTERED)
    scripted.on("GET", PROVIDER, 200, state("NotRegistered"))
    scripted.on("GET", PROVIDER, 200, state("Registering"))
    return scripted


def registrations(scripted):
    return [method for method, path, _ in scripted.asked if "/register?" in path]


async def test_it_is_registered_once(unregistered, arm):
    """However many writes are refused at the same time, and however often they are tried."""
    unregistered.on("POST", f"{PROVIDER}/register", 200, state("Registering"))
    errors = [*await asyncio.gather(write(arm), write(arm), write(arm)), await write(arm)]
    assert {type(error) for error in errors} == {NotReadyYet}
    assert {error.reason for error in errors} == {"Registering"}
    assert "Microsoft.App" in errors[0].message
    assert registrations(unregistered) == ["POST"]


async def test_without_the_right_it_is_left_to_a_person(unregistered, arm):
    """The message says what is missing, and why the daemon did not do it."""
    refusal = {"error": {"code": "AuthorizationFailed", "message": "No register/action for you."}}
    unregistered.on("POST", f"{PROVIDER}/register", 403, refusal)
    error = await write(arm)
    assert isinstance(error, WaitingForHuman)
    assert error.reason == "Azure:MissingSubscriptionRegistration"
    assert "az provider register" in error.message
    assert "No register/action for you." in error.message


async def test_a_subscription_holds_nothing_of_a_provider_that_it_lacks(unregistered, arm):
    """A read that is refused for that finds nothing, and registers nothing."""
    unregistered.on("GET", PLACE, 409, UNREGISTERED)
    assert await arm.get_json(PLACE, versions.APP) is None
    assert await arm.list_json(PLACE, versions.APP) == []
    assert registrations(unregistered) == []
