"""`make bench`: run every benchmark, one after the other, and write one report.

    python -m tests.benchmarks [NAME ...] [--out FOLDER] [--services N ...]

NAME is one of those in NAMES below; all of them without one (an hour).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import report

# Those that need vLLM come last: they are the longest, and the others are worth having without
# them.
NAMES = (
    "startup",
    "saves",
    "publish",
    "arm",
    "ingress",
    "hostile",
    "gateway",
    "readers",
    "prediction",
    "gateway_routes",
    "resync",
    "scale",
    "by_script",
    "models",
    "adapter_change",
    "swaps",
    "overhead",
    "bench_serve",
    "hostile_vllm",
    "many_adapters",
    "replicas",
    "compile_cache",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=Path(".moorage/benchmarks"))
    parser.add_argument(
        "--services",
        type=int,
        nargs="+",
        metavar="N",
        help="how many services `scale` measures with, 50 in each Environment (100 and 1,000)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    began, path = datetime.now(UTC), options.out
    sections: list[report.Section] = []
    failed: dict[str, str] = {}
    for name in options.names or NAMES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            module = importlib.import_module(f"tests.benchmarks.{name}")
            sizes = [(count, -(-count // 50)) for count in options.services or ()]
            sections.append(module.measure(*([sizes] if name == "scale" and sizes else ())))
        except Exception as error:  # the other benchmarks still count
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        path = report.write(
            options.out, began, sections, failed
        )  # whatever becomes of the next, this one is measured
    print(path.read_text())
    print(f"written to {path} and {path.with_suffix('.json')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
