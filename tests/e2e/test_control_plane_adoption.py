"""An app that somebody else made, as a template makes it, is taken over by a document, kept as the
document says, and released.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.arm import apps
from reconciler.daemon import Daemon
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Origin
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from tests.e2e.outside import outside
from tests.e2e.stage import APP as CODE
from tests.e2e.stage import ask, environment, service
from tests.e2e.vaults import make_vault, set_secret

GROUP, PLACE, HOME, APP, PORT = "rg-adopt", {"location": "westus3"}, "aienvab1cd", "theirs", 7860
ELSEWHERE = "aienvxy9zz"
PATH = f"/resourceGroups/{GROUP}/providers/Microsoft.App/containerApps/{APP}"
OLD = f"{APP}--ab1cd"
VAULTED = {
    "name": "vaulted",
    "keyVaultUrl": "https://kv-theirs.vault.azure.net/secrets/x",
    "identity": "system",
}
# One that its container reads, one that lives elsewhere, one that is called like an API key of
# ours.
SECRETS = [
    {"name": "colour", "value": "secret-red"},
    VAULTED,
    {"name": "api-key-theirs", "value": "theirs"},
]
NAMES = [secret["name"] for secret in SECRETS]


@pytest.fixture(scope="module")
async def made(stage):
    """An environment, and an app in it: Single mode, the latest revision, a secret its container
    reads, a tag, an IP rule.
    """
    stage.code(APP)
    async with outside(stage) as azure:
        await azure.resources.resource_groups.create_or_update(GROUP, PLACE)
        profiles = [{"name": "Consumption", "workloadProfileType": "Consumption"}]
        body = {**PLACE, "properties": {"workloadProfiles": profiles}}
        for name in (HOME, ELSEWHERE):
            await (
                await azure.apps.managed_environments.begin_create_or_update(GROUP, name, body)
            ).result()
        await provision(azure, SECRETS[:1])
        app = await azure.get(PATH)
        reader = app["identity"]["principalId"]
        await make_vault(azure, stage.facts, GROUP, "kv-theirs", reader)
        await set_secret(stage.facts, "kv-theirs", "x", "vaulted-value")
        await provision(azure)
    return stage


async def provision(azure, secrets=SECRETS):
    """What somebody's template does: PUT the whole app."""
    managed = f"/subscriptions/{azure.subscription}/resourceGroups/{GROUP}/providers/Microsoft.App/managedEnvironments/{HOME}"
    rule = {"name": "office", "ipAddressRange": "127.0.0.0/8", "action": "Allow"}
    ingress = {
        "external": True,
        "targetPort": PORT,
        "transport": "Auto",
        "allowInsecure": False,
        "ipSecurityRestrictions": [rule],
        "traffic": [{"latestRevision": True, "weight": 100}],
    }
    container = {
        "name": "theirs",
        "image": "docker.io/library/python:3.11-slim",
        "resources": {"cpu": 0.5, "memory": "1Gi"},
        "command": ["python3", "-c", CODE.format(version="theirs"), str(PORT)],
        "env": [{"name": "COLOUR", "secretRef": "colour"}],
    }
    properties = {
        "environmentId": managed,
        "configuration": {"activeRevisionsMode": "Single", "secrets": secrets, "ingress": ingress},
        "template": {
            "revisionSuffix": OLD.partition("--")[2],
            "containers": [container],
            "terminationGracePeriodSeconds": 2,
            "scale": {"minReplicas": 1, "maxReplicas": 1},
        },
    }
    own = {"identity": {"type": "SystemAssigned"}, "tags": {"team": "red"}}
    body = {**PLACE, **own, "properties": properties}
    await (await azure.apps.container_apps.begin_create_or_update(GROUP, APP, body)).result()


def documents(*, adopts=True, managed=HOME, **spec):
    policy = {"adoptionPolicy": "AdoptOrCreate"} if adopts else {}
    home = environment(
        "dev",
        **PLACE,
        resourceGroup=GROUP,
        managedEnvironment={"name": managed},
        syncPolicy={"prune": True},
    )
    return home, service(APP, environment="dev", targetPort=PORT, **policy, **spec)


async def seen(stage):
    async with outside(stage) as azure:
        app = await azure.get(PATH)
        revisions = [
            each async for each in azure.apps.container_apps_revisions.list_revisions(GROUP, APP)
        ]
    return app, {each.name for each in revisions if each.properties.active}


async def endpoint(stage):
    app, _ = await seen(stage)
    return f"https://{app['properties']['configuration']['ingress']['fqdn']}"


