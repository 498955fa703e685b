"""A template read for one deployment: its parameters bound, its loops unrolled, its resources
named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from . import dependencies, ids
from .errors import Lookup, TemplateError
from .evaluation import Names, Scope, iterations, located, render, unrolled
from .parameters import SHOWN, Parameters, camel
from .resource import Resource


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
        dependencies.settle(self.resources)

    def outputs(self) -> dict[str, Any]:
        """The deployment's outputs; Needed as long as an answer is missing."""
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
        for scope in located(path, lambda: list(scopes)):
            one = self._resource(path, symbol, raw, kind, name, scope)
            one.loop = str((loop or {}).get("name", "")).lower()
            if (
                isinstance(loop, dict)
                and str(loop.get("mode", "")).lower() == "serial"
                and scope.copies[""]
            ):
                one.asks.append(Lookup("SERIAL", one.loop, str(scope.copies[""])))
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
        shown = located(path, lambda: render(raw["name"], scope))
        enabled = located(path, lambda: render(raw.get("condition", True), scope))
        full = f"{name}/{shown}" if name and kind != own else str(shown)
        if not isinstance(version, str):
            raise TemplateError(
                f"The template resource '{full}' {{at}} is not valid: it has no 'apiVersion'.", path
            )
        if not isinstance(enabled, bool):
            raise TemplateError(
                f"The 'condition' of the template resource '{full}' {{at}} must be a boolean.", path
            )
        where = located(path, lambda: self._scope_of(raw, kind, scope))
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
                else f"{self._root(raw, scope)}/providers/{ids.relative(where)}"
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
