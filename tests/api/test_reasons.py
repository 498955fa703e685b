"""Reasons: every one is emitted and explained, and a code of Azure's is never taken for ours."""

import ast
import copy
import re
from pathlib import Path

import pytest

from reconciler.api.reasons import AzureCode, Reason, read_reason
from tests.docs.conditions import PAGE
from tests.docs.conditions import page as conditions_page

CODE = Path(__file__).parents[2] / "reconciler"
# A reason here is only compared with: that a line reads it does not make anybody emit it.
READS = (ast.Compare, ast.Set, ast.MatchValue)


def test_the_page_is_generated_from_the_reasons():
    """docs/conditions.md holds each reason's cause and remedy; `python -m tests.docs.conditions`
    writes them.
    """
    text = PAGE.read_text()
    assert text == conditions_page(text)
    documented = re.findall(r"^\| `(\w+)` \|", text.partition("## Reasons")[2], re.MULTILINE)
    assert documented == [reason.value for reason in Reason]


def test_every_documented_reason_is_emitted():
    """A reason that no line of the reconciler puts into an error, a condition or an event is not
    documented, and there is none beside `Reason`.
    """
    emitted = set()
    for tree in _trees():
        emitted |= _emitted(tree)
    assert {Reason[name] for name in emitted} == set(Reason)


def test_a_reason_that_is_only_compared_counts_as_not_emitted():
    """The search tells a reason that is given from one that is only asked about."""
    text = "if error.reason in {Reason.MISSING} or r is Reason.LOADED: raise Busy(Reason.DELETED)"
    assert _emitted(ast.parse(text)) == {"DELETED"}


def test_no_reason_is_compared_with_a_literal():
    """`x.reason == "AwaitingApproval"` would outlive the reason it names."""
    literal = [
        ast.unparse(node)
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and "reason" in {getattr(side, "attr", "") for side in (node.left, *node.comparators)}
        and any(isinstance(side, ast.Constant) and side.value for side in _sides(node))
    ]
    assert not literal


@pytest.mark.parametrize("code", ["InternalError", "Azure:InternalError", "Internal Error\n|"])
def test_a_code_of_azure_is_never_one_of_ours(code):
    """Azure has an `InternalError` too; it is shown with its prefix, without what could break a
    table, and survives being written, read and copied.
    """
    ours = AzureCode(code)
    assert ours == "Azure:InternalError"
    assert ours not in set(Reason)
    assert read_reason(str(ours)) == copy.deepcopy(ours) == ours


def test_an_unknown_reason_is_refused():
    """What another release wrote is observed again instead of shown without a meaning."""
    with pytest.raises(ValueError, match="ModelFailed"):
        read_reason("ModelFailed")


def _trees():
    return [ast.parse(file.read_text()) for file in CODE.rglob("*.py") if file.name != "reasons.py"]


def _emitted(tree):
    read = {
        id(inner) for node in ast.walk(tree) if isinstance(node, READS) for inner in ast.walk(node)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Reason"
        and id(node) not in read
    }


def _sides(node):
    for side in (node.left, *node.comparators):
        yield from side.elts if isinstance(side, (ast.Set, ast.Tuple, ast.List)) else [side]
