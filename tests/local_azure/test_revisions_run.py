"""Revisions at work: which one serves while another boots, what labels and weights do, what fails
and how that is told.
"""

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local_azure.ground import App, app_body, browser, lay_ground, template, until


@pytest.fixture(scope="module")
def running(make_azure, images):
    """Replicas' timers run ten times as fast: a cooldown of 300 s takes 30."""
    return make_azure("--operation-seconds", "0.05", "--images", str(images), "--speed", "10")


@pytest.fixture
async def clients(running, connected_to, stack):
    return await connected_to(running, stack)


@pytest.fixture
async def http(running, stack):
    return await stack.enter_async_context(browser(running))


async def test_the_old_revision_serves_until_the_new_one_is_ready(clients, http):
    """Single mode: a revision that crashes never takes over, the next good one does, and then the
    others are deactivated.
    """
    app = App(clients, "rg-single", "web")
    await app.put(app_body(await lay_ground(clients, "rg-single"), "blue"))
    first = (await app.get()).latest_revision_name
    assert (await app.healthy())["runningState"] == "RunningAtMaxScale"
    await app.served(http, "blue")

    crashing = template("red")
    crashing["containers"][0]["command"] = ["python3", "-c", "raise SystemExit(7)"]
    second = (await app.patch(template=crashing)).latest_revision_name
    failed = await app.state("Failed")
    assert (failed["healthState"], failed["provisioningError"]) == (
        "Unhealthy",
        "Container crashing: web",
    )
    assert (failed["runningStateDetails"], failed["trafficWeight"]) == (
        "1/1 Container crashing: web",
        100,
    )

    async def waits():  # between two of its starts
        container = (await app.replicas())[0].containers[0]
        return container.running_state_details.startswith(
            "Container is waiting with reason: CrashLoop"
        )

    await until(waits)
    shown = await app.get()
    assert (shown.latest_ready_revision_name, shown.provisioning_state, shown.running_status) == (
        first,
        "Succeeded",
        "Running",
    )
    old = await app.revision(first)
    assert (old["active"], old["trafficWeight"], old["healthState"]) == (True, 0, "Healthy")
    assert (await app.ask(http))["env"]["CONTAINER_APP_REVISION"] == first

    third = (await app.patch(template=template("green"))).latest_revision_name
    await app.served(http, "green")

    async def alone():
        return {name for name, found in (await app.revisions()).items() if found.active} == {third}

    await until(alone)
    assert list(await app.revisions()) == [first, second, third]
    gone = await app.state("Stopped", first)
    assert (gone["healthState"], gone["provisioningState"], gone["replicas"]) == (
        "Healthy",
        "Provisioned",
        0,
    )
    reasons = {reason for reason, _ in await app.events(http)}
    assert {
        "AssigningReplica",
        "PulledImage",
        "ContainerStarted",
        "ContainerTerminated",
        "ContainerBackOff",
    } <= reasons


async def test_a_used_suffix_is_refused_and_only_so_many_revisions_are_kept(clients, http):
    """A second template under a suffix that exists is refused and changes nothing; old inactive
    revisions go, oldest first.
    """
    app = App(clients, "rg-suffix", "web")
    body = app_body(await lay_ground(clients, "rg-suffix"), "blue", revisionSuffix="v1")
    body["properties"]["configuration"]["maxInactiveRevisions"] = 1
    await app.put(body)
    await app.served(http, "blue")
    with pytest.raises(HttpResponseError, match="already exists with another template"):
        await app.patch(template=template("red", revisionSuffix="v1"))
    kept_as_it_was = await app.get()
    assert kept_as_it_was.provisioning_state == "Succeeded"
    assert kept_as_it_was.template.containers[0].env[1].value == "blue"
    assert (await app.ask(http))["env"]["COLOUR"] == "blue"
    for number in (2, 3):
        await app.patch(template=template(f"red-{number}", revisionSuffix=f"v{number}"))
        await app.served(http, f"red-{number}")

    async def kept():
        return list(await app.revisions()) == ["web--v2", "web--v3"]

    await until(kept)


