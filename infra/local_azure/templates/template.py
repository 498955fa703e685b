"""A template opened for one deployment: its parameters bound, its loops unrolled, its resources
named and put in order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from . import ids
from .errors import Needed, Request, TemplateError
from .evaluation import Names, Scope, evaluate, iterations, render, unrolled
from .expression import Call, Literal, Member, Node, is_expression, parse
from .parameters import SHOWN, Parameters, camel

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
_SYNTAX = "Please see https://aka.ms/arm-syntax for usage details."


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
    asks: list[Request] = field(default_factory=list)

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


class Template:
    """`resources` in the template's order. TemplateError when anything is wrong that can be known
    before deploying.
    """

    def __init__(self, template: Any, given: Mapping[str, Any], scope: Scope) -> None:
        if not isinstance(template, dict) or "resources" not in template:
            raise TemplateError(
                "Required property 'resources' not found in JSON.", "properties.template"
            )
        if not str(template.get("contentVersion", "")):
            raise TemplateError(
                "Required property 'contentVersion' not found in JSON.", "properties.template"
            )
        self.source = template
        self.parameters = Parameters(template, given, scope)
        functions = {
            f"{space['namespace']}.{name}".lower(): one
            for space in template.get("functions") or []
            for name, one in (space.get("members") or {}).items()
        }
        self.scope = replace(
            scope, parameters=self.parameters.names, functions=functions, named=self._named
        )
        self.scope = replace(
            self.scope,
            variables=Names("variable", self._variables(template.get("variables") or {})),
        )
        self.resources: list[Resource] = []
        for path, symbol, raw in _listed(template["resources"], "properties.template.resources"):
            self.resources += self._expand(path, symbol, raw, "", "")
        self._unique()
        for resource in self.resources:
            resource.needs = self._needs(resource)
            resource.check()
        self._acyclic()

    def outputs(self) -> dict[str, Any]:
        """What the deployment hands out; Needed as long as an answer is missing."""
        result = {}
        for name, one in (self.source.get("outputs") or {}).items():
            if not render(one.get("condition", True), self.scope):
                continue
            word = str(one.get("type", "")).lower()
            if word not in SHOWN:
                raise TemplateError(
                    f"The template output '{name}' is not valid: the type '{word}' is not known."
                )
            shown: dict[str, Any] = {"type": SHOWN[word]}
            if not word.startswith("secure"):
                loop = one.get("copy")
                value = (
                    unrolled(loop, self.scope)
                    if isinstance(loop, dict)
                    else render(one.get("value"), self.scope)
                )
                _fits(name, word, value)
                shown["value"] = value
            result[camel(name)] = shown
        return result

    def _variables(self, declared: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
        """Variables are made when asked for; `copy` among them makes arrays."""
        loops = declared["copy"] if isinstance(declared.get("copy"), list) else []
        plain = {name: value for name, value in declared.items() if not (name == "copy" and loops)}
        made = {name: partial(self._rendered, value) for name, value in plain.items()}
        return made | {str(loop["name"]): partial(self._unrolled, loop) for loop in loops}

    def _rendered(self, value: Any) -> Any:
        return render(value, self.scope)

    def _unrolled(self, loop: Mapping[str, Any]) -> Any:
        return unrolled(loop, self.scope)

    def _expand(self, path: str, symbol: str, raw: Any, kind: str, name: str) -> Iterator[Resource]:
        """The resources that one entry stands for, with those written inside it."""
        if not isinstance(raw, dict) or not raw.get("type") or not raw.get("name"):
            raise TemplateError(
                "The template resource {at} is not valid: it needs a 'type', a 'name' and an"
                " 'apiVersion'.",
                path,
            )
        loop = raw.get("copy")
        scopes = iterations(loop, self.scope) if isinstance(loop, dict) else iter([self.scope])
        for scope in _located(path, lambda: list(scopes)):
            one = self._resource(path, symbol, raw, kind, name, scope)
            one.loop = str((loop or {}).get("name", "")).lower()
            if (
                isinstance(loop, dict)
                and str(loop.get("mode", "")).lower() == "serial"
                and scope.copies[""]
            ):
                one.asks.append(Request("SERIAL", one.loop, str(scope.copies[""])))
            yield one
            if one.inner is None:
                for below, inner_symbol, child in _listed(
                    raw.get("resources") or [], f"{path}.resources"
                ):
                    yield from self._expand(below, inner_symbol, child, one.kind, one.name)

    def _resource(
        self, path: str, symbol: str, raw: Mapping[str, Any], kind: str, name: str, scope: Scope
    ) -> Resource:
        own, version = str(raw["type"]), raw.get("apiVersion")
        kind = f"{kind}/{own}" if kind and "/" not in own else own
        shown = _located(path, lambda: render(raw["name"], scope))
        enabled = _located(path, lambda: render(raw.get("condition", True), scope))
        full = f"{name}/{shown}" if name and kind != own else str(shown)
        if not isinstance(version, str):
            raise TemplateError(
                f"The template resource '{full}' {{at}} is not valid: it has no 'apiVersion'.", path
            )
        if not isinstance(enabled, bool):
            raise TemplateError(
                f"The 'condition' of the template resource '{full}' {{at}} must be a boolean.", path
            )
        where = _located(path, lambda: self._scope_of(raw, kind, scope))
        names = full.split("/")
        if len(names) != kind.count("/"):
            raise TemplateError(
                f"The template resource '{full}' for type '{kind}' {{at}} has incorrect segment"
                " lengths. A nested resource type must have identical number of segments as its"
                " resource name. A root resource type must have segment length one greater than"
                " its resource name. Please see https://aka.ms/arm-syntax-resources for usage"
                " details.",
                path,
            )
        identifier = f"{where}/providers/{ids.interleave(kind, names)}"
        if kind.lower() == "microsoft.resources/resourcegroups":
            identifier = f"{where}/resourceGroups/{full}"
        return Resource(identifier, kind, full, version, raw, scope, path, symbol, enabled)

    def _scope_of(self, raw: Mapping[str, Any], kind: str, scope: Scope) -> str:
        if "scope" in raw:
            where = str(render(raw["scope"], scope))
            return (
                where.rstrip("/")
                if where.startswith("/")
                else f"{self._root(raw, scope)}/providers/{_relative(where)}"
            )
        return self._root(raw, scope)

    def _root(self, raw: Mapping[str, Any], scope: Scope) -> str:
        subscription = (
            f"/subscriptions/{render(raw['subscriptionId'], scope)}"
            if "subscriptionId" in raw
            else None
        )
        root = subscription or str(scope.subscription["id"])
        if "resourceGroup" in raw:
            return f"{root}/resourceGroups/{render(raw['resourceGroup'], scope)}"
        if scope.group is None or subscription:
            return root
        return str(scope.group["id"])

    def _named(self, name: str) -> tuple[str, str] | None:
        """A resource of this template by its symbol, its name or its id."""
        low = name.lower()
        for resource in self.resources:
            if low in {resource.symbol.lower(), resource.key, resource.name.lower()} - {""}:
                return resource.id, resource.version
        return None

    def _unique(self) -> None:
        seen: set[str] = set()
        for resource in self.resources:
            if resource.key in seen and resource.enabled and not resource.existing:
                raise TemplateError(
                    f"The resource '{resource.id}' {{at}} is defined multiple times in a template. "
                    "Please see https://aka.ms/arm-syntax-resources for usage details.",
                    resource.path,
                )
            if resource.enabled and not resource.existing:
                seen.add(resource.key)

    def _needs(self, resource: Resource) -> list[str]:
        """The ids that must be there first: what `dependsOn` says, what expressions read, and a
        serial loop's turns.
        """
        found: list[str] = []
        for entry in resource.raw.get("dependsOn") or []:
            found += self._meant(
                str(_located(resource.path, partial(render, entry, resource.scope))), resource
            )
        serial = [ask for ask in resource.asks if ask.method == "SERIAL"]
        turns = [one for one in self.resources if serial and one.loop == resource.loop]
        found += [turns[int(ask.version) - 1].id for ask in serial]
        resource.asks = list(_asked(resource))
        found += [ask.path for ask in resource.asks]
        known = {one.key: one for one in self.resources if one.enabled and not one.existing}
        return [
            known[key].id
            for key in dict.fromkeys(name.lower() for name in found)
            if key in known and key != resource.key
        ]

    def _meant(self, entry: str, resource: Resource) -> list[str]:
        low = entry.lower()
        tests: list[Callable[[Resource], bool]] = [
            lambda one: low in {one.symbol.lower(), one.key} - {""},
            lambda one: low == one.loop,
            lambda one: low == one.name.lower(),
            lambda one: one.key.endswith(f"/providers/{_relative(low)}"),
        ]
        for test in tests:
            if found := [one.id for one in self.resources if test(one)]:
                return found
        raise TemplateError(
            f"The resource '{entry}' is not defined in the template. {_SYNTAX}",
            f"{resource.path}.dependsOn",
        )

    def _acyclic(self) -> None:
        needs = {one.key: {need.lower() for need in one.needs} for one in self.resources}
        while free := [key for key, wanted in needs.items() if not wanted & needs.keys()]:
            for key in free:
                del needs[key]
        if needs:
            stuck = [one.id for one in self.resources if one.key in needs]
            raise TemplateError(
                f"Circular dependency detected on resource: '{stuck[0]}'. Please see"
                " https://aka.ms/arm-syntax-resources for usage details."
            )


def _listed(resources: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Path, symbol and content of each; templates of language version 2 name their resources by
    symbols.
    """
    if isinstance(resources, dict):
        yield from ((f"{path}.{symbol}", symbol, raw) for symbol, raw in resources.items())
    elif isinstance(resources, list):
        yield from ((f"{path}[{place}]", "", raw) for place, raw in enumerate(resources))
    else:
        raise TemplateError("The template resources {at} must be an array or an object.", path)


