"""An amount in another form than the field takes is refused with the form that it takes."""

import re

import pytest

from reconciler.api.documents import Environment, InferenceService
from reconciler.api.fields import Fault
from reconciler.api.manifest import load
from reconciler.api.model_fields import fields_at, places_of, refusal_of
from reconciler.api.problems import ManifestError

SERVICE = """\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {name: web}
spec:
  code: ./code
  command: [x]
  targetPort: 80
"""


def said(folder, line):
    """What is wrong with a service that has this line."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "m.yaml").write_text(f"{SERVICE}  {line}\n")
    try:
        load([folder / "m.yaml"])
    except ManifestError as error:
        return [problem.hint for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("line", "hint", "reason"),
    [
        ("resources: {memory: 2}", "write 2Gi", "a number alone is in Gi"),
        ("resources: {memory: 0.5}", "write 0.5Gi", "half a Gi is the smallest"),
        ("resources: {memory: 2048}", "write 2Gi", "nobody has 2048 Gi: these are Mi"),
        ("resources: {memory: '2'}", "write 2Gi", "quotes do not help"),
        ("resources: {memory: 2GB}", "write 2Gi", "another unit"),
        ("resources: {memory: 2 gib}", "write 2Gi", "spelt in another way"),
        ("resources: {memory: '1,5Gi'}", "write 1.5Gi", "a comma"),
        ("resources: {memory: 2048Mi}", "write 2Gi", "Kubernetes takes it"),
        ("resources: {memory: 500M}", "write 0.5Gi", "Container Apps has steps of half a Gi"),
        ("resources: {memory: 0Gi}", "such as 8Gi", "nothing runs without memory"),
        ("resources: {memory: 2147483648}", "such as 8Gi", "bytes are not guessed"),
        ("resources: {memory: much}", "such as 8Gi", "no amount"),
        ("resources: {cpu: 500m}", "write 0.5", "Kubernetes takes it"),
        ("resources: {cpu: '0,5'}", "write 0.5", "a comma"),
        ("resources: {cpu: '0.5'}", "write 0.5, without quotes", "a text"),
        ("resources: {cpu: 1 core}", "write 1", "a unit that nobody needs"),
        ("resources: {cpu: 1 horse}", "write a number", "an unknown unit is not guessed"),
        ("resources: {cpu: -1}", "write more than 0", "less than nothing"),
        ("terminationGracePeriodSeconds: 2m", "write 120", "its name says seconds"),
        ("scale: {cooldownPeriod: 10m}", "write 600", "its description says seconds"),
        ("scale: {maxReplicas: '2'}", "write 2, without quotes", "a text"),
        ("scale: {maxReplicas: 1.5}", "write a whole number", "half a replica"),
        ("scale: {maxReplicas: two}", "write a whole number", "a word"),
        ("env: [{name: A, value: 1}]", 'put it in quotes: "1"', "any text is right there"),
    ],
)
def test_the_hint_is_what_the_field_takes(tmp_path, line, hint, reason):
    """One hint, which can be copied where it is clear what was meant."""
    (told,) = said(tmp_path, line)
    assert hint in told, reason


def test_a_decimal_comma_between_brackets_is_named(tmp_path):
    """YAML reads `cpu: 0,5` as `cpu: 0` and a key 5."""
    assert "a decimal number has a point, not a comma" in said(tmp_path, "resources: {cpu: 0,5}")


@pytest.mark.parametrize("cpu", [None, 0.25, 0.3, 1, 3.9, 4])
@pytest.mark.parametrize("memory", [None, 0.5, 1.1, 3, 8])
def test_the_pair_that_is_offered_is_one_that_consumption_has(tmp_path, cpu, memory):
    """At least as large as what was asked for, and accepted when it is written."""
    given = {"cpu": cpu, "memory": memory and f"{memory}Gi"}
    asked = {name: value for name, value in given.items() if value is not None}
    hints = said(tmp_path, f"resources: {asked}") if asked else []
    for hint in hints:
        found = re.search(r"write cpu: ([\d.]+) and memory: ([\d.]+)Gi", hint)
        assert found, hint
        assert float(found[1]) >= (cpu or 0)
        assert float(found[2]) >= (memory or 0)
        assert not said(tmp_path, f"resources: {{cpu: {found[1]}, memory: {found[2]}Gi}}")


@pytest.mark.parametrize("document", [InferenceService, Environment])
def test_every_field_can_be_asked_about_a_text(document):
    """Each refuses it with a hint, or takes it, or needs no text."""
    asked = 0
    for place in {place for key in _keys(document) for place in places_of(document, key)}:
        path = tuple(place.split(".")) if place else ()
        for key in fields_at(document, path):
            for text in ("7", "", "no such thing!"):
                fault = refusal_of(document, (*path, key), text)
                assert fault is None or isinstance(fault, Fault)
                asked += 1
    assert asked > 100


def _keys(document, path=()):
    """Every key of a document at any depth."""
    for key in fields_at(document, path):
        yield key
        if len(path) < 8:
            yield from _keys(document, (*path, key))
