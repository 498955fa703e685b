"""The rank and alpha that an adapter's `rank_pattern` and `alpha_pattern` give to a module, by
vLLM's rule.

The keys are regular expressions of unknown origin, and vLLM matches them in its engine's loop.
Plain names are looked up here. The others are matched in a process of their own, which is stopped
after some seconds; an adapter that needs longer is refused.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from serving.inspection.json_files import FileFault, is_number

SECONDS = 3.0  # with the start of the process; the patterns of an ordinary adapter take 0.1 s
_MOST, _LONGEST = 20_000, 1000
_NAME = re.compile(r"[\w.\-]+")
_NESTED = re.compile(r"[*+}]\)*\)(?:[*+]|\{\d*,)")
# The same as vLLM's PEFTHelper._match_pattern, with the module `regex`, if installed, as in vLLM.
_PROGRAM = """
import json, sys
try:
    import regex as re
except ImportError:
    import re
keys, names = json.load(sys.stdin)
found, wrong = {}, []
for key in keys:
    try:
        pattern = re.compile(rf"(.*\\.)?({key})$")
    except Exception:
        wrong.append(key)
        continue
    for index, name in enumerate(names):
        if pattern.match(name):
            found.setdefault(name, []).append(key)
print(json.dumps([found, wrong]))
"""


class Patterns:
    """The value of the first pattern of each mapping that matches a module. Raises FileFault for a
    mapping that vLLM cannot use.
    """

    def __init__(self, config: Mapping[str, Any], modules: Iterable[str]) -> None:
        self._ranks = _mapping(config, "rank_pattern")
        self._alphas = _mapping(config, "alpha_pattern")
        keys = {key for key in (*self._ranks, *self._alphas) if not _NAME.fullmatch(key)}
        self._fits = _match(sorted(keys), sorted(set(modules))) if keys else {}

    def rank(self, module: str, otherwise: Any) -> Any:
        return self._first(self._ranks, module, otherwise)

    def alpha(self, module: str, otherwise: Any) -> Any:
        return self._first(self._alphas, module, otherwise)

    def _first(self, mapping: Mapping[str, Any], module: str, otherwise: Any) -> Any:
        if not mapping:
            return otherwise
        parts = module.split(".")
        names = (".".join(parts[start:]) for start in range(len(parts)))
        fitting = {name for name in names if name in mapping} | set(self._fits.get(module, ()))
        return next((mapping[key] for key in mapping if key in fitting), otherwise)


def _mapping(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise FileFault(f"{name} in adapter_config.json is no mapping of modules to numbers")
    if len(found) > _MOST or any(len(key) > _LONGEST for key in found):
        raise FileFault(f"{name} in adapter_config.json is too large to be checked")
    for value in found.values():
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not (whole if name == "rank_pattern" else is_number(value)):
            raise FileFault(f"{name} in adapter_config.json holds a value that is no valid number")
    return found


def _match(keys: list[str], modules: list[str]) -> dict[str, list[str]]:
    """The keys that fit each module."""
    for key in keys:
        if _NESTED.search(key):
            raise FileFault(
                f"the pattern {key[:60]!r} in adapter_config.json nests repetitions, which"
                " can make matching endless; write the modules' names instead"
            )
    try:
        # In a process of its own, because Python cannot stop a regular expression that runs away.
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM],
            input=json.dumps([keys, modules]),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        raise FileFault(
            "the regular expressions of rank_pattern or alpha_pattern in adapter_config.json take"
            f" longer than {SECONDS:.0f} s; write the modules' names instead"
        ) from None
    found, wrong = json.loads(done.stdout)
    if wrong:
        raise FileFault(
            f"the pattern {wrong[0][:60]!r} in adapter_config.json is no regular expression"
        )
    return dict(found)