def _located(path: str, make: Callable[[], Any]) -> Any:
    """Evaluate something that has to be known before anything is deployed."""
    try:
        return make()
    except TemplateError as wrong:
        raise wrong if wrong.path else TemplateError(f"{wrong.text}", path) from None
    except Needed:
        raise TemplateError(
            "The template function 'reference' is not expected at this location. Please see"
            " https://aka.ms/arm-functions for usage details.",
            path,
        ) from None


def _asked(resource: Resource) -> Iterator[Request]:
    """What `reference` and `list*` in a resource's body read, where that can be said before it is
    deployed.
    """
    body = {key: value for key, value in resource.raw.items() if key not in _CONTROL}
    if resource.inner is not None:
        body["properties"] = {
            key: value for key, value in resource.raw["properties"].items() if key != "template"
        }
    seen: set[Request] = set()
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
        case Call(name, arguments):
            if name == "reference" or (name.startswith("list") and "." not in name):
                yield node
            for argument in arguments:
                yield from _within(argument)
        case Member(of, key):
            yield from _within(of)
            yield from _within(key)
        case Literal():
            return


def _relative(name: str) -> str:
    """`Microsoft.Storage/storageAccounts/a` is how old templates and `scope` write a resource of
    the same group.
    """
    return name.strip("/")


def _fits(name: str, word: str, value: Any) -> None:
    wanted = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}.get(word)
    if wanted and (
        value is not None
        and (not isinstance(value, wanted) or (word == "int" and isinstance(value, bool)))
    ):
        raise TemplateError(
            f"The template output '{name}' is not valid: its value does not have the declared type"
            f" '{SHOWN.get(word, word)}'."
        )
