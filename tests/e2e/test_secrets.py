"""Secrets, registries and identities of a service: values reach the replica and nothing else, a new
value rolls out, and what somebody else changes is put right.
"""

import asyncio
import shutil
import urllib.request

import pytest

from tests.e2e.outside import outside
from tests.e2e.stage import ask, condition_of, environment, service

pytestmark = pytest.mark.e2e
GROUP, APP = "rg-secrets", "web"
PASSWORD, COLOUR, NEXT, LAST = "pull-me-7f3a", "vermilion-4711", "viridian-0815", "violet-2342"
OTHER = "verdigris-1618"
VALUES = (PASSWORD, COLOUR, NEXT, LAST)
IMAGES = """\
- image: ["phi.azurecr.io/python:*"]
  environment: .venv/images/python
  credentials: {username: phi, password: %s}
- image: ["python:3.11-slim"]
  environment: .venv/images/python
"""
USERS = (
    "/subscriptions/1/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
)
BOTH = {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {f"{USERS}/Puller": {}}}
LOGIN = {"server": "phi.azurecr.io", "username": "phi", "passwordSecretRef": "login"}
SECRETS = [
    {"name": "colour", "valueFrom": {"file": "./colour"}},
    {"name": "login", "valueFrom": {"env": "REGISTRY_PASSWORD"}},
]


def documents(**spec):
    given = {
        "engine": {"image": "phi.azurecr.io/python:3.11"},
        "secrets": SECRETS,
        "env": [{"name": "COLOUR", "valueFrom": {"secretRef": "colour"}}],
        "identity": BOTH,
        "registries": [LOGIN],
    }
    return environment(resourceGroup=GROUP), service(APP, **{**given, **spec})


@pytest.fixture(scope="module")
def stage(make_stage, tmp_path_factory):
    images = tmp_path_factory.mktemp("images") / "images.yaml"
    images.write_text(IMAGES % PASSWORD)
    stage = make_stage("--images", str(images))
    stage.env["REGISTRY_PASSWORD"] = PASSWORD
    stage.code(APP)
    (stage.root / "colour").write_text(COLOUR + "\n")
    stage.save(*documents())
    return stage


@pytest.fixture(scope="module")
def up(stage):
    up = stage.up(resync=1.0)
    yield up
    up.end()


async def found(stage):
    async with outside(stage) as azure:
        path = f"/resourceGroups/{GROUP}/providers/Microsoft.App/containerApps/{APP}"
        app = await azure.get(path)
        return app["identity"], app["properties"]["configuration"]


async def patch(stage, body):
    async with outside(stage) as azure:
        await (await azure.apps.container_apps.begin_update(GROUP, APP, body)).result()


async def test_a_replica_reads_the_value_of_its_secret(stage, up):
    """The variable has the file's text, and the image comes from a registry that wants a login."""
    await up.settled_on(APP, colour=COLOUR)
    identity, configuration = await found(stage)
    assert_both(identity)
    assert configuration["registries"] == [{**LOGIN, "identity": ""}]
    assert {"name": "colour"} in configuration["secrets"]


async def test_a_new_value_is_planned_without_being_told_and_rolls_out(stage, up):
    """Saving the file is enough: a revision with the new value takes the traffic."""
    await up.settled_on(APP, colour=COLOUR)
    (stage.root / "colour").write_text(NEXT)
    await up.settled_on(APP, colour=NEXT)
    (stage.root / "colour").unlink()
    unreadable = await up.until(
        lambda: (
            (d := condition_of(up.document(APP), "Synced"))["reason"] == "SourceUnreadable" and d
        )
    )
    assert ": secret colour: ./colour cannot be read: No such file" in unreadable["message"]
    assert ask(up.document(APP)["endpoint"], stage.ca)["colour"] == NEXT
    (stage.root / "colour").write_text(LAST)
    await up.settled_on(APP, colour=LAST)


