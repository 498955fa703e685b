"""Documents for what is there: what is read from where."""

from reconciler.composition.found_documents import with_scale_of


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
    scale = with_scale_of(app, template)["scale"]
    assert scale == {"cooldownPeriod": 601, "pollingInterval": 30, "maxReplicas": 2}
    assert with_scale_of({"properties": {"template": {"scale": None}}}, {"x": 1}) == {"x": 1}
