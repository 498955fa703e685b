"""Azure's sentences without what says nothing: for a person the wrapping around a refusal goes, and
what it is about stays. `axes` and the commands read messages through it; JSON has them whole.
"""

from __future__ import annotations

import re

_WRAPPING = re.compile(
    r"Failed to provision revision for container app '[^']{1,100}'\. Error details: "
    r"|The following field\(s\) are either invalid or missing\. "
)
_FIELD = re.compile(
    r"Field '(?P<field>[^']{1,200})' is invalid with details: '(?:Invalid value: )?"
    r"(?P<said>[^']{1,2000})'(?:;|(?=\.)|$)"
)


def plain(text: str) -> str:
    """The text with each refused field as `field: what is wrong with it`."""
    if "'" not in text:
        return text
    return _FIELD.sub(r"\g<field>: \g<said>", _WRAPPING.sub("", text))
