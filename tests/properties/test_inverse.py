"""The composition and its inverse, on random documents: what a document comes to leads back to it,
and what somebody altered leads to a document that asks for just that.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from reconciler.api import tags
from reconciler.api.digest import File, Tree
from reconciler.api.kinds import Kind
from reconciler.api.manifest import ManifestError, parse
from reconciler.api.yaml_edit import EditError, edited, plain, with_value
from reconciler.composition import compose
from reconciler.composition.found_documents import (
    FoundDocument,
    FoundEnvironment,
    environment_of,
    service_of,
)
from reconciler.composition.found_documents import text_of as written_as
from reconciler.composition.inverse import NoFieldError, accepted, decompose, field_of
from reconciler.composition.world import World
from reconciler.engine.arguments import by_flag
from reconciler.engine.diff import diff
from reconciler.kinds import rules_of
from reconciler.kinds.service.app_body import whole
from tests.properties.written import CODES, ENVIRONMENTS, MODELS, documents, text_of

FILE = Path("/nowhere/moorage.yaml")
TREE = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})
WORLD = World("0" * 8 + "-0000-0000-0000-" + "0" * 12, "swedencentral", str, TREE)


def bodies(text: str) -> dict[Kind, dict[str, Any]]:
    """The resources that fields are of, as ARM shows what the documents come to."""
    composed = compose(parse(FILE, text.encode()), WORLD)
    found = {}
    for item in composed.desired:
        kind = next(each for each in Kind if each == item.key.kind)
        if kind is Kind.APP:
            found[kind] = whole(item.spec, "/subscriptions/0/env")
        elif kind in (Kind.WORKSPACE, Kind.STORAGE_ACCOUNT, Kind.SHARE, Kind.ENVIRONMENT):
            found[kind] = dict(item.spec.body)
    return copy.deepcopy(found)


def of(service: Any) -> str:
    return "model" if "model" in service else "code"


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(environment=ENVIRONMENTS, service=MODELS | CODES)
def test_what_a_document_comes_to_leads_back_to_it(environment: Any, service: Any) -> None:
    """With what the resources say in place of its own values it comes to the same, and each value
    that it gives is found again.
    """
    written = documents(environment, service)
    try:
        made = bodies(text_of(written))
    except ManifestError:
        assume(False)
    sources = ("model", "code", "mountPath", "mounts")  # which the share decides
    again = documents({}, {k: v for k, v in service.items() if k in sources})
    for kind, body in made.items():
        number = 1 if kind is Kind.APP else 0
        for steps, value in decompose(kind, body, of(service)).items():
            again[number] = with_value(again[number], steps, value)
            given_value: Any = written[number]
            for step in steps:
                given_value = given_value.get(step) if isinstance(given_value, dict) else None
            if steps[-1] == "schedules" and given_value:
                assert [each["start"] for each in given_value] == [each["start"] for each in value]
            elif steps[-2:] == ("engine", "args"):
                assert (given_value or {}).items() <= value.items()
            elif steps[-1] == "progressDeadlineSeconds":  # a probe counts whole periods
                assert 0 <= value - (given_value or 240) < 240
            elif given_value is not None:
                assert given_value == value, steps
    assert bodies(text_of(again)) == made


ELSEWHERE = {  # what only the other kind of service may say, also by its default
    "model": {"command", "args", "targetPort", "mountPath", "mounts"},
    "code": {"adapters", "auth", "limits", "requestLog"},
}


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(environment=ENVIRONMENTS, service=MODELS | CODES)
def test_a_default_that_is_written_out_changes_nothing(environment: Any, service: Any) -> None:
    """Every field with its default, and 4.0 for 4: the resources are the same to the letter, and so
    is the name of the revision.
    """
    written = documents(environment, service)
    try:
        made = bodies(text_of(written))
        loaded = parse(FILE, text_of(written).encode())
    except ManifestError:
        assume(False)
    for document, each in zip(written, loaded, strict=True):
        fields = each.document.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        gone = ELSEWHERE[of(service)] if document["kind"] == "InferenceService" else set()
        if document["kind"] == "InferenceService" and of(service) == "code":
            fields["engine"] = document["spec"].get("engine", {})
            fields["ingress"].pop("corsPolicy", None)
        document["spec"] = {name: value for name, value in fields.items() if name not in gone}
    assert bodies(text_of(written)) == made
    size = made[Kind.APP]["properties"]["template"]["containers"][0]["resources"]
    for spelling in (size, {"cpu": float(size["cpu"]), "memory": size["memory"][:-2] + ".0Gi"}):
        written[1]["spec"]["resources"] = {**spelling}
        assert bodies(text_of(written)) == made


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        [*value.items()]
        if isinstance(value, dict)
        else [*enumerate(value)]
        if isinstance(value, list) and any(isinstance(each, dict) for each in value)
        else []
    )
    return [leaf for name, each in inner for leaf in leaves(each, (*at, name))] or [at]


def altered(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "--more", "x"]
    return f"{value}9"


@settings(max_examples=50, deadline=None, phases=[Phase.generate])
@given(environment=ENVIRONMENTS, service=MODELS | CODES, data=st.data())
def test_what_is_accepted_differs_no_more(environment: Any, service: Any, data: Any) -> None:
    """Whatever field of whatever resource was altered: its document then asks for it as it is, or
    says why it cannot.
    """
    text = text_of(documents(environment, service))
    try:
        made = bodies(text)
    except ManifestError:
        assume(False)
    kind = data.draw(st.sampled_from(sorted(made, key=str)), label="kind")
    found = copy.deepcopy(made[kind])
    leaf = data.draw(st.sampled_from(leaves(found)), label="leaf")
    inner = found
    for step in leaf[:-1]:
        inner = inner[step]
    inner[leaf[-1]] = altered(inner[leaf[-1]])
    number, rules = (1 if kind is Kind.APP else 0), rules_of(kind)
    for change in [flag for each in diff(made[kind], found, rules) for flag in by_flag(each)]:
        try:
            field = field_of(kind, change.path, of(service))
            steps, value = accepted(field, change.path, found, plain(text)[number])
            new = edited(text, number, {steps: value})
            after = bodies(new)[kind]
        except (NoFieldError, EditError, ManifestError):
            continue
        rest = [flag for each in diff(after, found, rules) for flag in by_flag(each)]
        assert change.path not in {each.path for each in rest}, (steps, value)


def test_each_field_of_the_table_is_accepted_somewhere() -> None:
    """The property above would hold for a table that refuses everything."""
    service = {
        "code": "share://code/web",
        "command": ["a"],
        "args": ["b"],
        "targetPort": 80,
        "engine": {"image": "docker.io/x/y:1"},
        "resources": {"cpu": 0.5, "memory": "1Gi"},
        "env": [{"name": "A", "value": "1"}],
        "workloadProfileName": "Consumption",
    }
    text = text_of(documents({"tags": {"team": "red"}}, service))
    app = bodies(text)[Kind.APP]
    template = "properties.template"
    said = {
        f"{template}.containers[app].image": "spec.engine.image",
        f"{template}.containers[app].resources.cpu": "spec.resources.cpu",
        f"{template}.containers[app].resources.memory": "spec.resources.memory",
        f"{template}.containers[app].env[A].value": "spec.env",
        f"{template}.containers[app].args": "spec.args",
        f"{template}.containers[app].command": "spec.command",
        f"{template}.scale.minReplicas": "spec.scale.minReplicas",
        f"{template}.scale.maxReplicas": "spec.scale.maxReplicas",
        f"{template}.scale.cooldownPeriod": "spec.scale.cooldownPeriod",
        f"{template}.scale.rules[http].http.metadata.concurrentRequests": (
            "spec.scale.concurrentRequests"
        ),
        f"{template}.scale.rules[schedule-1]": "spec.scale.schedules",
        f"{template}.terminationGracePeriodSeconds": "spec.terminationGracePeriodSeconds",
        "properties.configuration.ingress.targetPort": "spec.targetPort",
        "properties.configuration.ingress.external": "spec.ingress.external",
        "properties.workloadProfileName": "spec.workloadProfileName",
    }
    for path, expected in said.items():
        field = field_of(Kind.APP, path, "code")
        steps, _ = accepted(field, path, app, plain(text)[1])
        assert ".".join(steps) == expected


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(environment=ENVIRONMENTS, service=MODELS | CODES)
def test_the_documents_of_what_is_found_come_to_it(environment: Any, service: Any) -> None:
    """Of an Environment with a service, from their resources alone: the same resources, to the name
    of the revision.
    """
    text = text_of(documents({"location": "westus3", **environment}, service))
    try:
        composed = compose(parse(FILE, text.encode()), WORLD)
    except ManifestError:
        assume(False)
    bodies_of = {
        kind: [
            {"name": item.spec.name, **item.spec.body}
            for item in composed.desired
            if item.key.kind == kind
        ]
        for kind in Kind
        if kind.arm and kind is not Kind.APP
    }
    (app,) = [item.spec for item in composed.desired if item.key.kind == Kind.APP]
    found = FoundEnvironment(
        bodies_of[Kind.ENVIRONMENT][0],
        bodies_of[Kind.WORKSPACE][0],
        bodies_of[Kind.STORAGE_ACCOUNT][0],
        bodies_of[Kind.SHARE][0],
        bodies_of[Kind.STORAGE],
    )
    place = environment_of(found, "rg-moorage-dev")
    made = service_of({"name": "phi", **whole(app, "/env")}, place)
    assert isinstance(made, FoundDocument)
    again = compose(parse(FILE, "---\n".join(map(written_as, (place, made))).encode()), WORLD)
    specs = [
        {
            item.key: (item.spec.name, item.spec.body)
            for item in each.desired
            if item.key.kind in bodies_of
        }
        for each in (composed, again)
    ]
    assert specs[0] == specs[1]
    (same,) = [item.spec for item in again.desired if item.key.kind == Kind.APP]
    assert (same.body, same.template, same.revision) == (app.body, app.template, app.revision)


def web_service() -> tuple[dict[str, Any], FoundDocument, dict[str, Any]]:
    """A service whose variable and whose registry read a secret each, the document of its
    environment, and its container app as ARM shows it.
    """
    vault = "https://kv.vault.azure.net/secrets/x"
    service: dict[str, Any] = {
        "code": "share://code/web",
        "command": ["a"],
        "targetPort": 80,
        "identity": {"type": "SystemAssigned"},
        "secrets": [
            {"name": name, "keyVaultUrl": vault, "identity": "system"}
            for name in ("vaulted", "login")
        ],
        "env": [{"name": "TOKEN", "valueFrom": {"secretRef": "vaulted"}}],
        "registries": [{"server": "r.example", "username": "me", "passwordSecretRef": "login"}],
    }
    place = FoundDocument(documents({"location": "westus3", "owner": "dev"}, service)[0])
    composed = compose(parse(FILE, text_of(documents({}, service)).encode()), WORLD)
    (app,) = [item.spec for item in composed.desired if item.key.kind == Kind.APP]
    return service, place, {"name": "phi", **copy.deepcopy(whole(app, "/env"))}


def test_secrets_are_named_and_their_values_are_not() -> None:
    """One of a Key Vault stays there; of another the document says where a person must give it."""
    service, place, body = web_service()
    body["properties"]["configuration"]["secrets"] = [
        *service["secrets"],
        {"name": "plain.one", "value": "hush"},
        {"name": "api-key-default"},
    ]
    made = service_of(body, place)
    assert isinstance(made, FoundDocument)
    text = written_as(made)
    assert "hush" not in text
    assert "give it to the daemon as SECRET_PLAIN_ONE" in text
    spec = made.document["spec"]
    assert {name: spec[name] for name in ("identity", "env", "registries")} == {
        name: service[name] for name in ("identity", "env", "registries")
    }
    assert spec["secrets"] == [
        *service["secrets"],
        {"name": "plain.one", "valueFrom": {"env": "SECRET_PLAIN_ONE"}},
    ]
    parse(FILE, "---\n".join(map(written_as, (place, made))).encode())


def test_what_no_document_says_is_told_and_stays() -> None:
    """Of an adopted app the secrets that nothing reads, and the domains, rules and Dapr of any."""
    _, place, body = web_service()
    configuration = body["properties"]["configuration"]
    configuration["secrets"] = [{"name": "vaulted"}, {"name": "login"}, {"name": "theirs"}]
    plain = service_of(body, place)
    assert isinstance(plain, FoundDocument)
    assert [each["name"] for each in plain.document["spec"]["secrets"]] == [
        "vaulted",
        "login",
        "theirs",
    ]
    assert not any("no field" in each for each in plain.comments)
    body["tags"] = {**body["tags"], tags.ADOPTED: "true"}
    configuration["dapr"] = {"enabled": True, "appId": "a"}
    configuration["ingress"]["customDomains"] = [{"name": "chat.example.com"}]
    adopted = service_of(body, place)
    assert isinstance(adopted, FoundDocument)
    assert [each["name"] for each in adopted.document["spec"]["secrets"]] == [
        "vaulted",
        "login",
    ]
    said = "\n".join(adopted.comments)
    assert "the secret theirs stays in the container app" in said
    assert "no field of a document says customDomains, dapr" in said
