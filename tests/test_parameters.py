"""Every process of the suite must make the same tests, or none of them runs any."""

import ast
from pathlib import Path

import pytest

CHANGING = {"uuid", "secrets", "random", "tempfile"}
FILES = sorted(Path(__file__).parent.rglob("test_*.py"))


def changing(tree: ast.AST) -> list[int]:
    """Lines of decorators whose parameters differ from one process to the next."""
    decorators = [
        decorator
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for decorator in function.decorator_list
    ]
    calls = [
        node.func
        for decorator in decorators
        if ".parametrize(" in ast.unparse(decorator)
        for node in ast.walk(decorator)
        if isinstance(node, ast.Call)
    ]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call).split(".")[0] in CHANGING and ast.unparse(call) != "random.Random"
    ]


def test_no_test_is_named_by_what_changes() -> None:
    """No parameter comes from chance, because its test would have another name in
    each process.
    """
    found = [f"{path}:{line}" for path in FILES for line in changing(ast.parse(path.read_text()))]
    assert not found


@pytest.mark.parametrize("made", ["str(uuid.uuid4())", "random.random()", "secrets.token_hex(4)"])
def test_what_changes_is_found(made: str) -> None:
    """A parameter made by chance is found wherever it stands in the list."""
    text = f"@pytest.mark.parametrize('x', [1, ({made}, 2)])\ndef test_it(x): ..."
    assert changing(ast.parse(text)) == [1]
