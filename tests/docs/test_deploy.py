"""The files for running the daemon somewhere: the role covers what reconciler/arm calls, names and
paths are the code's.
"""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.api.kinds import Kind
from reconciler.arm.inventory import Part
from reconciler.composition.service import VLLM_IMAGE
from reconciler.web.metrics import DaemonMetrics
from tests.docs.variants import commented

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "infra" / "deploy"
ARM = ROOT / "reconciler" / "arm"
CHECKUP = [ROOT / "reconciler" / "cli" / f"{name}.py" for name in ("checkup", "storage_checkup")]
ROLE = json.loads((DEPLOY / "role-definition.json").read_text())

# The ARM type behind each operation group of the SDKs that reconciler/arm writes with.
GROUPS = {
    "storage.storage_accounts": "Microsoft.Storage/storageAccounts",
    "storage.file_shares": "Microsoft.Storage/storageAccounts/fileServices/shares",
    "apps.managed_environments": "Microsoft.App/managedEnvironments",
    "apps.managed_environments_storages": "Microsoft.App/managedEnvironments/storages",
    "apps.jobs": "Microsoft.App/jobs",
    "apps.container_apps": "Microsoft.App/containerApps",
    "apps.container_apps_revisions": "Microsoft.App/containerApps/revisions",
}
VERBS = {"create": "write", "create_or_update": "write", "update": "write", "delete": "delete"}
METHODS = {"PUT": "write", "PATCH": "write", "DELETE": "delete"}
# What the inventory lists, and where its scopes are.
LISTED = {
    **{kind: kind.arm.name for kind in Kind if kind.arm},
    Kind.RESOURCE_GROUP: "Microsoft.Resources/subscriptions/resourceGroups",  # as RBAC says
    Part.EXECUTION: "Microsoft.App/jobs/executions",
    Part.REVISION: "Microsoft.App/containerApps/revisions",
    Part.REPLICA: "Microsoft.App/containerApps/revisions/replicas",
}
# ids.py: which type an id that a raw request begins with is of.
IDS = {
    "app": "Microsoft.App/containerApps",
    "job": "Microsoft.App/jobs",
    "execution": "Microsoft.App/jobs/executions",
    "environment": "Microsoft.App/managedEnvironments",
    "storage_account": "Microsoft.Storage/storageAccounts",
    "workspace": "Microsoft.OperationalInsights/workspaces",
    "resource_group": "Microsoft.Resources/subscriptions/resourceGroups",
}
PROVIDERS = {kind.arm.name.split("/")[0] for kind in Kind if kind.arm} - {"Microsoft.Resources"}
# What the functions need whose path holds the provider's name.
BY_PROVIDER = {
    "changes_since": {"Microsoft.Insights/eventtypes/values/read"},
    "provider_state": {"Microsoft.Resources/subscriptions/providers/read"},
    "register_provider": {f"{provider}/register/action" for provider in PROVIDERS},
}
# Not called for any request of its own: joining and assigning are checked when an app is written,
# operations are polled where Azure says.
IMPLIED = {
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.App/managedEnvironments/join/action",
    "Microsoft.App/locations/*/read",
    "Microsoft.Storage/locations/*/read",
    "Microsoft.OperationalInsights/locations/*/read",
    "Microsoft.Resources/subscriptions/operationresults/read",
}


def _functions():
    for path in sorted(ARM.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.AsyncFunctionDef, ast.FunctionDef)):
                yield path.stem, node


def _used(name):
    """Whether the reconciler speaks of the function besides where it is defined."""
    return _words()[name] > 1


@cache
def _words():
    """How often each word stands in the reconciler."""
    files = (ROOT / "reconciler").rglob("*.py")
    return Counter(word for path in files for word in re.findall(r"\w+", path.read_text()))


