"""`python -m tests.failed`: the files whose tests failed in the last run of pytest, for `make
test-again`. Ends with 1 where none failed, because pytest without a file would run everything.
"""

import json
import sys
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"


def files() -> list[str]:
    """Relative to the root, in order."""
    failed = json.loads(CACHE.read_text()) if CACHE.is_file() else {}
    return sorted({name.partition("::")[0] for name in failed})


if __name__ == "__main__":
    found = files()
    print(*found)
    sys.exit(not found)
