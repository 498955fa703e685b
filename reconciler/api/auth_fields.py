"""The keys of a service in a document: the models and the rate of each key, and the limits of
requests.
"""

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
    """Requests that one replica answers in a minute. A client that has sent none may send all of
    them at once. A request for several choices or prompts counts as several requests.
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
    """The name of the key. Moorage makes the value; `moorage key` prints it."""
    models: Annotated[Items[str], Field(min_length=1)] | None = None
    """The models that the key may use: names of adapters, and the service's name for the base
    model; all when left out.
    """
    rate_limit: RateLimit | None = None
    """How much the key may use."""
    limits: KeyLimits = KeyLimits()
    """Limits of one request with this key, in place of the service's limits."""
    evaluation: Bool = False
    """Opens `/tokenize`, `/detokenize` and, on a service without adapters, log-probabilities of the
    prompt. Evaluation harnesses need them.
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
    """API keys that clients may use. Adding, removing or limiting a key needs no restart."""


class Limits(Model):
    body_mi_b: Annotated[Int, Field(ge=1, le=1024, alias="bodyMiB")] = 16
    """MiB of a request's uncompressed body; a larger body is answered with 413. The default is
    enough for two images of a phone.
    """
    prompt_tokens: _Count | None = None
    """Tokens of a prompt; a longer prompt is answered with 400. When left out, the model's own
    limit.
    """
    output_tokens: _Count = 32_768
    """Tokens of an answer. An answer to a request without a maximum ends there; a request for more
    is answered with 400. The default is enough for a model that reasons at length.
    """
    sequences: Annotated[Int, Field(ge=1, le=16_384)] = 64
    """Choices times prompts of one request. The default is a quarter of the sequences that vLLM
    works on at a time, so that no single request fills vLLM.
    """
    messages: Annotated[Int, Field(ge=1, le=100_000)] = 2_048
    """Messages of a chat. Each message delays every other request by some 20 microseconds."""
    tools: Annotated[Int, Field(ge=1, le=10_000)] = 128
    """Tools of a request. The default is OpenAI's limit."""
    schema_ki_b: Annotated[Int, Field(ge=1, le=4096, alias="schemaKiB")] = 64
    """KiB of one JSON schema, grammar or regular expression. All tools of a request together may
    have eight times as much.
    """
    schema_parts: Annotated[Int, Field(ge=1, le=100_000)] = 2_000
    """Parts of a JSON schema. A value is one part, a different length (`minLength`, `maxLength`) up
    to 100, four letters of a regular expression one, and a repetition of a letter one. With a
    vocabulary of 150,000 tokens vLLM compiles a value in a millisecond of a core and one long
    length in three seconds, and cannot be stopped meanwhile. Requests of one key with new schemas
    of 100 parts or more take turns.
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
    """Hosts from which a replica fetches media that a request names by URL; none when left out. The
    replica follows no redirect and connects to no private address.
    """
    parallel_requests: Annotated[Int, Field(ge=1, le=100_000)] = 256
    """Requests of all keys together that one replica works on at a time; more are answered with
    429. The default is the size of vLLM's batch.
    """
    requests_per_minute: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Requests of all keys together that one replica answers in a minute."""
    tokens_per_minute: _Count | None = None
    """Tokens of prompts and answers of all keys together that one replica takes in a minute."""


class RequestLog(Model):
    prompts: Bool = False
    """Whether the request log holds the beginning of each request's body. When false, it holds no
    part of the body.
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
