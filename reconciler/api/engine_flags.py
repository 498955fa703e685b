"""`engine.args`: vLLM's own flags in its own spelling, less those that Moorage sets itself or that
would undo its promises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from reconciler.api.context_lengths import length_fault
from reconciler.api.fields import Fault, refuse_any

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes
MAX_LORA_RANK = LORA_RANKS[-1]

# what follows a dot is a key of a flag that takes JSON
FLAG_PATTERN = r"[a-z][a-z0-9]*(-[a-z0-9]+)*(\.[A-Za-z0-9_.-]+)?"
_FLAG = re.compile(FLAG_PATTERN, re.ASCII)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])", re.ASCII)
_ONE_PROCESS = ("one replica is one server process", "use scale.maxReplicas for more of them")
_TLS = ("the ingress ends TLS before the replica", "leave it out")
_LISTENS = (
    "probes and ingress expect vLLM on port 8000 of the replica",
    "leave it out; clients use the ingress",
)
_CORS = ("the gate answers browsers before vLLM does", "write spec.ingress.corsPolicy")
_OWNED: Mapping[str, tuple[str, str]] = {
    "model": ("Moorage sets it to the published folder", "write spec.model.source"),
    "served-model-name": ("clients know the model by the service's name", "change metadata.name"),
    "revision": ("the source pins what is served", "write model: {source: hf://org/name@revision}"),
    "host": _LISTENS,
    "port": _LISTENS,
    "uds": _LISTENS,
    "grpc": _LISTENS,
    "grpc-port": _LISTENS,
    "root-path": _LISTENS,
    "api-key": (
        "keys in arguments are readable by all who can read the app",
        "write spec.auth.apiKeys",
    ),
    "enable-lora": ("Moorage sets it for a service with adapters", "write spec.adapters"),
    "lora-modules": (
        "adapters loaded by vLLM itself cannot be changed without a restart",
        "write spec.adapters",
    ),
    "middleware": ("the gate is the only way into the replica", "leave it out"),
    "config": ("a file of arguments would hide what runs", "write each flag under engine.args"),
    "shutdown-timeout": (
        "it follows from the time the replica has to end",
        "write spec.terminationGracePeriodSeconds",
    ),
    "headless": _ONE_PROCESS,
    "api-server-count": _ONE_PROCESS,
    "nnodes": _ONE_PROCESS,
    "node-rank": _ONE_PROCESS,
    "master-addr": _ONE_PROCESS,
    "master-port": _ONE_PROCESS,
    "enable-ssl-refresh": _TLS,
    "enable-elastic-ep": _ONE_PROCESS,
    "default-mm-loras": (
        "adapters loaded by vLLM itself cannot be changed without a restart",
        "write spec.adapters",
    ),
    "allowed-media-domains": (
        "the gate knows the hosts too, and follows changes without a restart",
        "write spec.limits.mediaDomains",
    ),
    "allowed-origins": _CORS,
    "allowed-methods": _CORS,
    "allowed-headers": _CORS,
    "allow-credentials": _CORS,
    "hf-token": (
        "tokens in arguments are readable by all who can read the app",
        "publish the model: ./folder, share:// or hf://",
    ),
    "help": ("vLLM prints it and ends", "leave it out"),
}
_OWNED_PREFIXES = {"ssl-": _TLS, "data-parallel-": _ONE_PROCESS, "dp-supervisor-": _ONE_PROCESS}


def check_flags(flags: Mapping[str, Any]) -> Mapping[str, Any]:
    """The flags with lists as tuples.

    Raises:
        PydanticCustomError: a `refusal` naming every flag that is Moorage's, misspelt or without a
            usable value.
    """
    refuse_any(fault for name, value in flags.items() for fault in _faults(name, value))
    refuse_any(_capacity_faults(flags))
    return {
        name: tuple(value) if isinstance(value, (list, tuple)) else value
        for name, value in flags.items()
    }


def owner_of(flag: str) -> tuple[str, str] | None:
    """Why a user may not set `flag`, and what to write instead; None when it is."""
    positive = flag.removeprefix("no-")
    prefixed = (reason for prefix, reason in _OWNED_PREFIXES.items() if positive.startswith(prefix))
    return _OWNED.get(positive) or next(prefixed, None)


def _faults(name: str, value: object) -> Iterator[Fault]:
    spelt = _CAMEL.sub("-", name.lstrip("-").replace("_", "-")).lower()
    if owned := owner_of(spelt):
        yield Fault(
            f"engine.args.{name} is not yours to set: {owned[0]}", owned[1], (name,), key=True
        )
    elif not _FLAG.fullmatch(name):
        hint = (
            f"write {spelt}"
            if _FLAG.fullmatch(spelt)
            else "write it as vLLM does, without the leading --"
        )
        yield Fault(f"{name!r} is not a vLLM flag", hint, (name,), key=True)
    elif name.startswith("no-") and isinstance(value, bool):
        yield Fault(
            f"{name!r} turns a flag off by its name",
            f"write {name[3:]}: {str(not value).lower()}",
            (name,),
            key=True,
        )
    elif value is None:
        yield Fault(f"flag {name!r} has no value", "write true for a flag that takes none", (name,))
    elif isinstance(value, Mapping):
        yield Fault(
            f"flag {name!r} holds a mapping",
            "write the JSON that vLLM takes as text in single quotes",
            (name,),
        )
    elif isinstance(value, (list, tuple)):
        if not value or not all(_is_scalar(item) for item in value):
            yield Fault(
                f"flag {name!r} takes a list of texts or numbers",
                "leave it out when there is none",
                (name,),
            )
    elif not _is_scalar(value):
        yield Fault(
            f"flag {name!r} holds {value!r}",
            "write a text, a number, true, false or a list",
            (name,),
        )


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _capacity_faults(flags: Mapping[str, Any]) -> Iterator[Fault]:
    if (rank := flags.get("max-lora-rank")) is not None and (
        isinstance(rank, bool) or rank not in LORA_RANKS
    ):
        yield Fault(
            f"max-lora-rank cannot be {rank!r}",
            f"vLLM takes {', '.join(map(str, LORA_RANKS))}",
            ("max-lora-rank",),
        )
    length = flags.get("max-model-len", "auto")
    # A switch and a list are told with the flags that take one value.
    if not isinstance(length, bool | list | tuple) and (fault := length_fault(length)):
        yield fault
    counts = {name: flags[name] for name in ("max-loras", "max-cpu-loras") if name in flags}
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            yield Fault(f"{name} cannot be {count!r}", "write a whole number from 1", (name,))
            return
    if len(counts) == 2 and counts["max-cpu-loras"] < counts["max-loras"]:
        yield Fault(
            "max-cpu-loras is smaller than max-loras",
            "vLLM keeps every adapter of a batch in memory too",
            ("max-cpu-loras",),
        )


_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
EngineArgs = Annotated[
    dict[str, Any],
    AfterValidator(check_flags),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{FLAG_PATTERN}$", "not": {"enum": sorted(_OWNED)}},
            "additionalProperties": {
                "anyOf": [_SCALAR_SCHEMA, {"type": "array", "minItems": 1, "items": _SCALAR_SCHEMA}]
            },
        }
    ),
]
