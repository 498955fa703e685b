"""A template's parameters: the given values, checked against the declarations."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .errors import TemplateError
from .evaluation import Names, Scope, render
from .texts import kind

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "securestring": (str,), "int": (int,), "bool": (bool,), "array": (list,),
    "object": (dict,), "secureobject": (dict,),
}  # fmt: skip
SHOWN = {
    "string": "String",
    "securestring": "SecureString",
    "int": "Int",
    "bool": "Bool",
    "array": "Array",
    "object": "Object",
    "secureobject": "SecureObject",
}
_HELP = "Please see https://aka.ms/arm-create-parameter-file for usage details."


class Parameters:
    """The declared parameters with their values; `names` is what expressions see."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, Any], scope: Scope) -> None:
        declared = template.get("parameters") or {}
        self._definitions = template.get("definitions") or {}
        self._declared = {name: self._followed(one) for name, one in declared.items()}
        self._given = {name.lower(): value for name, value in given.items()}
        unknown = [name for name in given if name.lower() not in {key.lower() for key in declared}]
        if unknown:
            raise TemplateError(
                f"The template parameters '{', '.join(unknown)}' in the parameters file are not"
                " valid; they are not present in the original template and can therefore not be"
                " provided at deployment time. The only supported parameters for this template are"
                f" '{', '.join(declared)}'. Please see https://aka.ms/arm-pass-parameter-values for"
                " usage details."
            )
        self.names = Names(
            "parameter", {name: self._maker(name, one) for name, one in self._declared.items()}
        )
        self._scope = replace(scope, parameters=self.names, defaults=True)
        for name in declared:
            self.names.get(name)

    def shown(self) -> dict[str, Any]:
        """As a deployment shows them: secrets without their value."""
        result = {}
        for name, one in self._declared.items():
            word = str(one.get("type", "")).lower()
            shown = result[camel(name)] = {"type": SHOWN[word]}
            if not word.startswith("secure"):
                shown["value"] = self.names.get(name)
        return result

    def _followed(self, one: Any) -> Mapping[str, Any]:
        """A declaration with its `$ref` resolved. Fields beside the reference override those behind
        it.
        """
        for _ in range(8):
            if not isinstance(one, dict) or "$ref" not in one:
                break
            rest = {key: value for key, value in one.items() if key != "$ref"}
            one = {**(self._definitions.get(str(one["$ref"]).rsplit("/", 1)[-1]) or {}), **rest}
        word = str(one.get("type", "")).lower() if isinstance(one, dict) else ""
        if word not in _TYPES:
            raise TemplateError(
                f"The template parameter type '{word}' is not valid. Valid types are"
                f" '{', '.join(SHOWN.values())}'."
            )
        return one  # type: ignore[no-any-return]  # JSON

    def _maker(self, name: str, one: Mapping[str, Any]) -> Callable[[], Any]:
        path = f"properties.template.parameters.{name}"

        def make() -> Any:
            if name.lower() in self._given:
                value = self._value(name, nullable=bool(one.get("nullable")))
            elif "defaultValue" in one:
                value = _located(path, lambda: render(one["defaultValue"], self._scope))
            elif one.get("nullable"):
                value = None
            else:
                raise TemplateError(
                    f"The value for the template parameter '{name}' {{at}} is not provided."
                    f" {_HELP}",
                    path,
                )
            if value is not None or not one.get("nullable"):
                _check(name, one, value, path)
            return value

        return make

    def _value(self, name: str, *, nullable: bool) -> Any:
        """What was sent; the az CLI leaves `value` out where it is null."""
        sent = self._given[name.lower()]
        path = f"properties.parameters.{name}"
        if isinstance(sent, dict) and sent.get("reference"):
            raise TemplateError(
                f"The template parameter '{name}' {{at}} refers to a key vault, which is not"
                " supported here.",
                path,
            )
        if not isinstance(sent, dict) or (sent.get("value") is None and not nullable):
            raise TemplateError(
                f"The value of deployment parameter '{name}' {{at}} is null. Please specify the"
                " value or use the parameter reference. See"
                " https://aka.ms/arm-create-parameter-file for details.",
                path,
            )
        return sent.get("value")


def _located(path: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except TemplateError as wrong:
        if wrong.path:
            raise
        raise TemplateError(
            f"Unable to evaluate the default value {{at}}: {wrong.text}", path
        ) from None


def _check(name: str, one: Mapping[str, Any], value: Any, path: str) -> None:
    """Type, allowed values, length and range, in ARM's words."""
    word = str(one["type"]).lower()
    if not isinstance(value, _TYPES[word]) or (word == "int" and isinstance(value, bool)):
        raise TemplateError(
            f"Template parameter JToken type is not valid. Expected '{_expected(word)}'. Actual"
            f" '{kind(value)}'. Please see https://aka.ms/resource-manager-parameter-files for"
            " usage details.",
            path,
        )
    head = f"The provided value for the template parameter '{name}' {{at}} is not valid."
    allowed = one.get("allowedValues")
    if allowed is not None and word != "array" and value not in allowed:
        raise TemplateError(
            f"The provided value '{value if 'secure' not in word else '***'}' for the template"
            f" parameter '{name}' {{at}} is not valid. The parameter value is not part of the"
            f" allowed value(s): '{','.join(map(str, allowed))}'.",
            path,
        )
    size = len(value) if isinstance(value, str | list | dict) else None
    measured, subject = (value, "The value") if size is None else (size, "Length of the value")
    least, most = ("minValue", "maxValue") if size is None else ("minLength", "maxLength")
    if word != "bool" and measured < one.get(least, measured):
        raise TemplateError(
            f"{head} {subject} should be greater than or equal to '{one[least]}'. {_HELP}", path
        )
    if word != "bool" and measured > one.get(most, measured):
        raise TemplateError(
            f"{head} {subject} should be less than or equal to '{one[most]}'. {_HELP}", path
        )


def _expected(word: str) -> str:
    return {
        "string": "String, Uri",
        "securestring": "String, Uri",
        "int": "Integer",
        "bool": "Boolean",
        "array": "Array",
    }.get(word, "Object")


def camel(name: str) -> str:
    """The name of a parameter or an output as ARM's serialiser writes it: AZURE_NAME becomes
    azurE_NAME.
    """
    letters = list(name)
    for place, letter in enumerate(letters):
        if place == 1 and not letter.isupper():
            break
        if place and place + 1 < len(letters) and not letters[place + 1].isupper():
            break
        letters[place] = letter.lower()
    return "".join(letters)
