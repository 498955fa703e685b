"""`moorage explain`: every reason that can be shown is explained."""

import pytest

from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm.errors import TABLE
from reconciler.cli.app import run


@pytest.mark.parametrize("reason", [*Reason, *map(AzureCode, TABLE)])
def test_every_reason_has_a_meaning_and_a_remedy(reason, capsys):
    """Two lines: what it means, and what to do."""
    assert run(["explain", reason]) == 0
    meaning, remedy = capsys.readouterr().out.splitlines()
    assert meaning.startswith(f"{reason}: ")
    assert len(meaning) > len(reason) + 5
    assert remedy.startswith("what to do: ")
    assert remedy != "what to do: "


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("notleader", "NotLeader: another daemon holds"),
        ("ScopeLocked", "Azure:ScopeLocked: Azure's own code; the loop waits for a person"),
        ("Azure:SubscriptionConsumptionQuotaReached", "Ask for a higher quota"),
        ("ManagedEnvironmentCapacityHeavyUsageError", "waits for a person, and looks again every"),
    ],
    ids=["any case", "without the prefix", "a quota of any name", "a region without capacity"],
)
def test_a_reason_is_found_as_people_write_it(word, told, capsys):
    """With or without the prefix; codes that Azure adds are known by their spelling."""
    assert run(["explain", word]) == 0
    assert told in capsys.readouterr().out


def test_a_word_that_is_no_reason_is_refused(capsys):
    """With what was probably meant, and code 2."""
    assert run(["explain", "NotLeadr"]) == 2
    assert "Did you mean NotLeader" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "meant"), [("quota", "ReplicasMissing"), ("image", "ImageNotFound")]
)
def test_a_word_of_a_reason_offers_those_that_have_it(word, meant, capsys):
    """In the name, or in what it means and what to do."""
    assert run(["explain", word]) == 2
    assert meant in capsys.readouterr().err
