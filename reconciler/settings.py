"""How Moorage reaches its target and with which identity: one frozen value from the environment and
the command line. The local Azure and the real Azure differ only in these fields. No code outside
this file asks which of the two is the target.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from reconciler.api.durations import seconds_of

TARGETS = ("local", "azure")
CREDENTIALS = ("managed-identity", "workload-identity", "service-principal", "azure-cli")
LONGEST_SECRET = 4096
TIMES = ("resync", "garbage_after")
SHORTEST_TOKEN = 16  # of the token that lets somebody decide
DEFAULT_STATE_DIR = ".moorage"
DEFAULT_LOCATION = "swedencentral"


class SettingsError(Exception):
    """The settings cannot be used. The message lists every problem, one per line. Exit code 2."""


class Cloud(NamedTuple):
    """The Resource Manager and login host of a cloud, and the audience of its tokens."""

    arm_endpoint: str
    authority: str
    audience: str


CLOUDS: Mapping[str, Cloud] = {
    "AzureCloud": Cloud(
        "https://management.azure.com",
        "https://login.microsoftonline.com",
        "https://management.azure.com",
    ),
    "AzureUSGovernment": Cloud(
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        "https://management.core.usgovcloudapi.net",
    ),
    "AzureChinaCloud": Cloud(
        "https://management.chinacloudapi.cn",
        "https://login.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
    ),
}


@dataclass(frozen=True)
class Settings:
    """All settings that are not in a document. Build this value with `load`, `from_environment` or
    `for_local`.
    """

    target: str
    subscription_id: str
    credential: str
    cloud: str = "AzureCloud"
    arm_endpoint: str = CLOUDS["AzureCloud"].arm_endpoint
    authority: str = CLOUDS["AzureCloud"].authority
    ca_file: Path | None = None
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    federated_token_file: Path | None = None
    state_dir: Path = Path(DEFAULT_STATE_DIR)
    location: str = DEFAULT_LOCATION
    owner: str = ""
    resync: float = 60.0
    garbage_after: float = 86400.0
    hf_endpoint: str = ""
    hf_token: str = field(default="", repr=False)
    web_token: str = field(default="", repr=False)
    page_token: str = field(default="", repr=False)
    git_token: str = field(default="", repr=False)
    prices_file: Path | None = None
    webhook_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise SettingsError("\n".join(problems))

    @classmethod
    def load(
        cls,
        start_local: Callable[[Path], Mapping[str, Any]],
        environ: Mapping[str, str] = os.environ,
        **given: Any,
    ) -> Settings:
        """Settings for the chosen target. For the local Azure, `start_local(state_dir)` starts it
        and returns how to reach it.
        """
        if _target(environ, given) == "local":
            return cls.for_local(
                start_local(state_dir(environ, given.get("state_dir"))), environ, **given
            )
        return cls.from_environment(environ, **given)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
        """Settings for a target that is described by MOORAGE_* and AZURE_* variables; `given` (not
        None) wins over them.

        Raises SettingsError when a value is missing or cannot be used.
        """
        cloud = _choice(
            "MOORAGE_CLOUD",
            given.get("cloud") or environ.get("MOORAGE_CLOUD", "AzureCloud"),
            tuple(CLOUDS),
        )
        values: dict[str, Any] = {
            "target": _target(environ, given),
            "cloud": cloud,
            "arm_endpoint": environ.get("MOORAGE_ARM_ENDPOINT") or CLOUDS[cloud].arm_endpoint,
            "authority": environ.get("MOORAGE_AUTHORITY") or CLOUDS[cloud].authority,
            "ca_file": environ.get("MOORAGE_CA_FILE") or None,
            "subscription_id": environ.get("MOORAGE_SUBSCRIPTION_ID", ""),
            "credential": environ.get("MOORAGE_CREDENTIAL", ""),
            "tenant_id": environ.get("AZURE_TENANT_ID", ""),
            "client_id": environ.get("AZURE_CLIENT_ID", ""),
            "client_secret": _secret(environ, "AZURE_CLIENT_SECRET"),
            "federated_token_file": environ.get("AZURE_FEDERATED_TOKEN_FILE") or None,
        }
        return _build(cls, {**values, **_common(environ), **_known(given)})

    @classmethod
    def for_local(
        cls, facts: Mapping[str, Any], environ: Mapping[str, str] = os.environ, **given: Any
    ) -> Settings:
        """Settings for the local Azure that printed `facts` (`python -m infra.local_azure start -o
        json`).
        """
        try:
            values: dict[str, Any] = {
                "target": "local",
                "credential": "service-principal",
                "arm_endpoint": facts["armEndpoint"],
                "authority": facts["authority"],
                "ca_file": facts["caFile"],
                "tenant_id": facts["tenantId"],
                "client_id": facts["clientId"],
                "client_secret": facts["clientSecret"],
                "subscription_id": facts["subscriptionId"],
            }
        except KeyError as missing:
            raise SettingsError(
                f"The local Azure did not say {missing.args[0]}; stop it and start it again."
            ) from None
        return _build(cls, {**values, **_common(environ), **_known(given), "target": "local"})

    @property
    def scope(self) -> str:
        """The OAuth scope of Resource Manager: that of the cloud, or the endpoint itself if the
        settings name another endpoint.
        """
        cloud = CLOUDS[self.cloud]
        own = self.arm_endpoint == cloud.arm_endpoint
        return f"{cloud.audience if own else self.arm_endpoint}/.default"

    @property
    def known_authority(self) -> bool:
        """Whether the login host is one of Azure's own, which azure-identity can look up."""
        return any(self.authority == cloud.authority for cloud in CLOUDS.values())

    @property
    def target_key(self) -> str:
        """The name of the folder with the state of this target, so that two targets never share
        state.
        """
        return "local" if self.target == "local" else f"azure-{self.subscription_id}"

    @property
    def target_title(self) -> str:
        """The name of the target in every header that a person sees."""
        return (
            "local Azure"
            if self.target == "local"
            else f"Azure subscription {self.subscription_id}"
        )

    @property
    def asks_first(self) -> bool:
        """Whether a person must confirm before anything is changed. The local Azure costs nothing,
        so its changes need no confirmation.
        """
        return self.target != "local"

    @property
    def price_note(self) -> str:
        """What is said of the prices of a plan."""
        return "" if self.target != "local" else "Azure asks these prices; the local Azure is free"

    @property
    def runs_here(self) -> bool:
        """Whether the target is a process on this machine, which the command line starts and keeps
        alive.
        """
        return self.target == "local"

    @property
    def target_option(self) -> str:
        """The options with which another command line reaches the same target."""
        return "" if self.target == "local" else f" --target {self.target}"

    @property
    def daemon_dir(self) -> Path:
        """The folder where the daemon keeps its own state of this target."""
        return self.state_dir / "daemon" / self.target_key


