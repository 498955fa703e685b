"""The table of kinds is the only list of them."""

import ast
from pathlib import Path

import pytest

import reconciler
from reconciler.api.kinds import Kind, Scope
from reconciler.arm.clients import Arm
from reconciler.arm.ownership import Ownership
from reconciler.kinds import kinds_for
from reconciler.kinds.share.shares import Shares
from reconciler.settings import Settings

HOME = Path(reconciler.__file__).parent
TABLE = HOME / "api" / "kinds.py"
SETTINGS = Settings(
    target="azure",
    subscription_id="00000000-0000-0000-0000-000000000001",
    credential="managed-identity",
)


def _names_in(path: Path) -> list[str]:
    names = {str(kind) for kind in Kind}
    return [
        f"{path.relative_to(HOME)}:{node.lineno}: {node.value}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]


def test_no_other_file_writes_the_name_of_a_kind():
    """A name of a kind is a string literal in the table and in no other file of the reconciler."""
    assert len(_names_in(TABLE)) == len(Kind)
    found = [name for path in HOME.rglob("*.py") if path != TABLE for name in _names_in(path)]
    assert found == []


def test_each_line_of_the_table_is_a_class_of_that_name():
    """`kinds_for` builds every kind of the table, in its order."""
    arm = Arm(SETTINGS)
    made = kinds_for(arm, Ownership("docs-1"), Shares(arm, Ownership("docs-1")))
    assert [kind.name for kind in made.values()] == list(made) == list(Kind)
    assert [type(kind).__name__ for kind in made.values()] == list(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_line_of_the_table_is_whole(kind):
    """A kind that is an ARM resource can be listed, and only what is not below another has tags."""
    if kind.arm is None:
        with pytest.raises(ValueError, match=kind):
            _ = kind.listing
        assert not kind.tagged
        return
    assert kind.listing.api_version == kind.arm.api_version
    assert kind.arm.name.rsplit("/", 1)[-1].lower() in kind.listing.path.lower()
    assert kind.tagged is (kind.arm.scope in (Scope.SUBSCRIPTION, Scope.RESOURCE_GROUP))