slow = pytest.mark.slow
OTHERS = {f"{USERS}/theirs": {}}
EVIL = {"registries": [LOGIN, {"server": "evil.io", "identity": "system"}]}
TAMPERED = [
    {"name": "colour", "value": "mine"},
    {"name": "login", "value": PASSWORD},
    {"name": "theirs", "value": "theirs"},
]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        pytest.param(
            "identity.type",
            {"identity": {"type": "SystemAssigned", "userAssignedIdentities": None}},
            id="identity",
            marks=slow,
        ),
        pytest.param(
            "identity.userAssignedIdentities[",
            {"identity": {"userAssignedIdentities": OTHERS}},
            id="another identity",
        ),
        pytest.param(
            "properties.configuration.registries[",
            {"properties": {"configuration": EVIL}},
            id="registries",
            marks=slow,
        ),
        pytest.param(
            "configuration.secrets[colour]",
            {"properties": {"configuration": {"secrets": TAMPERED}}},
            id="secret",
        ),
    ],
)
async def test_what_somebody_else_changes_is_put_right(stage, up, field, body):
    """It is told as drift of that field, and undone; what the document does not name stays."""
    await up.settled_on(APP)
    before = len(stage.events())
    await patch(stage, body)
    await up.until(lambda: told(stage, before, field), what=f"drift of {field}")
    await up.settled_on(APP)
    identity, configuration = await found(stage)
    assert_both(identity)
    assert [each["server"] for each in configuration["registries"]] == ["phi.azurecr.io"]
    async with outside(stage) as azure:
        listed = await azure.apps.container_apps.list_secrets(GROUP, APP)
    values = {each["name"]: each["value"] for each in listed["value"]}
    assert (values["colour"], values["login"]) == (now(stage), PASSWORD)
    assert "theirs" in values or field != "configuration.secrets[colour]"


def assert_both(identity):
    """Both kinds, and one identity of the user's; Azure spells ids and types its own way."""
    assert identity["type"] == "SystemAssigned, UserAssigned"
    assert [each.rsplit("/", 1)[1] for each in identity["userAssignedIdentities"]] == ["Puller"]


def now(stage):
    """The value that the file has, which depends on the tests before."""
    return (stage.root / "colour").read_text().strip()


def told(stage, before, field):
    return [e for e in stage.events()[before:] if e.reason == "DriftFound" and field in str(e)]


async def test_no_value_is_in_anything_that_the_daemon_says_or_keeps(stage, up):
    """Its pages, its log, its state and the local Azure's journal; only the local Azure itself
    keeps values.
    """
    await up.settled_on(APP)
    said = [page(up, path) for path in ("/", f"/services/{APP}", "/status", "/metrics")]
    kept = [path for path in stage.state.rglob("*") if path.is_file()]
    own = stage.azure_dir
    said += [p.read_bytes().decode("latin-1") for p in kept if own not in p.parents]
    said += [(own / "journal.jsonl").read_text(), up.output]
    assert leaked(said) == []


@slow
async def test_no_value_is_in_anything_that_a_command_prints(stage, up):
    """Every command that shows documents or Azure."""
    await up.settled_on(APP)
    commands = ("status", "events", "plan", f"diff {APP}", f"diagnose {APP}", "export arm")
    for command in (*commands, f"history {APP}", "local-azure journal", "plan -o json"):
        done = stage.moorage(*command.split(), code=None)
        assert len(done.stdout) > 20, command
        assert leaked([done.stdout, done.stderr]) == [], command


def page(up, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}{path}", timeout=90) as answer:
        return answer.read().decode()


def leaked(said):
    assert all(said[:1])
    return [value for value in VALUES if any(value in each for each in said)]


@slow
async def test_what_a_document_no_longer_names_goes(stage, up):
    """A login that no registry needs any more; the secret of a revision that can serve again
    stays, and so does what somebody else added.
    """
    await up.settled_on(APP)
    image = {"engine": {"image": "python:3.11-slim"}}
    stage.save(*documents(secrets=SECRETS[:1], registries=[], **image))

    async def gone():
        _, configuration = await found(stage)
        names = {each["name"] for each in configuration["secrets"]}
        return not configuration["registries"] and "login" not in names and "colour" in names

    await up.settled_on(APP, colour=now(stage))
    async with asyncio.timeout(90):
        while not await gone():
            await asyncio.sleep(0.2)


@slow
async def test_a_daemon_that_lost_its_state_writes_nothing_and_still_sees_a_new_value(stage, up):
    """Azure and the documents are enough: the digest of a value is the same in every process."""
    stage.save(*documents())
    await up.settled_on(APP, colour=now(stage))
    up.end()
    shutil.rmtree(stage.state / "daemon")
    since = len(stage.journal())
    stage.once()
    assert [each for each in stage.writes(since) if "containerapps" in each.lower()] == []
    (stage.root / "colour").write_text(OTHER)
    plan = stage.moorage("plan").stdout
    assert "configuration.secrets[colour]: (secret) -> (changed secret)" in plan
    assert OTHER not in plan
