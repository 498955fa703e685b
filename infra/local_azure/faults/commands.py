"""`faults {add,load,list,clear}`: scripts faults from the command line, with the server running or
not.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import script
from .fault_store import Entry, FaultStore
from .kinds import KINDS

INVALID = 2


def declare(commands: Any, state_dir: str) -> None:
    """Add the command to the program's own."""
    text = "script misbehaviour"
    faults = commands.add_parser("faults", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    for name, text in (
        ("add", "add one fault"),
        ("load", "replace all faults by those of a file"),
        ("list", "the faults in force and how often each hit"),
        ("clear", "remove faults"),
    ):
        command = faults.add_parser(name, help=text, description=text)
        command.add_argument(
            state_dir,
            type=Path,
            required=True,
            help="the folder of this Azure's state (made when missing)",
        )
        command.add_argument("-o", "--output", choices=("text", "json"), default="text")
        if name == "add":
            command.add_argument("fault", help="what happens: " + ", ".join(KINDS))
            for field in (*script.FIELDS, *script.PARAMETERS):
                command.add_argument("--" + _dashed(field), dest=field)
        elif name == "load":
            command.add_argument("file", type=Path)
        elif name == "clear":
            command.add_argument("ids", nargs="*", help="which ones; all when left out")


def run(path: Path, arguments: argparse.Namespace) -> int:
    """The exit code of one `faults` command."""
    if arguments.action == "load" and (code := load(path, arguments.file)):
        return code
    faults = FaultStore(path)
    try:
        if arguments.action == "add":
            fields = {
                field: getattr(arguments, field) for field in (*script.FIELDS, *script.PARAMETERS)
            }
            given = {field: _value(value) for field, value in fields.items() if value is not None}
            faults.add(
                script.single(
                    {"fault": arguments.fault, **given},
                    {entry.fault.id for entry in faults.entries()},
                )
            )
        elif arguments.action == "clear":
            unknown = set(arguments.ids) - {entry.fault.id for entry in faults.entries()}
            if unknown:
                print(f"there is no fault {', '.join(sorted(unknown))}", file=sys.stderr)
                return INVALID
            faults.clear(arguments.ids or None)
        _show(faults, arguments.output)
    except script.ScriptError as wrong:
        print(wrong, file=sys.stderr)
        return INVALID
    finally:
        faults.close()
    return 0


def load(path: Path, file: Path) -> int:
    """Make a file's faults the whole script; nothing is changed when one of them is wrong."""
    try:
        read = script.read(file)
    except script.ScriptError as wrong:
        print(wrong, file=sys.stderr)
        return INVALID
    except OSError as refused:
        print(f"{file}: {refused.strerror}", file=sys.stderr)
        return INVALID
    faults = FaultStore(path)
    faults.replace(read.faults, read.seed)
    faults.close()
    return 0


def shown(entry: Entry) -> dict[str, Any]:
    """A fault as a script writes it, with how often it matched and hit."""
    fault = entry.fault
    fields = {field: getattr(fault, field) for field in script.FIELDS}
    plain = {"after": 0, "probability": 1.0}
    written = {
        field: value
        for field, value in fields.items()
        if value not in ("", None) and plain.get(field) != value
    }
    return {
        "fault": fault.kind,
        **written,
        **fault.takes,
        "matched": entry.matched,
        "hit": entry.hit,
        "over": entry.over,
    }


def _show(faults: FaultStore, output: str) -> None:
    entries = [shown(entry) for entry in faults.entries()]
    if output == "json":
        print(json.dumps({"seed": faults.seed, "faults": entries}))
        return
    if not entries:
        print("no faults")
    for entry in entries:
        rest = {
            key: value
            for key, value in entry.items()
            if key not in {"id", "fault", "matched", "hit", "over"}
        }
        words = " ".join(f"{key}={value}" for key, value in rest.items())
        state = "over" if entry["over"] else "in force"
        print(
            f"{entry['id']}: {entry['fault']} {words}".rstrip()
            + f"  ({state}; matched {entry['matched']}, hit {entry['hit']})"
        )


def _value(text: str) -> Any:
    """Numbers as numbers, as YAML reads them."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _dashed(field: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in field)
