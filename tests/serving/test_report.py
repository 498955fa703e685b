"""The report on the share: written at once when there is news, with the heartbeat when there is
none.
"""

import json
import time
from datetime import UTC, datetime

from serving.catalogue import (
    AdapterReport,
    CanaryReport,
    FirstTokens,
    ReplicaReport,
    TrafficReport,
)
from serving.report import Reporter

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(*, requests=0, state="Loaded"):
    traffic = TrafficReport(
        requests=requests,
        errors=requests,
        first_tokens=FirstTokens(count=1, median=requests, p95=requests),
    )
    counted = dict(traffic)
    canary = CanaryReport(digest="2", state=state, **counted)
    adapter = AdapterReport(
        name="red", digest="1", desired="1", state="Loaded", canary=canary, **counted
    )
    return ReplicaReport(
        replica="a",
        revision="r",
        pid=1,
        started_at=NOW,
        heartbeat=NOW,
        generation=1,
        model_loaded=True,
        ready=True,
        adapters=(adapter,),
        traffic=traffic,
    )


def test_what_was_counted_is_no_news(tmp_path):
    """Under load counts change with every request; the share is not written to for that, but a
    state is told at once.
    """
    reporter = Reporter(tmp_path, lambda: NOW)
    reporter.update(report())
    assert reporter._written.wait(10)
    reporter.update(report(requests=7))
    assert reporter._written.is_set(), "nothing is to be written"
    reporter.update(report(requests=8, state="Failed"))
    deadline = time.monotonic() + 90
    while _canary(tmp_path)["state"] != "Failed":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert _canary(tmp_path)["requests"] == 8
    reporter.close()


def _canary(folder):
    return json.loads((folder / "a.json").read_text())["adapters"][0]["canary"]