def _sdk_calls(function):
    """`arm.apps.container_apps.begin_update`, called here or handed on -> `apps.container_apps`,
    `begin_update`.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node).removeprefix("self.")
            match = re.fullmatch(r"arm\.(\w+\.\w+)\.(\w+)", dotted)
            if match and match[1].split(".")[0] in {group.split(".")[0] for group in GROUPS}:
                yield match[1], match[2]


def _raw_calls(function):
    """The action behind `arm.post_json(f"{ids.app(…)}/listSecrets", …)`,
    `arm.list_json(f"{ids.…}/usages", …)` and `arm.begin, "PUT", id`.
    """
    source = ast.unparse(function)
    for name, text in re.findall(r"(\w+) = f['\"](.+?)['\"]\n", source):  # a path with a name
        source = source.replace(f"_json({name},", f"_json(f'{text}',")
    for method, text in re.findall(r"arm\.(post_json|list_json)\(f['\"](.+?)['\"],", source):
        match = re.fullmatch(r"\{ids\.(\w+)\(.*\)\}/(\w+)", text)
        if match:
            yield f"{IDS[match[1]]}/{match[2]}/{'action' if method == 'post_json' else 'read'}"
    # `arm.begin, "PUT", scope` after `scope = ids.workspace(…)`
    scopes = dict(re.findall(r"(\w+) = ids\.(\w+)\(", source))
    for method, name in re.findall(r"arm\.begin, '(\w+)', (\w+)", source):
        yield f"{IDS[scopes[name]]}/{METHODS[method]}"


def _checked():
    """The action behind each request of `moorage doctor` that no function of reconciler/arm makes:
    `{scope}/providers/Microsoft.App/locations/{...}/usages`, and the subscription itself.
    """
    source = "\n".join(ast.unparse(ast.parse(file.read_text())) for file in CHECKUP)
    if "arm.get_json(ids.subscription(" in source:
        yield "Microsoft.Resources/subscriptions/read"
    for text in re.findall(r"providers/(Microsoft\.[^'\"]+)['\"], (?:versions\.\w+|\w+)", source):
        parts = re.sub(r"/\{[^}]*\}", "", text).split("/")
        if len(parts) == 1:
            yield "Microsoft.Resources/subscriptions/providers/read"
        elif parts[1:] != ["storageAccounts"]:
            yield "/".join(parts) + "/read"  # checkNameAvailability is a POST that only reads


def _needed():
    found = dict.fromkeys(_checked(), "cli.checkup")
    for module, function in _functions():
        if not _used(function.name):
            continue
        for group, method in _sdk_calls(function):
            verb = (
                VERBS.get(method.removeprefix("begin_"))
                or method.removeprefix("begin_").removesuffix("_revision") + "/action"
            )
            found[f"{GROUPS[group]}/{verb}"] = f"{module}.{function.name}"
        for action in {*_raw_calls(function), *BY_PROVIDER.get(function.name, ())}:
            found[action] = f"{module}.{function.name}"
    found |= {f"{LISTED[each]}/read": f"inventory {each.name}" for each in LISTED}
    return found


NEEDED = _needed()


def _granted(action, given):
    return any(fnmatch(action.lower(), one.lower()) for one in given)


def test_the_parser_sees_what_it_should():
    """If the calls were written another way this test would pass by seeing nothing, so it checks a
    few.
    """
    for action in (
        "containerApps/write",
        "containerApps/listSecrets/action",
        "containerApps/revisions/activate/action",
        "managedEnvironments/usages/read",
        "managedEnvironments/storages/delete",
    ):
        assert f"Microsoft.App/{action}" in NEEDED
    assert "Microsoft.Storage/storageAccounts/listKeys/action" in NEEDED
    assert "Microsoft.OperationalInsights/workspaces/delete" in NEEDED
    for action in (
        "Microsoft.Storage/checkNameAvailability/read",
        "Microsoft.Authorization/permissions/read",
        "Microsoft.App/locations/usages/read",
        "Microsoft.Resources/subscriptions/read",
    ):
        assert NEEDED[action] == "cli.checkup"
    assert len(NEEDED) > 30


@pytest.mark.parametrize("action", sorted(NEEDED))
def test_the_role_covers_what_is_called(action):
    """Every request of reconciler/arm is granted; the failure names the function that sends it."""
    assert _granted(action, ROLE["Actions"]), NEEDED[action]


def test_the_role_grants_nothing_else():
    """Least privilege: an action that nothing calls any more goes."""
    needed = {action.lower() for action in NEEDED} | {action.lower() for action in IMPLIED}
    assert {action for action in ROLE["Actions"] if action.lower() not in needed} == set()


def test_what_is_looked_for_in_the_whole_subscription_can_be_read():
    """The owned resources are listed by subscription, which is why the role is assigned there."""
    for kind in Kind:
        if kind.tagged:
            assert _granted(f"{LISTED[kind]}/read", ROLE["Actions"])


def test_logs_need_the_data_action():
    """The token is an action, the stream a data action."""
    assert ROLE["DataActions"] == ["Microsoft.App/containerApps/logstream/action"]


def test_the_dashboard_asks_for_metrics_that_exist():
    """Every metric and label in a query is one that the daemon exports."""
    metrics = DaemonMetrics({"GET": 1})
    metrics.saw("ContainerApp", "Ready", 0.1)
    condition = {"type": "Ready", "status": "True"}
    replica = {"ready": True}
    document = {
        "kind": "InferenceService",
        "name": "phi",
        "conditions": [condition],
        "replicas": [replica],
    }
    exported = metrics.render({"documents": [document]}).decode()
    names = set(re.findall(r"^(moorage_\w+)", exported, re.MULTILINE))

    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert {name for query in queries for name in re.findall(r"moorage_\w+", query)} <= names
    labels = set(re.findall(r"(\w+)=\"", exported))
    assert {label for query in queries for label in re.findall(r"(\w+)=~?\"", query)} <= labels


def test_every_metric_is_described():
    """docs/operations.md names each metric."""
    text = (ROOT / "docs" / "operations.md").read_text()
    declared = re.findall(
        r'"(moorage_\w+)"', (ROOT / "reconciler" / "web" / "metrics.py").read_text()
    )
    assert declared
    assert [name for name in declared if f"`{name}`" not in text] == []


def _command_lines():
    unit = (DEPLOY / "moorage.service").read_text()
    yield (
        "moorage.service",
        re.search(r"^ExecStart=\S+/moorage (.+)$", unit, re.MULTILINE)[1].split(),
    )
    image = (DEPLOY / "Dockerfile").read_text()
    yield "Dockerfile", json.loads(re.search(r"^CMD (\[.+\])$", image, re.MULTILINE)[1])
    for name in ("kubernetes.yaml", "container-app.yaml"):
        yield f"{name} with Git", commented(name)[1]


@pytest.mark.parametrize(
    ("name", "line"), list(_command_lines()), ids=[name for name, _ in _command_lines()]
)
def test_the_command_line_is_understood(name, line):
    """The options exist, nothing is asked and the logs are for programs."""
    import typer

    from reconciler.cli.app import app

    command = typer.main.get_command(app).commands[line[0]]
    known = {flag for option in command.params for flag in option.opts}
    assert {word for word in line if word.startswith("-")} <= known
    assert {"-y", "--log-json", "--listen"} <= set(line)


def test_all_forms_agree():
    """The documents' folder, the port and the user are the same in every file."""
    texts = {path.name: path.read_text() for path in DEPLOY.iterdir()}
    for name in ("moorage.service", "Dockerfile", "kubernetes.yaml", "container-app.yaml"):
        assert "/etc/moorage/documents" in texts[name]
        assert "8787" in texts[name]
    assert "USER 10001:10001" in texts["Dockerfile"]
    assert "runAsUser: 10001" in texts["kubernetes.yaml"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (
        texts["kubernetes.yaml"].count(f"/moorage:{version}")
        == texts["container-app.yaml"].count(f"/moorage:{version}")
        == 1
    )


def test_the_settings_in_the_files_exist():
    """A misspelt variable would be ignored in silence."""
    known = set(
        re.findall(
            r'"((?:MOORAGE|AZURE)_[A-Z_]+)"', (ROOT / "reconciler" / "settings.py").read_text()
        )
    )
    for path in DEPLOY.iterdir():
        assert set(re.findall(r"\b(?:MOORAGE|AZURE)_[A-Z_]*[A-Z]\b", path.read_text())) <= known


def test_the_documents_in_the_files_are_valid(tmp_path):
    """The ConfigMap and the container app's secret hold documents that are accepted."""
    from reconciler.api.manifest import load

    manifests = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes.yaml").read_text()))
    texts = next(each["data"] for each in manifests if each["kind"] == "ConfigMap")
    app = YAML(typ="safe").load((DEPLOY / "container-app.yaml").read_text())
    texts["app.yaml"] = app["properties"]["configuration"]["secrets"][0]["value"]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert load([tmp_path / name]).documents


def test_one_replica_always():
    """Two would only wait for each other, and on Container Apps the default rule would
    end at none.
    """
    manifests = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes.yaml").read_text()))
    deployment = next(each for each in manifests if each["kind"] == "Deployment")["spec"]
    app = YAML(typ="safe").load((DEPLOY / "container-app.yaml").read_text())
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert app["properties"]["template"]["scale"] == {"minReplicas": 1, "maxReplicas": 1}


def test_probes_ask_what_the_daemon_answers():
    """The paths of every probe are routes of the daemon's web server."""
    routes = set(
        re.findall(r'web\.get\("(/\w*)"', (ROOT / "reconciler" / "web" / "server.py").read_text())
    )
    for name in ("kubernetes.yaml", "container-app.yaml"):
        paths = re.findall(r"httpGet: \{path: (/\w+)", (DEPLOY / name).read_text())
        assert paths
        assert set(paths) <= routes


def test_the_readme_names_the_pinned_image():
    """The vLLM version that the README promises is the one composition takes."""
    assert f"`{VLLM_IMAGE.removeprefix('docker.io/')}`" in (ROOT / "README.md").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit_and_finds_it_confined(tmp_path):
    """`systemd-analyze verify` says nothing, and `security` rates the exposure below 2 of 10."""
    unit = (DEPLOY / "moorage.service").read_text()
    for of_the_machine in ("/opt/moorage/.venv/bin/moorage", "file:///opt/moorage"):
        assert of_the_machine in unit
        unit = unit.replace(
            of_the_machine, "/bin/true" if "bin" in of_the_machine else "man:true(1)"
        )
    (tmp_path / "moorage.service").write_text(re.sub("man:true.*", "man:true(1)", unit))
    calls = {
        "verify": ["verify", "--man=no"],
        "security": ["security", "--offline=yes", "--threshold=20", "--no-pager"],
    }
    for name, call in calls.items():
        done = subprocess.run(
            ["systemd-analyze", *call, str(tmp_path / "moorage.service")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        if name == "verify":
            assert "moorage.service" not in done.stderr


def test_the_unit_gives_secrets_as_credentials_or_by_a_file_of_root():
    """No secret stands in the unit, and what a person writes is readable by root alone."""
    unit = (DEPLOY / "moorage.service").read_text()
    assert "EnvironmentFile=/etc/moorage/environment" in unit
    assert not re.search(r"Environment=.*(SECRET|TOKEN|KEY)", unit)
