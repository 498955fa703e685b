"""The local Azure answers as Azure did: genuine recordings, replayed, are the judge."""

import asyncio
from pathlib import Path

import pytest

from tests.conformance import recordings, report
from tests.conformance.__main__ import replay_all

STATUS, FIELDS = 98.0, 97.0
FOLDER = recordings.folder()
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="there is no folder of recordings (MOORAGE_RECORDINGS)"
)
SLICE = (
    ("aso__Test_Resources_ResourceGroup_CRUD", "a resource group's life"),
    (
        "aso__Test_OperationalInsights_Workspace_CRUD",
        "a workspace's life, with the SKU spelled differently",
    ),
    (
        "cli-containerapp__test_containerapp_e2e",
        "an app's life: created, updated three times, listed, one more",
    ),
    ("cli-containerapp__test_containerapp_env_storage", "storages of an environment"),
    ("cli-storage__test_create_storage_account", "an account's life"),
)


def _score(paths: list[Path], at_a_time: int) -> tuple[float, float, str]:
    """Per cent of right status codes and of right fields, and the differences."""
    replayed = asyncio.run(replay_all(paths, at_a_time))
    whole = report.total(replayed)
    assert whole.status.total(), "nothing of it was scored"
    return (
        report.share(whole.status),
        report.share(whole.fields),
        "\n".join(report.differences(replayed)),
    )


@pytest.mark.parametrize(("name", "reason"), SLICE)
def test_a_recording_is_answered_as_azure_did(name: str, reason: str) -> None:
    """Each recording of the slice reaches the marks that the whole must reach."""
    assert FOLDER is not None
    status, fields, differences = _score([FOLDER / f"{name}.jsonl"], 1)
    assert min(status - STATUS, fields - FIELDS) >= 0, (
        f"{status:.1f} % and {fields:.1f} % of {reason}:\n{differences}"
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_recordings_are_answered_as_azure_did() -> None:
    """All recordings together: 98 % of the status codes, 97 % of the fields."""
    assert FOLDER is not None
    status, fields, differences = _score(sorted(FOLDER.glob("*.jsonl")), 4)
    assert min(status - STATUS, fields - FIELDS) >= 0, (
        f"{status:.1f} % and {fields:.1f} %:\n{differences}"
    )
