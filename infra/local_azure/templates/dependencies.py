"""Which resource of a template waits for which: `dependsOn`, what expressions read, and the turns
of a serial loop. Used by `template`.
"""

from collections.abc import Callable
from functools import partial

from .errors import TemplateError
from .evaluation import located, render
from .ids import relative
from .resource import Resource, asked

_SYNTAX = "Please see https://aka.ms/arm-syntax for usage details."


def settle(resources: list[Resource]) -> None:
    """Give every resource its needs. TemplateError for one defined twice, and for a circle."""
    _check_unique(resources)
    for resource in resources:
        resource.needs = _needs(resource, resources)
        resource.check()
    _check_acyclic(resources)


def _check_unique(resources: list[Resource]) -> None:
    seen: set[str] = set()
    for resource in resources:
        if resource.key in seen and resource.enabled and not resource.existing:
            raise TemplateError(
                f"The resource '{resource.id}' {{at}} is defined multiple times in a template. "
                "Please see https://aka.ms/arm-syntax-resources for usage details.",
                resource.path,
            )
        if resource.enabled and not resource.existing:
            seen.add(resource.key)


def _needs(resource: Resource, resources: list[Resource]) -> list[str]:
    """The ids that must be there first: what `dependsOn` says, what expressions read, and a
    serial loop's turns.
    """
    found: list[str] = []
    for entry in resource.raw.get("dependsOn") or []:
        found += _named(
            str(located(resource.path, partial(render, entry, resource.scope))), resource, resources
        )
    serial = [ask for ask in resource.asks if ask.method == "SERIAL"]
    turns = [one for one in resources if serial and one.loop == resource.loop]
    found += [turns[int(ask.version) - 1].id for ask in serial]
    resource.asks = list(asked(resource))
    found += [ask.path for ask in resource.asks]
    known = {one.key: one for one in resources if one.enabled and not one.existing}
    return [
        known[key].id
        for key in dict.fromkeys(name.lower() for name in found)
        if key in known and key != resource.key
    ]


def _named(entry: str, resource: Resource, resources: list[Resource]) -> list[str]:
    low = entry.lower()
    tests: list[Callable[[Resource], bool]] = [
        lambda one: low in {one.symbol.lower(), one.key} - {""},
        lambda one: low == one.loop,
        lambda one: low == one.name.lower(),
        lambda one: one.key.endswith(f"/providers/{relative(low)}"),
    ]
    for test in tests:
        if found := [one.id for one in resources if test(one)]:
            return found
    raise TemplateError(
        f"The resource '{entry}' is not defined in the template. {_SYNTAX}",
        f"{resource.path}.dependsOn",
    )


def _check_acyclic(resources: list[Resource]) -> None:
    needs = {one.key: {need.lower() for need in one.needs} for one in resources}
    while free := [key for key, wanted in needs.items() if not wanted & needs.keys()]:
        for key in free:
            del needs[key]
    if needs:
        stuck = [one.id for one in resources if one.key in needs]
        raise TemplateError(
            f"Circular dependency detected on resource: '{stuck[0]}'. Please see"
            " https://aka.ms/arm-syntax-resources for usage details."
        )
