"""What an Environment's gateway brings: its runtime, its routes and its container app, and a key
for the services behind it.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.digest import File, Tree
from reconciler.api.gateway_references import gateway_notes
from reconciler.api.manifest import load
from reconciler.api.reasons import Reason
from reconciler.api.resources import GatewayInFront
from reconciler.api.source import Missing
from reconciler.cli.validate import validate
from reconciler.composition import compose
from reconciler.composition.world import World
from reconciler.engine.store import MEMORY, Store
from reconciler.sources import gateway_runtime
from reconciler.sources.orders import order_rotation, rotations_of

TEXT = """\
kind: Environment
metadata: {name: dev}
spec:
  gateway: {hold: {seconds: 30, maxRequests: 7}, apiKeys: [{name: team, models: [phi]}]}
---
kind: InferenceService
metadata: {name: phi}
spec:
  environment: dev
  model: {source: share://models/phi}
  scale: {minReplicas: 0}
  ingress: {external: false}
---
kind: InferenceService
metadata: {name: web}
spec:
  environment: dev
  code: share://code/web
  command: [python3, app.py]
  targetPort: 9000
"""
TREE = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})
RUNTIME = Tree("c" * 64, {"aiohttp/__init__.py": File(1, "d" * 64, Path("y"))})
WORLD = World(
    "00000000-0000-0000-0000-000000000001",
    "swedencentral",
    lambda name: f"{name}-owner",
    TREE,
    gateway=RUNTIME,
    ca="-----BEGIN CERTIFICATE-----",
)


def documents(tmp_path, text=TEXT):
    file = tmp_path / "moorage.yaml"
    file.write_text(text)
    return load([file]).documents


def composed(tmp_path, text=TEXT, world=WORLD):
    return compose(documents(tmp_path, text), world)


def of(found, kind, name):
    return next(item for item in found.desired if item.key == (kind, name))


def test_a_gateway_brings_its_runtime_its_routes_and_its_app(tmp_path):
    """All three are the Environment's, and the app refers to all that it mounts."""
    found = composed(tmp_path)
    mine = [
        item
        for item in found.desired
        if str(item.document) == "Environment/dev"
        and item.key.kind in ("PublishedFolder", "PublishedRoutes", "ContainerApp")
    ]
    assert [str(item.key) for item in mine] == [
        "PublishedFolder/gw-dev/runtime/cccccccccccc",
        "PublishedRoutes/dev",
        "ContainerApp/gw-dev",
    ]
    seen = set()
    for item in found.desired:
        assert set(item.refs) <= seen
        seen.add(item.key)


def test_the_app_is_a_plain_python_with_all_on_the_share(tmp_path):
    """Its code comes from the share, its key from a secret. It mounts its own folders: no models, no
    adapters, and for writing only what it writes.
    """
    app = of(composed(tmp_path), "ContainerApp", "gw-dev").spec
    (container,) = app.template["containers"]
    assert container["image"].startswith("docker.io/library/python:3.")
    assert container["command"] == ["python3", "-m", "serving.gateway"]
    assert container["resources"] == {"cpu": 0.25, "memory": "0.5Gi"}
    env = {each["name"]: each for each in container["env"]}
    assert env["PYTHONPATH"]["value"] == "/mnt/moorage/runtime/cccccccccccc"
    assert env["MOORAGE_GATEWAY_KEY"]["secretRef"] == "api-key-gateway"
    mounts = {(each["volumeName"], each["subPath"]) for each in container["volumeMounts"]}
    assert mounts == {
        ("share", "runtime/cccccccccccc"),
        ("share", "gateway/dev/routes"),
        ("share", "services"),
        ("reports", "gateway/dev/data"),
    }
    assert app.template["terminationGracePeriodSeconds"] > 30
    assert app.key_names == ("gateway", "team")
    assert (app.strategy, app.smoke, app.scales_to_zero) == ("Surge", ("/live", 200), False)
    assert app.body["properties"]["configuration"]["ingress"]["external"] is True


def test_the_routes_say_who_is_behind_the_gateway(tmp_path):
    """Services with a model, with their keys, limits and predicted start; those with code are
    asked directly.
    """
    routes = of(composed(tmp_path), "PublishedRoutes", "dev").spec
    (phi,) = routes.services
    assert (phi.service, phi.min_replicas, [key.name for key in phi.keys]) == (
        "phi",
        0,
        ["default"],
    )
    assert phi.reports == f"services/phi/{phi.engine}/replicas"
    assert phi.startup["weights"] >= 0
    assert (routes.hold.seconds, routes.hold.max_requests) == (30, 7)
    assert [(key.name, key.models) for key in routes.keys] == [("team", ("phi",))]
    assert routes.ca == "-----BEGIN CERTIFICATE-----"


def test_the_services_take_the_gateways_key(tmp_path):
    """Only behind a gateway; without one the catalogue is as it was."""
    assert of(composed(tmp_path), "AdapterCatalogue", "phi").spec.gateway == GatewayInFront(
        "gw-dev"
    )
    plain = TEXT.replace(TEXT.splitlines()[3], "  {}")
    without = composed(tmp_path, plain, replace(WORLD, gateway=None))
    assert of(without, "AdapterCatalogue", "phi").spec.gateway is None
    assert not any(item.key.kind == "PublishedRoutes" for item in without.desired)


def test_the_gateway_may_ask_for_what_its_most_generous_caller_may(tmp_path):
    """A key with a higher limit than the service keeps it behind the gateway; a lower one is the
    gateway's to keep.
    """
    keys = "{name: team, limits: {outputTokens: 90000, sequences: 2}}"
    found = composed(tmp_path, TEXT.replace("{name: team, models: [phi]}", keys))
    limits = of(found, "AdapterCatalogue", "phi").spec.gateway.limits
    assert (limits.output_tokens, limits.sequences) == (90000, None)


def test_tokens_are_those_of_the_clouds_authority(tmp_path):
    """The tenant is the document's, else the daemon's; without either the Environment is refused."""
    text = TEXT.replace(
        "gateway: {", "gateway: {entra: {audience: 'api://m', allow: [Models.Use]}, "
    )
    login = "https://login.microsoftonline.com"
    world = replace(WORLD, tenant="t1", authority=login)
    entra = of(composed(tmp_path, text, world), "PublishedRoutes", "dev").spec.entra
    assert (entra.issuer, entra.jwks_url) == (
        f"{login}/t1/v2.0",
        f"{login}/t1/discovery/v2.0/keys",
    )
    assert [grant.value for grant in entra.allow] == ["Models.Use"]
    refused = composed(tmp_path, text, replace(world, tenant="")).refusals
    assert [str(ref) for ref in refused] == ["Environment/dev"]


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        (("hold: {seconds: 30, ", "hold: {seconds: 60, "), True),  # the grace period with it
        (("maxRequests: 7", "maxRequests: 9"), False),
        (("{name: team, models: [phi]}", "{name: other}"), False),
        (("scale: {minReplicas: 0}", "scale: {minReplicas: 1}"), False),
        (("gateway: {hold", "gateway: {cpu: 0.5, hold"), True),
    ],
)
def test_changed_routes_make_no_revision(tmp_path, change, moves):
    """Limits, keys and services are followed while the gateway runs."""
    before = of(composed(tmp_path), "ContainerApp", "gw-dev").spec
    after = of(composed(tmp_path, TEXT.replace(*change)), "ContainerApp", "gw-dev").spec
    assert (before.suffix != after.suffix) is moves