@asynccontextmanager
async def visitors(stage) -> AsyncIterator[list[str]]:
    """Ask all the time; who answered, in order, and errors by their names."""
    answers: list[str] = []
    where = await endpoint(stage)

    async def visit():
        while True:
            try:
                found = await asyncio.to_thread(ask, where, stage.ca)
                answers.append(f"{found['version']} {found['colour']}")
            except OSError as error:
                answers.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.05)

    visiting = asyncio.create_task(visit())
    try:
        yield answers
    finally:
        visiting.cancel()
        with suppress(asyncio.CancelledError):
            await visiting


async def test_without_the_word_it_is_left_alone(made):
    """NotOwned names the field that would allow it; the app is not touched."""
    until = time.monotonic() + 90
    while True:
        with suppress(OSError):
            assert ask(await endpoint(made), made.ca)["colour"] == "secret-red"
            break
        assert time.monotonic() < until
        await asyncio.sleep(0.2)
    made.save(*documents(adopts=False))
    told = made.once(code=1).stdout
    assert "NotOwned" in told
    assert "adoptionPolicy: AdoptOrCreate" in told
    assert [write for write in made.writes() if "/containerApps/" in write] == []


def test_it_cannot_be_moved(made):
    """The document runs in another managed environment than the app: refused, with both names."""
    made.save(*documents(managed=ELSEWHERE))
    lines = made.json("plan", "-f", str(made.manifest))["changes"]
    (app,) = [line for line in lines if line["object"] == f"ContainerApp/{APP}"]
    assert app["action"] == "wait"
    assert f"runs in {HOME}; Azure cannot move it to {ELSEWHERE}" in app["problem"]


async def test_the_plan_shows_the_takeover(made):
    """Every difference: tags, mode, traffic, template, and the revision that goes. What the app has
    besides is in none.
    """
    made.save(*documents())
    before = len(made.journal())
    (line,) = [
        each
        for each in made.json("plan", "-f", str(made.manifest))["changes"]
        if each["action"] != "no-op"
    ]
    assert (line["object"], line["action"]) == (f"ContainerApp/{APP}", "adopt")
    fields = {field["path"]: (field["before"], field["after"]) for field in line["fields"]}
    assert fields["properties.configuration.activeRevisionsMode"] == ("Single", "Multiple")
    assert fields["properties.configuration.ingress.traffic"] == ({"(latest)": 100}, {OLD: 100})
    assert fields[f"revisions[{OLD}].active"] == (True, False)
    assert fields["tags.moorage-adopted"] == (None, "true")
    assert "properties.template.containers[app]" in fields
    assert "properties.template.containers[theirs]" in fields
    assert not [
        path for path in fields if "ecret" in path or "team" in path or "Restrictions" in path
    ]
    shown = made.moorage("plan", "-f", str(made.manifest)).stdout
    assert f"= ContainerApp/{APP}   new revision; taken over from whoever made it" in shown
    assert "1 to adopt" in shown
    assert made.writes(before) == []


async def test_it_is_taken_over_without_a_gap(made):
    """Killed after its first write, all memory lost: the next daemon goes on. Somebody is always
    answered, first by the old revision.
    """
    async with visitors(made) as answers:
        up = made.up(resync=2)
        before = len(made.journal())
        await up.until(
            lambda: [
                w for w in made.writes(before) if w.startswith("PATCH") and "/containerApps/" in w
            ],
            60,
            "taken over",
        )
        up.kill()
        shutil.rmtree(made.state / "daemon")
        app, active = await seen(made)
        assert (app["tags"]["moorage-adopted"], active) == ("true", {OLD})
        with made.watching(resync=2) as up:
            await up.settled_on(APP, version="one")
    assert [a for a, b in zip(answers, ["", *answers], strict=False) if a != b] == [
        "theirs secret-red",
        "one None",
    ]
    app, active = await seen(made)
    configuration = app["properties"]["configuration"]
    assert app["tags"]["team"] == "red"
    assert configuration["activeRevisionsMode"] == "Multiple"
    assert [secret["name"] for secret in configuration["secrets"]] == NAMES
    assert configuration["ingress"]["ipSecurityRestrictions"][0]["name"] == "office"
    assert len(active) == 1
    assert OLD not in active
    assert "nothing to do" in made.moorage("plan", "-f", str(made.manifest)).stdout


