"""Settings: from the environment, from a local Azure's facts, and what is refused."""

import dataclasses

import pytest

from reconciler.settings import (
    NotifySettings,
    Settings,
    SettingsError,
    notify_settings,
    place_of,
)

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
PRINCIPAL = {
    "MOORAGE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "MOORAGE_CREDENTIAL": "Service-Principal",
    "AZURE_TENANT_ID": "t",
    "AZURE_CLIENT_ID": "c",
    "AZURE_CLIENT_SECRET": "hunter2",
}
FACTS = {
    "armEndpoint": "https://127.0.0.1:8443/",
    "authority": "https://127.0.0.1:8443",
    "tenantId": "t",
    "clientId": "c",
    "clientSecret": "hunter2",
    "subscriptionId": SUBSCRIPTION,
}


def azure(**environ):
    return Settings.from_environment({**PRINCIPAL, **environ}, target="azure")


def test_the_local_azure_differs_in_how_it_is_reached_and_nothing_else(tmp_path):
    """Endpoint, authority, CA file, credential and the target's name are the only differences."""
    ca = tmp_path / "ca.pem"
    ca.touch()
    local = Settings.for_local({**FACTS, "caFile": str(ca)}, {})
    other = dataclasses.asdict(azure())
    different = {name for name, value in dataclasses.asdict(local).items() if value != other[name]}
    assert different == {"target", "arm_endpoint", "authority", "ca_file"}
    assert local.credential == "service-principal"
    assert local.scope == "https://127.0.0.1:8443/.default"


def test_a_local_azure_can_be_reached_as_any_azure(tmp_path):
    """--target azure with endpoint, authority and CA file from the environment gives the same
    connection.
    """
    ca = tmp_path / "ca.pem"
    ca.touch()
    settings = azure(
        MOORAGE_ARM_ENDPOINT="https://127.0.0.1:8443/",
        MOORAGE_AUTHORITY="https://127.0.0.1:8443",
        MOORAGE_CA_FILE=str(ca),
    )
    assert (settings.arm_endpoint, settings.ca_file, settings.known_authority) == (
        "https://127.0.0.1:8443",
        ca,
        False,
    )


@pytest.mark.parametrize(
    ("cloud", "scope", "authority"),
    [
        (
            "azurecloud",
            "https://management.azure.com/.default",
            "https://login.microsoftonline.com",
        ),
        (
            "AzureUSGovernment",
            "https://management.core.usgovcloudapi.net/.default",
            "https://login.microsoftonline.us",
        ),
        (
            "AzureChinaCloud",
            "https://management.chinacloudapi.cn/.default",
            "https://login.chinacloudapi.cn",
        ),
    ],
)
def test_each_cloud_has_its_own_endpoints(cloud, scope, authority):
    """The scope is the endpoint's, or what the SDK says it is; the name is read in any case."""
    from azure.core import AzureClouds
    from azure.mgmt.core.tools import get_arm_endpoints

    settings = azure(MOORAGE_CLOUD=cloud)
    assert (settings.scope, settings.authority, settings.known_authority) == (
        scope,
        authority,
        True,
    )
    sdk = {
        "AzureCloud": AzureClouds.AZURE_PUBLIC_CLOUD,
        "AzureUSGovernment": AzureClouds.AZURE_US_GOVERNMENT,
    }
    known = get_arm_endpoints(sdk.get(settings.cloud, AzureClouds.AZURE_CHINA_CLOUD))
    assert known == {"resource_manager": f"{settings.arm_endpoint}/", "credential_scopes": [scope]}


