"""Taking over an app that somebody else made: whose it is, what is asked of it, how its traffic is
held, what is handed back.
"""

import pytest

from reconciler.api import tags
from reconciler.api.outputs import AppOutputs
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.ownership import Ownership
from reconciler.engine.diff import diff
from reconciler.engine.errors import NotOwned
from reconciler.engine.external import Origin
from reconciler.kinds.container_app import ContainerApp
from reconciler.kinds.service import adoption

OURS = tags.ownership("me", "InferenceService/phi", "dev")
INGRESS = {"external": True, "targetPort": 8000, "transport": "Auto", "allowInsecure": False}


def spec(*, adopts=True):
    configuration = {"activeRevisionsMode": "Multiple", "ingress": INGRESS}
    body = {
        "location": "westus3",
        "tags": OURS,
        "properties": {"workloadProfileName": "gpu", "configuration": configuration},
    }
    return ContainerAppSpec(
        "phi", "rg", "dev", body, asked=body, named=adopts, template={"scale": {}}
    )


LATEST = ({"latestRevision": True, "weight": 100},)


def app(
    mode="Single",
    traffic=LATEST,
    given=None,
    latest="phi--b",
    ready="phi--a",
    **ingress,
):
    configuration = {
        "activeRevisionsMode": mode,
        "ingress": {**INGRESS, "fqdn": "x", "traffic": list(traffic), **ingress}
        if traffic is not None
        else None,
    }
    properties = {
        "latestRevisionName": latest,
        "latestReadyRevisionName": ready,
        "workloadProfileName": "gpu",
        "configuration": configuration,
    }
    return {"location": "North Europe", "tags": given, "properties": properties}


WHOSE = [
    ("nobody's", None, True, None, Origin.FOREIGN, "the document asks for it"),
    (
        "nobody's, untouched",
        None,
        False,
        None,
        "adoptionPolicy: AdoptOrCreate",
        "the error names the remedy",
    ),
    (
        "another set's",
        {tags.OWNER: "you", tags.APPLIED: "2026-11-29T10:00:00Z from desk"},
        True,
        None,
        "the set of documents you (last applied 2026-11-29T10:00:00Z from desk)",
        "two would fight about it",
    ),
    ("made here", OURS, False, None, Origin.OURS, "its tags say so"),
    (
        "taken over",
        {**OURS, "Moorage-Adopted": "true"},
        False,
        None,
        Origin.ADOPTED,
        "also when the document no longer says it",
    ),
    (
        "mark lost",
        OURS,
        True,
        AppOutputs(adopted=True),
        Origin.ADOPTED,
        "somebody removed the one tag, and it is remembered",
    ),
    (
        "all tags lost",
        {"team": "red"},
        True,
        AppOutputs(adopted=True),
        Origin.FOREIGN,
        "it is taken over once more",
    ),
]


@pytest.mark.parametrize(
    ("given", "adopts", "before", "expected", "reason"),
    [case[1:] for case in WHOSE],
    ids=[case[0] for case in WHOSE],
)
def test_whose_an_app_is(given, adopts, before, expected, reason):
    """Tags decide, then the document; what is not to be touched is refused."""
    if isinstance(expected, Origin):
        assert (
            adoption.origin_of(spec(adopts=adopts), app(given=given), Ownership("me"), before)
            is expected
        ), reason
        return
    with pytest.raises(NotOwned) as refused:
        adoption.origin_of(spec(adopts=adopts), app(given=given), Ownership("me"), before)
    assert expected in refused.value.message, reason


def test_what_is_asked_of_an_app_that_was_there():
    """The mark, the mode and what the service needs; its place is the environment's, and what
    Multiple mode has not ends.
    """
    found = app(
        stickySessions={"affinity": "sticky"},
        customDomains=[{"name": "example.org"}],
        external=False,
    )
    changes = diff(adoption.asked(spec(), found, Origin.FOREIGN), found, ContainerApp.rules)
    ingress = "properties.configuration.ingress"
    assert {change.path: (change.before, change.after) for change in changes} == {
        **{f"tags.{name}": (None, value) for name, value in {**OURS, tags.ADOPTED: "true"}.items()},
        "properties.configuration.activeRevisionsMode": ("Single", "Multiple"),
        f"{ingress}.external": (False, True),
        f"{ingress}.stickySessions.affinity": ("sticky", "none"),
    }


OLD = {"revisionName": "phi--a", "weight": 100}
HELD = [
    ("single", app(), [OLD], "the newest may be broken: the last ready one answers"),
    (
        "single, stale weights",
        app(traffic=[{"revisionName": "phi--0", "weight": 100}]),
        [OLD],
        "in Single mode weights mean nothing",
    ),
    ("single, held", app(traffic=[OLD]), None, "nothing to write"),
    (
        "multiple, latest",
        app("Multiple"),
        [{"revisionName": "phi--b", "weight": 100}],
        "the next revision would take all at once",
    ),
    (
        "multiple, split",
        app(
            "Multiple",
            [
                {"latestRevision": True, "weight": 30, "label": "new"},
                {"revisionName": "phi--a", "weight": 70},
            ],
        ),
        [
            {"revisionName": "phi--b", "weight": 30, "label": "new"},
            {"revisionName": "phi--a", "weight": 70},
        ],
        "labels stay",
    ),
    ("multiple, explicit", app("Multiple", [OLD]), None, "nothing to write"),
    ("no ingress", app(traffic=None), None, "there is no traffic"),
    ("nothing runs yet", app(latest=""), None, "there is nothing to hold"),
]


@pytest.mark.parametrize(
    ("found", "expected", "reason"), [case[1:] for case in HELD], ids=[case[0] for case in HELD]
)
def test_traffic_is_held_where_it_is(found, expected, reason):
    """Before a template is written, the revisions that answer now are named."""
    assert adoption.held_traffic(found) == expected, reason


def test_secrets_go_back_as_they_are():
    """A value is read back; a secret in a Key Vault has none, and its place is sent."""
    vault = {"name": "v", "keyVaultUrl": "https://kv/secrets/v", "identity": "system"}
    assert adoption.secret({"name": "plain"}, {"plain": "x"}) == {"name": "plain", "value": "x"}
    assert adoption.secret({**vault, "value": None}, {}) == vault


def test_only_our_tags_are_taken_off():
    """A patch in which ours are null, in any case, and the others stay."""
    before = {**OURS, "Moorage-Adopted": "true", "team": "red"}
    assert tags.released(before) == {**dict.fromkeys(OURS), "Moorage-Adopted": None, "team": "red"}
