"""The documents a user writes: one base, two kinds, and which class reads which kind.

Files and positions are `manifest`'s business; this module and what it imports know only values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from reconciler.api import names
from reconciler.api.auth_fields import unknown_models
from reconciler.api.environment import EnvironmentSpec
from reconciler.api.fields import Fault, Model, refuse_any
from reconciler.api.service import InferenceServiceSpec

API_VERSION: Final = "moorage.dev/v1alpha1"


class Metadata(Model):
    name: str
    """The document's name, unique within its kind."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels of your own. Moorage does not use them."""
    annotations: Mapping[str, str] = Field(default_factory=dict)
    """Annotations of your own. Moorage uses only `moorage.dev/inference-config`."""


class EnvironmentMetadata(Metadata):
    name: Annotated[str, names.DOCUMENT]
    """The name that services refer to; other names are derived from it."""


class ServiceMetadata(Metadata):
    name: names.ServiceName
    """The name of the service, its container app and its base model."""


class Document(Model):
    """What all kinds share; equality of `spec` is what decides whether the generation rises."""

    api_version: Literal["moorage.dev/v1alpha1"] = API_VERSION
    """The version of the document format."""
    kind: str
    metadata: Metadata


class Environment(Document):
    """What services share: resource group, logs, storage, Container Apps environment."""

    kind: Literal["Environment"]
    metadata: EnvironmentMetadata
    spec: EnvironmentSpec = EnvironmentSpec()


class InferenceService(Document):
    """One container app: a model with adapters, or a web API."""

    kind: Literal["InferenceService"]
    metadata: ServiceMetadata
    spec: InferenceServiceSpec

    @model_validator(mode="after")
    def _names(self) -> Self:
        """The base model answers under the service's name, so no adapter can have it."""
        name = self.metadata.name
        refuse_any(
            Fault(
                f"adapter {adapter.name!r} has the name under which the base model answers",
                "rename it",
                ("spec", "adapters", i, "name"),
            )
            for i, adapter in enumerate(self.spec.adapters)
            if adapter.name.lower() == name
        )
        refuse_any(
            unknown_models(
                self.spec.auth, {name, *(adapter.name for adapter in self.spec.adapters)}
            )
        )
        return self


DOCUMENTS: Mapping[str, type[Document]] = {
    "Environment": Environment,
    "InferenceService": InferenceService,
}
AnyDocument = Environment | InferenceService