@pytest.mark.parametrize(
    ("environ", "words", "reason"),
    [
        ({"MOORAGE_CREDENTIAL": ""}, "never guessed", "no default chain"),
        (
            {"MOORAGE_CREDENTIAL": "default"},
            "managed-identity, workload-identity",
            "an unknown one lists the known",
        ),
        ({"AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_SECRET is needed", "half a service principal"),
        (
            {"MOORAGE_CREDENTIAL": "workload-identity"},
            "AZURE_FEDERATED_TOKEN_FILE",
            "half a workload identity",
        ),
        ({"MOORAGE_SUBSCRIPTION_ID": "mine"}, "'mine'", "not an id"),
        (
            {"MOORAGE_SUBSCRIPTION_ID": ""},
            "not set",
            "a wrong default subscription is worse than none",
        ),
        ({"MOORAGE_ARM_ENDPOINT": "http://127.0.0.1:1"}, "https", "tokens are only sent encrypted"),
        ({"MOORAGE_CA_FILE": "/nowhere.pem"}, "not a file", "a CA file that is not there"),
        ({"MOORAGE_CLOUD": "Mars"}, "AzureChinaCloud", "an unknown cloud"),
        ({"MOORAGE_RESYNC": "soon"}, "'soon'", "no length of time"),
        ({"MOORAGE_RESYNC": "0"}, "at least 1", "a busy loop"),
        (
            {"MOORAGE_GARBAGE_AFTER": "1 day"},
            "MOORAGE_GARBAGE_AFTER must be a length of time, such as 90s, 10m",
            "no unit of ours",
        ),
        ({"MOORAGE_GARBAGE_AFTER": "nan"}, "'nan'", "not an age either"),
        ({"MOORAGE_GARBAGE_AFTER": "0.5s"}, "at least 1", "a busy loop too"),
        ({"MOORAGE_RESYNC": "-5m"}, "'-5m'", "no time runs backwards"),
    ],
)
def test_bad_values_are_one_clear_error(environ, words, reason):
    """The message names the variable or the value, and never the secret."""
    with pytest.raises(SettingsError) as refused:
        azure(**environ)
    assert words in str(refused.value), reason
    assert "hunter2" not in str(refused.value)


def test_all_problems_are_told_at_once():
    """One line each."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"MOORAGE_ARM_ENDPOINT": "ftp://x"}, target="azure")
    assert len(str(refused.value).splitlines()) == 3


def test_the_secret_does_not_show():
    """Neither in repr nor in str."""
    assert "hunter2" not in repr(azure())


def test_arguments_win_over_the_environment(tmp_path):
    """An argument that was not given (None) does not."""
    settings = Settings.from_environment(
        {**PRINCIPAL, "MOORAGE_LOCATION": "westeurope"},
        target="azure",
        state_dir=tmp_path,
        location=None,
    )
    assert (settings.state_dir, settings.location) == (tmp_path, "westeurope")
    with pytest.raises(SettingsError, match="colour"):
        Settings.from_environment(PRINCIPAL, target="azure", colour="blue")


def test_load_starts_a_local_azure_only_for_the_local_target(tmp_path):
    """It is handed the state directory and asked for facts."""
    (tmp_path / "ca.pem").touch()
    started = []

    def start(folder):
        started.append(folder)
        return {**FACTS, "caFile": str(tmp_path / "ca.pem")}

    assert Settings.load(start, {"MOORAGE_STATE_DIR": str(tmp_path)}).target == "local"
    assert started == [tmp_path]
    assert Settings.load(start, PRINCIPAL, target="azure").target == "azure"
    assert started == [tmp_path]
    with pytest.raises(SettingsError, match="caFile"):
        Settings.for_local(FACTS, {})


def test_state_is_named_by_the_target():
    """Two targets share no folder."""
    one = azure()
    assert one.daemon_dir.name == f"azure-{SUBSCRIPTION}"


def test_the_state_is_found_without_a_credential():
    """A person beside the daemon reads its status without the secret that only the daemon has."""
    found = place_of({"MOORAGE_SUBSCRIPTION_ID": SUBSCRIPTION}, target="azure", state_dir="/s")
    assert found.folder.as_posix() == f"/s/daemon/azure-{SUBSCRIPTION}"
    with pytest.raises(SettingsError, match="MOORAGE_SUBSCRIPTION_ID"):
        place_of({}, target="azure")


def test_a_token_that_can_be_guessed_is_refused():
    """Whoever has it approves deletions."""
    with pytest.raises(SettingsError, match="MOORAGE_PAGE_TOKEN must have 16 characters or more"):
        azure(MOORAGE_PAGE_TOKEN="short")
    assert azure(MOORAGE_PAGE_TOKEN="x" * 16).page_token == "x" * 16


def test_the_secret_of_a_webhook_comes_from_a_variable_or_a_file(tmp_path):
    """The first line of the file; a file that cannot be read and a short secret are errors."""
    file = tmp_path / "secret"
    file.write_text("x" * 20 + "\nmore\n")
    named = azure(MOORAGE_GIT_WEBHOOK_SECRET_FILE=str(file))
    assert named.webhook_secret == "x" * 20
    assert "x" * 20 not in repr(named)
    assert azure(MOORAGE_GIT_WEBHOOK_SECRET="y" * 16).webhook_secret == "y" * 16
    with pytest.raises(SettingsError, match="16 characters"):
        azure(MOORAGE_GIT_WEBHOOK_SECRET="short")
    with pytest.raises(SettingsError, match="cannot be read"):
        azure(MOORAGE_GIT_WEBHOOK_SECRET_FILE=str(tmp_path / "none"))


SECRETS = {
    "AZURE_CLIENT_SECRET": "client_secret",
    "HF_TOKEN": "hf_token",
    "MOORAGE_WEB_TOKEN": "web_token",
    "MOORAGE_PAGE_TOKEN": "page_token",
    "MOORAGE_GIT_TOKEN": "git_token",
    "MOORAGE_GIT_WEBHOOK_SECRET": "webhook_secret",
}


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_comes_from_a_file_or_a_credential_of_systemd(tmp_path, name):
    """NAME_FILE, or the file NAME in the folder that systemd names; the variable itself wins."""
    (tmp_path / name).write_text("a-secret-from-a-file\n")
    unset = {"AZURE_CLIENT_SECRET": ""} if name == "AZURE_CLIENT_SECRET" else {}
    for given in ({f"{name}_FILE": str(tmp_path / name)}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}):
        settings = azure(**unset, **given)
        assert getattr(settings, SECRETS[name]) == "a-secret-from-a-file"
        assert "a-secret" not in repr(settings)
        assert getattr(azure(**{name: "y" * 16}, **given), SECRETS[name]) == "y" * 16


def test_the_receiver_of_notices_is_a_secret_too(tmp_path):
    """Its address often holds a token, so the address comes from a file as well."""
    for name in ("MOORAGE_NOTIFY_URL", "MOORAGE_NOTIFY_TOKEN", "MOORAGE_NOTIFY_SECRET"):
        (tmp_path / name).write_text(name.lower())
    assert notify_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == NotifySettings(
        "moorage_notify_url", "cloudevents", "moorage_notify_token", "", "moorage_notify_secret"
    )


@pytest.mark.parametrize("name", ["resync", "garbage_after"])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45", 45), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("1.5m", 90)],
)
def test_a_setting_takes_a_length_of_time_as_an_option_does(name, text, seconds):
    """With a unit, or as a number of seconds."""
    settings = azure(**{f"MOORAGE_{name.upper()}": text})
    assert getattr(settings, name) == seconds
