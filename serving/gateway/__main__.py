"""Starts a gateway: `python -m serving.gateway --share DIR --environment NAME --data DIR --port N`.

PID 1 of its container; process.py is the gateway. The modules are found before anything else is
imported, so that a start neither compiles them nor opens each on the share.
"""

import os
import sys

from serving.gateway.compiled import find_compiled


def main() -> int:
    find_compiled()
    from serving.gateway.process import main

    return main()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread stuck in a hanging share must not keep the container alive