def test_a_key_of_the_gateway_can_be_replaced(tmp_path):
    """As a service's: the order is found by the name of the container app."""
    store = Store.open(MEMORY, "local")
    order_rotation(store, "gw-dev", "team", "0" * 64, 1.0)
    rotations = rotations_of(documents(tmp_path), store)
    app = of(
        composed(tmp_path, world=replace(WORLD, rotations=rotations)), "ContainerApp", "gw-dev"
    )
    assert app.spec.rotated == (("team", "0" * 64),)


def test_a_newer_runtime_is_rolled_out(tmp_path):
    """The gateway costs no GPU, so that an update of Moorage reaches it at once."""
    newer = replace(WORLD, gateway=Tree("e" * 64, RUNTIME.files))
    before, after = (
        of(composed(tmp_path, world=world), "ContainerApp", "gw-dev").spec.suffix
        for world in (WORLD, newer)
    )
    assert before != after


def test_a_refused_service_keeps_its_route(tmp_path):
    """Its document cannot be followed now, and what it had before keeps running."""
    found = composed(tmp_path, world=replace(WORLD, homes={"phi": "prod"}))
    routes = of(found, "PublishedRoutes", "dev").spec
    assert (routes.services, routes.kept) == ((), ("phi",))


def test_a_machine_that_cannot_make_the_runtime_says_so(tmp_path):
    """The Environment is refused with the reason, a gateway that is there stays, and its services
    go on.
    """
    why = Missing(Reason.GATEWAY_UNSUPPORTED, "this daemon runs Python 3.11 on Darwin arm64")
    found = composed(tmp_path, world=replace(WORLD, gateway=why))
    assert [str(ref) for ref in found.refusals] == ["Environment/dev"]
    assert of(found, "ContainerApp", "phi")
    assert not any(item.key.name == "gw-dev" for item in found.desired)