async def test_labels_and_weights_lead_to_revisions(clients, http):
    """Multiple mode: a label and a revision have names of their own; weights split the rest; a dead
    label answers 404.
    """
    app = App(clients, "rg-labels", "web")
    environment = await lay_ground(clients, "rg-labels")
    traffic = [{"revisionName": "web--one", "weight": 100}]
    await app.put(
        app_body(
            environment, "blue", mode="Multiple", ingress={"traffic": traffic}, revisionSuffix="one"
        )
    )
    await app.patch(template=template("green", revisionSuffix="two"))
    await app.healthy("web--one")
    await app.healthy("web--two")
    await app.served(http, "blue")
    assert {name: found.traffic_weight for name, found in (await app.revisions()).items()} == {
        "web--one": 100,
        "web--two": 0,
    }
    await app.served(http, "green", "web--two.any.localhost")

    labels = [
        {"revisionName": "web--one", "weight": 100, "label": "live"},
        {"revisionName": "web--two", "weight": 0, "label": "next"},
    ]
    await app.patch(configuration={"ingress": {"traffic": labels}})
    await app.served(http, "green", "web---next.any.localhost")
    await app.served(http, "blue", "web---live.any.localhost")
    assert await app.ask(http, "web---none.any.localhost") == 404

    swapped = [
        {**entry, "label": label} for entry, label in zip(labels, ("next", "live"), strict=True)
    ]
    await app.patch(configuration={"ingress": {"traffic": swapped}})
    await app.served(http, "green", "web---live.any.localhost")
    split = [{"revisionName": "web--one", "weight": 50}, {"revisionName": "web--two", "weight": 50}]
    await app.patch(configuration={"ingress": {"traffic": split}})
    await app.served(http, "green")
    await app.served(http, "blue")

    operations = clients.apps.container_apps_revisions
    await operations.deactivate_revision("rg-labels", "web", "web--two")
    await app.state("Stopped", "web--two")
    assert [(await app.ask(http))["env"]["COLOUR"] for _ in range(10)] == ["blue"] * 10
    assert await app.ask(http, "web--two.any.localhost") == 404
    await operations.activate_revision("rg-labels", "web", "web--two")
    await app.served(http, "green", "web--two.any.localhost")


async def test_a_restart_brings_new_replicas_and_the_secrets_of_now(clients, http):
    """A changed secret reaches a revision when it is restarted; no revision is made and something
    answers all the time.
    """
    app = App(clients, "rg-restart", "web")
    await app.put(app_body(await lay_ground(clients, "rg-restart"), boot=0.3))
    before = (await app.get()).latest_revision_name
    await app.served(http, "blue")
    await app.patch(configuration={"secrets": [{"name": "key", "value": "changed"}]})
    old = await app.ask(http)
    assert old["env"]["KEY"] == "s3cret"
    await clients.apps.container_apps_revisions.restart_revision("rg-restart", "web", before)

    async def restarted():
        found = await app.ask(http)
        assert isinstance(found, dict), f"answered {found}"
        return found["env"]["KEY"] == "changed"

    await until(restarted)
    assert (await app.get()).latest_revision_name == before
    new = await app.ask(http)
    assert new["env"]["CONTAINER_APP_REPLICA_NAME"] != old["env"]["CONTAINER_APP_REPLICA_NAME"]


async def test_a_revision_that_cannot_pull_or_is_late_says_so(clients, http):
    """An image that replicas cannot pull, and a start-up probe that never passes in its threshold."""
    environment = await lay_ground(clients, "rg-fail")
    unknown, late = App(clients, "rg-fail", "unknown"), App(clients, "rg-fail", "late")
    body = app_body(environment)
    body["properties"]["template"]["containers"][0]["image"] = "nothing:1"
    await unknown.put(body)
    slow = app_body(environment, boot=60)
    slow["properties"]["template"]["containers"][0]["probes"] = [
        {
            "type": "Startup",
            "httpGet": {"path": "/", "port": 8000},
            "periodSeconds": 1,
            "failureThreshold": 3,
        }
    ]
    await late.put(slow)
    failed = await unknown.state("Failed")
    assert (failed["healthState"], failed["provisioningState"]) == ("Unhealthy", "Provisioned")
    assert failed["provisioningError"].startswith('Failed to pull image "nothing:1"')
    assert "ImagePullBackOff" in (await unknown.replicas())[0].containers[0].running_state_details
    await late.state("Failed")
    told = dict(await late.events(http))
    assert told["ProbeFailed"].startswith("Probe of Startup failed: ")
    assert told["ContainerUnhealthy"] == "Container web failed its Startup probe, will be restarted"
    assert (await late.get()).provisioning_state == "Succeeded", "ARM's success is not the app's"


async def test_two_apps_of_one_name_live_apart(clients, http):
    """Names are unique in a resource group only: each app has its own replicas, logs and state."""
    apps = {group: App(clients, group, "twin") for group in ("rg-twin-a", "rg-twin-b")}
    for group, app in apps.items():
        await app.put(app_body(await lay_ground(clients, group), group, revisionSuffix="one"))
    for group, app in apps.items():
        await app.served(http, group)
    token = (await clients.apps.managed_environments.get_auth_token("rg-twin-a", "cae")).token
    environment = await clients.apps.managed_environments.get("rg-twin-a", "cae")
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.get(
        environment.event_stream_endpoint, params={"tailLines": "300"}, headers=bearer
    ) as answer:
        assert [
            line for line in (await answer.text()).splitlines() if '"ContainerStarted"' in line
        ], "its app's events"
    async with http.get(
        (await apps["rg-twin-b"].get()).event_stream_endpoint, headers=bearer
    ) as answer:
        assert answer.status == 401
    await apps["rg-twin-a"].delete()
    assert (await apps["rg-twin-b"].ask(http))["env"]["COLOUR"] == "rg-twin-b"
    assert (await apps["rg-twin-b"].healthy())["replicas"] == 1
    assert (
        len(
            [
                reason
                for reason, _ in await apps["rg-twin-b"].events(http)
                if reason == "ContainerStarted"
            ]
        )
        == 1
    )
