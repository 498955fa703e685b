"""The expression language of deployment templates: what each function says, what is refused, and
that reading loses nothing.
"""

import contextlib
import json
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local_azure.templates import relaxed
from infra.local_azure.templates.errors import Lookup, Needed, TemplateError
from infra.local_azure.templates.evaluation import Names, Scope, render
from infra.local_azure.templates.hashing import template_hash, unique_string

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
ROOT = f"/subscriptions/{SUBSCRIPTION}"
STORE = f"{ROOT}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st"


def scope(**more):
    parameters = {
        "name": "phi",
        "count": 3,
        "tags": {"Owner": "me"},
        "list": [1, 2, 3],
        "none": None,
    }
    return Scope(
        subscription={"id": ROOT, "subscriptionId": SUBSCRIPTION, "tenantId": "t"},
        tenant={"tenantId": "t"},
        environment={"name": "Local", "suffixes": {"storage": "file.localhost"}},
        deployment={"name": "d", "properties": {"mode": "Incremental"}},
        group={"id": f"{ROOT}/resourceGroups/rg", "name": "rg", "location": "swedencentral"},
        parameters=Names(
            "parameter", {key: lambda value=value: value for key, value in parameters.items()}
        ),
        variables=Names("variable", {"greeting": lambda: "hello"}),
        **more,
    )


