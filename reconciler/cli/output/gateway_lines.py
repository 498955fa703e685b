"""A gateway in `moorage status`: its address, and each service behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def gateway_lines(gateway: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The beginning and the rest of a line for the address, and of one for each service."""
    yield f"  {'gateway':<18}", gateway["endpoint"] or "(none yet)"
    for service in gateway["services"]:
        yield f"    {service['name']:<16}", _words(service)


def _words(service: Mapping[str, Any]) -> str:
    """How awake it is, and for how long callers wait."""
    words = [service["state"]]
    left = service.get("predictedSeconds")
    if service["state"] == "starting":
        words += [str(service["stage"]).replace("_", " ")] if service.get("stage") else []
        words += [f"about {left:.0f} s left"] if left is not None else []
    elif service["state"] == "asleep" and left is not None:
        words.append(f"a start takes about {left:.0f} s")
    if service.get("message"):
        words.append(service["message"])
    if service["held"]:
        words.append(f"{service['held']} waiting")
    return ", ".join(words)
