"""The examples and the schema that editors use: valid, current, and of one mind with the loader."""

from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from reconciler.api import schema
from reconciler.api.manifest import load

MANIFESTS = Path(__file__).parents[2] / "manifests"
EXAMPLES = MANIFESTS / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))


@pytest.mark.parametrize(
    "path",
    [EXAMPLES, EXAMPLES / "team", EXAMPLES / "web-api.yaml", EXAMPLES / "environment.yaml"],
    ids=str,
)
def test_examples_load(path):
    """Each example is valid as it stands, so copying one is a start."""
    assert load([path]).documents


def test_the_schema_file_is_current():
    """`python -m reconciler.api.schema > manifests/schema/moorage.schema.json` has been run since
    the last change.
    """
    assert (MANIFESTS / "schema" / "moorage.schema.json").read_text() == schema.text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_editors_agree_with_the_loader(file):
    """What the loader accepts, the schema accepts, and each example names the schema by a path that
    exists.
    """
    validator = jsonschema.Draft202012Validator(schema.json_schema())
    for document in YAML(typ="safe", pure=True).load_all(file):
        validator.validate(document)
    reference = file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / reference).resolve() == MANIFESTS / "schema" / "moorage.schema.json"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "Service"}, "an unknown kind"),
        ({"metadata": {"name": "Phi_3"}}, "a name Azure refuses"),
        ({"spec": {"model": {"source": "./m"}, "modle": 1}}, "an unknown key"),
        ({"spec": {"environment": "dev"}}, "neither model nor code"),
        (
            {"spec": {"model": {"source": "./m"}, "rollout": {"strategy": "Slow"}}},
            "a word that is none",
        ),
        (
            {"spec": {"model": {"source": "./m"}, "scale": {"maxReplicas": "2"}}},
            "a text for a number",
        ),
        (
            {"spec": {"model": {"source": "./m"}, "engine": {"args": {"port": 1}}}},
            "a flag that is Moorage's",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_schema_refuses_what_an_editor_should_underline(change, reason):
    """The schema is more than a list of keys."""
    document = {
        "kind": "InferenceService",
        "metadata": {"name": "phi"},
        "spec": {"model": {"source": "./m"}},
    } | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema.json_schema()).validate(document)


def test_the_schema_takes_words_in_any_case():
    """An editor underlines nothing that the loader reads."""
    spec = {
        "model": {"source": "./m"},
        "rollout": {"strategy": "bluegreen"},
        "deletionPolicy": "RETAIN",
    }
    document = {"kind": "InferenceService", "metadata": {"name": "phi"}, "spec": spec}
    jsonschema.Draft202012Validator(schema.json_schema()).validate(document)
