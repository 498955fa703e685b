"""A network that answers in Azure's place: a proxy, or a page that asks to sign in."""

import pytest

from reconciler.api.reasons import Reason
from reconciler.arm import files, resources
from reconciler.arm.errors import translate
from reconciler.arm.share import Share
from reconciler.cli.checkup import _subscription
from reconciler.engine.errors import RetryableError, TransportFailed


@pytest.fixture
def scripted_share(arm, scripted):
    """A share whose account and keys are known."""
    share = Share(arm, "rg", "st1", "s")
    share._connect(f"{scripted.url}/st1", "a2V5")
    return share


async def reads(arm, share):
    await arm.get_json("/subscriptions/s/resourceGroups/rg", "2021-04-01")


async def lists(arm, share):
    await arm.list_json("/subscriptions/s/resourceGroups", "2021-04-01")


async def writes(arm, share):
    await resources.put_resource_group(arm, "rg", {"location": "swedencentral"})


async def uploads(arm, share):
    await files.write(share, "code/app.py", b"print()")


async def downloads(arm, share):
    await files.read(share, "code/app.py", 100)


@pytest.mark.parametrize("call", [reads, lists, writes, uploads, downloads])
@pytest.mark.parametrize("status", [200, 302, 403, 404])
async def test_a_page_is_no_answer_of_azure(arm, scripted, scripted_share, call, status):
    """A read, a write and a file meet it: nothing counts as done, absent or forbidden. The request
    did not reach Azure, so it is sent again.
    """
    scripted.on("GET", "/subscriptions/s/resourcegroups", 200, {"value": []})
    assert await arm.list_json("/subscriptions/s/resourceGroups", "2021-04-01") == []
    scripted.page = status
    with pytest.raises(TransportFailed) as raised:
        await call(arm, scripted_share)
    assert raised.value.reason == Reason.AZURE_UNREACHABLE
    assert "a sign-in page of the network stands between" in raised.value.message


async def test_a_page_in_place_of_the_login_refuses_no_credential(arm, scripted):
    """Nobody has to correct a credential that was never looked at."""
    scripted.page = 200
    with pytest.raises(TransportFailed) as raised:
        await arm.get_json("/subscriptions/s/resourceGroups/rg", "2021-04-01")
    assert raised.value.reason in (Reason.LOGIN_UNREACHABLE, Reason.AZURE_UNREACHABLE)


def test_no_path_is_in_the_message():
    """All that one fault of the network holds up says the same, and is told once."""
    said = translate(TimeoutError("Connection timeout to host https://a.b:1/subscriptions/s/x?y=z"))
    assert said.message == "Connection timeout to host https://a.b:1"


async def test_what_is_no_json_is_not_a_fault_of_moorage(arm, scripted):
    """Text in place of JSON is an answer that was not understood."""
    scripted.on("GET", "/subscriptions/s/resourcegroups/rg", 200, "hello")
    with pytest.raises(RetryableError) as raised:
        await arm.get_json("/subscriptions/s/resourceGroups/rg", "2021-04-01")
    assert raised.value.reason == Reason.ANSWER_NOT_UNDERSTOOD


async def test_the_doctor_blames_no_credential_for_the_network(arm, scripted):
    """Its remedy is that of the network."""
    scripted.page = 200
    found = await _subscription(arm)
    assert "MOORAGE_CREDENTIAL" not in found.remedy
    assert "check the network" in found.remedy
