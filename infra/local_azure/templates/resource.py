"""One resource of a template: what is sent for it, and what its expressions read. Used by
`template` and `dependencies`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import Lookup, Needed, TemplateError
from .evaluation import Scope, evaluate, render
from .expression import FunctionCall, Literal, Member, Node, is_expression, parse

_CONTROL = {
    "type",
    "name",
    "apiVersion",
    "dependsOn",
    "condition",
    "copy",
    "comments",
    "metadata",
    "scope",
    "resources",
    "existing",
    "resourceGroup",
    "subscriptionId",
}
DEPLOYMENT = "microsoft.resources/deployments"


@dataclass
class Resource:
    """One resource after its loop was unrolled. `needs` are the ids it waits for, `asks` what its
    expressions read.
    """

    id: str
    kind: str
    name: str
    version: str
    raw: Mapping[str, Any]
    scope: Scope
    path: str
    symbol: str
    enabled: bool
    loop: str = ""
    needs: list[str] = field(default_factory=list)
    asks: list[Lookup] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.id.lower()

    @property
    def existing(self) -> bool:
        return bool(self.raw.get("existing"))

    def body(self, *, defer: bool = False) -> dict[str, Any]:
        """What is sent to the resource's provider; Needed when a value must be fetched first,
        unless deferred.
        """
        scope = replace(self.scope, defer=defer)
        sent = {key: value for key, value in self.raw.items() if key not in _CONTROL}
        inner = self.inner
        if inner is not None:  # a nested template is its own deployment's to evaluate
            properties = {
                key: value for key, value in sent["properties"].items() if key != "template"
            }
            return {
                **render({**sent, "properties": None}, scope),
                "properties": {**render(properties, scope), "template": inner},
            }
        return self._whole(render(sent, scope))

    def check(self) -> None:
        """Evaluate whatever can be evaluated before anything is deployed."""
        try:
            self.body(defer=True)
        except TemplateError as wrong:
            raise self.fail(wrong) from None

    @property
    def inner(self) -> Any:
        """The template of a nested deployment with a scope of its own, else None."""
        properties = self.raw.get("properties")
        if self.kind.lower() != DEPLOYMENT or not isinstance(properties, dict):
            return None
        own = (properties.get("expressionEvaluationOptions") or {}).get("scope", "outer")
        return properties.get("template") if str(own).lower() == "inner" else None

    def _whole(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise TemplateError(
                f"The template resource '{self.name}' {{at}} is not an object.", self.path
            )
        return body

    def fail(self, wrong: TemplateError) -> TemplateError:
        """ARM's sentence about an expression of this resource."""
        if wrong.path:
            return wrong
        return TemplateError(
            f"Unable to process template language expressions for resource '{self.id}' {{at}}."
            f" '{wrong.text}'",
            self.path,
        )


def asked(resource: Resource) -> Iterator[Lookup]:
    """What `reference` and `list*` in a resource's body read, where that can be said before it is
    deployed.
    """
    body = {key: value for key, value in resource.raw.items() if key not in _CONTROL}
    if resource.inner is not None:
        body["properties"] = {
            key: value for key, value in resource.raw["properties"].items() if key != "template"
        }
    seen: set[Lookup] = set()
    for node in _calls(body):
        try:
            evaluate(node, resource.scope)
        except Needed as need:
            if need.request not in seen:
                seen.add(need.request)
                yield need.request
        except TemplateError as wrong:
            raise resource.fail(wrong) from None


def _calls(value: Any) -> Iterator[Node]:
    """Each `reference(…)` and `list…(…)` call in a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _calls(item)
    elif isinstance(value, list):
        for item in value:
            yield from _calls(item)
    elif is_expression(value):
        yield from _within(parse(value))


def _within(node: Node) -> Iterator[Node]:
    match node:
        case FunctionCall(name, arguments):
            if name == "reference" or (name.startswith("list") and "." not in name):
                yield node
            for argument in arguments:
                yield from _within(argument)
        case Member(of, key):
            yield from _within(of)
            yield from _within(key)
        case Literal():
            return
