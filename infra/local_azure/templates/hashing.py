"""The hash behind `uniqueString` and the template hash: 64 bits of the two first lanes of
MurmurHash3 x86_128, seed 0.
"""

import json
from typing import Any

_MASK = 0xFFFFFFFF
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_FIRST, _SECOND = 0x239B961B, 0xAB0E9789


def unique_string(*parts: str) -> str:
    """13 characters that depend on the parts alone, case included."""
    value = murmur("-".join(parts).encode())
    return "".join(_ALPHABET[(value << 5 * place & (1 << 64) - 1) >> 59] for place in range(13))


def template_hash(template: Any) -> str:
    """What Bicep wrote into its output, where it did; else the hash of the template in capitals
    without blanks.

    Azure's own form of a template before hashing is not public; only an empty template is known to
    come out as in Azure.
    """
    metadata = template.get("metadata") if isinstance(template, dict) else None
    generator = metadata.get("_generator") if isinstance(metadata, dict) else None
    if isinstance(generator, dict) and str(generator.get("templateHash", "")).isdigit():
        return str(generator["templateHash"])
    bare = (
        {key: value for key, value in template.items() if key != "metadata"}
        if isinstance(template, dict)
        else template
    )
    return str(murmur(json.dumps(bare, ensure_ascii=False, separators=(",", ":")).upper().encode()))


def murmur(data: bytes) -> int:
    """An unsigned number of 64 bits."""
    one = two = 0
    whole = len(data) - len(data) % 8
    for place in range(0, whole, 8):
        one = _rotate(one ^ _mix(data[place : place + 4], _FIRST, 15, _SECOND), 19)
        one = (one + two) * 5 + 0x561CCD1B & _MASK
        two = _rotate(two ^ _mix(data[place + 4 : place + 8], _SECOND, 17, _FIRST), 13)
        two = (two + one) * 5 + 0x0BCAA747 & _MASK
    one ^= _mix(data[whole : whole + 4], _FIRST, 15, _SECOND)
    two ^= _mix(data[whole + 4 :], _SECOND, 17, _FIRST)
    one, two = one ^ len(data), two ^ len(data)
    one = one + two & _MASK
    two = two + one & _MASK
    one, two = _finish(one), _finish(two)
    one = one + two & _MASK
    two = two + one & _MASK
    return two << 32 | one


def _mix(data: bytes, first: int, turn: int, second: int) -> int:
    return _rotate(int.from_bytes(data, "little") * first & _MASK, turn) * second & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


def _finish(value: int) -> int:
    value = (value ^ value >> 16) * 0x85EBCA6B & _MASK
    value = (value ^ value >> 13) * 0xC2B2AE35 & _MASK
    return value ^ value >> 16
