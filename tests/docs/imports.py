"""What imports what, read from the source of every package."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("reconciler", "serving", "infra")


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; a package goes by its own name."""
    found = {}
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> Iterator[str]:
    """What a module's source imports, anywhere in it: imports for type checking and those inside
    functions count.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, node.module or ""]).strip(".") if node.level else node.module
            for alias in node.names:
                yield f"{base}.{alias.name}"
                yield base or ""


def graph() -> dict[str, set[str]]:
    """Module -> the modules it imports. `from package import module` is the module, not both."""
    known = modules()
    edges: dict[str, set[str]] = {}
    for name, path in known.items():
        found = set(imported(name, path)) & known.keys() - {name}
        inner = {one.rpartition(".")[0] for one in found}
        edges[name] = {one for one in found if one not in inner or known[one].name != "__init__.py"}
    return edges


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            cut = stack.index(name)
            component = sorted(stack[cut:])
            del stack[cut:]
            if len(component) > 1:
                found.append(component)

    for name in sorted(edges):
        if name not in number:
            visit(name)
    return found
