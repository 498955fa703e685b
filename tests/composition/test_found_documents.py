"""Documents for what is there: what is read from where."""

from reconciler.composition.found_documents import as_revision, later_revision


def test_a_revision_takes_the_periods_that_azure_leaves_out_from_its_app():
    """Azure says null for the cooldown period in a revision's template; what the revision says
    itself stays.
    """
    app = {
        "properties": {
            "template": {"scale": {"cooldownPeriod": 601, "pollingInterval": 30, "maxReplicas": 9}}
        }
    }
    template = {"scale": {"cooldownPeriod": None, "maxReplicas": 2}}
    read = as_revision(app, "web--a", template)
    scale = read["properties"]["template"]["scale"]
    assert scale == {"cooldownPeriod": 601, "pollingInterval": 30, "maxReplicas": 2}
    bare = as_revision({"properties": {"template": {"scale": None}}}, "web--a", {"x": 1})
    assert bare["properties"]["template"] == {"x": 1}


def test_a_revision_that_serves_beside_a_later_one_is_named():
    """Azure says the cooldown period of the latest one alone, and a run ends the latest one."""
    app = {"name": "web", "properties": {"template": {}, "latestRevisionName": "web--b"}}
    said = later_revision(as_revision(app, "web--a", {}))
    assert said is not None
    assert "what web--a serves" in said
    assert "the cooldown period of web--b" in said
    assert later_revision(as_revision(app, "web--b", {})) is None
    assert later_revision(app) is None