class NotifySettings(NamedTuple):
    """The receiver of notices, as written; `notification` checks it."""

    url: str
    form: str
    token: str
    occasions: str
    secret: str = ""


def notify_settings(environ: Mapping[str, str] = os.environ) -> NotifySettings:
    return NotifySettings(
        _secret(environ, "MOORAGE_NOTIFY_URL"),
        environ.get("MOORAGE_NOTIFY_FORMAT") or "cloudevents",
        _secret(environ, "MOORAGE_NOTIFY_TOKEN"),
        environ.get("MOORAGE_NOTIFY_ON", ""),
        _secret(environ, "MOORAGE_NOTIFY_SECRET"),
    )


class StatePlace(NamedTuple):
    """The folder and key of the daemon's state of a target, and the target's name for people."""

    folder: Path
    key: str
    title: str


def place_of(environ: Mapping[str, str] = os.environ, **given: Any) -> StatePlace:
    """The place of the chosen target. This works while no local Azure runs."""
    if _target(environ, given) == "local":
        return StatePlace(
            state_dir(environ, given.get("state_dir")) / "daemon" / "local", "local", "local Azure"
        )
    # The folder is found without signing in, because a secret may be readable by the daemon alone.
    settings = Settings.from_environment(environ, **{**given, "credential": "managed-identity"})
    return StatePlace(settings.daemon_dir, settings.target_key, settings.target_title)


def state_dir(environ: Mapping[str, str] = os.environ, given: Path | str | None = None) -> Path:
    """The state directory: the argument, MOORAGE_STATE_DIR or `.moorage`."""
    return Path(given or environ.get("MOORAGE_STATE_DIR") or DEFAULT_STATE_DIR)


def _target(environ: Mapping[str, str], given: Mapping[str, Any]) -> str:
    return _choice(
        "target", given.get("target") or environ.get("MOORAGE_TARGET") or "local", TARGETS
    )


def _common(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        "state_dir": state_dir(environ),
        "location": environ.get("MOORAGE_LOCATION") or DEFAULT_LOCATION,
        "owner": environ.get("MOORAGE_OWNER", ""),
        "hf_endpoint": environ.get("HF_ENDPOINT", ""),
        "hf_token": _secret(environ, "HF_TOKEN"),
        "web_token": _secret(environ, "MOORAGE_WEB_TOKEN"),
        "page_token": _secret(environ, "MOORAGE_PAGE_TOKEN"),
        "git_token": _secret(environ, "MOORAGE_GIT_TOKEN"),
        "webhook_secret": _secret(environ, "MOORAGE_GIT_WEBHOOK_SECRET"),
        "prices_file": environ.get("MOORAGE_PRICES") or None,
        "resync": environ.get("MOORAGE_RESYNC") or 60.0,
        "garbage_after": environ.get("MOORAGE_GARBAGE_AFTER") or 86400.0,
    }


