"""`az containerapp` against the local Azure: environments, apps and all that hangs on them. Its
replicas run.
"""

import time
import urllib.request

import pytest

from .conftest import IMAGE, SERVER, Az

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _profiles(az: Az, group: str) -> dict[str, str]:
    found = az(f"containerapp env workload-profile list -n cae -g {group}")
    return {entry["name"]: entry["properties"]["workloadProfileType"] for entry in found}


def _create(az: Az, group: str, name: str, *more: str) -> dict:
    line = (
        f"containerapp create -n {name} -g {group} --environment cae --image {IMAGE} --min-replicas"
        " 1 --command python3"
    )
    return az(line, *more, "--args", SERVER)


def _revisions(az: Az, group: str, name: str) -> dict[str, dict]:
    return {
        entry["name"]: entry["properties"]
        for entry in az(f"containerapp revision list -n {name} -g {group} --all")
    }


def _until_healthy(az: Az, group: str, name: str, revision: str) -> None:
    for _ in range(60):
        if _revisions(az, group, name)[revision]["healthState"] == "Healthy":
            return
        time.sleep(0.2)
    pytest.fail(f"{revision} did not become healthy: {_revisions(az, group, name)[revision]}")


def _labels(az: Az, where: str) -> dict[str, str]:
    traffic = az(f"containerapp ingress traffic show {where}")
    return {entry["label"]: entry["revisionName"] for entry in traffic if entry.get("label")}


@pytest.fixture(scope="module")
def app(az: Az, group: str, environment: str) -> str:
    """An app in Multiple mode whose one replica serves."""
    created = _create(
        az,
        group,
        "app",
        "--revisions-mode",
        "multiple",
        "--ingress",
        "external",
        "--target-port",
        "8080",
        "--secrets",
        "first=1",
        "--env-vars",
        "PLAIN=a",
        "SECRET=secretref:first",
        "--revision-suffix",
        "one",
    )
    assert created["properties"]["provisioningState"] == "Succeeded"
    _until_healthy(az, group, "app", "app--one")
    return "app"


def test_an_environment_gets_a_workspace_of_its_own(az: Az, group: str) -> None:
    """`env create` without a word about logs makes a workspace, reads its key and names it in the
    environment.
    """
    created = az(f"containerapp env create -n cae-logs -g {group} -l swedencentral")
    workspace = az(f"monitor log-analytics workspace list -g {group}")[0]
    logs = created["properties"]["appLogsConfiguration"]
    assert logs["destination"] == "log-analytics"
    assert logs["logAnalyticsConfiguration"] == {
        "customerId": workspace["customerId"],
        "sharedKey": None,
    }
    az(f"containerapp env delete -n cae-logs -g {group} -y")
    assert "cae-logs" not in {entry["name"] for entry in az(f"containerapp env list -g {group}")}


def test_workload_profiles_come_change_and_go(az: Az, group: str, environment: str) -> None:
    """A profile is added, widened, shown and deleted; the serverless GPU is one of them."""
    where = f"-n cae -g {group}"
    az(
        f"containerapp env workload-profile add {where} --workload-profile-name gpu"
        " --workload-profile-type Consumption-GPU-NC24-A100"
    )
    az(
        f"containerapp env workload-profile add {where} --workload-profile-name d"
        " --workload-profile-type D4 --min-nodes 0 --max-nodes 2"
    )
    assert _profiles(az, group) == {
        "Consumption": "Consumption",
        "gpu": "Consumption-GPU-NC24-A100",
        "d": "D4",
    }
    az(
        f"containerapp env workload-profile update {where} --workload-profile-name d --min-nodes 1"
        " --max-nodes 3"
    )
    shown = az(f"containerapp env workload-profile show {where} --workload-profile-name d")[
        "properties"
    ]
    assert (shown["minimumCount"], shown["maximumCount"]) == (1, 3)
    az(f"containerapp env workload-profile delete {where} --workload-profile-name d")
    assert "d" not in _profiles(az, group)
    offered = {
        entry["name"]
        for entry in az("containerapp env workload-profile list-supported -l swedencentral")
    }
    assert {"D4", "Consumption-GPU-NC24-A100"} <= offered
    assert az(f"containerapp env list-usages {where}")["value"]
    assert az("containerapp list-usages -l swedencentral")["value"]


