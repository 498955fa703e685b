"""Microsoft.Authorization/roleAssignments and roleDefinitions, as `az role assignment` asks for
them. Assignments open the vaults that use roles; the caller of Resource Manager itself has the one
role of `arm.roles`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure import clock
from infra.local_azure.arm.body_types import TEXT
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, conflict, not_found, not_implemented
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control.assignments import (
    BUILT_IN,
    DEFINITION_TYPE,
    KIND,
    TYPE,
    BuiltInRole,
    built_in,
    is_guid,
    scope_of,
)
from infra.local_azure.control.records import Body, Records, directory_id
from infra.local_azure.login import Login
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

_DEFINITIONS = DEFINITION_TYPE.lower()
_CLAUSE = re.compile(r"\s*(\w+)(?:\s+eq\s+|\s*\(\s*)'([^']*)'\s*\)?\s*", re.IGNORECASE)
_KINDS = ("ServicePrincipal", "User", "Group", "ForeignGroup", "Device")
_FIXED = ("roleDefinitionId", "principalId")


@dataclass(frozen=True)
class RoleAssignments(Provider):
    """Assignments of built-in roles at any scope that exists, and those roles' definitions."""

    store: Store
    records: Records
    login: Login

    shapes: ClassVar[Mapping[str, Any]] = {
        f"{KIND}/{{}}": {
            "properties": dict.fromkeys((*_FIXED, "principalType", "description"), TEXT)
        }
    }

    def routes(self) -> Routes:
        return {
            f"put {KIND}/{{}}": self.put,
            f"get {KIND}/{{}}": self.get,
            f"delete {KIND}/{{}}": self.delete,
            f"get {KIND}": self.listing,
            f"get {_DEFINITIONS}": self.definitions,
            f"get {_DEFINITIONS}/{{}}": self.definition,
            f"put {_DEFINITIONS}/{{}}": self.custom,
            f"delete {_DEFINITIONS}/{{}}": self.custom,
        }

    def put(self, call: Call) -> Reply:
        """An assignment never changes. The same one again is not an error."""
        scope, name = self._scope(call, KIND), call.target.name
        if not is_guid(name):
            text = (
                f"The role assignment ID '{name}' is not valid. The role assignment ID must be a"
                " GUID."
            )
            raise bad_request("InvalidRoleAssignmentId", text)
        asked = self._asked(call)
        known = self.store.get(call.target.key)
        if known is not None:
            held = known.body["properties"]
            if any(str(held[field]).lower() != asked[field].lower() for field in _FIXED):
                text = (
                    "Tenant ID, application ID, principal ID, and scope are not allowed to be"
                    " updated."
                )
                raise conflict("RoleAssignmentUpdateNotPermitted", text)
            return Reply(200, _view(known))
        for other in self._at(scope):
            held = other.body["properties"]
            if all(str(held[field]).lower() == asked[field].lower() for field in _FIXED):
                text = (
                    "The role assignment already exists. The ID of the existing role assignment is"
                    f" {other.name.replace('-', '')}."
                )
                raise conflict("RoleAssignmentExists", text)
        now, author = f"{clock.ticks()}Z", self.login.identity.object
        made = {"createdOn": now, "updatedOn": now, "createdBy": author, "updatedBy": author}
        shown = {**asked, "scope": scope or "/", **made}
        record = Record(f"{scope}/providers/{TYPE}/{name}", KIND, {"properties": shown})
        self.store.put(record)
        return Reply(201, _view(record))

    def get(self, call: Call) -> Reply:
        record = self.store.get(call.target.key)
        if record is None:
            text = f"The role assignment '{call.target.name}' is not found."
            raise ArmError(404, "RoleAssignmentNotFound", text)
        return Reply(200, _view(record))

    def delete(self, call: Call) -> Reply:
        """Answers with the deleted assignment."""
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        self.store.delete(record.key)
        return Reply(200, _view(record))

    def listing(self, call: Call) -> Reply:
        """The assignments at the scope, above and below; `$filter` chooses among them."""
        scope = self._scope(call, KIND).lower()
        text = call.query.get("$filter", "")
        found = [
            record
            for record in self.store.each(KIND)
            if f"{scope}/".startswith(f"{scope_of(record)}/")
            or ("atscope()" not in text.lower() and scope_of(record).startswith(f"{scope}/"))
        ]
        for name, value in _clauses(text).items():
            if name not in {"principalid", "assignedto"}:
                raise bad_request("UnsupportedFilter", f"The filter '{text}' is not supported.")
            found = [
                record
                for record in found
                if str(record.body["properties"]["principalId"]).lower() == value
            ]
        return listed([_view(record) for record in found])

    def definitions(self, call: Call) -> Reply:
        """The built-in roles; `$filter=roleName eq '…'` finds one."""
        self._scope(call, _DEFINITIONS)
        wanted = _clauses(call.query.get("$filter", ""))
        chosen = [
            role
            for role in BUILT_IN
            if wanted.get("rolename", role.name.lower()) == role.name.lower()
            and wanted.get("type", "builtinrole") == "builtinrole"
        ]
        return listed([self._definition(role) for role in chosen])

    def definition(self, call: Call) -> Reply:
        role = built_in(call.target.name)
        if role is None:
            raise _no_definition(call.target.name)
        return Reply(200, self._definition(role))

    def custom(self, call: Call) -> Reply:
        raise not_implemented(f"roles of one's own ({call.method} {call.target.path})")

    def _asked(self, call: Call) -> Body:
        sent = call.document().get("properties") or {}
        missing = [field for field in _FIXED if not sent.get(field)]
        if missing:
            text = f"The request is missing the required property '{missing[0]}'."
            raise bad_request("BadRequestFormat", text)
        role = built_in(str(sent["roleDefinitionId"]))
        if role is None:
            raise _no_definition(str(sent["roleDefinitionId"]))
        principal, kind = str(sent["principalId"]), str(sent.get("principalType") or "")
        if not is_guid(principal):
            raise bad_request("InvalidPrincipalId", f"The principal ID '{principal}' is not valid.")
        if kind and kind not in _KINDS:
            text = f"The principal type '{kind}' is not valid: it is one of {', '.join(_KINDS)}."
            raise bad_request("InvalidPrincipalType", text)
        # If the type is given, Azure does not ask the directory, which may not know a new identity
        # yet.
        if not kind and principal.lower() not in self._principals():
            text = (
                f"Principal {principal.replace('-', '')} does not exist in the directory"
                f" {self.login.identity.tenant}. Check that you have the correct principal ID."
            )
            raise bad_request("PrincipalNotFound", text)
        described = {"description": sent["description"]} if sent.get("description") else {}
        return {
            "roleDefinitionId": self._definition(role)["id"],
            "principalId": principal,
            "principalType": kind or "ServicePrincipal",
            **described,
        }

    def _principals(self) -> set[str]:
        """The client and the managed identities that resources have."""
        found = {self.login.identity.object}
        for record in self.records.tracked(f"/subscriptions/{self.login.identity.subscription}"):
            found.add(directory_id(record.id, "principal"))
        return found

    def _at(self, scope: str) -> list[Record]:
        return [each for each in self.store.each(KIND) if scope_of(each) == scope.lower()]

    def _scope(self, call: Call, kind: str) -> str:
        """Where the call looks or assigns; it must exist."""
        path = call.target.path
        scope = path[: path.lower().rindex(f"/providers/{kind}")]
        if scope.count("/") > 2 and self.store.get(scope) is None:
            self.records.group(call)
            parts = scope.split("/")
            raise not_found("/".join(parts[6:8]) or TYPE, parts[-1], call.target.group or "")
        return scope

    def _definition(self, role: BuiltInRole) -> Body:
        permissions = {
            "actions": list(role.actions),
            "notActions": list(role.not_actions),
            "dataActions": list(role.data_actions),
            "notDataActions": [],
        }
        above = f"/subscriptions/{self.login.identity.subscription}"
        return {
            "properties": {
                "roleName": role.name,
                "type": "BuiltInRole",
                "description": "",
                "assignableScopes": ["/"],
                "permissions": [permissions],
            },
            "id": f"{above}/providers/{DEFINITION_TYPE}/{role.id}",
            "type": DEFINITION_TYPE,
            "name": role.id,
        }


def _clauses(text: str) -> dict[str, str]:
    """`principalId eq 'a'` and `assignedTo('a')` by name; `atScope()` is looked at apart."""
    found = {}
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE) if text.strip() else ():
        match = _CLAUSE.fullmatch(part)
        if match:
            found[match[1].lower()] = match[2].lower()
        elif part.strip().lower() != "atscope()":
            raise bad_request("UnsupportedFilter", f"The filter '{part}' is not supported.")
    return found


def _no_definition(name: str) -> ArmError:
    text = f"The specified role definition with ID '{name.rpartition('/')[2]}' does not exist."
    return ArmError(404, "RoleDefinitionDoesNotExist", text)


def _view(record: Record) -> Body:
    unset = dict.fromkeys(
        ("condition", "conditionVersion", "delegatedManagedIdentityResourceId", "description")
    )
    return {
        "properties": {**unset, **record.body["properties"]},
        "id": record.id,
        "type": TYPE,
        "name": record.name,
    }
