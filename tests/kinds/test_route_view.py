"""What a gateway's routes say, from the documents and what was seen of the container apps."""

from dataclasses import replace

from reconciler.api.outputs import AdapterOutputs, AppOutputs, CatalogueOutputs, RevisionRow
from reconciler.api.resources import CatalogueKey, GatewayRoutesSpec, RouteSpec, ShareRef
from reconciler.engine.external import ObjectKey
from reconciler.kinds.gateway.route_view import changes_of, lacking, wanted_routes
from serving.catalogue import Limits
from tests.kinds.known import Known

PHI = RouteSpec(
    "phi", "e1", ("red",), (CatalogueKey("default"),), Limits(), 0, {"image": 112.0, "weights": 8.0}
)
SPEC = GatewayRoutesSpec(
    ShareRef("dev", "rg", "st", "share"), "gw-dev", (PHI,), (CatalogueKey("team"),)
)

HASH = "a" * 64


def app(*revisions, keys=(("default", HASH),), endpoint="https://phi", **more):
    return AppOutputs("id", endpoint=endpoint, api_keys=keys, revisions=revisions, **more)


def seen(phi=None, gateway=None):
    found = {("ContainerApp", "phi"): phi, ("ContainerApp", "gw-dev"): gateway}
    return Known({ObjectKey(*key): value for key, value in found.items() if value})


def revision(active=True, health="Healthy", running="Running", weight=100, error=None):
    return RevisionRow("phi--r1", active, weight, health, running, True, error)


def test_a_service_is_routed_once_it_has_an_address():
    """With its models, the folder of its reports, its keys and what a start should take."""
    assert wanted_routes(SPEC, None, seen()).services == ()
    (phi,) = wanted_routes(SPEC, None, seen(app())).services
    assert [(model.name, model.aliases) for model in phi.models] == [
        ("phi", ()),
        ("red", ("phi/red",)),
    ]
    assert (phi.endpoint, phi.reports) == ("https://phi", "services/phi/e1/replicas")
    assert (phi.predicted.seconds, phi.stopped) == (120, None)
    assert [(key.name, key.sha256) for key in phi.keys] == [("default", HASH)]


def test_an_adapters_last_day_is_routed():
    """The gateway lists it as the service does."""
    dated = replace(PHI, shutdown_dates=(("red", "2027-01-31"),))
    (phi,) = wanted_routes(replace(SPEC, services=(dated,)), None, seen(app())).services
    assert [model.shutdown_date for model in phi.models] == [None, "2027-01-31"]


def test_what_cannot_start_says_why():
    """Where no revision with traffic can; a revision that sleeps can."""

    def stopped(*revisions):
        return wanted_routes(SPEC, None, seen(app(*revisions))).services[0].stopped

    failed = revision(health="Unhealthy", running="ActivationFailed", error="no such image")
    assert stopped(failed).message == "revision phi--r1: no such image"
    assert stopped(revision(active=False)).reason == "RevisionInactive"
    assert stopped(revision(running="ScaledToZero")) is None
    assert stopped(failed, revision()) is None
    assert stopped(revision(weight=0, health="Unhealthy")) is None


def test_keys_that_an_app_still_makes_are_waited_for():
    """Of an app that is there: one that is not made speaks for itself."""
    assert lacking(SPEC, seen()) == []
    assert lacking(SPEC, seen(app(keys=()), app(keys=()))) == ["gw-dev/team", "phi/default"]
    assert lacking(SPEC, seen(app(), app(keys=(("team", HASH),)))) == []


def test_the_gateways_own_key_opens_nothing_at_the_gateway():
    """It is among the app's secrets like the keys of callers."""
    gateway = app(keys=(("gateway", HASH), ("team", "b" * 64)))
    assert [key.name for key in wanted_routes(SPEC, None, seen(app(), gateway)).keys] == ["team"]


def test_changes_name_what_differs_and_show_no_secret():
    """A replaced key, a failure, a changed limit; equal routes differ in nothing."""
    before = wanted_routes(SPEC, None, seen(app()))
    assert changes_of(before, before) == ()
    other = wanted_routes(SPEC, before, seen(app(keys=(("default", "b" * 64),))))
    (change,) = changes_of(before, other)
    assert change.path == "services[phi].keys[default]"
    assert HASH not in f"{change.before} {change.after}"


def test_what_nobody_has_looked_at_yet_stays_as_it_is_routed():
    """A daemon that lost its state has seen no container app: addresses, failures and keys are those
    of the routes that are there, and what the document changed changes.
    """
    failed = revision(health="Unhealthy", running="ActivationFailed", error="no such image")
    gateway = app(keys=(("team", "b" * 64),))
    before = wanted_routes(SPEC, None, seen(app(failed), gateway))
    assert wanted_routes(SPEC, before, seen()) == before
    longer = replace(SPEC, services=(replace(PHI, adapters=("red", "blue")),))
    (phi,) = wanted_routes(longer, before, seen()).services
    assert [model.name for model in phi.models] == ["phi", "red", "blue"]
    assert wanted_routes(replace(SPEC, services=()), before, seen()).services == ()


def catalogue(*names, engine="e1"):
    adapters = tuple(AdapterOutputs(name, "1" * 64) for name in names)
    return CatalogueOutputs(engine, 1, 1, adapters)


def routed(service, known=None, before=None):
    """The adapters that are routed, and the engine whose reports are read."""
    facts = seen(service)
    if known:
        facts.seen[ObjectKey("AdapterCatalogue", "phi")] = known
    (phi,) = wanted_routes(SPEC, before, facts).services
    return [each.name for each in phi.models if each.kind == "adapter"], phi.reports.split("/")[2]


def test_routes_name_the_adapters_that_are_served():
    """After a rollback of the adapters those that serve again; of another engine, those that its
    replicas report. The document's until anything is known.
    """
    assert routed(app()) == (["red"], "e1")
    assert routed(app(), catalogue("blue", "green")) == (["blue", "green"], "e1")
    assert routed(app(), catalogue()) == ([], "e1")
    assert routed(app(), catalogue("blue", engine="e2")) == (["red"], "e1")
    back = replace(app(), engine="e0", served_adapters=("old",))
    assert routed(back, catalogue("red")) == (["old"], "e0")
    assert routed(replace(back, served_adapters=())) == (["red"], "e0")


def test_what_was_routed_stays_until_something_is_known():
    """A daemon that has lost its memory takes no adapter off the routes for that."""
    before = wanted_routes(SPEC, None, seen(app()))
    served = before.services[0].models[0].model_copy(update={"name": "old", "kind": "adapter"})
    phi = before.services[0].model_copy(update={"models": (served,)})
    known = before.model_copy(update={"services": (phi,)})
    assert routed(None, None, known)[0] == ["old", "red"]
    assert routed(None, catalogue("old"), known)[0] == ["old"]