def test_storages_are_set_shown_listed_and_removed(
    az: Az, group: str, environment: str, account: str
) -> None:
    """A share is registered, its key never comes back, and only the key may be set again."""
    az(f"storage share-rm create -g {group} --storage-account {account} -n mounted")
    key = az(f"storage account keys list -n {account} -g {group}")[0]["value"]
    where = f"-n cae -g {group} --storage-name files"
    file = (
        f"--azure-file-account-name {account} --azure-file-account-key {key}"
        " --azure-file-share-name mounted"
    )
    az(f"containerapp env storage set {where} --access-mode ReadOnly {file}")
    shown = az(f"containerapp env storage show {where}")["properties"]["azureFile"]
    assert shown == {"accessMode": "ReadOnly", "accountName": account, "shareName": "mounted"}
    assert [entry["name"] for entry in az(f"containerapp env storage list -n cae -g {group}")] == [
        "files"
    ]
    refusal = az.refused(f"containerapp env storage set {where} --access-mode ReadWrite {file}")
    assert "Only 'properties.azureFile.AccountKey' can be updated" in refusal
    az(f"containerapp env storage remove {where} -y")
    assert az(f"containerapp env storage list -n cae -g {group}") == []


def test_an_app_serves_and_shows_what_it_runs(az: Az, group: str, app: str) -> None:
    """The app's address answers, its replica is listed, and its logs and the environment's can be
    read.
    """
    shown = az(f"containerapp show -n app -g {group}")["properties"]
    assert shown["latestReadyRevisionName"] == "app--one"
    assert shown["configuration"]["secrets"] == [{"name": "first"}]
    fqdn = az(f"containerapp ingress show -n app -g {group}")["fqdn"]
    with urllib.request.urlopen(f"https://{fqdn}/", context=az.azure.tls()) as answer:
        assert answer.status == 200
    replicas = az(f"containerapp replica list -n app -g {group} --revision app--one")
    one = az(
        f"containerapp replica show -n app -g {group} --revision app--one --replica"
        f" {replicas[0]['name']}"
    )
    assert one["properties"]["containers"][0]["ready"] is True
    assert "serving" in az.run(
        "containerapp", "logs", "show", "-n", "app", "-g", group, "--tail", "50"
    )
    system = az.run("containerapp", "logs", "show", "-n", "app", "-g", group, "--type", "system")
    assert "ContainerStarted" in system
    assert "app--one" in az.run(
        "containerapp", "env", "logs", "show", "-n", "cae", "-g", group, "--tail", "100"
    )
    assert "app" in {entry["name"] for entry in az(f"containerapp list -g {group}")}


