"""A value is changed in a YAML text and every other letter stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.yaml_edit import LEFT_OUT, EditError, edited, plain, render

TEXT = """\
# the team's documents
kind: Environment
spec: {tags: {team: "red"}, location: westus3}   # one line
---
kind: InferenceService
spec:
  code: ./code      # a comment

  command: ["python3", 'app.py']
  env:
    # which colour
    - name: COLOUR   # its name
      value: 'green'
    - {name: MODE, value: "a"}
  args:
  - one
  - two   # the second
  scale: &scale
    minReplicas: 1
  ingress:
  # the end
"""


@pytest.mark.parametrize(
    ("steps", "value", "before", "after"),
    [
        ("scale.minReplicas", 2, "minReplicas: 1", "minReplicas: 2"),
        ("scale.maxReplicas", 3, "minReplicas: 1\n", "minReplicas: 1\n    maxReplicas: 3\n"),
        ("ingress.external", False, "ingress:\n", "ingress: {external: false}\n"),
        ("targetPort", 80, "  ingress:\n", "  ingress:\n  targetPort: 80\n"),
        ("code", "./it's here", "./code  ", '"./it\'s here"  '),
        ("command", ["python3", "it's"], "'app.py'", "'it''s'"),
        ("command", ["python3"], ", 'app.py'", ""),
        ("command", ["python3", "app.py", "80"], "'app.py']", "'app.py', \"80\"]"),
        ("args", ["one"], "  - two   # the second\n", ""),
        ("args", ["one", "two", "on"], "second\n", "second\n  - on\n"),
        ("args", ["one", "3"], "two ", '"3" '),
        ("code", LEFT_OUT, "  code: ./code      # a comment\n", ""),
        ("args", LEFT_OUT, "  args:\n  - one\n  - two   # the second\n", ""),
        (
            "env",
            [{"name": "COLOUR", "value": "red"}, {"name": "MODE", "value": "a"}],
            "'green'",
            "'red'",
        ),
        ("env", [{"name": "COLOUR", "value": "green"}], '    - {name: MODE, value: "a"}\n', ""),
        (
            "env",
            [{"name": "MODE", "value": "b"}, {"name": "NEW", "value": "x y"}],
            "    - name: COLOUR   # its name\n      value: 'green'\n"
            '    - {name: MODE, value: "a"}\n',
            '    - {name: MODE, value: "b"}\n    - {name: NEW, value: "x y"}\n',
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_only_the_value_changes(steps, value, before, after, newline):
    """A scalar keeps its quotes; a new field stands after the others; one that goes takes its line
    along.
    """
    text, old, new = (each.replace("\n", newline) for each in (TEXT, before, after))
    assert text.count(old) == 1
    changed = edited(text, 1, {("spec", *steps.split(".")): value})
    assert changed == text.replace(old, new)


def test_brackets_keep_theirs():
    """In a document on one line."""
    changes = {("spec", "tags", "team"): "blue", ("spec", "tags", "cost"): "4711"}
    changed = edited(TEXT, 0, {**changes, ("spec", "location"): LEFT_OUT})
    line = 'spec: {tags: {team: "blue", cost: "4711"}}   # one line'
    assert line in changed
    assert changed.partition("---")[2] == TEXT.partition("---")[2]


ALIASES = """\
base: &base {minReplicas: 1, maxReplicas: 2}
name: &name phi
spec:
  scale:
    <<: *base
  other: *name
  third: *base
"""


def test_what_a_merge_brings_is_overridden():
    """The anchor stays as it is for the others."""
    changed = edited(ALIASES, 0, {("spec", "scale", "minReplicas"): 0})
    assert changed == ALIASES.replace("<<: *base\n", "<<: *base\n    minReplicas: 0\n")
    changed = edited(ALIASES, 0, {("spec", "other"): "psi"})
    assert changed == ALIASES.replace("other: *name", "other: psi")
    changed = edited(ALIASES, 0, {("spec", "third", "minReplicas"): 0})
    assert changed == ALIASES.replace("third: *base", "third: {minReplicas: 0, maxReplicas: 2}")


@pytest.mark.parametrize("steps", [("name",), ("base", "minReplicas")])
def test_what_others_use_is_refused(steps):
    """The value of an anchor is used elsewhere too."""
    with pytest.raises(EditError, match="is used elsewhere too"):
        edited(ALIASES, 0, {steps: 7})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(old=VALUES, new=VALUES, block=st.booleans())
def test_any_value_becomes_any_other_or_the_text_stays(old, new, block):
    """Whatever was there, the result is read as the new value, and what stands beside it is as it
    was.
    """
    body = _block(old, 2) if block else f" {render(old)}"
    text = f"a: 1 # one\nfield:{body} \nz: 'last'   # end\n"
    if plain(text)[0].get("field") != old:
        return  # this text does not say it
    try:
        changed = edited(text, 0, {("field",): new})
    except EditError:
        return
    assert plain(changed)[0]["a"] == 1
    assert changed.startswith("a: 1 # one\n")
    assert changed.endswith("z: 'last'   # end\n")


def _block(value, indent):
    space = " " * indent
    if isinstance(value, dict) and value:
        return "".join(f"\n{space}{key}:{_block(each, indent + 2)}" for key, each in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{space}- {render(each)}  # c" for each in value)
    return f" {render(value)}"
