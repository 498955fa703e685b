"""The lines of infra/deploy that stand in comments, to be used in place of others: documents from a
mounted share, and from Git.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "infra" / "deploy"


def commented(name: str) -> tuple[dict[str, Any], list[str]]:
    """The volume and the arguments in the comments of a file."""
    return _line(name, r"- (\{name: documents, .*\})"), _line(name, r"args: (\[.*\])")


def _line(name: str, pattern: str) -> Any:
    (found,) = re.findall(rf"^ *# {pattern}$", (DEPLOY / name).read_text(), re.MULTILINE)
    return YAML(typ="safe").load(found)
