"""Reads the values of secrets from files and from the daemon's own environment variables. A value
that cannot be read holds up its own service alone, which keeps its last version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.api.documents import InferenceService
from reconciler.api.loaded import Loaded, local_file
from reconciler.api.problems import Problem
from reconciler.api.reasons import Reason
from reconciler.api.regular_files import read_regular
from reconciler.api.secret_fields import Secret
from reconciler.api.secret_values import SecretValues
from reconciler.api.source import Missing

LONGEST = 64 * 2**10  # bytes; Linux takes 128 KiB for a variable with its name
Found = dict[tuple[str, str], str | Missing]


class _Unusable(Exception):
    """Why there is no value; the text never contains it. `absent`: there is no such file or
    variable here, which says nothing of the machine of the daemon.
    """

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


def read_secrets(
    documents: Sequence[Loaded],
    values: SecretValues,
    environment: Mapping[str, str] | None = None,
) -> Found:
    """The digest of each secret by service and name, or why it is missing; the values go into
    `values`.
    """
    given = os.environ if environment is None else environment
    found: Found = {}
    for loaded in documents:
        if not isinstance(loaded.document, InferenceService):
            continue
        service = loaded.document.metadata.name
        for index, secret in enumerate(loaded.document.spec.secrets):
            if secret.value_from is None:
                continue
            try:
                value = _value(secret, loaded.base_dir, given)
            except _Unusable as why:
                found[service, secret.name] = _missing(loaded, index, secret, why)
            else:
                salt = f"moorage secret {loaded.document.spec.environment} {service} {secret.name}"
                found[service, secret.name] = values.add(value, salt)
    return found


def secret_problems(
    loaded: Loaded, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Problem, bool]]:
    """What is wrong with the secrets of a document on this machine. True with what is only absent:
    the daemon may have it.
    """
    if not isinstance(loaded.document, InferenceService):
        return
    for index, secret in enumerate(loaded.document.spec.secrets):
        try:
            if secret.value_from is not None:
                _value(secret, loaded.base_dir, os.environ if environment is None else environment)
        except _Unusable as why:
            path = ("spec", "secrets", index, "valueFrom")
            yield loaded.problem(path, f"secret {secret.name}: {why}"), why.absent


def _value(secret: Secret, base: Path, environment: Mapping[str, str]) -> str:
    source = secret.value_from
    assert source is not None
    if source.env is not None:
        if source.env not in environment:
            text = f"there is no variable {source.env} where this runs"
            raise _Unusable(text, absent=True)
        return _checked(environment[source.env], f"the variable {source.env}")
    file = str(source.file)
    try:
        data = read_regular(local_file(base, file), LONGEST + 3)
    except OSError as error:
        text = f"{file} cannot be read: {error.strerror or error}"
        raise _Unusable(text, absent=isinstance(error, FileNotFoundError)) from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if len(data) > LONGEST:
            raise _Unusable(f"{file} is longer than {LONGEST} bytes") from None
        raise _Unusable(f"{file} is no UTF-8 text") from None
    return _checked(text.removesuffix("\n").removesuffix("\r"), file)


def _checked(value: str, where: str) -> str:
    if not value:
        raise _Unusable(f"{where} is empty")
    if "\0" in value:
        raise _Unusable(f"{where} has a NUL byte, which no variable can hold")
    if len(value.encode(errors="surrogatepass")) > LONGEST:
        raise _Unusable(f"{where} is longer than {LONGEST} bytes")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unusable(f"{where} is no UTF-8 text") from None
    return value


def _missing(loaded: Loaded, index: int, secret: Secret, why: _Unusable) -> Missing:
    line, column = loaded.position(("spec", "secrets", index, "valueFrom"))
    place = f"{loaded.file.name}:{line}:{column}"
    return Missing(Reason.SOURCE_UNREADABLE, f"{place}: secret {secret.name}: {why}")