SAYS = [
    (
        "concat('a', 'b', 1, true())",
        "ab1True",
        "numbers and booleans are written as .NET writes them",
    ),
    ("concat(createArray(1), createArray(2, 3))", [1, 2, 3], "arrays are joined, not written"),
    (
        "format('{0}-{1:D3}-{{x}}-{2,4}', 'a', 7, 'b')",
        "a-007-{x}-   b",
        "composite formats with width and digits",
    ),
    ("format('{0:N1}|{0:X}', 255)", "255.0|FF", "the number formats templates use"),
    ("toUpper(parameters('NAME'))", "PHI", "names of parameters are found in any case"),
    ("parameters('tags').owner", "me", "so are properties"),
    ("parameters('list')[add(0, 1)]", 2, "an index may be computed"),
    (
        "if(equals(parameters('count'), 3), 'yes', parameters('missing'))",
        "yes",
        "the other branch is never evaluated",
    ),
    ("and(true(), or(false(), true()), not(false()))", True, "logic"),
    ("and(false(), parameters('missing'))", False, "logic stops as soon as it can"),
    ("coalesce(parameters('none'), null(), 'x')", "x", "the first that is not null"),
    ("equals(1, true())", False, "types count"),
    (
        "equals(createObject('a', 1, 'b', 2), createObject('b', 2, 'a', 1))",
        True,
        "the order of keys does not",
    ),
    ("contains('abc', 'b')", True, "in a string"),
    ("contains(parameters('tags'), 'OWNER')", True, "a key, in any case"),
    ("contains(parameters('list'), '1')", False, "an element of its type"),
    ("empty('')", True, "nothing"),
    ("empty(parameters('none'))", True, "null is empty"),
    ("length(parameters('tags'))", 1, "of an object"),
    (
        "union(createObject('a', createObject('b', 1)), createObject('A', createObject('c', 2)))",
        {"a": {"b": 1, "c": 2}},
        "deep",
    ),
    ("union(createArray(1, 2), createArray(2, 3))", [1, 2, 3], "without repeats"),
    ("intersection(createArray(1, 2), createArray(2, 3))", [2], "what both have"),
    ("substring('abcdef', 2, 3)", "cde", "by start and length"),
    ("take('abc', 5)", "abc", "more than there is"),
    ("skip(parameters('list'), 2)", [3], "of an array"),
    ("replace('a-b-c', '-', '')", "abc", "every one"),
    ("split('a;b,c', createArray(';', ','))", ["a", "b", "c"], "several marks"),
    ("join(createArray('a', 'b'), '; ')", "a; b", "with a mark between"),
    ("int('-12')", -12, "from a string"),
    ("div(-7, 2)", -3, "truncated toward zero"),
    ("mod(-7, 2)", -1, "with the sign of the first"),
    ("string(createObject('a', createArray(1, true())))", '{"a":[1,true]}', "compact JSON"),
    ("json('{\"cpu\": 0.5}').cpu", 0.5, "numbers that expressions cannot write"),
    ("first('abc')", "a", "letter"),
    ("last(createArray())", None, "of nothing"),
    ("indexOf('abcB', 'B')", 1, "case does not count"),
    ("range(2, 3)", [2, 3, 4], "start and count"),
    ("max(createArray(1, 5, 3))", 5, "of an array"),
    ("items(createObject('b', 1, 'a', 2))[0].key", "a", "sorted by key"),
    ("tryGet(parameters('tags'), 'nobody', 'x')", None, "null where the path ends"),
    (
        "map(createArray('a', 'b'), lambda('x', concat(lambdaVariables('x'), '!')))",
        ["a!", "b!"],
        "a lambda",
    ),
    ("filter(range(0, 5), lambda('n', greater(lambdaVariables('n'), 2)))", [3, 4], "a test"),
    (
        "reduce(range(1, 4), 0, lambda('a', 'b', add(lambdaVariables('a'), lambdaVariables('b'))))",
        10,
        "a fold",
    ),
    ("padLeft('7', 3, '0')", "007", "a mark"),
    ("base64ToString(base64('è'))", "è", "and back"),
    ("uriComponent('a b/c')", "a%20b%2Fc", "escaped"),
    ("trim(' a ')", "a", "blanks"),
    ("'it''s'", "it's", "a doubled quote is one"),
    (
        "dateTimeAdd('2026-01-31T00:00:00Z', 'PT1H30M')",
        "2026-01-31T01:30:00Z",
        "an ISO 8601 duration",
    ),
    (
        "dateTimeAdd('2026-01-31T00:00:00Z', '-P1D', 'yyyyMMdd')",
        "20260130",
        "backwards, in a format",
    ),
    ("resourceGroup().location", "swedencentral", "the group's own view"),
    ("environment().suffixes.storage", "file.localhost", "this cloud's"),
    ("resourceId('Microsoft.Storage/storageAccounts', 'st')", STORE, "in this group"),
    (
        "resourceId('other', 'Microsoft.Storage/storageAccounts', 'st')",
        STORE.replace("/rg/", "/other/"),
        "in another",
    ),
    (
        "resourceId('Microsoft.Storage/storageAccounts/fileServices/shares', 'st', 'default', 's')",
        f"{STORE}/fileServices/default/shares/s",
        "a nested type",
    ),
    (
        "subscriptionResourceId('Microsoft.Resources/resourceGroups', 'a')",
        f"{ROOT}/resourceGroups/a",
        "a group has no provider",
    ),
    (
        "guid('hello', 'world')",
        str(uuid5(UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830"), "hello-world")),
        "version 5 in ARM's namespace",
    ),
]


@pytest.mark.parametrize(("text", "wanted", "reason"), SAYS, ids=[case[0][:40] for case in SAYS])
def test_what_an_expression_says(text, wanted, reason):
    """Each function means what Azure's documents and answers say it means."""
    assert render(f"[{text}]", scope()) == wanted, reason


REFUSED = [
    (
        "[parameters('nobody')]",
        "The template parameter 'nobody' is not found",
        "an undeclared name",
    ),
    ("[variables('nobody')]", "The template variable 'nobody' is not found", "an undeclared name"),
    ("[nonsense('a')]", "The template function 'nonsense' is not valid", "no such function"),
    ("[concat('a'", None, "no bracket at the end is a text"),
    (
        "[concat('a']",
        "expected token 'RightParenthesis' and actual 'EndOfData'",
        "a bracket is missing",
    ),
    ("[concat('a') 'b']", "expected token 'EndOfData'", "something after the end"),
    ("[concat('a', #)]", "unexpected character '#'", "no token"),
    (
        "[parameters('tags').nobody]",
        "property 'nobody' doesn't exist, available properties are 'Owner'",
        "no such property",
    ),
    ("[parameters('list')[7]]", "array index '7' is out of bounds", "no such element"),
    ("[substring('abc', 2, 5)]", "must refer to a location within the string", "beyond the end"),
    ("[add('1', 2)]", "'add' was invoked with invalid parameters", "a wrong type"),
    ("[toLower()]", "'tolower' was invoked with invalid parameters", "a missing argument"),
    ("[div(1, 0)]", "the divisor is zero", "no such number"),
    ("[newGuid()]", "is not expected at this location", "only a default may be random"),
    ("[copyIndex()]", "'copyIndex' is not expected at this location", "no loop"),
    ("[json('{')]", "cannot be converted to the JSON object", "not JSON"),
    (
        "[" + "concat(" * 3000 + "'a'" + ")" * 3000 + "]",
        "nested too deeply",
        "deeper than anything real",
    ),
    ("[concat('" + "x" * 25000 + "')]", "length limit exceeded", "longer than ARM takes"),
]


@pytest.mark.parametrize(
    ("text", "wanted", "reason"), REFUSED, ids=[case[2] + str(n) for n, case in enumerate(REFUSED)]
)
def test_what_is_refused(text, wanted, reason):
    """A wrong expression is a sentence about what is wrong, never a crash."""
    if wanted is None:
        assert render(text, scope()) == text
        return
    with pytest.raises(TemplateError) as refused:
        render(text, scope())
    assert wanted in str(refused.value), reason


def test_loops_make_arrays():
    """`copy` among properties unrolls, with the indices of each loop by name."""
    body = {
        "copy": [
            {
                "name": "disks",
                "count": 2,
                "input": {"lun": "[copyIndex('disks')]", "n": "[copyIndex('disks', 1)]"},
            }
        ]
    }
    assert render(body, scope()) == {"disks": [{"lun": 0, "n": 1}, {"lun": 1, "n": 2}]}


def test_two_brackets_are_a_text():
    """`[[` says that a text only looks like an expression."""
    assert render({"a": "[[not one]", "b": "[variables('greeting')]"}, scope()) == {
        "a": "[not one]",
        "b": "hello",
    }


def test_a_reference_is_asked_for_and_then_known():
    """What only Azure knows is asked for by id and version; the answer goes into the next
    evaluation.
    """
    wanted = Lookup("GET", STORE, "2024-01-01")
    text = f"[reference('{STORE}', '2024-01-01').primaryEndpoints.file]"
    with pytest.raises(Needed) as needed:
        render(text, scope())
    assert needed.value.request == wanted
    answers = {wanted: {"id": STORE, "properties": {"primaryEndpoints": {"file": "https://f/"}}}}
    assert render(text, scope(answers=answers)) == "https://f/"
    keys = f"[listKeys('{STORE}', '2024-01-01').keys[0].value]"
    with pytest.raises(Needed) as needed:
        render(keys, scope())
    assert needed.value.request == Lookup("POST", f"{STORE}/listkeys", "2024-01-01")
    assert render(keys, scope(defer=True)) == keys


MACHINE = (
    "/subscriptions/31e9f9a0-9fd2-4294-a0a3-0101246d9700/resourceGroups/rg-modm201-20230913120256"
    "/providers/Microsoft.Compute/virtualMachines/bobjacmodm201"
)
VECTORS = [
    (("hello", "world"), "a7wkljktk6wne"),
    (("tyeth",), "zcztcwvu6iyg6"),
    (("",), "aaaaaaaaaaaaa"),
    (("test",), "rbgf3xv4ufgzg"),
    ((f"/subscriptions/{'0' * 8}-0000-0000-0000-{'0' * 12}", "resource-id"), "cwvxuqg24sifi"),
    ((MACHINE,), "yvjxno3je5on2"),
]


@pytest.mark.parametrize(("parts", "wanted"), VECTORS)
def test_unique_strings_are_azures_own(parts, wanted):
    """The values that Azure gave to others for these texts."""
    assert unique_string(*parts) == wanted


def test_template_hashes():
    """An empty template hashes as in Azure, whatever its metadata; a compiled one keeps its
    compiler's hash.
    """
    schema = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
    empty = {
        "$schema": schema,
        "contentVersion": "1.0.0.0",
        "parameters": {},
        "variables": {},
        "resources": [],
        "outputs": {},
    }
    assert template_hash(empty) == "14737569621737367585"
    assert template_hash({**empty, "metadata": {"author": "me"}}) == "14737569621737367585"
    assert (
        template_hash(
            {**empty, "metadata": {"_generator": {"name": "bicep", "templateHash": "123"}}}
        )
        == "123"
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_relaxed_reading_agrees_with_json(value, ascii_only, indent):
    """Whatever JSON can say is read as json.loads reads it."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert relaxed.read(text).value == json.loads(text)


@given(st.text())
def test_anything_else_is_refused_in_one_way(text):
    """No text crashes the reader: it is read, or it is a ValueError."""
    with contextlib.suppress(ValueError):
        relaxed.read(text)


@given(st.text(alphabet="[]()'.,ab01 -éconcat"))
def test_no_expression_crashes_the_evaluator(text):
    """Any text between brackets evaluates or is a template error."""
    with contextlib.suppress(TemplateError, Needed):
        render(f"[{text}]", scope())


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


@given(st.lists(st.text(), max_size=5))
def test_texts_pass_through_functions_whole(parts):
    """Quoting, joining and splitting give back what went in."""
    array = f"createArray({', '.join(map(quoted, parts))})"
    assert render(f"[{array}]", scope()) == parts
    assert render(f"[concat({', '.join(map(quoted, parts)) or quoted('')})]", scope()) == "".join(
        parts
    )
    assert render(f"[json(string({array}))]", scope()) == parts


def test_the_dialect_of_the_az_cli():
    """An unquoted key, comments, quotes of both kinds, line breaks in strings and a last comma,
    with their places.
    """
    text = (
        '{"properties": {"mode": "Incremental", template:{\r\n  // a comment\r\n  \'a\':'
        ' "one\r\ntwo", /* b */ "c": [1,],\r\n}}}'
    )
    document = relaxed.read(text)
    assert document.value == {
        "properties": {"mode": "Incremental", "template": {"a": "one\r\ntwo", "c": [1]}}
    }
    assert document.line("properties.template.c[0]") == (4, 21)
    assert (
        document.line("properties.template.nobody")
        == document.line("properties.template")
        == (1, 49)
    )
