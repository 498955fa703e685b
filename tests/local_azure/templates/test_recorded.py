"""Templates that Azure itself took or refused, opened here: parameters, dependencies, ids and
errors as Azure answered them.

The recordings are no part of this repository; without them there is nothing to compare with.
"""

import json
import re

import pytest

from infra.local_azure.templates import relaxed
from infra.local_azure.templates.errors import TemplateError
from infra.local_azure.templates.evaluation import Scope
from infra.local_azure.templates.template import Template
from tests.conformance import recordings

ROOT = "/subscriptions/00000000-0000-0000-0000-000000000000"
_GENERATED = ("store", "st")  # names made by uniqueString from ids that the recorder replaced


def requests():
    place = recordings.folder()
    for file in sorted(place.glob("*.jsonl")) if place else []:
        for line in file.read_text().splitlines():
            one = json.loads(line)
            creates = one["method"] == "PUT" and re.search(r"/deployments/[^/?]+\?", one["url"])
            if "/validate?" in one["url"] or creates:
                yield pytest.param(one, id=f"{file.stem}-{one['i']}")


RECORDED = list(requests())


@pytest.mark.skipif(not RECORDED, reason="the recordings are not here")
@pytest.mark.parametrize("one", RECORDED)
def test_a_recorded_template_opens_as_in_azure(one):
    """The same parameters, the same resources, the same count of dependencies, and the very place
    of a violation.
    """
    sent = one["reqBody"]
    document = relaxed.read(sent if isinstance(sent, str) else json.dumps(sent))
    properties = document.value["properties"]
    match = re.search(r"resourcegroups/([^/]+)/", one["url"], re.IGNORECASE)
    wanted = one["body"].get("properties")
    place = (wanted or {}).get("parameters", {}).get("location", {}).get("value", "westus")
    group = (
        {"id": f"{ROOT}/resourceGroups/{match[1]}", "name": match[1], "location": place}
        if match
        else None
    )
    scope = Scope(
        {"id": ROOT, "subscriptionId": ROOT.rsplit("/", 1)[-1]}, {}, {}, {"name": "d"}, group
    )
    if one["status"] == 400:
        with pytest.raises(TemplateError) as refused:
            Template(properties["template"], properties.get("parameters") or {}, scope)
        info = one["body"]["error"]["additionalInfo"][0]["info"]
        assert document.line(refused.value.path) == (info["lineNumber"], info["linePosition"])
        assert refused.value.path == info["path"]
        text = refused.value.text.replace(
            "{at}", f"at line '{info['lineNumber']}' and column '{info['linePosition']}'"
        )
        assert f"'{text}'" in one["body"]["error"]["message"]
        return
    template = Template(properties["template"], properties.get("parameters") or {}, scope)
    if wanted is None:
        return  # a refusal that is about the group, not about the template
    shown = template.parameters.shown()
    assert list(shown) == list(wanted["parameters"])
    for name, value in wanted["parameters"].items():
        if name != "deleteAfterTime":  # the hour after the recording
            assert shown[name] == value
    ids = [resource.id for resource in template.resources]
    for found, known in zip(ids, wanted.get("validatedResources", []), strict=False):
        same = found.rsplit("/", 1)[0] if found.rsplit("/", 1)[-1].startswith(_GENERATED) else found
        assert known["id"].startswith(same)
    waiting = [resource for resource in template.resources if resource.needs or resource.asks]
    assert len(waiting) == len(wanted["dependencies"])
