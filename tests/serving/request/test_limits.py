"""What one request may order: everything beyond a limit is refused before vLLM starts on it."""

import json

import pytest

from serving.catalogue import KeyLimits, Limits
from serving.request.answers import Answer
from serving.request.limits import Bounds, Demand, judge

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"
ENUM = {"enum": [f"value {i}" for i in range(5_000)]}
SCHEMA = {
    "type": "object",
    "properties": {f"p{i}": {"type": "string", "maxLength": 5000} for i in range(50)},
    "required": [f"p{i}" for i in range(50)],
}
HELLO = [{"role": "user", "content": "hello"}]


def order_of(path, asked, **limits):
    key = limits.pop("key", None)
    return judge(asked, path, Bounds.of(Limits(**limits), key), len(json.dumps(asked)))


def image(url):
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


REFUSED = [
    ("choices", CHAT, {"n": 16_384}, "n", "one request, 16,384 sequences"),
    ("choices as text", CHAT, {"n": "16384"}, "n", "pydantic reads it as a number"),
    ("choices as a float", CHAT, {"n": 65.0}, "n", "and this"),
    ("best of", COMPLETIONS, {"best_of": 65, "n": 1}, "n", "made, though not given back"),
    ("prompts", COMPLETIONS, {"prompt": ["a"] * 65}, "n", "each is a sequence"),
    ("token prompts", COMPLETIONS, {"prompt": [[1]] * 65}, "n", "each list is one"),
    ("choices of prompts", COMPLETIONS, {"prompt": ["a"] * 8, "n": 9}, "n", "72 of them"),
    ("beams", CHAT, {"use_beam_search": True, "n": 100}, "n", "a beam is a sequence"),
    ("answer", CHAT, {"max_tokens": 32_769}, "max_tokens", "beyond the default"),
    ("answer", CHAT, {"max_completion_tokens": 10**9}, "max_completion_tokens", "new name"),
    ("answer", RESPONSES, {"max_output_tokens": 40_000}, "max_output_tokens", "another name"),
    ("messages", CHAT, {"messages": HELLO * 2_049}, "messages", "pydantic takes 20 us for each"),
    ("items", RESPONSES, {"input": HELLO * 2_049}, "input", "the same by another name"),
    ("tools", CHAT, {"tools": [{"type": "function"}] * 129}, "tools", "OpenAI takes 128"),
    ("inputs", EMBEDDINGS, {"input": ["a"] * 2_049}, "input", "OpenAI takes 2048"),
    ("stops", CHAT, {"stop": ["x"] * 65}, "stop", "looked for in every token"),
    ("long stop", CHAT, {"stop": "x" * 2_000}, "stop", "holds back the stream"),
    ("bad words", CHAT, {"bad_words": ["x"] * 1_000}, "bad_words", "tokenized one by one"),
    ("biases", CHAT, {"logit_bias": {str(i): 1 for i in range(2_000)}}, "logit_bias", ""),
    ("schema", CHAT, {"response_format": {"json_schema": {"schema": ENUM}}}, "response_format", ""),
    ("schema text", CHAT, {"structured_outputs": {"json": json.dumps(ENUM)}}, "structured_outputs",
     "a schema may come as text"),
    ("choice", CHAT, {"structured_outputs": {"choice": ["x"] * 3_000}}, "structured_outputs", ""),
    ("grammar", CHAT, {"structured_outputs": {"grammar": "x ::= y\n" * 9_000}},
     "structured_outputs", "too many bytes"),
    ("expression", CHAT, {"structured_outputs": {"regex": "(" + "|".join(
        f"[a-z]{{0,{i}}}x" for i in range(1, 300)) + ")*"}}, "structured_outputs",
     "4 KB that compile for a minute"),
    ("nested", CHAT, {"structured_outputs": {"regex": "((a{1,50}b){1,50}c){1,50}"}},
     "structured_outputs", "groups multiply"),
    ("pattern", CHAT, {"response_format": {"json_schema": {"schema": {
        "type": "string", "pattern": "((a{99}){99}){99}"}}}}, "response_format", "within a schema"),
    ("keys", CHAT, {"response_format": {"json_schema": {"schema": {
        "patternProperties": {"(a{999}b){99}": {}}}}}}, "response_format", "a key is one, too"),
    ("lengths", CHAT, {"response_format": {"json_schema": {"schema": {"properties": {
        f"p{n}": {"type": "string", "maxLength": 500 + n} for n in range(30)}}}}},
     "response_format", "each length takes seconds"),
    ("deep text", CHAT, {"structured_outputs": {"json": '{"properties":' * 80 + "{}" + "}" * 80}},
     "structured_outputs", "reading it would stop every stream for seconds"),
    ("dots", CHAT, {"structured_outputs": {"regex": ".*a.{2000}"}}, "structured_outputs",
     "each repetition is a state"),
    ("tag", CHAT, {"response_format": {"type": "structural_tag", "structures": [
        {"begin": "<a>", "schema": ENUM, "end": "</a>"}], "triggers": ["<a>"]}},
     "response_format", "schemas of structural tags"),
    ("format", RESPONSES, {"text": {"format": {"type": "json_schema", "schema": ENUM}}}, "text", ""),
    ("tool schema", CHAT, {"tools": [{"function": {"parameters": ENUM}}]}, "tools", "compiled, too"),
    ("tensors", COMPLETIONS, {"prompt_embeds": "AAAA"}, "prompt_embeds", "torch.load of a client's"),
    ("background", RESPONSES, {"background": True}, "background", "goes on without a client"),
    ("template", CHAT, {"chat_template": "{{ 1 }}"}, "chat_template", "a program of the client's"),
    ("pixels", CHAT, {"mm_processor_kwargs": {"max_pixels": 10**9}}, "mm_processor_kwargs", ""),
    ("fetch", CHAT, {"messages": image("http://169.254.169.254/metadata")}, "messages", "secrets"),
    ("loopback", CHAT, {"messages": image("http://127.0.0.1:8000/metrics")}, "messages", ""),
    ("file", CHAT, {"messages": image("file:///etc/passwd")}, "messages", ""),
    ("plain", CHAT, {"messages": [{"role": "user", "content": [{"image_url": "https://a.b/c"}]}]},
     "messages", "vLLM takes a bare address"),
    ("audio", CHAT, {"messages": [{"role": "user", "content": [
        {"type": "audio_url", "audio_url": {"url": "https://a.b/c"}}]}]}, "messages", ""),
    ("input image", RESPONSES, {"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "https://a.b/c"}]}]}, "input", ""),
    ("much media", CHAT, {"messages": image("data:image/png;base64," + "A" * 12_000_000)},
     "messages", "more than 8 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "asked", "param", "reason"), [c[1:] for c in REFUSED],
                         ids=[c[0] for c in REFUSED])  # fmt: skip
def test_what_is_beyond_a_limit_is_refused_in_openais_shape(path, asked, param, reason):
    """400, with the parameter that is too much."""
    answer = order_of(path, {"model": "m", **asked})
    assert isinstance(answer, Answer), reason
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["param"], error["type"]) == (400, param, "invalid_request_error")


TAKEN = [
    (CHAT, {"messages": HELLO}, 1),
    (CHAT, {"messages": HELLO, "n": 64}, 64),
    (CHAT, {"messages": HELLO, "n": None, "max_tokens": None}, 1),
    (CHAT, {"messages": HELLO, "n": True, "stop": ["\n", "###"]}, 1),
    (COMPLETIONS, {"prompt": list(range(9_000))}, 1),
    (COMPLETIONS, {"prompt": ["a", "b"], "n": 3}, 6),
    (EMBEDDINGS, {"input": ["a"] * 2_048}, 1),
    (CHAT, {"response_format": {"json_schema": {"schema": SCHEMA}}}, 1),
    (CHAT, {"tools": [{"function": {"description": "x" * 3_000, "parameters": SCHEMA}}] * 8}, 1),
    (
        CHAT,
        {
            "response_format": {
                "json_schema": {
                    "schema": {
                        "properties": {
                            f"p{n}": {"type": "string", "maxLength": 100 * (n % 9)}
                            for n in range(90)
                        }
                    }
                }
            }
        },
        1,
    ),
    (CHAT, {"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}T[\d:]{8}Z"}}, 1),
    (CHAT, {"messages": image("data:image/png;base64,AAAA")}, 1),
    (CHAT, {"messages": [{"role": "user", "content": "see http://a.b/c and file:///x"}]}, 1),
    (CHAT, {"messages": 7, "n": "many", "tools": "none", "stop": {}, "text": 3}, 1),
]


@pytest.mark.parametrize(("path", "asked", "sequences"), TAKEN)
def test_what_people_ask_for_is_taken(path, asked, sequences):
    """Within the defaults; what has no sense is vLLM's to refuse."""
    order = order_of(path, asked)
    assert isinstance(order, Demand), json.loads(order.body)
    assert order.sequences == sequences


def test_a_keys_own_limits_stand_in_the_place_of_the_services():
    """Lower or higher, as the document has them."""
    low, high = KeyLimits(output_tokens=10, sequences=1), KeyLimits(output_tokens=99)
    assert isinstance(order_of(CHAT, {"max_tokens": 11}, key=low), Answer)
    assert isinstance(order_of(CHAT, {"n": 2}, key=low), Answer)
    assert isinstance(order_of(CHAT, {"max_tokens": 99}, output_tokens=50, key=high), Demand)


def test_an_order_counts_what_may_be_made():
    """As many tokens as are asked for, of each sequence; a guess where nothing is said."""
    asked = {"prompt": "a", "n": 2, "max_tokens": 100}
    assert order_of(COMPLETIONS, asked).tokens == 200 + len(json.dumps(asked)) // 4
    assert order_of(COMPLETIONS, {"prompt": "a"}, output_tokens=10).tokens < 20


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://img.example.com/a.png", True),
        ("http://img.example.com:80/a.png", True),
        ("https://img.example.com:8443/a.png", False),
        ("https://img.example.com.evil.net/a.png", False),
        ("https://user@img.example.com/a.png", False),
        ("https://evil.net\\@img.example.com/", False),
        ("ftp://img.example.com/a.png", False),
        ("https://img.example.com:port/", False),
    ],
)
def test_media_are_fetched_from_named_hosts_alone(url, taken):
    """By http or https, on the usual port, without a name and password."""
    answer = order_of(CHAT, {"messages": image(url)}, media_domains=("img.example.com",))
    assert isinstance(answer, Demand) is taken
