"""Every flag of vLLM has been looked at: it opens something and needs a word, is Moorage's, or is harmless."""

import json
from pathlib import Path

import pytest

from reconciler.api import vllm_versions
from reconciler.api.engine_flags import owner_of
from reconciler.api.openings import FIELDS, OPENINGS, opening_faults

HARMLESS = {
    line
    for line in Path(__file__).with_name("harmless_flags.txt").read_text().splitlines()
    if line and not line.startswith("#")
}
FLAGS = json.loads(Path(vllm_versions.__file__).with_name("vllm_flags.json").read_text())


@pytest.mark.parametrize("version", FLAGS)
def test_every_flag_of_every_version_is_judged(version):
    """A new flag fails here until a person has read what it does; none is judged twice."""
    flags = {name for names in FLAGS[version].values() for name in names}
    owned = {name for name in flags if owner_of(name)}
    assert flags - owned - set(OPENINGS) == HARMLESS & flags
    assert not set(OPENINGS) & (HARMLESS | owned)
    assert not HARMLESS & owned


def test_no_judgement_outlives_its_flag():
    """What no supported version has any more is dropped."""
    flags = {name for kinds in FLAGS.values() for names in kinds.values() for name in names}
    assert flags >= HARMLESS
    assert set(OPENINGS) <= flags
    assert set(FIELDS) <= set(OPENINGS)


@pytest.mark.parametrize("flag", OPENINGS)
def test_what_opens_something_says_so_and_needs_its_word(flag):
    """Refused with what it opens and what to write, taken with the word, never asked for when off."""
    value = f"backend plugin custom_class {flag}.Cls"
    (fault,) = opening_faults({flag: value}, ())
    assert OPENINGS[flag] in fault.message
    assert f"engine.allow: [{flag}]" in fault.hint
    assert not list(opening_faults({flag: value}, (flag,)))
    assert not list(opening_faults({flag: False}, ()))


@pytest.mark.parametrize(
    ("name", "value", "opens", "reason"),
    [
        ("distributed-executor-backend", "mp", False, "one of vLLM's own"),
        ("distributed-executor-backend", "my.Executor", True, "a class"),
        ("compilation-config", '{"cudagraph_mode": "NONE"}', False, "a setting"),
        ("compilation-config", '{"backend": "my.backend"}', True, "a function"),
        ("compilation-config.backend", "my.backend", True, "the same, dotted"),
        ("speculative-config", '{"method": "ngram"}', False, "no draft model"),
        ("speculative-config", '{"model": "org/draft-1.5b"}', False, "a model of a hub"),
        ("speculative-config", '{"model": "/mnt/models/draft.v2"}', False, "a folder"),
        ("speculative-config", '{"model": "my.Proposer"}', True, "a class"),
        ("speculative-config", '{"method":"custom_class","model":"x"}', True, "says so"),
        ("speculative-config.model", "my.pkg.Proposer", True, "a class, dotted"),
        ("spec-method", "ngram", False, "one of vLLM's own"),
        ("structured-outputs-config", '{"backend": "xgrammar"}', False, "a setting"),
        ("structured-outputs-config.reasoning_parser_plugin", "/x.py", True, "a file"),
    ],
)
def test_a_flag_with_harmless_values_is_judged_by_its_value(name, value, opens, reason):
    """Speculative decoding and compilation need no word unless they name code."""
    assert bool(list(opening_faults({name: value}, ()))) == opens, reason
