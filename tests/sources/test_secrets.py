"""Values of secrets are read from files and variables into memory, and nothing else has them."""

import os

import pytest

from reconciler.api.manifest import load
from reconciler.api.secret_values import SecretValues
from reconciler.api.source import Missing
from reconciler.cli.app import run
from reconciler.sources.secrets import LONGEST, read_secrets

SERVICE = """\
kind: InferenceService
metadata: {{name: {name}}}
spec:
  model: {{source: share://m}}
  secrets:
    - {{name: a, valueFrom: {{{source}}}}}
"""


def read(folder, source, environment=None, *, values=None, name="phi"):
    file = folder / "m.yaml"
    file.write_text(SERVICE.format(name=name, source=source))
    values = values or SecretValues()
    found = read_secrets(load([file]).documents, values, environment or {})[name, "a"]
    return found, None if isinstance(found, Missing) else values.get(found)


@pytest.mark.parametrize(
    ("content", "value", "reason"),
    [
        (b"hunter2", "hunter2", "as it is"),
        (b"hunter2\n", "hunter2", "an editor and `echo` end a file with a line break"),
        (b"hunter2\r\n", "hunter2", "and so does an editor of Windows"),
        (b" a \n\n", " a \n", "one line break, and nothing else"),
        ("-----BEGIN\nä ö ü 🔑\n-----END\n".encode(), "-----BEGIN\nä ö ü 🔑\n-----END", "any text"),
        (b"x" * LONGEST + b"\n", "x" * LONGEST, "64 KiB, without its line break"),
    ],
)
def test_a_file_holds_the_value(tmp_path, content, value, reason):
    """Its text without one line break at the end."""
    (tmp_path / "t").write_bytes(content)
    assert read(tmp_path, "file: ./t")[1] == value, reason


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "./t cannot be read: No such file or directory"),
        (b"", "./t is empty"),
        (b"\n", "./t is empty"),
        (b"\xff\xfe", "./t is no UTF-8 text"),
        (b"hun\0ter2", "./t has a NUL byte, which no variable can hold"),
        (b"x" * (LONGEST + 1), "./t is longer than 65536 bytes"),
        (b"x" * (LONGEST + 9), "./t is longer than 65536 bytes"),
        (("ä" * LONGEST).encode(), "./t is longer than 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_value_is_told_with_its_place(tmp_path, content, why):
    """The place in the document, the secret's name and the reason, and nothing of what is in it."""
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    assert read(tmp_path, "file: ./t")[0].message == f"m.yaml:6:28: secret a: {why}"


def test_what_is_no_file_is_not_waited_for(tmp_path):
    """A pipe without a writer, and a folder."""
    os.mkfifo(tmp_path / "t")
    assert "is neither a file nor a folder" in read(tmp_path, "file: ./t")[0].message
    assert "Is a directory" in read(tmp_path, "file: .")[0].message


def test_a_variable_holds_the_value(tmp_path):
    """As it is; one that is not there is told with its place."""
    assert read(tmp_path, "env: KEY", {"KEY": "hunter2\n"})[1] == "hunter2\n"
    missing = read(tmp_path, "env: KEY", {})[0]
    assert missing.message == "m.yaml:6:28: secret a: there is no variable KEY where this runs"
    assert "is no UTF-8 text" in read(tmp_path, "env: KEY", {"KEY": "a\udcff"})[0].message


def test_a_digest_tells_values_apart_in_every_process(tmp_path):
    """Another value has another digest, the same has the same one anywhere, and services do not
    share theirs: nobody can see that two have one password.
    """
    one, other = {"KEY": "hunter2"}, {"KEY": "hunter3"}
    digest = read(tmp_path, "env: KEY", one)[0]
    assert read(tmp_path, "env: KEY", one)[0] == digest
    assert read(tmp_path, "env: KEY", other)[0] != digest
    assert read(tmp_path, "env: KEY", one, name="psi")[0] != digest
    assert "hunter2" not in digest


def test_values_that_nothing_asks_for_are_forgotten():
    """And none is in what a log would show of them."""
    values = SecretValues()
    first, second = values.add("hunter2", "a"), values.add("hunter3", "a")
    assert "hunter" not in repr(values)
    values.keep_only([second])
    assert (values.get(first), values.get(second)) == (None, "hunter3")


def validated(folder, source, capsys):
    file = folder / "m.yaml"
    file.write_text(SERVICE.format(name="phi", source=source))
    code = run(["validate", "-f", str(file)])
    return code, " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("file: ./none", "./none cannot be read: No such file"),
        ("env: NOT_SET_HERE", "there is no variable NOT_SET_HERE"),
    ],
)
def test_validate_notes_a_value_that_is_not_on_this_machine(tmp_path, capsys, source, said):
    """It is no error: only the daemon needs the value, and a check of a pull request has none."""
    code, told = validated(tmp_path, source, capsys)
    assert code == 0
    assert f"m.yaml:6:28: secret a: {said}" in told
    assert "the service needs it where the daemon runs" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\xff", "is no UTF-8 text"), (b"a\0b", "has a NUL byte")],
)
def test_validate_refuses_a_file_that_cannot_be_a_value(tmp_path, capsys, content, said):
    """Code 2 with file:line:column, and nothing of the content."""
    (tmp_path / "value").write_bytes(content)
    code, told = validated(tmp_path, "file: ./value", capsys)
    assert code == 2
    assert f"m.yaml:6:28: secret a: ./value {said}" in told
