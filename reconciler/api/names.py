"""What Azure, Container Apps and SMB accept as a name; one table, one message shape, one
suggestion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from reconciler.api.fields import Fault, refusal
from reconciler.api.smb_names import DEVICES

# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
_RESERVED_ALONE = frozenset(
    {
        "access",
        "azure",
        "bing",
        "bizspark",
        "biztalk",
        "cortana",
        "directx",
        "dotnet",
        "dynamics",
        "excel",
        "exchange",
    }
    | {
        "forefront",
        "groove",
        "hololens",
        "hyperv",
        "kinect",
        "lync",
        "msdn",
        "o365",
        "office",
        "office365",
        "onedrive",
    }
    | {"onenote", "outlook", "powerpoint", "sharepoint", "skype", "visio", "visualstudio", "xbox"}
)
_RESERVED_ANYWHERE = ("microsoft", "windows")
_RESERVED_AT_START = ("login",)


@dataclass(frozen=True)
class NameRule:
    """A kind of name. Used in `Annotated`: it validates, and describes itself in the
    JSON schema.
    """

    what: str
    pattern: str
    shortest: int
    longest: int
    says: str
    endpoint: bool = False  # part of a public host name, where trademarks are refused
    folder: bool = False  # a folder on the SMB share

    def __call__(self, value: str) -> str:
        if not (
            self.shortest <= len(value) <= self.longest
            and re.fullmatch(self.pattern, value, re.ASCII)
        ):
            raise refusal(
                Fault(f"{_shown(value)} cannot be {self.what}", f"it takes {self._right(value)}")
            )
        if self.endpoint and (word := _reserved(value)):
            raise refusal(
                Fault(
                    f"{value!r} cannot be {self.what}: Azure reserves the word {word!r}",
                    "choose another name",
                )
            )
        if self.folder and value.partition(".")[0].lower() in DEVICES:
            raise refusal(
                Fault(
                    f"{value!r} cannot be {self.what}: the file share reserves it",
                    "choose another name",
                )
            )
        return value

    def accepts(self, value: str) -> bool:
        """Whether the shape is right; reserved words aside."""
        return (
            self.shortest <= len(value) <= self.longest
            and re.fullmatch(self.pattern, value, re.ASCII) is not None
        )

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        shape = {
            "minLength": self.shortest,
            "maxLength": self.longest,
            "pattern": f"^{self.pattern}$",
        }
        return {**handler(schema), **shape}

    def _right(self, value: str) -> str:
        fixed = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", value.lower()))
        for candidate in (fixed.strip("-"), fixed.replace("-", "")):
            short = candidate[: self.longest].rstrip("-")
            if self.accepts(short):
                return f"{self.says}, for example {short!r}"
        return self.says


CONTAINER_APP = NameRule(
    "the name of a service, which is its container app's",
    r"(?!.*--)[a-z][a-z0-9-]*[a-z0-9]",
    2,
    32,
    "2 to 32 lower-case letters, digits and single '-', from a letter to a letter or digit",
    endpoint=True,
    folder=True,
)
DOCUMENT = NameRule(
    "the name of an Environment",
    r"(?!.*--)[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    1,
    50,
    "1 to 50 lower-case letters, digits and single '-', with a letter or digit at both ends",
)
RESOURCE_GROUP = NameRule(
    "a resource group's name",
    r"[-\w._()]*[-\w_()]",
    1,
    90,
    "1 to 90 letters, digits and '-_.()', without a '.' at the end",
)
STORAGE_ACCOUNT = NameRule(
    "a storage account's name",
    r"[a-z0-9]+",
    3,
    24,
    "3 to 24 lower-case letters and digits, unique in all of Azure",
    endpoint=True,
)
FILE_SHARE = NameRule(
    "a file share's name",
    r"(?!.*--)[a-z0-9][a-z0-9-]*[a-z0-9]",
    3,
    63,
    "3 to 63 lower-case letters, digits and single '-', with a letter or digit at both ends",
)
WORKSPACE = NameRule(
    "a Log Analytics workspace's name",
    r"[A-Za-z0-9][A-Za-z0-9-]+[A-Za-z0-9]",
    4,
    63,
    "4 to 63 letters, digits and '-', with a letter or digit at both ends",
)
MANAGED_ENVIRONMENT = NameRule(
    "a managed environment's name",
    r"(?!.*--)[a-z][a-z0-9-]*[a-z0-9]",
    2,
    60,
    "2 to 60 lower-case letters, digits and single '-', from a letter to a letter or digit",
    endpoint=True,
)
ENVIRONMENT_STORAGE = NameRule(
    "an environment storage's name",
    r"(?!.*--)[a-z][a-z0-9-]*[a-z0-9]",
    2,
    50,
    "2 to 50 lower-case letters, digits and single '-', from a letter to a letter or digit (Moorage"
    " appends '-rw' and, after a rotation of the key, 8 digits)",
)
WORKLOAD_PROFILE = NameRule(
    "a workload profile's name",
    r"[A-Za-z][A-Za-z0-9-]*",
    1,
    15,
    "1 to 15 letters, digits and '-', starting with a letter",
)
MODEL = NameRule(
    "an adapter's name, which clients send as the model",
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
    1,
    63,
    "1 to 63 letters, digits and '._-', with a letter or digit at both ends",
    folder=True,
)
API_KEY = NameRule(
    "an API key's name",
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    1,
    50,
    "1 to 50 lower-case letters, digits and '-', with a letter or digit at both ends",
)

ServiceName = Annotated[str, CONTAINER_APP]
EnvironmentName = Annotated[str, DOCUMENT]


def _reserved(value: str) -> str | None:
    lower = value.lower()
    if lower in _RESERVED_ALONE:
        return lower
    anywhere = next((word for word in _RESERVED_ANYWHERE if word in lower), None)
    return anywhere or next((word for word in _RESERVED_AT_START if lower.startswith(word)), None)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 70 else value[:67] + "...")
