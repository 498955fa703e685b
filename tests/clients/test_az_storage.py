"""az against the local Azure's groups, storage accounts and shares, in both planes."""

from pathlib import Path

import pytest

from .conftest import Az

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_logs_in_and_sees_one_subscription(az: Az, group: str) -> None:
    """After the recipe's login az knows the subscription, its regions, its providers and the group
    that was made.
    """
    assert az("account show")["environmentName"] == "Local"
    assert az("account show")["id"] == az.azure.facts["subscriptionId"]
    assert az("account get-access-token")["tokenType"] == "Bearer"
    assert "swedencentral" in {entry["name"] for entry in az("account list-locations")}
    assert az("provider show -n Microsoft.App")["registrationState"] == "Registered"
    assert group in {entry["name"] for entry in az("group list")}


def test_manages_groups(az: Az) -> None:
    """A group is created, tagged, seen, listed as a resource's home and deleted; then it
    is gone.
    """
    assert (
        az("group create -n rg-gone -l westeurope --tags a=1")["properties"]["provisioningState"]
        == "Succeeded"
    )
    assert az("group update -n rg-gone --set tags.b=2")["tags"] == {"a": "1", "b": "2"}
    assert az("group exists -n rg-gone") is True
    az("group delete -n rg-gone -y")
    assert az("group exists -n rg-gone") is False
    assert "ResourceGroupNotFound" in az.refused("group show -n rg-gone", status=3)


def test_manages_storage_accounts(az: Az, group: str, account: str) -> None:
    """The account shows Azure's defaults, its name is taken, its keys can be renewed one
    at a time.
    """
    shown = az(f"storage account show -n {account} -g {group}")
    assert (shown["kind"], shown["accessTier"], shown["minimumTlsVersion"]) == (
        "StorageV2",
        "Hot",
        "TLS1_2",
    )
    assert az(f"storage account check-name -n {account}")["reason"] == "AlreadyExists"
    assert account in {entry["name"] for entry in az(f"storage account list -g {group}")}
    az(f"storage account create -n strenewed -g {group} -l swedencentral --sku Standard_LRS")
    before = az(f"storage account keys list -n strenewed -g {group}")
    after = az(f"storage account keys renew -n strenewed -g {group} --key secondary")
    assert before[0]["value"] == after[0]["value"]
    assert before[1]["value"] != after[1]["value"]
    assert az(f"storage account update -n strenewed -g {group} --tags x=y")["tags"] == {"x": "y"}
    az(f"storage account delete -n strenewed -g {group} -y")
    assert "ResourceNotFound" in az.refused(
        f"storage account show -n strenewed -g {group}", status=3
    )


def test_manages_shares_through_arm(az: Az, group: str, account: str) -> None:
    """`storage share-rm` creates, resizes, describes, lists and deletes a share, which the data
    plane sees.
    """
    where = f"-g {group} --storage-account {account} -n by-arm"
    assert az(f"storage share-rm create {where} --quota 10 --metadata a=b")["shareQuota"] == 10
    assert az(f"storage share-rm update {where} --quota 20")["shareQuota"] == 20
    assert az(f"storage share-rm show {where}")["metadata"] == {"a": "b"}
    assert az(f"storage share-rm exists {where}")["exists"] is True
    assert "by-arm" in {
        share["name"]
        for share in az(f"storage share-rm list -g {group} --storage-account {account}")
    }
    assert az("storage share show -n by-arm")["properties"]["quota"] == 20
    az(f"storage share-rm delete {where} -y")
    assert az("storage share exists -n by-arm")["exists"] is False


def test_moves_files(az: Az, account: str, tmp_path: Path) -> None:
    """A file goes up, is listed, described, copied, cut and comes down again; a folder goes both
    ways.
    """
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "a.txt").write_text("a" * 1000)
    (source / "below" / "b.txt").write_text("b")
    assert az("storage share create -n data --quota 1")["created"] is True
    assert az("storage directory create -s data -n folder")["created"] is True
    az(
        f"storage file upload -s data -p folder/a.txt --source {source}/a.txt --metadata k=v"
        " --no-progress"
    )
    assert [entry["name"] for entry in az("storage file list -s data -p folder")] == ["a.txt"]
    assert az("storage file show -s data -p folder/a.txt")["properties"]["contentLength"] == 1000
    assert az("storage file metadata show -s data -p folder/a.txt") == {"k": "v"}
    assert (
        az(
            "storage file copy start --source-share data --source-path folder/a.txt"
            " --destination-share data -p folder/c.txt"
        )["status"]
        == "success"
    )
    az("storage file resize -s data -p folder/c.txt --size 10")
    az(f"storage file download -s data -p folder/c.txt --dest {tmp_path}/c.txt --no-progress")
    assert (tmp_path / "c.txt").read_text() == "a" * 10
    az("storage directory create -s data -n up")
    az("storage directory create -s data -n up/below")
    az(f"storage file upload-batch -s {source} -d data/up --no-progress")
    (tmp_path / "down").mkdir()
    az(f"storage file download-batch -s data/up -d {tmp_path}/down --no-progress")
    assert (tmp_path / "down" / "below" / "b.txt").read_text() == "b"
    assert az("storage share stats -n data") == "1"
    az("storage file delete -s data -p folder/c.txt")
    assert az("storage file exists -s data -p folder/c.txt")["exists"] is False
    assert "DirectoryNotEmpty" in az.refused("storage directory delete -s data -n folder")


def test_a_signature_opens_what_it_names(az: Az, account: str, tmp_path: Path) -> None:
    """A SAS made by az reads a share, cannot write to it, and one of a stored policy ends with the
    policy.
    """
    az("storage share create -n signed")
    (tmp_path / "a.txt").write_text("a")
    az(f"storage file upload -s signed -p a.txt --source {tmp_path}/a.txt --no-progress")
    endpoint = (
        f"--account-name {account} --file-endpoint {az.azure.endpoint}/{account}"
        " --connection-string ''"
    )
    read = az("storage share generate-sas -n signed --permissions rl --expiry 2099-01-01T00:00Z")
    az(
        "storage share policy create -s signed -n reader --permissions rl --expiry"
        " 2099-01-01T00:00:00Z"
    )
    by_policy = az("storage share generate-sas -n signed --policy-name reader")

    for sas in (read, by_policy):
        found = az(f"storage file list -s signed {endpoint} --sas-token", sas)
        assert [entry["name"] for entry in found] == ["a.txt"]
    refusal = az.refused(f"storage file delete -s signed -p a.txt {endpoint} --sas-token", read)
    assert "You do not have the required permissions" in refusal

    az("storage share policy delete -s signed -n reader")
    refusal = az.refused(f"storage file list -s signed {endpoint} --sas-token", by_policy)
    assert "Authentication failure" in refusal
