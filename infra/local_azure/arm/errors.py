"""ARM's error body and the refusals that several providers share. Anything raised here reaches the
client as it is.

ArmError
    not_found            404 ResourceNotFound, from the gateway
    parent_not_found     404 ParentResourceNotFound, from the gateway
    group_not_found      404 ResourceGroupNotFound, from the gateway
    not_implemented      501 NotImplemented: this local Azure does not do that
    bad_request          400 with the provider's own code
    conflict             409 with the provider's own code
"""

from collections.abc import Mapping
from typing import Any

GATEWAY = {"x-ms-failure-cause": "gateway"}


class ArmError(Exception):
    """An answer of 4xx or 5xx; `bare` leaves out the `error` wrapper, as some Microsoft.App errors
    do; `more`: details.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        bare: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.bare = bare
        self.more = dict(more or {})

    def body(self) -> dict[str, Any]:
        inner = {"code": self.code, "message": self.message, **self.more}
        return inner if self.bare else {"error": inner}


def not_found(kind: str, name: str, group: str) -> ArmError:
    message = (
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return ArmError(404, "ResourceNotFound", message, headers=GATEWAY)


def parent_not_found(name: str) -> ArmError:
    message = (
        f"Can not perform requested operation on nested resource. Parent resource '{name}' not"
        " found."
    )
    return ArmError(404, "ParentResourceNotFound", message, headers=GATEWAY)


def group_not_found(group: str) -> ArmError:
    return ArmError(
        404,
        "ResourceGroupNotFound",
        f"Resource group '{group}' could not be found.",
        headers=GATEWAY,
    )


def not_implemented(what: str) -> ArmError:
    return ArmError(501, "NotImplemented", f"The local Azure does not implement {what}.")


def bad_request(code: str, message: str) -> ArmError:
    return ArmError(400, code, message)


def conflict(code: str, message: str) -> ArmError:
    return ArmError(409, code, message)
