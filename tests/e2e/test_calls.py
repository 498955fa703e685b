"""Every call that provisioning makes, with what it is for: of a first start, of one that finds all
as the documents say, and of one changed variable. A call that no line names fails, and one more
than a line allows.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import NamedTuple

import pytest

from tests.e2e.stage import Stage, service

AFRESH = 2.0  # seconds between two looks at what a boot has become


class Purpose(NamedTuple):
    """Calls whose method and path match `call`: how many of them at most, and what for. A boot
    that lasts is looked at again: those lines are `repeated`.
    """

    call: str
    most: int
    why: str
    repeated: bool = False


GROUP = "/resourcegroups/rg-moorage-default"
ACCOUNT = f"{GROUP}/providers/microsoft.storage/storageaccounts/[^/]+"
LAW = f"{GROUP}/providers/microsoft.operationalinsights/workspaces/law-default"
CAE = f"{GROUP}/providers/microsoft.app/managedenvironments/cae-default"
APP = f"{GROUP}/providers/microsoft.app/containerapps/web"
ACROSS = "/subscriptions/[^/]+/providers"
SHARE = "/[^/]+/moorage"

FIRST = (
    Purpose(f"GET .*{GROUP}/providers/microsoft.storage/storageaccounts", 1, "no such group"),
    Purpose("GET /subscriptions/[^/]+/resourcegroups", 1, "no group of ours has another name"),
    Purpose(f"GET {ACROSS}/microsoft.app/managedenvironments", 1, "what is ours already"),
    Purpose(f"GET {ACROSS}/microsoft.operationalinsights/workspaces", 1, "what is ours already"),
    Purpose(f"PUT .*{GROUP}", 1, "the group"),
    Purpose(f"GET .*{ACCOUNT}", 1, "nobody else has made it in the group meanwhile"),
    Purpose(f"PUT .*{ACCOUNT}", 1, "the account"),
    Purpose("GET .*/microsoft.storage/locations/.*", 1, "whether it is made"),
    Purpose(f"PUT .*{ACCOUNT}/fileservices/default/shares/moorage", 1, "the share"),
    Purpose(f"POST .*{ACCOUNT}/listkeys", 1, "the key that opens and registers the share"),
    Purpose(f"PUT .*{LAW}", 1, "the workspace"),
    Purpose(f"GET .*{LAW}", 2, "nobody else has made it meanwhile; whether it is made"),
    Purpose(f"POST .*{LAW}/sharedkeys", 1, "the key with which the environment sends logs"),
    Purpose(f"PUT .*{CAE}", 1, "the managed environment"),
    Purpose(f"GET .*{CAE}", 2, "nobody else has made it meanwhile; whether it is made"),
    Purpose(f"PUT .*{CAE}/storages/moorage(-rw)?", 2, "the share, to read from and to write to"),
    Purpose(f"PUT {SHARE}\\?.*comp=lease", 2, "who writes: taken, and released at the end"),
    Purpose(f"PUT {SHARE}/storages-cae-default.json", 1, "with which key it was registered"),
    Purpose(f"PUT {SHARE}/code(/web(/[0-9a-f]+)?)?\\?.*directory", 3, "the folder's directories"),
    Purpose(f"PUT {SHARE}/code/web/[0-9a-f]+/app.py", 1, "the code"),
    Purpose(
        f"PUT {SHARE}/code/web/[0-9a-f]+/[^/]*moorage.json.*", 2, "its manifest, last and whole"
    ),
    Purpose(f"PUT .*{APP}", 1, "the container app"),
    Purpose(f"GET .*{APP}", 3, "nobody else has made it; whether it is made; how it is", True),
    Purpose(f"GET .*{APP}/revisions", 1, "whether the revision is healthy", True),
    Purpose(f"GET .*{APP}/revisions/[^/]+/replicas", 1, "whether its replica is ready", True),
)
START = (  # of a daemon that finds its resources
    Purpose(f"GET .*{GROUP}/providers/microsoft.storage/storageaccounts", 1, "the account"),
    Purpose(f"POST .*{ACCOUNT}/listkeys", 1, "the key that opens the share"),
    Purpose(f"GET .*{CAE}/storages", 1, "under which names the share is registered"),
    Purpose(f"GET {ACROSS}/microsoft.app/(managedenvironments|containerapps|jobs)", 3, "ours"),
    Purpose(f"GET {ACROSS}/microsoft.operationalinsights/workspaces", 1, "ours"),
    Purpose(f"GET .*{GROUP}", 1, "the group"),
    Purpose(f"GET .*{ACCOUNT}/fileservices/default/shares/moorage", 1, "the share"),
    Purpose(f"PUT {SHARE}\\?.*comp=lease", 2, "who writes: taken, and released at the end"),
    Purpose(f"GET {SHARE}/code%2Fweb%2F[0-9a-f]+\\?.*list", 1, "the code is as it was published"),
)
AGAIN = (
    *START,
    Purpose(f"GET .*{APP}", 1, "the container app"),
    Purpose(f"GET .*{APP}/revisions", 1, "whether its revision is healthy"),
    Purpose(f"GET .*{APP}/revisions/[^/]+/replicas", 1, "where it differs from the last look"),
)
CHANGED = (
    *START,
    Purpose(f"PATCH .*{APP}", 2, "the new revision; then the traffic"),
    Purpose("GET .*/containerappoperationstatuses/.*", 2, "whether each is done"),
    Purpose(f"POST .*{APP}/revisions/[^/]+/deactivate", 1, "the old revision"),
    Purpose(f"GET .*{CAE}", 1, "how many replicas there is room for"),
    Purpose(
        f"GET .*{APP}", 2, "the container app; what stands there before the traffic moves", True
    ),
    Purpose(f"GET .*{GROUP}/providers/microsoft.app/containerapps", 4, "how it is", True),
    Purpose(f"GET .*{APP}/revisions", 5, "which revisions are healthy", True),
    Purpose(f"GET .*{APP}/revisions/[^/]+/replicas", 6, "whether their replicas are ready", True),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("calls")) as stage:
        stage.code("web")
        yield stage


@pytest.mark.parametrize(
    ("step", "purposes", "most"),
    [("first", FIRST, 34), ("again", AGAIN, 15), ("changed", CHANGED, 35)],
)
def test_every_call_has_a_purpose(stage, step, purposes, most):
    """The steps follow each other. `most` is what a boot of two seconds costs, and is what the
    documentation and the comparison with az give.
    """
    assert sum(each.most for each in purposes) == most
    changes = {"env": [{"name": "COLOUR", "value": "red"}]} if step == "changed" else {}
    stage.save(service("web", **changes))
    before, began = len(stage.journal()), time.monotonic()
    stage.once("-y")
    looks = int((time.monotonic() - began) / AFRESH)
    counts = Counter(
        _purpose(purposes, entry) for entry in stage.journal()[before:] if _ours(entry)
    )
    for purpose, count in counts.items():
        allowed = purpose.most + (2 * looks if purpose.repeated else 0)
        assert count <= allowed, f"{count} calls for: {purpose.why} ({purpose.call})"


def _purpose(purposes, entry):
    path = entry["path"] if entry["plane"] == "files" else entry["path"].lower()
    text = f"{entry['method']} {path}"
    for asked in (text, f"{text}?{entry['query']}"):
        for each in purposes:
            if re.fullmatch(each.call, asked):
                return each
    raise AssertionError(f"no line says what this call is for: {text}")


def _ours(entry):
    return entry["plane"] in ("arm", "files") and entry["client"] != "local-azure-health"
