"""`make conformance`: replay genuine recordings against the local Azure and print how alike the
answers are.

    python -m tests.conformance [WORD ...] [-v] [--report FILE] [--jobs N]

A WORD picks the recordings whose names contain it; all of them without one. -v lists every
difference.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from . import recordings, report
from .replay import Replayed, replay


async def replay_all(paths: list[Path], jobs: int) -> list[Replayed]:
    turn = asyncio.Semaphore(jobs)

    async def one(path: Path) -> Replayed:
        async with turn:
            with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
                try:
                    return await replay(recordings.load(path), Path(folder))
                except Exception as error:
                    error.add_note(f"while replaying {path.name}")
                    raise

    # All to their end: to cancel one that just starts its server leaves a wait without an end.
    ended = await asyncio.gather(*map(one, paths), return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return [each for each in ended if isinstance(each, Replayed)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("-v", "--verbose", action="store_true", help="list every difference")
    parser.add_argument(
        "--report", type=Path, help="write the table and every difference to this file"
    )
    parser.add_argument("--jobs", type=int, default=4, help="recordings at a time (4)")
    options = parser.parse_args()
    where = recordings.folder()
    if where is None:
        print(
            "conformance: there is no folder of recordings; name one in MOORAGE_RECORDINGS",
            file=sys.stderr,
        )
        return 2
    paths = [
        path
        for path in sorted(where.glob("*.jsonl"))
        if not options.words or any(word in path.stem for word in options.words)
    ]
    if not paths:
        parser.error(f"no recording of {where} has a name with {' and '.join(options.words)}")
    replayed = asyncio.run(replay_all(paths, options.jobs))
    table, differences = list(report.table(replayed)), list(report.differences(replayed))
    print("\n".join(differences + table if options.verbose else table))
    if options.report:
        options.report.write_text("\n".join([*table, "", *differences, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