async def test_it_follows_its_document_and_drift_is_put_right(made):
    """An edit is a new revision; hidden behind our back it comes back; provisioned again by the
    template, it is taken over again.
    """
    made.save(*documents(env=[{"name": "COLOUR", "value": "green"}]))
    with made.watching(resync=2) as up:
        await up.settled_on(APP, colour="green")
        async with outside(made) as azure:
            hidden = {"properties": {"configuration": {"ingress": {"external": False}}}}
            await (await azure.apps.container_apps.begin_update(GROUP, APP, hidden)).result()
        await up.until(lambda: "ingress.external" in str(drift(made)), 20, "drift is told")
        await up.settled_on(APP, colour="green")
        async with outside(made) as azure:
            await provision(azure)
            assert "moorage-owner" not in (await azure.get(PATH))["tags"]
        await up.until(lambda: "tags.moorage-owner" in str(drift(made)), 20, "drift is told")
        await up.settled_on(APP, colour="green")
    app, _ = await seen(made)
    assert (app["tags"]["moorage-adopted"], app["tags"]["team"]) == ("true", "red")


def drift(stage):
    return [event.fields for event in stage.events() if event.reason == "DriftFound"]


async def test_down_releases_it(made):
    """It goes on as it is, with the storage it mounts; our tags are gone, and a second `down` finds
    nothing.
    """
    dry = made.moorage("down", "--dry-run").stdout
    assert f"= ContainerApp/{APP}   stays: it was there before any document" in dry
    assert "1 to release" in dry
    before = len(made.journal())
    told = made.moorage("down", "-y", "--purge-data").stdout
    assert f"ContainerApp/{APP} is released" in told
    assert (
        f"EnvironmentStorage/dev/read; it is left in place (ContainerApp/{APP} was there before,"
        " goes on and uses it)" in told
    )
    assert not [
        write
        for write in made.writes(before)
        if write.startswith("DELETE") and f"/containerApps/{APP}" in write
    ]
    await is_released(made)
    before = len(made.journal())
    assert "nothing to do" in made.moorage("down", "-y", "--purge-data").stdout
    assert made.writes(before) == []
    assert ask(await endpoint(made), made.ca)["colour"] == "green"


async def test_it_is_released_with_all_memory_lost(made):
    """Taken over again, then the state goes: the tags say what to do, and the documents whose."""
    made.save(*documents(env=[{"name": "COLOUR", "value": "green"}]))
    made.once()
    app, _ = await seen(made)
    assert app["tags"]["moorage-adopted"] == "true"
    shutil.rmtree(made.state / "daemon")
    told = made.moorage("down", "-f", str(made.manifest), "-y").stdout
    assert f"ContainerApp/{APP} is released" in told
    await is_released(made)


async def is_released(stage):
    app, _ = await seen(stage)
    assert app["tags"] == {"team": "red"}
    assert [secret["name"] for secret in app["properties"]["configuration"]["secrets"]] == NAMES
    assert ask(await endpoint(stage), stage.ca)["colour"] == "green"


async def test_api_keys_join_the_secrets_that_are_there(made):
    """The first write for a model, which has keys: every secret is sent back, by value or by
    reference, and the app runs on.
    """
    settings = Settings.for_local(made.facts, {}, state_dir=made.state)
    async with Daemon(settings, [made.manifest], store=Store.open(MEMORY, "local")) as daemon:
        await daemon.load()
        item = next(each for each in daemon.composition.desired if each.key.kind == "ContainerApp")
        item = replace(item, spec=replace(item.spec, key_names=("default",)))
        kind = daemon.kinds["ContainerApp"]
        observed = await kind.observe(item, Nothing())
        assert observed.origin is Origin.FOREIGN
        assert "configuration.secrets[api-key-default]" in {
            change.path for change in observed.changes
        }
        wrote = await kind.update(item, observed, Nothing())
        while not (await kind.poll(kind.identify(item), wrote.operation.token)).done:
            await asyncio.sleep(0.05)
        values = await apps.list_secrets(daemon.arm, GROUP, APP)
        app = await daemon.arm.inventory.get(Kind.APP, kind.scope(item.spec), APP)
    listed = {secret["name"]: secret for secret in app["properties"]["configuration"]["secrets"]}
    assert list(listed) == [*NAMES, "api-key-default"]
    assert listed["vaulted"]["keyVaultUrl"] == VAULTED["keyVaultUrl"]
    assert (values["colour"], values["api-key-theirs"], values["api-key-default"][:3]) == (
        "secret-red",
        "theirs",
        "mk-",
    )
    assert ask(await endpoint(made), made.ca)["colour"] == "green"


class Nothing:
    """What a kind is told when nothing else was looked at."""

    def outputs(self, key, of):
        raise NotReadyYet(Reason.NOT_OBSERVED, str(key))

    def last(self, key, of):
        return None

    def part(self, key, of, pick):
        return None
