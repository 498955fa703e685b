"""How long a person waits for a command that has nothing to wait for: `--help`, `validate`,
`status`.
"""

from __future__ import annotations

from tests.benchmarks.house import code_service, house, save
from tests.benchmarks.report import Figure, Section, median

RUNS = 7


def measure() -> Section:
    with house() as one:
        one.start_azure()
        document = one.documents / "service.yaml"
        save(document, code_service(one.documents, "web"))
        with one.up() as daemon:
            one.until_ready(daemon, 1, 120)
        rows, walls = [], {}
        for name, arguments in (
            ("--help", ("--help",)),
            ("validate", ("validate", "-f", str(document))),
            ("status", ("status",)),
            ("plan", ("plan", "-f", str(document))),
        ):
            costs = [one.run(*arguments) for _ in range(RUNS)]
            walls[name] = median([cost.wall for cost in costs])
            rows.append(
                (
                    name,
                    walls[name],
                    median([cost.cpu for cost in costs]),
                    max(cost.peak for cost in costs),
                )
            )
    figures = [Figure("moorage --help", walls["--help"], "s", 0.3, "at most")]
    return Section("Commands", figures, ("command", "wall s (median)", "CPU s", "peak MB"), rows)