def test_updates_make_revisions(az: Az, group: str, app: str) -> None:
    """A changed variable is a new revision under the suffix given; a copy starts from an old one;
    scale takes rules.
    """
    az(f"containerapp update -n app -g {group} --set-env-vars PLAIN=b --revision-suffix two")
    az(
        f"containerapp revision copy -n app -g {group} --from-revision app--one --cpu 0.25 --memory"
        " 0.5Gi --revision-suffix three"
    )
    found = _revisions(az, group, "app")
    assert {"app--one", "app--two", "app--three"} <= set(found)
    assert found["app--three"]["template"]["containers"][0]["resources"]["cpu"] == 0.25
    scaled = az(
        f"containerapp update -n app -g {group} --min-replicas 1 --max-replicas 3 --revision-suffix"
        " four --scale-rule-name load --scale-rule-type http --scale-rule-http-concurrency 7"
    )["properties"]["template"]["scale"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (1, 3)
    assert scaled["rules"][0]["name"] == "load"


def test_revisions_are_switched_off_and_on(az: Az, group: str, app: str) -> None:
    """deactivate, activate and restart say that they did it, and the list agrees."""
    az(f"containerapp update -n app -g {group} --set-env-vars PLAIN=c --revision-suffix off")
    where = f"-n app -g {group} --revision app--off"
    assert az(f"containerapp revision deactivate {where}") == "Deactivate succeeded"
    assert _revisions(az, group, "app")["app--off"]["active"] is False
    assert az(f"containerapp revision activate {where}") == "Activate succeeded"
    assert az(f"containerapp revision show {where}")["properties"]["active"] is True
    assert az(f"containerapp revision restart {where}") == "Restart succeeded"


def test_traffic_and_labels_move(az: Az, group: str, app: str) -> None:
    """Weights are set and shown; a label is put on, swapped and taken off."""
    az(f"containerapp update -n app -g {group} --set-env-vars PLAIN=d --revision-suffix blue")
    set_ = (
        f"containerapp ingress traffic set -n app -g {group} --revision-weight app--one=40"
        " app--blue=60"
    )
    weights = {entry.get("revisionName", "latest"): entry["weight"] for entry in az(set_)}
    assert (weights["app--one"], weights["app--blue"]) == (40, 60)
    where = f"-n app -g {group}"
    az(f"containerapp revision label add {where} --revision app--one --label old --no-prompt")
    az(f"containerapp revision label add {where} --revision app--blue --label new --no-prompt")
    az(f"containerapp revision label swap {where} --source old --target new")
    assert _labels(az, where) == {"new": "app--one", "old": "app--blue"}
    az(f"containerapp revision label remove {where} --label old")
    assert _labels(az, where) == {"new": "app--one"}


def test_secrets_are_kept_from_a_show(az: Az, group: str, app: str) -> None:
    """A secret is set and its value read where it may be; one in use cannot be removed, another
    can.
    """
    where = f"-n app -g {group}"
    az(f"containerapp secret set {where} --secrets second=2")
    assert {entry["name"] for entry in az(f"containerapp secret list {where}")} == {
        "first",
        "second",
    }
    assert az(f"containerapp secret show {where} --secret-name second")["value"] == "2"
    az(f"containerapp secret remove {where} --secret-names second")
    assert {entry["name"] for entry in az(f"containerapp secret list {where}")} == {"first"}
    assert "first" in az.refused(f"containerapp secret remove {where} --secret-names first")


def test_ingress_is_taken_away_and_given_back(az: Az, group: str, environment: str) -> None:
    """disable leaves the app without an address; enable, cors, sticky sessions and IP rules shape a
    new one.
    """
    _create(az, group, "edge", "--ingress", "internal", "--target-port", "8080")
    where = f"-n edge -g {group}"
    az(f"containerapp ingress disable {where}")
    assert az(f"containerapp show {where}")["properties"]["configuration"]["ingress"] is None
    assert (
        az(f"containerapp ingress enable {where} --type external --target-port 8080")["external"]
        is True
    )
    assert az(f"containerapp ingress update {where} --allow-insecure true")["allowInsecure"] is True
    assert (
        az(f"containerapp ingress sticky-sessions set {where} --affinity sticky")["stickySessions"][
            "affinity"
        ]
        == "sticky"
    )
    assert az(f"containerapp ingress cors enable {where} --allowed-origins https://a.example")[
        "allowedOrigins"
    ]
    rules = az(
        f"containerapp ingress access-restriction set {where} --action Allow --rule-name r"
        " --ip-address 10.0.0.0/8"
    )
    assert rules[0]["ipAddressRange"] == "10.0.0.0/8"
    az(f"containerapp delete {where} -y")
    assert "edge" not in {entry["name"] for entry in az(f"containerapp list -g {group}")}


def test_single_mode_keeps_one_revision(az: Az, group: str, environment: str) -> None:
    """After set-mode to single the newest revision alone stays active, once it is ready."""
    _create(az, group, "solo", "--revisions-mode", "multiple", "--revision-suffix", "a")
    az(f"containerapp update -n solo -g {group} --set-env-vars X=1 --revision-suffix b")
    _until_healthy(az, group, "solo", "solo--b")
    assert az(f"containerapp revision set-mode -n solo -g {group} --mode single") == "Single"
    for _ in range(40):
        active = {
            name for name, revision in _revisions(az, group, "solo").items() if revision["active"]
        }
        if active == {"solo--b"}:
            break
        time.sleep(0.2)
    assert active == {"solo--b"}
    az(f"containerapp delete -n solo -g {group} -y")


def test_up_makes_an_app_in_one_command(az: Az, group: str, environment: str) -> None:
    """`containerapp up` with an image creates the app and says where it is."""
    az(
        f"containerapp up -n quick -g {group} --environment cae --image {IMAGE} --ingress external"
        " --target-port 8080"
    )
    assert (
        az(f"containerapp show -n quick -g {group}")["properties"]["provisioningState"]
        == "Succeeded"
    )
    az(f"containerapp delete -n quick -g {group} -y")


def test_an_error_reaches_the_user_in_azures_words(az: Az, group: str, environment: str) -> None:
    """What the local Azure refuses az shows with Azure's code: a missing app, a profile that is not
    there.
    """
    assert "ResourceNotFound" in az.refused(f"containerapp show -n nothing -g {group}")
    refusal = az.refused(
        f"containerapp create -n lost -g {group} --environment cae --image {IMAGE}"
        " --workload-profile-name none"
    )
    assert "none" in refusal
