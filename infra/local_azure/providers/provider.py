"""The base class of every resource type in this package."""

from collections.abc import Mapping
from typing import Any, ClassVar

from infra.local_azure.arm.call import Routes
from infra.local_azure.arm.operations import Finisher


class Provider:
    """One resource type. A subclass is a dataclass: its fields are the parts it needs, and
    `catalogue.build` gives it those by their types.

    `shapes` are the JSON types of the bodies it takes, by route. `shown` is the type's name in the
    list of a group's resources, by the kind in the store; nested types are not listed there.
    """

    shapes: ClassVar[Mapping[str, Any]] = {}
    shown: ClassVar[Mapping[str, str]] = {}

    def routes(self) -> Routes:
        """The handlers, by method and route."""
        raise NotImplementedError

    def finishers(self) -> Mapping[str, Finisher]:
        """The ends of its long-running operations, by the name that the store keeps."""
        return {}