def _secret(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable; else the first line of the file that NAME_FILE names, or of the
    credential of this name that systemd hands to a service.
    """
    if environ.get(name):
        return environ[name]
    file, folder = environ.get(f"{name}_FILE"), environ.get("CREDENTIALS_DIRECTORY")
    if file:
        return _first_line(Path(file), f"{name}_FILE names {file!r}, which")
    if not folder:
        return ""
    return _first_line(Path(folder, name), f"systemd's credential {name}", optional=True)


def _first_line(path: Path, subject: str, *, optional: bool = False) -> str:
    try:
        with path.open(encoding="utf-8") as opened:
            return opened.readline(LONGEST_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        if optional and isinstance(error, FileNotFoundError):
            return ""
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{subject} cannot be read: {why}.") from None


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(Settings)}
    unknown = sorted(set(given) - names)
    if unknown:
        raise SettingsError(f"There is no setting {', '.join(unknown)}.")
    return {name: value for name, value in given.items() if value is not None}


def _build(cls: type[Settings], values: dict[str, Any]) -> Settings:
    """Convert texts to the types of the fields. A wrong text is one clear error."""
    for name in ("ca_file", "federated_token_file", "prices_file", "state_dir"):
        values[name] = Path(values[name]) if values.get(name) else None
    for name in ("arm_endpoint", "authority"):
        values[name] = str(values[name]).rstrip("/")
    if values["credential"]:
        values["credential"] = _choice("MOORAGE_CREDENTIAL", values["credential"], CREDENTIALS)
    for name in TIMES:
        given = values.get(name, 1)
        values[name] = seconds_of(str(given))
        if values[name] is None:
            hint = "a length of time, such as 90s, 10m, 2h or 1d"
            raise SettingsError(f"MOORAGE_{name.upper()} must be {hint}, not {given!r}.")
    return cls(**values)


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    for each in allowed:
        if each.lower() == value.lower():
            return each
    raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")


_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _problems(settings: Settings) -> list[str]:
    found = []
    if not _GUID.fullmatch(settings.subscription_id):
        found.append(
            "MOORAGE_SUBSCRIPTION_ID must be the id of a subscription (a GUID)"
            + _instead(settings.subscription_id)
        )
    for name, url in (
        ("MOORAGE_ARM_ENDPOINT", settings.arm_endpoint),
        ("MOORAGE_AUTHORITY", settings.authority),
    ):
        if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
            found.append(
                f"{name} must be an https URL, not {url!r}: tokens are only sent encrypted."
            )
    if settings.ca_file is not None and not settings.ca_file.is_file():
        found.append(f"MOORAGE_CA_FILE names {str(settings.ca_file)!r}, which is not a file.")
    found += [
        f"MOORAGE_{name.upper()} must be at least 1 second, not {getattr(settings, name):g}."
        for name in TIMES
        if not getattr(settings, name) >= 1
    ]
    if settings.page_token and len(settings.page_token) < SHORTEST_TOKEN:
        found.append(f"MOORAGE_PAGE_TOKEN must have {SHORTEST_TOKEN} characters or more.")
    if settings.webhook_secret and len(settings.webhook_secret) < SHORTEST_TOKEN:
        found.append(f"MOORAGE_GIT_WEBHOOK_SECRET must have {SHORTEST_TOKEN} characters or more.")
    return found + _credential_problems(settings)


def _credential_problems(settings: Settings) -> list[str]:
    if not settings.credential:
        return [
            f"MOORAGE_CREDENTIAL must say how to sign in: {', '.join(CREDENTIALS)}. It is never"
            " guessed."
        ]
    needed: Mapping[str, Mapping[str, object]] = {
        "service-principal": {
            "AZURE_TENANT_ID": settings.tenant_id,
            "AZURE_CLIENT_ID": settings.client_id,
            "AZURE_CLIENT_SECRET": settings.client_secret,
        },
        "workload-identity": {
            "AZURE_TENANT_ID": settings.tenant_id,
            "AZURE_CLIENT_ID": settings.client_id,
            "AZURE_FEDERATED_TOKEN_FILE": settings.federated_token_file,
        },
    }
    missing = [name for name, value in needed.get(settings.credential, {}).items() if not value]
    return [f"{name} is needed for the credential {settings.credential}." for name in missing]


def _instead(value: str) -> str:
    return f", not {value!r}." if value else "; it is not set."
