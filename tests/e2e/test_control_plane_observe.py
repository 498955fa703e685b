"""Documents that observe report everything and write nothing."""

import copy

import pytest

from tests.e2e.ground import is_write
from tests.e2e.stage import condition_of
from tests.kinds.bench import CHANGED, FIRST


def observing(documents):
    return [
        {**each, "spec": {**copy.deepcopy(each["spec"]), "reconcilePolicy": "Observe"}}
        for each in documents
    ]


def writes(stage, since):
    return [each for each in stage.journal()[since:] if is_write(each) and each["status"] < 400]


@pytest.mark.slow
def test_documents_that_observe_write_nothing(make_stage):
    """Neither what does not exist, nor what differs in every object, nor what is asked for no more:
    the status says what differs.
    """
    stage = make_stage()
    stage.code("web")
    stage.save(*observing(FIRST))
    mark = len(stage.journal())
    done = stage.once("-y", code=4)
    assert "ResourceGroup/dev is missing; reconcilePolicy is Observe" in done.stdout
    told = stage.moorage("diff", "dev", "-f", str(stage.manifest)).stdout
    assert "- ResourceGroup/dev   does not exist" in told
    assert "7 objects are missing" in told
    assert writes(stage, mark) == []
    stage.save(*FIRST)
    stage.once("-y")
    stage.save(*observing(CHANGED))
    mark = len(stage.journal())
    stage.once("-y", code=None)
    assert writes(stage, mark) == []
    for name in ("dev", "web"):
        (found,) = [each for each in stage.json("status")["documents"] if each["name"] == name]
        synced = condition_of(found, "Synced")
        assert (synced["status"], synced["reason"]) == ("False", "ObserveOnly")
    stage.save(*observing(CHANGED)[:1])
    assert "is left in place (reconcilePolicy is Observe)" in stage.once("-y").stdout
    assert writes(stage, mark) == []
