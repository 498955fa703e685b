"""Documents for resources that exist already, as a person would write them. Pure; `inverse` reads
each field, `cli.import_azure` reads the resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.api.manifest import ManifestError, parse
from reconciler.api.mounts import CODE_PATH
from reconciler.api.resources import MOUNT_PATH
from reconciler.api.secret_fields import RESERVED, references
from reconciler.api.tags import DOCUMENT, ENVIRONMENT, OWNER
from reconciler.api.yaml_edit import render, with_value
from reconciler.composition import template
from reconciler.composition.found_share import gateway_fields, service_fields
from reconciler.composition.found_values import Body, at, container, entries, texts
from reconciler.composition.inverse import CODE, MODEL, decompose
from serving.catalogue import Catalogue
from serving.gateway.routes import GatewayRoutes

WIDTH = 100  # characters of a comment's line
_HEAD = {"apiVersion": "moorage.dev/v1alpha1"}
_KEY = "api-key-"  # how the secret of an API key begins
_READ_FROM = "moorageReadFrom"  # the revision whose template stands in the body
_CONFIGURED = ("properties", "configuration")
# Settings of an ingress that somebody else may have made.
_STAYS = ("customDomains", "ipSecurityRestrictions", "additionalPortMappings")


@dataclass(frozen=True)
class FoundEnvironment:
    """A managed environment and what belongs to it, each as ARM shows it; None if it does not
    exist. `storages` are the shares registered in it. `catalogues` (by app name) and `routes` are
    the ones on its own share that its apps and its gateway follow.
    """

    managed: Body
    workspace: Body | None = None
    account: Body | None = None
    share: Body | None = None
    storages: Sequence[Body] = ()
    apps: Sequence[Body] = ()
    jobs: Sequence[Body] = ()
    catalogues: Mapping[str, Catalogue] = field(default_factory=dict)
    routes: GatewayRoutes | None = None


@dataclass(frozen=True)
class FoundDocument:
    """A document, and the comments to write above it."""

    document: dict[str, Any]
    comments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])


@dataclass(frozen=True)
class LeftAlone:
    """An object that no document can hold, and why."""

    name: str
    reason: str
    paths: tuple[str, ...] = field(default_factory=tuple)


def environment_of(found: FoundEnvironment, group: str) -> FoundDocument:
    """The Environment document. One that Moorage made keeps its owner, so that it stays its own."""
    managed = found.managed
    name = tags.tag(managed, ENVIRONMENT) or str(managed["name"]).lower()
    owner = tags.tag(managed, OWNER)
    spec: dict[str, Any] = {
        **({"owner": owner} if owner else {}),
        "resourceGroup": group,
        "location": _region(str(managed["location"])),
        "managedEnvironment": {"name": managed["name"]},
    }
    read = registered(found.storages)
    if read is not None:
        spec["managedEnvironment"]["storageName"] = read["name"]
    if found.workspace:
        spec["logAnalytics"] = {"name": found.workspace["name"]}
    if found.account and found.share:
        spec["storage"] = {
            "accountName": found.account["name"],
            "shareName": found.share["name"],
        }
    document: Any = {**_HEAD, "kind": "Environment", "metadata": {"name": name}, "spec": spec}
    for kind, body in (
        (Kind.ENVIRONMENT, managed),
        (Kind.WORKSPACE, found.workspace),
        (Kind.STORAGE_ACCOUNT, found.account),
        (Kind.SHARE, found.share),
    ):
        for steps, value in decompose(kind, body).items() if body else ():
            shared = steps[-1] == "tags" and kind is not Kind.ENVIRONMENT
            if not shared and value not in ({}, []):
                document = with_value(document, steps, value)
    comments: tuple[str, ...] = ()
    if gateway := gateway_of(found):
        fields, comments = gateway_fields(gateway, name, found.routes)
        document["spec"]["gateway"] = fields
        comments = (
            *comments,
            f"the values of the gateway's keys stay in {gateway['name']}, not in this file",
        )
    return FoundDocument(document, comments)


def gateway_of(found: FoundEnvironment) -> Body | None:
    """The container app of its gateway."""
    name = tags.tag(found.managed, ENVIRONMENT)
    made_for = f"Environment/{name}"
    return next((app for app in found.apps if tags.tag(app, DOCUMENT) == made_for), None)


def registered(storages: Sequence[Body]) -> Body | None:
    """The registration of the share that services read from: the one that has a writable twin."""
    names = {str(each["name"]) for each in storages}
    fitting = [each for each in storages if f"{each['name']}-rw" in names]
    return min(fitting, key=lambda each: len(str(each["name"])), default=None)


def service_of(
    app: Body,
    environment: FoundDocument,
    jobs: Sequence[Body] = (),
    catalogue: Catalogue | None = None,
) -> FoundDocument | LeftAlone:
    """The document of a container app that Moorage made; other apps have none. `jobs` are those of
    its environment and show which models came from a hub. `catalogue` is what its replicas follow.
    """
    name = str(app["name"])
    owner, ours = tags.tag(app, OWNER), environment.document["spec"].get("owner")
    if owner is not None and owner != ours:
        return LeftAlone(name, f"it belongs to the set {owner}, and the environment to {ours}")
    if tags.tag(app, DOCUMENT) != f"InferenceService/{name}":
        return LeftAlone(name, why_left(app))
    source = _source(app, hub_models(jobs))
    if source is None:
        return LeftAlone(name, "neither a model nor code is mounted in it")
    of, said = source
    spec: dict[str, Any] = {"environment": environment.name, **said}
    document: Any = {
        **_HEAD,
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": spec,
    }
    if tags.is_adopted(app):
        spec["adoptionPolicy"] = "AdoptOrCreate"
    profiles = environment.document["spec"].get("workloadProfiles") or ()
    for steps, value in decompose(Kind.APP, app, of).items():
        if value not in ([], {}) and steps[1] != "resources":
            document = with_value(document, steps, value)
    _size(document, app, profiles, of)
    comments = (
        *_followed(document, app, catalogue, of),
        *_secrets(document, app),
        *_beside(app),
    )
    return FoundDocument(document, comments)


def why_left(app: Body) -> str:
    """Why a container app that somebody else made has no document, and what can be done."""
    listed = entries(at(app, "properties", "template", "containers"))
    if len(listed) > 1:
        return f"a service has one container, and it has {len(listed)}; somebody else made it"
    if at(app, "properties", "configuration", "ingress") is None:
        return "a service has an ingress, and it has none; somebody else made it"
    return (
        "somebody else made it, and Moorage takes it over with a new revision only: write a"
        " document with code or model and adoptionPolicy: AdoptOrCreate, and look at the plan"
        " (`moorage import FOLDER` writes one for an AI Toolkit project)"
    )


def with_left(document: FoundDocument, left: Sequence[LeftAlone]) -> FoundDocument:
    """The document, with comments that name the apps without a document."""
    said = (f"{each.name} has no document: {each.reason}" for each in left)
    return replace(document, comments=(*document.comments, *said))


def as_revision(app: Body, revision: str, template: Body) -> dict[str, Any]:
    """The app as if the template of one of its revisions were its own, with the app's periods,
    which Azure leaves out of revisions.
    """
    scale, own = template.get("scale") or {}, at(app, "properties", "template", "scale") or {}
    named = ("cooldownPeriod", "pollingInterval")
    missing = {name: own[name] for name in named if scale.get(name) is None and name in own}
    whole = {**template, "scale": {**scale, **missing}} if missing else template
    return {**app, "properties": {**app["properties"], "template": whole, _READ_FROM: revision}}


def later_revision(app: Body) -> str | None:
    """What a person must know of an app whose traffic is not on its latest revision."""
    latest, read = at(app, "properties", "latestRevisionName"), at(app, "properties", _READ_FROM)
    if not read or not latest or latest == read:
        return None
    return (
        f"{app['name']}: the document says what {read} serves. {latest} is later and has less of"
        " the traffic; a run with this document takes it out of service. Azure keeps the cooldown"
        f" period of {latest} alone"
    )


def hub_models(jobs: Sequence[Body]) -> dict[str, str]:
    """The models that jobs fetched, by their folders on the share."""
    found = {}
    for job in jobs:
        fetch = container(job)
        values = {str(each.get("name")): each.get("value") for each in entries(fetch.get("env"))}
        for mount in entries(fetch.get("volumeMounts")):
            repository, commit = values.get("MOORAGE_REPOSITORY"), values.get("MOORAGE_REVISION")
            if mount.get("subPath") and repository and commit:
                found[str(mount["subPath"])] = f"hf://{repository}@{commit}"
    return found


def _source(app: Body, fetched: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """Where the model or the code lies on the share."""
    words = texts(container(app).get("args"))
    if "--model" in words[:-1]:
        path = words[words.index("--model") + 1].removeprefix(f"{MOUNT_PATH}/")
        return MODEL, {"model": {"source": fetched.get(path, f"share://{path}")}}
    mounts = {
        str(each.get("mountPath")): str(each.get("subPath") or "")
        for each in entries(container(app).get("volumeMounts"))
    }
    command = texts(container(app).get("command"))
    home = re.match(r"cd (\S+) &&", command[2]) if len(command) > 4 else None
    if home is None or not mounts.get(home[1]):
        return None
    said: dict[str, Any] = {"code": f"share://{mounts.pop(home[1])}"}
    if home[1] != CODE_PATH:
        said["mountPath"] = home[1]
    if mounts:
        said["mounts"] = [
            {"source": f"share://{folder}", "mountPath": path} for path, folder in mounts.items()
        ]
    return CODE, said


def _size(document: Any, app: Body, profiles: Sequence[Any], of: str) -> None:
    """Set CPU and memory, unless the profile gives the same by default."""
    chosen = document["spec"].get("workloadProfileName")
    kind = next(
        (each["workloadProfileType"] for each in profiles if each.get("name") == chosen), ""
    )
    usual = template.resources({}, kind, model=of == MODEL)
    size = {name: at(container(app), "resources", name) for name in ("cpu", "memory")}
    if size != usual and None not in size.values():
        document["spec"]["resources"] = size


def _followed(document: Any, app: Body, catalogue: Catalogue | None, of: str) -> Iterator[str]:
    """Set adapters, keys and limits, and yield comments. The values of the keys stay in Azure.
    Without a catalogue, the names of the keys come from the app's secrets.
    """
    if of != MODEL:
        return
    names = [str(each["name"]) for each in entries(at(app, *_CONFIGURED, "secrets"))]
    if any(name.startswith(_KEY) for name in names):
        yield "the values of the API keys stay in the container app: `moorage key` prints them"
    if catalogue is None:
        keys = [name.removeprefix(_KEY) for name in names if name.startswith(_KEY)]
        if keys:
            document["spec"]["auth"] = {"apiKeys": [{"name": name} for name in keys]}
        yield "the share cannot be read: write adapters, and what keys may do, here"
        return
    found = service_fields(catalogue)
    for name, value in found.fields.items():
        there = document["spec"].get(name)
        document["spec"][name] = {**there, **value} if isinstance(there, dict) else value
    yield from found.comments


def _secrets(document: Any, app: Body) -> Iterator[str]:
    """Set the secrets, each with its place in a Key Vault or with a variable that a person must
    fill, and yield comments. Those of an adopted app that nothing reads were there before.
    """
    said = []
    read = set(references(app["properties"])) if tags.is_adopted(app) else None
    for each in entries(at(app, *_CONFIGURED, "secrets")):
        name = str(each["name"])
        if name.startswith(RESERVED):
            continue
        if read is not None and name not in read:
            yield f"the secret {name} stays in the container app; the service does not read it"
            continue
        if each.get("keyVaultUrl"):
            fields = ("name", "keyVaultUrl", "identity")
            said.append({field: each[field] for field in fields if each.get(field)})
            continue
        variable = f"SECRET_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
        said.append({"name": name, "valueFrom": {"env": variable}})
        yield f"the value of the secret {name} is not read: give it to the daemon as {variable}"
    if said:
        document["spec"]["secrets"] = said


def _beside(app: Body) -> Iterator[str]:
    """Say which settings no document has; a run leaves them alone."""
    ingress = at(app, *_CONFIGURED, "ingress")
    there = [name for name in _STAYS if at(ingress, name)]
    if at(app, *_CONFIGURED, "dapr", "enabled"):
        there.append("dapr")
    if there:
        yield f"no field of a document says {', '.join(there)}: Moorage leaves these as they are"


def unsaid(documents: Sequence[FoundDocument]) -> str:
    """Why these documents, of which the last is new, are not valid; empty where they are."""
    text = "---\n".join(map(text_of, documents))
    try:
        parse(Path("found.yaml"), text.encode())
    except ManifestError as error:
        return error.problems[0].message
    return ""


def text_of(written: FoundDocument) -> str:
    """The document as YAML, its comments first."""
    comments = [
        line
        for comment in written.comments
        for line in wrap(
            comment,
            WIDTH,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    return "\n".join([*comments, *_lines(written.document, 0), ""])


def _lines(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    space = "  " * depth
    for name, each in value.items():
        if isinstance(each, Mapping) and depth < 1:
            yield f"{space}{name}:"
            yield from _lines(each, depth + 1)
        elif isinstance(each, list) and each and isinstance(each[0], Mapping):
            yield f"{space}{name}:"
            yield from (f"{space}  - {render(one)}" for one in each)
        else:
            yield f"{space}{name}: {render(each)}"


def _region(shown: str) -> str:
    return shown.replace(" ", "").lower()
