"""Microsoft.Authorization/permissions: what the caller's role grants, for clients that ask before
they write.
"""

from dataclasses import dataclass

from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.arm.roles import Roles
from infra.local_azure.providers.provider import Provider


@dataclass(frozen=True)
class Permissions(Provider):
    """The caller has one role, at the scope of the subscription."""

    roles: Roles

    def routes(self) -> Routes:
        return {"get microsoft.authorization/permissions": self.listing}

    def listing(self, _: Call) -> Reply:
        return listed([self.roles.permissions()])
