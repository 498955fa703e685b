"""From a save to the first write that Azure sees, while `moorage up` watches: the save's time
against the journal's.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks.house import House, code_service, house, save
from tests.benchmarks.report import Figure, Section, median, p95

SAVES = 15
# seconds between a write and the next save, so that nothing of the last change is under way
PAUSE = 1.0


def measure() -> Section:
    with house() as one:
        one.start_azure()
        document = one.documents / "service.yaml"
        save(document, _version(one.documents, 0))
        with one.up() as daemon:
            one.until_ready(daemon, 1, 120)
            waits = [_first_write(one, document, number, daemon) for number in range(1, SAVES + 1)]
    rows = [(number, wait) for number, wait in enumerate(waits, 1)]
    figures = [
        Figure("save to first ARM write, median", median(waits), "s", 0.5, "at most"),
        Figure("save to first ARM write, p95", p95(waits), "s", 0.5, "at most"),
    ]
    notes = [
        (
            "Each save changes `maxReplicas` of a `code:` service in a file that an editor replaces"
            " by renaming."
        ),
        (
            "0.2 s of it is the quiet period for which a file must rest before it is believed to be"
            " complete."
        ),
    ]
    return Section("Save to first ARM write", figures, ("save", "seconds"), rows, notes)


def _first_write(one: House, document: Path, number: int, daemon) -> float:
    saved = save(document, _version(one.documents, number))

    def written() -> float | None:
        return next(
            (call.at for call in one.calls(saved) if call.plane == "arm" and call.write), None
        )

    at = one.until(written, daemon, 30)
    time.sleep(PAUSE)
    return float(at) - saved


def _version(folder: Path, number: int) -> str:
    return code_service(folder, "web").replace("maxReplicas: 1", f"maxReplicas: {1 + number}")
