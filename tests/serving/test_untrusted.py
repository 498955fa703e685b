"""Files and texts of others: whatever is in them, reading ends soon and says what was wrong."""

import json
import os
import random
import time

import pytest

from serving.catalogue import SAID, AdapterReport, ApiKey, Catalogue, ReplicaReport
from serving.untrusted import DEPTH, SMALL, UntrustedError, parse, read
from serving.watch import CatalogueWatch

HOSTILE = {
    "empty": b"",
    "deep lists": b"[" * 100_000,
    "deep mappings": b'{"a":' * 5_000,
    "closed and deep": b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1),
    "crowded": b"[" + b"1," * 300_000 + b"1]",
    "digits": b"1" * 10_000,
    "no UTF-8": b'"\xff\xfe"',
    "half a string": b'"abc',
    "long": b'"' + b"a" * SMALL + b'"',
    "nothing": b"null x",
    "a UTF-16 text": "{}".encode("utf-16"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_refused_at_once(data):
    """Never a RecursionError, a MemoryError or a long wait."""
    began = time.process_time()
    with pytest.raises(UntrustedError):
        print(parse(data)) if data != HOSTILE["a UTF-16 text"] else parse(data + b"x")
    assert time.process_time() - began < 5


def test_sound_texts_are_read_as_json_reads_them():
    """The bounds are wide of anything Moorage writes."""
    value = {"a": [1, 2.5, None, True, 'ü"[{'] * 1000, "b": {"c": {"d": []}}}
    assert parse(json.dumps(value).encode()) == value


def test_only_regular_files_within_the_bound_are_read(tmp_path):
    """A pipe nobody writes to, a device without end, a folder and a long file end at once."""
    (tmp_path / "long").write_bytes(b"x" * 11)
    (tmp_path / "good").write_bytes(b"x" * 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert read(tmp_path / "good", 10) == b"x" * 10
    for name in ("long", "pipe", "zero"):
        with pytest.raises(UntrustedError):
            read(tmp_path / name, 10)
    for name in ("", "missing"):
        with pytest.raises((OSError, UntrustedError)):
            read(tmp_path / name, 10)


def _mutated(data, dice):
    """A few bytes removed, doubled, replaced or repeated."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(out) + 1)
        kind = dice.random()
        if kind < 0.3:
            del out[at : at + dice.randint(1, 40)]
        elif kind < 0.6:
            out[at:at] = dice.choice([b"[" * 200, b'{"a":', b"null", b"\xff", b'"', b"9" * 5000])
        else:
            out[at : at + 1] = bytes([dice.randrange(256)])
    return bytes(out)


def _report():
    return {
        "replica": "r", "revision": "v", "pid": 1, "startedAt": "2026-01-01T00:00:00Z",
        "heartbeat": "2026-01-01T00:00:00Z", "generation": 1, "modelLoaded": True, "ready": True,
        "adapters": [{"name": "a", "digest": "d", "desired": "d", "state": "Loaded"}],
    }  # fmt: skip


def _wild(dice, depth=3):
    if depth and dice.random() < 0.3:
        return [_wild(dice, depth - 1) for _ in range(3)]
    if depth and dice.random() < 0.3:
        return {str(_wild(dice, 0)): _wild(dice, depth - 1) for _ in range(3)}
    return dice.choice(
        [None, True, -1, 10**400, 1e308, "", "x" * 9000, "\ud800", "2026-01-01T00:00:00", "\x1b[2J"]
    )


def _tries(request):
    return 20_000 if request.config.getoption("-m") != "not slow" else 2_000


def test_no_report_and_no_catalogue_raises_anything_else(request):
    """Seeded: mutated bytes, and any value in the place of any field."""
    dice = random.Random(12)
    catalogue = Catalogue(
        service="s", engine="e", epoch=0, generation=1, api_keys=(ApiKey(name="k", sha256="0"),)
    ).dump()
    for _ in range(_tries(request)):
        Catalogue.load(_mutated(catalogue, dice))
        report = _report()
        report[dice.choice([*report, "message", "epoch", "readyAt"])] = _wild(dice)
        text = json.dumps(report).encode()
        for data in (text, _mutated(text, dice)):
            try:
                ReplicaReport.model_validate(parse(data))
            except ValueError:  # UntrustedError and pydantic's are both
                continue


def test_a_heartbeat_needs_a_zone_and_long_words_are_cut():
    """What compares times never meets one without a zone; an error of a megabyte is no reason not
    to report.
    """
    with pytest.raises(ValueError, match="timezone"):
        ReplicaReport.model_validate(_report() | {"heartbeat": "2026-01-01T00:00:00"})
    said = ReplicaReport.model_validate(_report() | {"message": "x" * 1_000_000}).message
    assert len(said) == SAID
    failed = {"name": "a", "digest": None, "desired": "d", "state": "Failed"}
    assert len(AdapterReport.model_validate(failed | {"message": "x" * 9_999}).message) == SAID


def test_a_catalogue_that_is_no_file_is_a_problem_and_not_the_end(tmp_path):
    """The watch says so and keeps the last one."""
    watch = CatalogueWatch(tmp_path, "s", "e")
    good = Catalogue(service="s", engine="e", epoch=0, generation=1)
    (tmp_path / good.file_name).write_bytes(good.dump())
    assert watch.read() == good
    os.mkfifo(tmp_path / "000000-000000002.json")
    (tmp_path / "000000-000000003.json").write_bytes(b"[" * 1_000_000)
    (tmp_path / "000000-000000004.json").symlink_to("/dev/zero")
    assert watch.read() == good
    assert "000000-00000000" in watch.problem