def test_only_the_platform_of_the_image_can_make_the_runtime(monkeypatch):
    """Compiled modules of another platform would end the gateway at its first import."""
    assert gateway_runtime.unsupported() is None
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    why = gateway_runtime.unsupported()
    assert why is not None
    assert why.reason == Reason.GATEWAY_UNSUPPORTED


@pytest.mark.parametrize(("machine", "noted"), [("arm64", True), ("x86_64", False)])
def test_validate_says_that_this_machine_cannot_make_the_gateway(
    tmp_path, monkeypatch, capsys, machine, noted
):
    """A note, because the daemon may run elsewhere; the document stays valid."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    file = tmp_path / "dev.yaml"
    file.write_text(
        "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\n"
        "spec: {gateway: {}}\n"
    )
    validate(file=[file])
    told = capsys.readouterr().out
    assert "Environment dev: valid" in told
    assert ("run the daemon on Linux x86_64" in told) is noted


def test_the_runtime_holds_all_that_the_gateway_imports(tmp_path):
    """The packages and what they require in turn, without commands and without what was compiled
    for this daemon. A start reads no module's source but those that find the compiled ones.
    """
    folder = gateway_runtime.build_gateway_runtime(tmp_path)
    assert gateway_runtime.build_gateway_runtime(tmp_path) == folder
    names = {path.name for path in folder.iterdir()}
    assert {"serving", "aiohttp", "pydantic", "pydantic_core", "yarl", "attr"} <= names
    script = (
        "import sys; from serving.gateway.compiled import find_compiled; assert find_compiled();"
        "import serving.gateway.process; print(*{m.partition('.')[0] for m in sys.modules});"
        "ours = [m for m in sys.modules.values() if hasattr(m, '__file__') and m.__file__];"
        "ours = [m for m in ours if m.__file__.startswith(sys.argv[1] + '/')];"
        "read = [m.__name__ for m in ours if type(m.__loader__).__name__ == 'SourceFileLoader'];"
        "print(*read)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", script, str(folder)],
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    imported, read = done.stdout.splitlines()
    assert {"serving", "aiohttp", "pydantic"} <= set(imported.split())
    assert set(read.split()) == {"serving", "serving.gateway", "serving.gateway.compiled"}
    assert not (folder / "serving" / "training").exists()
    assert not [path for path in folder.rglob("*") if path.suffix in (".pyc", ".c", ".h")]


def test_names_that_say_too_little_are_told_at_the_save(tmp_path):
    """An adapter that two services have, and one that is called like a service."""
    two = TEXT.replace(
        "  scale: {minReplicas: 0}\n",
        "  adapters: [{name: red, source: 'share://a/red'}, {name: lone, source: 'share://a/l'}]\n",
    ).split("---\n", 2)
    other = (
        two[1].replace("name: phi", "name: lone").replace("name: lone, source", "name: l, source")
    )
    found = documents(tmp_path, "---\n".join([two[0], two[1], other]))
    notes = [note for loaded in found for note in gateway_notes(loaded, found)]
    assert notes == [
        "gateway: 2 services have a model 'red'; through the gateway it is called phi/red or"
        " lone/red",
        "gateway: 2 services have a model 'lone'; through the gateway it is called phi/lone or"
        " lone/lone",
    ]
