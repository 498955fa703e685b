"""`env` of a service: names that Container Apps accepts, each once, and none that Moorage or the
platform sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from reconciler.api.fields import Fault, Items, Model, bounded, refusal, unique

_PLATFORM = {
    "MOORAGE_": (
        "Moorage sets it for its own part of the replica",
        "choose a name without the prefix MOORAGE_",
    ),
    "CONTAINER_APP_": ("Container Apps sets it", "choose a name without the prefix CONTAINER_APP_"),
}
_MODEL_SERVICE = {
    "PYTHONPATH": (
        "it leads to the serving runtime on the share",
        "build an image if vLLM needs another package",
    ),
    "VLLM_PLUGINS": ("it would keep Moorage's plugin from being loaded", "leave it out"),
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": (
        "it opens vLLM's unprotected adapter routes",
        "write spec.adapters",
    ),
    "VLLM_API_KEY": (
        "keys in variables are readable by all who can read the app",
        "write spec.auth.apiKeys",
    ),
    "VLLM_ALLOW_INSECURE_SERIALIZATION": (
        "it lets vLLM's processes run code that a message holds",
        "leave it out",
    ),
    "VLLM_SERVER_DEV_MODE": ("it opens routes that control the engine", "leave it out"),
    "VLLM_HOST_IP": ("a replica's address is the platform's", "leave it out"),
    "VLLM_PORT": ("probes and ingress expect vLLM on port 8000", "leave it out"),
}


def _free(name: str) -> str:
    for prefix, (why, hint) in _PLATFORM.items():
        if name.startswith(prefix):
            raise refusal(Fault(f"{name} is not yours to set: {why}", hint))
    return name


class VariableSource(Model):
    secret_ref: str
    """The name of one of the service's `secrets`."""


class Variable(Model):
    name: Annotated[
        str,
        bounded(
            lambda value: re.fullmatch(r"[A-Za-z_.-][\w.-]*", value, re.ASCII) is not None,
            "{!r} cannot be the name of an environment variable",
            "letters, digits and '_', not starting with a digit",
        ),
        AfterValidator(_free),
    ]
    """The variable's name."""
    value: str | None = None
    """The value, as text. Put no secret here: everybody who can read the container app can read it.
    """
    value_from: VariableSource | None = None
    """In place of `value`: the secret that holds it."""

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if self.value is None and self.value_from is None:
            text, hint = f"{self.name} has no value", "write value, or valueFrom: {secretRef: NAME}"
            raise refusal(Fault(text, hint, ("name",)))
        if self.value is not None and self.value_from is not None:
            text = f"{self.name} has both value and valueFrom"
            raise refusal(Fault(text, "remove one of them", ("valueFrom",), key=True))
        return self


# Container Apps accepts a name twice and then never starts the replica, without a word.
Variables = Annotated[
    Items[Variable],
    unique("name", "environment variable", "keep one: with two, the replica never starts"),
]


def model_variable_faults(variables: Iterable[Variable]) -> Iterator[Fault]:
    """Further variables that a service with a model may not set."""
    for index, variable in enumerate(variables):
        if owned := _MODEL_SERVICE.get(variable.name):
            yield Fault(
                f"{variable.name} is not yours to set: {owned[0]}", owned[1], ("env", index, "name")
            )
