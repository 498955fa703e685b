"""`import azure` on resources of any shape: each becomes a valid document, or has a reason why not."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from reconciler.api.kinds import Kind
from reconciler.api.manifest import ManifestError, parse
from reconciler.composition import compose
from reconciler.composition.found_documents import (
    FoundDocument,
    FoundEnvironment,
    environment_of,
    hub_models,
    later_revision,
    service_of,
    text_of,
    unsaid,
)
from reconciler.kinds.service.app_body import whole
from tests.properties.test_inverse import FILE, WORLD, leaves
from tests.properties.written import CODES, ENVIRONMENTS, MODELS, documents
from tests.properties.written import text_of as written_as

# Azure keeps to the types of its schema, and leaves out or nulls anything.
STRANGE: dict[type, list[Any]] = {
    str: [None, "", "x", "../../x", "Ü", "no", "*/5 * * * *"],
    int: [None, 0, -1, 10**9],
    float: [None, 0.0, 7.5],
    bool: [None, True, False],
    dict: [None, {}],
    list: [None, []],
}


@settings(max_examples=50, deadline=None, phases=[Phase.generate])
@given(environment=ENVIRONMENTS, service=MODELS | CODES, data=st.data())
def test_a_resource_of_any_shape_has_a_document_or_a_reason(
    environment: Any, service: Any, data: Any
) -> None:
    """Whatever another tool wrote anywhere in the app or its environment, and whatever is gone."""
    text = written_as(documents({"location": "westus3", **environment}, service))
    try:
        composed = compose(parse(FILE, text.encode()), WORLD)
    except ManifestError:
        assume(False)
    (managed,) = [
        {"name": item.spec.name, **item.spec.body}
        for item in composed.desired
        if item.key.kind == Kind.ENVIRONMENT
    ]
    (app,) = [item.spec for item in composed.desired if item.key.kind == Kind.APP]
    bodies: Any = [copy.deepcopy(managed), {"name": "phi", **copy.deepcopy(whole(app, "/env"))}]
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        body = data.draw(st.sampled_from(bodies), label="resource")
        leaf = data.draw(st.sampled_from([at for at in leaves(body) if len(at) > 1]), label="leaf")
        cut = leaf[: data.draw(st.integers(2, len(leaf)), label="depth")]
        inner = body
        for step in cut[:-1]:
            inner = inner[step]
        there = inner[cut[-1]]
        if there is not None:
            inner[cut[-1]] = data.draw(st.sampled_from(STRANGE[type(there)]), label="value")
    place = environment_of(FoundEnvironment(bodies[0]), "rg")
    why = unsaid([place])
    if why:
        assert why.strip()
        return
    made = service_of(bodies[1], place, bodies, None)
    later_revision(bodies[1])
    hub_models(bodies)
    if isinstance(made, FoundDocument):
        said = unsaid([place, made])
        assert said or parse(FILE, "---\n".join(map(text_of, (place, made))).encode())
    else:
        assert made.reason.strip()
