"""Bicep, as much of it as `infra/provision` uses, to an ARM template, as the Bicep compiler writes
one.

There is no Bicep compiler to install here. The grammar is tree-sitter's; a symbol that is not
declared, an unused parameter and whatever else this does not know is an error.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_OPERATORS = {"??": "coalesce", "==": "equals", "&&": "and", "||": "or", "+": "add", "-": "sub"}
_DECORATORS = {"minValue", "maxValue", "minLength", "maxLength"}


class BicepError(Exception):
    """line:column and what is wrong."""

    def __init__(self, node: Node, text: str) -> None:
        row, column = node.start_point
        super().__init__(f"{row + 1}:{column + 1}: {text}")


@dataclass
class Resource:
    """A declared resource; `name` is the inside of an expression."""

    kind: str
    version: str
    body: Node
    existing: bool
    name: str = ""
    names: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"resourceId('{self.kind}', {', '.join(self.names)})"


class Compiler:
    """One file. `used` are the symbols that something refers to; `needs` those of the resource at
    hand.
    """

    def __init__(self, path: Path) -> None:
        self.used: set[str] = set()
        self.needs: set[str] = set()
        root = Parser(Language(tree_sitter_bicep.language())).parse(path.read_bytes()).root_node
        self._refuse_errors(root)
        self.parameters = self._declared(root, "parameter_declaration")
        self.variables = self._declared(root, "variable_declaration")
        self.resources = {
            text(node.named_children[0]): self._resource(node)
            for node in root.named_children
            if node.type == "resource_declaration"
        }
        self.outputs = self._declared(root, "output_declaration")
        for name, resource in self.resources.items():
            self._name(name, resource)

    def template(self) -> dict[str, Any]:
        result = {
            "$schema": SCHEMA,
            "languageVersion": "2.0",
            "contentVersion": "1.0.0.0",
            "parameters": {name: self._parameter(node) for name, node in self.parameters.items()},
            "variables": {
                name: self._value(node.named_children[1]) for name, node in self.variables.items()
            },
            "resources": {name: self._body(name, each) for name, each in self.resources.items()},
            "outputs": {
                name: {
                    "type": text(node.named_children[1]),
                    "value": self._value(node.named_children[2]),
                }
                for name, node in self.outputs.items()
            },
        }
        if unused := sorted((set(self.parameters) | set(self.variables)) - self.used):
            raise BicepError(
                (self.parameters | self.variables)[unused[0]], f"{unused[0]} is never used"
            )
        return result

    def _declared(self, root: Node, kind: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for node in root.named_children:
            if node.type == kind:
                name = text(node.named_children[0])
                if name in found:
                    raise BicepError(node, f"{name} is declared twice")
                found[name] = node
        return found

    def _refuse_errors(self, node: Node) -> None:
        if node.type == "ERROR" or node.is_missing:
            raise BicepError(node, f"not Bicep: {text(node)[:60]!r}")
        for child in node.children:
            self._refuse_errors(child)

    def _parameter(self, node: Node) -> dict[str, Any]:
        kind = node.named_children[1]
        nullable = bool(kind.named_children) and kind.named_children[0].type == "nullable_type"
        result: dict[str, Any] = {"type": text(kind).rstrip("?")} | (
            {"nullable": True} if nullable else {}
        )
        if len(node.named_children) > 2:
            result["defaultValue"] = self._value(node.named_children[2])
        before = node.prev_named_sibling
        for decorator in (
            before.named_children if before is not None and before.type == "decorators" else []
        ):
            name, arguments = decorator.named_children[0].named_children
            value = self._value(arguments.named_children[0]) if arguments.named_children else True
            if text(name) == "description":
                result["metadata"] = {"description": value}
            elif text(name) in _DECORATORS:
                result[text(name)] = value
            else:
                raise BicepError(decorator, f"unknown decorator {text(name)}")
        return result

    def _resource(self, node: Node) -> Resource:
        kind, _, version = self._literal(node.named_children[1]).partition("@")
        return Resource(
            kind, version, node.named_children[-1], " existing " in text(node).split("{")[0]
        )

    def _name(self, symbol: str, resource: Resource) -> None:
        """The names of the segments, the parents' first."""
        properties = members(resource.body)
        own = self._expression(properties["name"])
        parent = properties.get("parent")
        if parent is not None:
            above = self._known(parent)
            if not above.names:
                self._name(text(parent), above)
            resource.names = [*above.names, own]
        else:
            resource.names = [own]
        if len(resource.names) != resource.kind.count("/"):
            raise BicepError(
                properties["name"],
                f"{symbol} needs {resource.kind.count('/')} names and has {len(resource.names)}",
            )
        holes = "/".join(f"{{{place}}}" for place in range(len(resource.names)))
        resource.name = (
            own if len(resource.names) == 1 else f"format('{holes}', {', '.join(resource.names)})"
        )

    def _known(self, node: Node) -> Resource:
        if text(node) not in self.resources:
            raise BicepError(node, f"{text(node)} is no resource")
        return self.resources[text(node)]

    def _body(self, symbol: str, resource: Resource) -> dict[str, Any]:
        properties = members(resource.body)
        self.needs = set()
        head = {"type": resource.kind, "apiVersion": resource.version, "name": f"[{resource.name}]"}
        kept = {
            name: self._value(node)
            for name, node in properties.items()
            if name not in {"name", "parent", "dependsOn"}
        }
        if "parent" in properties:
            self._ask(text(properties["parent"]))
        for node in properties["dependsOn"].named_children if "dependsOn" in properties else []:
            self._known(node)
            self._ask(text(node))
        existing = {"existing": True} if resource.existing else {}
        return {
            **existing,
            **head,
            **kept,
            **({"dependsOn": sorted(self.needs)} if self.needs and not resource.existing else {}),
        }

    def _ask(self, symbol: str) -> None:
        """What an existing resource hangs on is waited for in its place."""
        resource = self.resources[symbol]
        if not resource.existing:
            self.needs.add(symbol)
        elif "parent" in members(resource.body):
            self._ask(text(members(resource.body)["parent"]))

    def _value(self, node: Node) -> Any:
        """A value of the template: literals as they are, everything else as an expression."""
        if node.type == "object":
            return {name: self._value(child) for name, child in members(node).items()}
        if node.type == "array":
            return [self._value(child) for child in node.named_children]
        if node.type == "number":
            return int(text(node))
        if node.type == "boolean":
            return text(node) == "true"
        if node.type == "null":
            return None
        if node.type == "string" and not any(
            child.type == "interpolation" for child in node.named_children
        ):
            literal = self._literal(node)
            return f"[{literal}" if literal.startswith("[") and literal.endswith("]") else literal
        return f"[{self._expression(node)}]"

    def _expression(self, node: Node) -> str:
        match node.type:
            case "string":
                return self._string(node)
            case "number":
                return text(node)
            case "boolean" | "null":
                return f"{text(node)}()"
            case "identifier":
                return self._symbol(node)
            case "parenthesized_expression":
                return self._expression(node.named_children[0])
            case "binary_expression":
                operator = text(node.children[1])
                return f"{_OPERATORS[operator]}({', '.join(map(self._expression, node.named_children))})"
            case "ternary_expression":
                return f"if({', '.join(map(self._expression, node.named_children))})"
            case "call_expression":
                return self._call(node)
            case "member_expression" | "subscript_expression":
                return self._member(node)
        raise BicepError(node, f"{node.type} is not known here")

    def _symbol(self, node: Node) -> str:
        name = text(node)
        self.used.add(name)
        if name in self.parameters:
            return f"parameters('{name}')"
        if name in self.variables:
            return f"variables('{name}')"
        raise BicepError(node, f"{name} is not declared")

    def _call(self, node: Node) -> str:
        function, arguments = node.named_children
        values = [self._expression(child) for child in arguments.named_children]
        if function.type == "member_expression":
            resource, name = (
                self._known(function.named_children[0]),
                text(function.named_children[1]),
            )
            self._ask(text(function.named_children[0]))
            return f"{name}({', '.join([resource.id, repr(resource.version), *values])})"
        return f"{text(function)}({', '.join(values)})"

    def _member(self, node: Node) -> str:
        of, key = node.named_children
        if of.type == "identifier" and text(of) in self.resources:
            resource = self.resources[text(of)]
            if text(key) == "name":
                self._ask(text(of))
                return resource.names[-1]
            self._ask(text(of))
            return {
                "id": resource.id,
                "properties": f"reference({resource.id}, '{resource.version}')",
            }[text(key)]
        if node.type == "subscript_expression":
            return f"{self._expression(of)}[{self._expression(key)}]"
        return f"{self._expression(of)}.{text(key)}"

    def _string(self, node: Node) -> str:
        pieces, values = "", []
        for child in node.named_children:
            if child.type == "interpolation":
                pieces += f"{{{len(values)}}}"
                values.append(self._expression(child.named_children[0]))
            else:
                content = unescaped(text(child))
                pieces += (
                    content.replace("{", "{{").replace("}", "}}")
                    if len(node.named_children) > 1
                    else content
                )
        quoted = "'" + pieces.replace("'", "''") + "'"
        return f"format({', '.join([quoted, *values])})" if values else quoted

    def _literal(self, node: Node) -> str:
        return "".join(unescaped(text(child)) for child in node.named_children)


def members(node: Node) -> dict[str, Node]:
    """The properties of an object by name."""
    return {
        text(child.named_children[0]): child.named_children[1]
        for child in node.named_children
        if child.type == "object_property"
    }


def text(node: Node) -> str:
    return (node.text or b"").decode()


def unescaped(value: str) -> str:
    return re.sub(
        r"\\(.)", lambda match: {"n": "\n", "r": "\r", "t": "\t"}.get(match[1], match[1]), value
    )
