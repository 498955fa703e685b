"""Who may use a service, for what and how much of it, as a document says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.api import names
from reconciler.api.fields import Bool, Fault, Int, Items, Model, refuse_any, unique


class RateLimit(Model):
    requests_per_minute: Annotated[Int, Field(ge=1, le=1_000_000)]
    """Requests that one replica answers in a minute; a client that was quiet may send them all at
    once.
    """


class ApiKey(Model):
    name: Annotated[str, names.API_KEY]
    """The key's name; its value is made by Moorage, `moorage key` prints it."""
    models: Annotated[Items[str], Field(min_length=1)] | None = None
    """The models it may use, the service's name among them or not; all when left out."""
    rate_limit: RateLimit | None = None
    """How much it may use them."""
    admin: Bool = False
    """Opens `/metrics` and `/state` instead of the models."""

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        refuse_any(
            Fault(
                f"{key} is for keys that open models, and an admin key opens none",
                "leave it out",
                (key,),
                key=True,
            )
            for field, key in (("models", "models"), ("rate_limit", "rateLimit"))
            if self.admin and getattr(self, field) is not None
        )
        return self


class Auth(Model):
    api_keys: Annotated[
        Items[ApiKey], unique("name", "API key", "remove one of them"), Field(min_length=1)
    ] = (ApiKey(name="default"),)
    """Keys that clients may use; adding, removing or limiting one takes effect without a restart.
    """


class Limits(Model):
    body_mi_b: Annotated[Int, Field(ge=1, le=1024, alias="bodyMiB")] = 16
    """MiB of a request's body; more is answered with 413."""
    prompt_tokens: Annotated[Int, Field(ge=1)] | None = None
    """Tokens of a prompt; more is answered with 400. What the model can take when left out."""


class RequestLog(Model):
    prompts: Bool = False
    """Whether the request log carries the beginning of each request's body; otherwise no word of it
    is kept.
    """


def unknown_models(auth: Auth, known: set[str]) -> Iterator[Fault]:
    """Models in a key's list that the service does not have."""
    for index, key in enumerate(auth.api_keys):
        for at, model in enumerate(key.models or ()):
            if model not in known:
                place = ("spec", "auth", "apiKeys", index, "models", at)
                yield Fault(
                    f"the service has no model {model!r}",
                    f"write one of: {', '.join(sorted(known))}",
                    place,
                )
