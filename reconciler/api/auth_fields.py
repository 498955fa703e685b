"""Who may use a service, for what and how much of it, as a document says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.api import names
from reconciler.api.fields import Bool, Fault, Int, Items, Model, bounded, refuse_any, unique

# A name and no address: where a name leads is looked at when it is resolved.
_DOMAIN = r"(?!.{254})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]"

_Count = Annotated[Int, Field(ge=1, le=1_000_000_000)]


class RateLimit(Model):
    requests_per_minute: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that one replica answers in a minute; a client that was quiet may send them all at
    once. One for several choices or prompts counts as several.
    """
    tokens_per_minute: _Count | None = None
    """Tokens of prompts and answers that one replica takes in a minute."""
    parallel_requests: Annotated[Int, Field(ge=1, le=100_000)] | None = None
    """Requests that one replica works on at a time."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            hint = "write requestsPerMinute, tokensPerMinute or parallelRequests"
            refuse_any([Fault("rateLimit limits nothing", hint)])
        return self


class KeyLimits(Model):
    prompt_tokens: _Count | None = None
    """Tokens of a prompt; the service's limit when left out."""
    output_tokens: _Count | None = None
    """Tokens of an answer; the service's limit when left out."""
    sequences: Annotated[Int, Field(ge=1, le=16_384)] | None = None
    """Choices times prompts of a request; the service's limit when left out."""


class ApiKey(Model):
    name: Annotated[str, names.API_KEY]
    """The key's name; its value is made by Moorage, `moorage key` prints it."""
    models: Annotated[Items[str], Field(min_length=1)] | None = None
    """The models it may use, the service's name among them or not; all when left out."""
    rate_limit: RateLimit | None = None
    """How much it may use them."""
    limits: KeyLimits = KeyLimits()
    """What one of its requests may ask for, in the place of the service's limits."""
    evaluation: Bool = False
    """Opens `/tokenize`, `/detokenize` and, without adapters, log-probabilities of the prompt, as
    evaluation harnesses need them.
    """
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
            for field, key in (
                ("models", "models"),
                ("rate_limit", "rateLimit"),
                ("limits", "limits"),
                ("evaluation", "evaluation"),
            )
            if self.admin and field in self.model_fields_set
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
    """MiB of a request's body, unpacked; more is answered with 413. Two images of a phone."""
    prompt_tokens: _Count | None = None
    """Tokens of a prompt; more is answered with 400. What the model can take when left out."""
    output_tokens: _Count = 32_768
    """Tokens of an answer; a request without a maximum is cut there, one that asks for more is
    answered with 400. Enough for a model that reasons at length.
    """
    sequences: Annotated[Int, Field(ge=1, le=16_384)] = 64
    """Choices times prompts of one request: a quarter of what vLLM works on at a time, so that no
    request fills it alone.
    """
    messages: Annotated[Int, Field(ge=1, le=100_000)] = 2_048
    """Messages of a chat; each holds up every other request for some 20 microseconds."""
    tools: Annotated[Int, Field(ge=1, le=10_000)] = 128
    """Tools of a request, as many as OpenAI takes."""
    schema_ki_b: Annotated[Int, Field(ge=1, le=4096, alias="schemaKiB")] = 64
    """KiB of a JSON schema, grammar or expression, and eight times that of all tools together."""
    schema_parts: Annotated[Int, Field(ge=1, le=100_000)] = 2_000
    """Values of a schema, and four letters each of an expression with its repetitions written out.
    vLLM compiles 2,000 at once and 20,000 in 4 seconds, while others wait, and cannot be stopped.
    """
    media_mi_b: Annotated[Int, Field(ge=1, le=1024, alias="mediaMiB")] = 8
    """MiB of images, audio and video in a request."""
    media_domains: Annotated[
        Items[
            Annotated[
                str,
                bounded(
                    lambda value: re.fullmatch(_DOMAIN, value) is not None,
                    "{!r} is no host name",
                    "write a name such as images.example.com, in small letters",
                ),
            ]
        ],
        Field(max_length=64),
    ] = ()
    """Hosts from which a replica fetches the media that a request names by URL; none when left
    out. It never follows a redirect there, nor to a private address.
    """
    parallel_requests: Annotated[Int, Field(ge=1, le=100_000)] = 256
    """Requests that one replica works on at a time, of all keys together; as many as vLLM puts in a
    batch. More are answered with 429.
    """
    requests_per_minute: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that one replica answers in a minute, of all keys together."""
    tokens_per_minute: _Count | None = None
    """Tokens of prompts and answers that one replica takes in a minute, of all keys together."""


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
