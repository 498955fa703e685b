"""The platform's events about a container app, for a person: `logs --system` on a terminal. A pipe
gets each event as Azure sends it.
"""

from __future__ import annotations

import json

from reconciler.cli.output.ages import age_of
from reconciler.cli.output.layout import hang


def readable(line: str, width: int) -> list[str]:
    """An event as its age, reason, replica or revision, and sentence. Any other line is
    unchanged.
    """
    try:
        event = json.loads(line)
        # Azure writes `2026-11-29 12:00:00.1 +0000 UTC`.
        at = age_of(str(event["TimeStamp"]).removesuffix(" UTC").replace(" +", "+"))
        reason, said = str(event["Reason"]), str(event["Msg"])
    except (ValueError, KeyError, TypeError):
        return [line]
    about = str(event.get("ReplicaName") or event.get("RevisionName") or "")
    times = f" (x{event['Count']})" if event.get("Count", 1) != 1 else ""
    named = f"{about}  " if about and about not in said else ""
    return hang(f"{at:>4}  ", f"{reason}  {named}{said}{times}", width)
