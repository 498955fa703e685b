"""Evaluation files and the other fields of adapters and keys, refused at their place when they are
wrong.
"""

import pytest

from reconciler.api.adapter_fields import seconds
from reconciler.api.evaluation import MOST_CASES, read_evaluation
from serving.catalogue import Expectation


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "e.jsonl",
            (
                '{"prompt": "Capital of Italy?", "expect": "Rome"}\n\n{"prompt": "Hi", "expect":'
                ' "yo", "maxTokens": 4}\n'
            ),
        ),
        (
            "e.yaml",
            (
                "- {prompt: Capital of Italy?, expect: Rome}\n- prompt: Hi\n  expect: yo\n "
                " maxTokens: 4\n"
            ),
        ),
    ],
)
def test_both_forms_say_the_same(tmp_path, name, text):
    """JSON lines or a YAML list."""
    (tmp_path / name).write_text(text)
    problems = []
    cases = (
        Expectation(prompt="Capital of Italy?", expect="Rome"),
        Expectation(prompt="Hi", expect="yo", max_tokens=4),
    )
    assert read_evaluation(tmp_path / name, problems) == cases
    assert problems == []


@pytest.mark.parametrize(
    ("name", "text", "place", "said"),
    [
        ("e.jsonl", '{"prompt": "x", "expect": "y"}\n{"prompt": "x"', (2, 15), "not JSON"),
        ("e.jsonl", '{"prompt": "x"}', (1, 1), "expect is missing"),
        ("e.jsonl", '{"prompt": "x", "expect": " "}', (1, 1), "expect is missing or no text"),
        ("e.jsonl", '["x"]', (1, 1), "not a prompt with its expectation"),
        ("e.jsonl", '{"prompt": "x", "expect": "y", "weight": 1}', (1, 1), "unknown key 'weight'"),
        ("e.jsonl", '{"prompt": "x", "expect": "y", "maxTokens": true}', (1, 1), "maxTokens"),
        ("e.jsonl", b"\xff\n", (1, 1), "UTF-8"),
        ("e.jsonl", "\n", (1, 1), "empty"),
        (
            "e.jsonl",
            '{"prompt": "x", "expect": "y"}\n' * (MOST_CASES + 1),
            (MOST_CASES + 1, 1),
            "there are 201 prompts",
        ),
        ("e.jsonl", '{"prompt": "' + "x" * 300_000 + '", "expect": "y"}', (1, 1), "bytes"),
        ("e.yaml", "- prompt: x\n  expect: y\n- prompt: z\n", (3, 3), "expect is missing"),
        ("e.yaml", "prompt: x\nexpect: y\n", (1, 1), "not a list"),
        ("e.yaml", "- {prompt: x, expect: y\n", (1, 3), "never closed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, name, text, place, said):
    """File, line and column, and what would be right."""
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = []
    read_evaluation(tmp_path / name, problems)
    assert (problems[0].line, problems[0].column) == place
    assert said in problems[0].message


HEAD = "kind: InferenceService\nmetadata: {name: phi}\nspec:\n  model: {source: share://m}\n"


@pytest.mark.parametrize(
    ("spec", "place", "said"),
    [
        (
            "adapters: [{name: a, source: share://a, evaluation: ./no.jsonl}]",
            "./no.jsonl",
            "is not a file",
        ),
        (
            "adapters: [{name: a, source: share://a, evaluation: ./no.txt}]",
            "./no.txt",
            "is no evaluation file",
        ),
        (
            "adapters: [{name: a, source: share://a, canary: {source: share://a}}]",
            "share://a}}",
            "the version that serves already",
        ),
        (
            "adapters: [{name: a, source: share://a, canary: {source: share://b, weight: 101}}]",
            "101",
            "100 or less",
        ),
        (
            (
                "adapters: [{name: a, source: share://a, canary: {source: share://b, promoteAfter:"
                " 30}}]"
            ),
            "30}",
            "write 90s, 30m, 2h or 1d",
        ),
        (
            (
                "adapters: [{name: a, source: share://a, canary: {source: share://b, promoteAfter:"
                " 3w}}]"
            ),
            "3w",
            "30m",
        ),
        (
            (
                "adapters: [{name: a, source: share://a, canary: {source: share://b, maxErrorRate:"
                " 5}}]"
            ),
            "5}",
            "1 or less",
        ),
        ("auth: {apiKeys: [{name: ci, models: [b]}]}", "b]", "the service has no model 'b'"),
        (
            "auth: {apiKeys: [{name: ops, admin: true, models: [phi]}]}",
            "models",
            "an admin key opens none",
        ),
        (
            "auth: {apiKeys: [{name: ci, rateLimit: {}}]}",
            "{}",
            "rateLimit limits nothing",
        ),
        ("auth: {apiKeys: [{name: ops, admin: true, evaluation: true}]}", "evaluation", "none"),
        ("limits: {mediaDomains: [10.0.0.1]}", "10.", "is no host name"),
        ("limits: {mediaDomains: ['http://a.example']}", "'http", "is no host name"),
        (
            "engine: {args: {trust-remote-code: true}}",
            "trust",
            "Python code in the model's folder runs in the replica; write engine.allow:",
        ),
        (
            "engine: {args: {allowed-local-media-path: /mnt}}",
            "allowed",
            "clients read files of the replica",
        ),
        ("engine: {allow: [max-model-len]}", "max", "allows nothing"),
        ("engine: {args: {allowed-origins: '*'}}", "allowed", "spec.ingress.corsPolicy"),
        ("engine: {args: {allowed-media-domains: [a.b]}}", "allowed", "limits.mediaDomains"),
        ("limits: {sequences: 0}", "0}", "1 or more"),
        ("ingress: {corsPolicy: {allowedOrigins: [a.example]}}", "a.ex", "is no origin"),
        ("ingress: {corsPolicy: {allowedOrigins: ['https://a.example/']}}", "'https", "no origin"),
        (
            "ingress: {corsPolicy: {allowedOrigins: ['*'], allowCredentials: true}}",
            "allowCredentials",
            "not for every origin",
        ),
        ("ingress: {corsPolicy: {}}", "corsPolicy", "allowedOrigins is missing"),
        ("limits: {bodyMiB: 0}", "0}", "1 or more"),
    ],
)
def test_fields_are_refused_where_they_stand(manifest, spec, place, said):
    """One clear error each."""
    (problem,) = manifest.problems(HEAD + f"  {spec}\n")
    assert problem.startswith(f"m.yaml:5:{3 + spec.index(place)}: ")
    assert said in problem


@pytest.mark.parametrize(
    ("text", "length"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)]
)
def test_lengths_of_time(text, length):
    """A number and a unit."""
    assert seconds(text) == length
