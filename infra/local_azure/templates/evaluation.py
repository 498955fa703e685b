"""Evaluates the expressions in values, for one deployment (`Scope`)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import dates, ids, structures, texts
from .errors import Lookup, Needed, TemplateError
from .expression import FunctionCall, Literal, Member, Node, is_expression, literal, parse
from .structures import member, truth, whole

Function = Callable[..., Any]
PURE: Mapping[str, Function] = {**texts.FUNCTIONS, **structures.FUNCTIONS, **dates.FUNCTIONS}
_WRONG = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class Names:
    """Parameters or variables: each value is computed when it is first used, from others if
    needed.
    """

    def __init__(self, kind: str, make: Mapping[str, Callable[[], Any]]) -> None:
        self._kind = kind
        self._make = {name.lower(): thunk for name, thunk in make.items()}
        self._known: dict[str, Any] = {}
        self._busy: set[str] = set()

    def get(self, name: str) -> Any:
        key = name.lower()
        if key in self._known:
            return self._known[key]
        if key not in self._make:
            raise TemplateError(
                f"The template {self._kind} '{name}' is not found. Please see"
                f" https://aka.ms/arm-syntax-{self._kind}s for usage details."
            )
        if key in self._busy:
            raise TemplateError(f"The template {self._kind} '{name}' refers to itself.")
        self._busy.add(key)
        try:
            self._known[key] = self._make[key]()
        finally:
            self._busy.discard(key)
        return self._known[key]


@dataclass(frozen=True)
class Scope:
    """Where an expression stands. `named` finds a template resource's id by name or symbol;
    `answers` holds what Azure said.

    `defer` leaves an expression that needs an answer as it is written; `copies` has each loop's
    index, '' the innermost.
    """

    subscription: Mapping[str, Any]
    tenant: Mapping[str, Any]
    environment: Mapping[str, Any]
    deployment: Mapping[str, Any]
    group: Mapping[str, Any] | None
    parameters: Names = field(default_factory=lambda: Names("parameter", {}))
    variables: Names = field(default_factory=lambda: Names("variable", {}))
    functions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    named: Callable[[str], tuple[str, str] | None] = lambda _: None
    answers: Mapping[Lookup, Any] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    bound: Mapping[str, Any] = field(default_factory=dict)
    defer: bool = False
    defaults: bool = False


def render(value: Any, scope: Scope) -> Any:
    """The value with every expression in it replaced by what it says, property loops unrolled."""
    if isinstance(value, str):
        if not is_expression(value):
            return literal(value)
        try:
            return evaluate(parse(value), scope)
        except Needed:
            if scope.defer:
                return value
            raise
    if isinstance(value, list):
        return [render(item, scope) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {
        _key(key, scope): render(item, scope)
        for key, item in value.items()
        if not _is_loop(key, item)
    }
    loops = [loop for key, item in value.items() if _is_loop(key, item) for loop in item]
    return plain | {str(loop["name"]): unrolled(loop, scope) for loop in loops}


def unrolled(loop: Mapping[str, Any], scope: Scope) -> list[Any]:
    """What one `copy` of a property, a variable or an output makes."""
    return [render(loop["input"], one) for one in iterations(loop, scope)]


def iterations(loop: Mapping[str, Any], scope: Scope) -> Iterator[Scope]:
    """A scope for each turn of a loop; 800 turns are ARM's limit."""
    count = render(loop.get("count"), replace(scope, defer=False))
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 800:
        raise TemplateError(
            f"The copy count '{count}' must be a non-negative integer value and cannot exceed"
            " '800'."
        )
    for index in range(count):
        yield replace(
            scope, copies={**scope.copies, "": index, str(loop.get("name", "")).lower(): index}
        )


def evaluate(node: Node, scope: Scope) -> Any:
    match node:
        case Literal(value):
            return value
        case Member(of, key):
            return _get(evaluate(of, scope), evaluate(key, scope))
        case FunctionCall(name, arguments):
            return _call(name, arguments, scope)


def _call(name: str, arguments: tuple[Node, ...], scope: Scope) -> Any:
    if name in _LAZY:
        return _guarded(name, lambda: _LAZY[name](scope, *arguments))
    values = [evaluate(argument, scope) for argument in arguments]
    if name in _CONTEXT:
        return _guarded(name, lambda: _CONTEXT[name](scope, *values))
    if name.startswith("list") and "." not in name:
        return _guarded(name, lambda: _list(scope, name, *values))
    if name in scope.functions:
        return _user(scope.functions[name], values, scope)
    if name not in PURE:
        raise TemplateError(
            f"The template function '{name}' is not valid. Please see https://aka.ms/arm-functions"
            " for usage details."
        )
    if name in {"newguid", "utcnow"} and not scope.defaults:
        raise TemplateError(
            f"The template function '{name}' is not expected at this location. It can only be used"
            " in the default value of a parameter. Please see https://aka.ms/arm-functions for"
            " usage details."
        )
    return _guarded(name, lambda: PURE[name](*values))


def _guarded(name: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except _WRONG as wrong:
        text = str(wrong).replace("<lambda>() ", "")
        raise TemplateError(
            f"The template language function '{name}' was invoked with invalid parameters: {text}. "
            "Please see https://aka.ms/arm-functions for usage details."
        ) from None


def _get(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        found = member(value, str(key))
        if found is None:
            available = ", ".join(value)
            raise TemplateError(
                f"The language expression property '{key}' doesn't exist, available properties are"
                f" '{available}'."
            )
        return value[found]
    if isinstance(value, list) and not isinstance(key, str):
        if not 0 <= key < len(value):
            raise TemplateError(
                f"The language expression property array index '{key}' is out of bounds."
            )
        return value[key]
    raise TemplateError(
        f"The language expression property '{key}' can't be evaluated: its parent is not an object"
        " or an array."
    )


def _user(function: Mapping[str, Any], values: list[Any], scope: Scope) -> Any:
    """A function that the template defines sees its own parameters and nothing else."""
    declared = function.get("parameters") or []
    if len(declared) != len(values):
        raise TemplateError(
            f"The user-defined function expects '{len(declared)}' parameters and received"
            f" '{len(values)}'."
        )
    own = {
        str(one["name"]): lambda value=value: value
        for one, value in zip(declared, values, strict=True)
    }
    inner = replace(
        scope,
        parameters=Names("parameter", own),
        variables=Names("variable", {}),
        copies={},
        bound={},
    )
    return render((function.get("output") or {}).get("value"), inner)


def _reference(scope: Scope, target: str, version: str = "", full: str = "") -> Any:
    identifier, own = _resolve(scope, target, version)
    answer = _ask(scope, Lookup("GET", identifier, version or own))
    if full.lower() != "full":
        return answer.get("properties", {})
    return {**answer, "resourceId": identifier, "apiVersion": version or own}


def _list(scope: Scope, action: str, target: str, version: str, body: Any = None) -> Any:
    identifier, _ = _resolve(scope, target, version)
    return _ask(scope, Lookup("POST", f"{identifier}/{action}", version, texts.shown(body)))


def _resolve(scope: Scope, target: str, version: str) -> tuple[str, str]:
    """The id and api-version that a name, a symbol or an id stands for."""
    found = scope.named(texts.text(target))
    if found:
        return found
    if not target.startswith("/"):
        raise TemplateError(f"The resource referenced in template is not found: '{target}'.")
    if not version:
        raise TemplateError(
            f"The resource '{target}' is not defined in the template. Please see"
            " https://aka.ms/arm-syntax for usage details."
        )
    return target, version


def _ask(scope: Scope, request: Lookup) -> Any:
    if request not in scope.answers:
        raise Needed(request)
    return scope.answers[request]


def _group(scope: Scope) -> Any:
    if scope.group is None:
        raise TemplateError(
            "The template function 'RESOURCEGROUP' is not expected at this location."
        )
    return scope.group


def _copy_index(scope: Scope, *arguments: Any) -> int:
    name = next((value.lower() for value in arguments if isinstance(value, str)), "")
    offset = next((whole(value) for value in arguments if not isinstance(value, str)), 0)
    if name not in scope.copies:
        raise TemplateError("The template function 'copyIndex' is not expected at this location.")
    return scope.copies[name] + offset


def _scope_ids(scope: Scope) -> tuple[str, str | None]:
    return scope.subscription["subscriptionId"], scope.group["name"] if scope.group else None


def _lambda(scope: Scope, node: Node) -> Callable[..., Any]:
    if not isinstance(node, FunctionCall) or node.name != "lambda" or not node.arguments:
        raise TypeError("a lambda is expected")
    names = [str(evaluate(name, scope)).lower() for name in node.arguments[:-1]]
    return lambda *values: evaluate(
        node.arguments[-1],
        replace(scope, bound={**scope.bound, **dict(zip(names, values, strict=False))}),
    )


def _map(scope: Scope, values: Node, function: Node) -> list[Any]:
    apply = _lambda(scope, function)
    wide = len(function.arguments) == 3 if isinstance(function, FunctionCall) else False
    return [
        apply(value, place) if wide else apply(value)
        for place, value in enumerate(evaluate(values, scope))
    ]


def _filter(scope: Scope, values: Node, function: Node) -> list[Any]:
    keep = _lambda(scope, function)
    return [value for value in evaluate(values, scope) if truth(keep(value))]


def _reduce(scope: Scope, values: Node, start: Node, function: Node) -> Any:
    result, step = evaluate(start, scope), _lambda(scope, function)
    for value in evaluate(values, scope):
        result = step(result, value)
    return result


def _to_object(scope: Scope, values: Node, key: Node, value: Node | None = None) -> dict[str, Any]:
    name, make = _lambda(scope, key), _lambda(scope, value) if value else None
    return {str(name(item)): make(item) if make else item for item in evaluate(values, scope)}


def _coalesce(scope: Scope, *nodes: Node) -> Any:
    return next((value for node in nodes if (value := evaluate(node, scope)) is not None), None)


def _key(key: str, scope: Scope) -> str:
    return str(render(key, scope)) if is_expression(key) else key


def _is_loop(key: str, value: Any) -> bool:
    """`copy` among the properties of an object is a loop; ARM takes the word from
    everybody else.
    """
    return (
        key == "copy"
        and isinstance(value, list)
        and all(isinstance(item, dict) and "input" in item for item in value)
    )


_LAZY: dict[str, Function] = {
    "if": lambda scope, test, then, other: evaluate(
        then if truth(evaluate(test, scope)) else other, scope
    ),
    "and": lambda scope, *nodes: all(truth(evaluate(node, scope)) for node in nodes),
    "or": lambda scope, *nodes: any(truth(evaluate(node, scope)) for node in nodes),
    "coalesce": _coalesce,
    "map": _map,
    "filter": _filter,
    "reduce": _reduce,
    "toobject": _to_object,
}
_CONTEXT: dict[str, Function] = {
    "parameters": lambda scope, name: scope.parameters.get(name),
    "variables": lambda scope, name: scope.variables.get(name),
    "lambdavariables": lambda scope, name: scope.bound[name.lower()],
    "resourcegroup": _group,
    "subscription": lambda scope: scope.subscription,
    "tenant": lambda scope: scope.tenant,
    "environment": lambda scope: scope.environment,
    "deployment": lambda scope: scope.deployment,
    "copyindex": _copy_index,
    "reference": _reference,
    "resourceid": lambda scope, *values: ids.resource_id(*_scope_ids(scope), list(values)),
    "subscriptionresourceid": lambda scope, *values: ids.subscription_id(
        _scope_ids(scope)[0], list(values)
    ),
    "extensionresourceid": lambda _, *values: ids.extension_id(list(values)),
    "tenantresourceid": lambda _, *values: ids.tenant_id(list(values)),
}


def located(path: str, make: Callable[[], Any]) -> Any:
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
