"""A seeded fuzzer of the gate: whatever a client sends, it gets an answer in OpenAI's shape, and only
listed routes with a key reach vLLM. `make test` runs a slice.
"""

import asyncio
import gzip
import hashlib
import json
import random
import time
from types import SimpleNamespace

from serving.catalogue import ApiKey, Cors, Limits
from serving.gate import Door, Gate
from serving.request.keys import Keys
from serving.request.routes import EVALUATION, ROUTES

KEYS = {"sk-a": {}, "sk-m": {"models": ("red",)}, "sk-e": {"evaluation": True},
        "sk-x": {"admin": True}, "sk-l": {"tokens_per_minute": 100_000}}  # fmt: skip
PATHS = [
    *ROUTES, *EVALUATION, "/metrics", "/state", "/ready", "/live", "/v1/models/red", "/docs",
    "/openai/v1/models", "/openai/deployments/red/chat/completions", "/openai/", "/v1/adapters",
    "/invocations", "/v1/load_lora_adapter", "//", "", "/v1/../metrics", "/openai/v1/../metrics",
]  # fmt: skip
FIELDS = [
    "model", "messages", "prompt", "input", "n", "best_of", "max_tokens", "stop", "tools", "text",
    "response_format", "structured_outputs", "logit_bias", "user", "stream", "documents", "echo",
    "max_completion_tokens", "bad_words", "chat_template", "prompt_embeds", "safety_identifier",
]  # fmt: skip
LEAVES = [
    None, True, False, 0, -1, 1, 10**6, 1e308, float("inf"), float("nan"), "", "red", "tiny", "\0",
    "\ud800", "x" * 5000, "http://169.254.169.254/", "data:,x", "{" * 40, "(a{9}){9}", "💥", 10**40,
]  # fmt: skip
KEYWORDS = ["role", "content", "image_url", "url", "json", "regex", "enum", "pattern", "properties",
            "patternProperties", "type", "format", "schema", "json_schema", "grammar"]  # fmt: skip


def _value(dice, depth=4):
    kind = dice.random()
    if depth and kind < 0.25:
        return [_value(dice, depth - 1) for _ in range(dice.randint(0, 4))]
    if depth and kind < 0.5:
        return {dice.choice(KEYWORDS): _value(dice, depth - 1) for _ in range(dice.randint(0, 4))}
    return dice.choice(LEAVES)


def _body(dice):
    body = {name: _value(dice) for name in dice.sample(FIELDS, dice.randint(0, 6))}
    data = json.dumps(body).encode() if dice.random() < 0.9 else json.dumps(_value(dice)).encode()
    kind = dice.random()
    if kind < 0.1:
        at = dice.randrange(len(data) + 1)
        data = data[:at] + dice.choice([b"", b"\xff", b"[" * 300, b'"', b"\\"]) + data[at:]
    return gzip.compress(data) if kind > 0.9 else data


def _request(dice):
    path = dice.choice(PATHS)
    if dice.random() < 0.15:
        at = dice.randrange(len(path) + 1)
        path = path[:at] + dice.choice(["/", "..", "\n", "\0", "é", "%2e", ";", "?"]) + path[at:]
    raw = path.encode() + (b"" if dice.random() < 0.9 else b"%20")
    headers = []
    if dice.random() < 0.9:
        key = dice.choice([*KEYS, "no", ""])
        name = dice.choice([b"authorization", b"authorization", b"api-key"])
        headers.append((name, (b"Bearer " if name == b"authorization" else b"") + key.encode()))
    body = _body(dice)
    for name, values in {
        b"content-length": [str(len(body)).encode(), b"-1", b"9" * 30, b"x"],
        b"content-encoding": [b"gzip", b"br", b"gzip"],
        b"transfer-encoding": [b"chunked"],
        b"expect": [b"100-continue"],
        b"origin": [b"https://a.example", b"null", b"\xff"],
        b"access-control-request-method": [b"POST"],
        b"x-request-id": [b"id", b"\xff", b"a" * 100],
        b"x-moorage-sticky": [b"\xff\xfe"],
    }.items():
        if dice.random() < (0.7 if name == b"content-length" else 0.15):
            headers.append((name, values[0] if dice.random() < 0.8 else dice.choice(values)))
    dice.shuffle(headers)
    method = dice.choice(["POST"] * 6 + ["GET", "GET", "OPTIONS", "HEAD", "DELETE", "get"])
    cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randint(0, 3)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    scope = {"type": "http", "path": path, "raw_path": raw, "method": method, "headers": headers,
             "root_path": "" if dice.random() < 0.97 else "/v1"}  # fmt: skip
    return scope, parts, dice.random() < 0.05


async def _answered(door, scope, parts, leaves):
    """(status, body, what reached vLLM)."""
    sent, reached = [], []

    async def inner(scope, receive, send):
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        reached.append((scope["path"], scope["method"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive():
        if not parts or (leaves and len(parts) == 1):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    scope["app"] = SimpleNamespace(state=SimpleNamespace(moorage=door))
    await Gate(inner)(scope, receive, send)
    status = sent[0]["status"] if sent else None
    return status, b"".join(message.get("body", b"") for message in sent[1:]), reached


async def test_whatever_a_client_sends_is_answered(request):
    """No exception, no answer of another shape, no route beside the list, no key beyond its own,
    nothing left running, and no request that takes long.
    """
    keys = [
        ApiKey(name=text, sha256=hashlib.sha256(text.encode()).hexdigest(), **options)
        for text, options in KEYS.items()
    ]
    door = Door(ready=lambda: (True, ""), alive=lambda: True, open=True, base="tiny")
    door.keys = Keys(keys)
    door.limits, door.cors = Limits(body=100_000), Cors(allowed_origins=("https://a.example",))
    dice = random.Random(2026)
    long = request.config.getoption("-m") != "not slow"
    passed = 0
    for number in range(60_000 if long else 4_000):
        scope, parts, leaves = _request(dice)
        told = json.dumps([number, scope["path"], scope["method"]])
        began = time.process_time()
        async with asyncio.timeout(90):
            status, body, reached = await _answered(door, scope, parts, leaves)
        assert time.process_time() - began < 2, told
        assert (door.running, door.calls, door.keys.service.running) == (0, set(), 0), told
        if status is not None and status >= 400 and not scope["path"].startswith("/ready"):
            assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}, told
        for path, method, given in reached:
            passed += 1
            known = ROUTES.get(path, "POST" if path in EVALUATION else "GET")
            assert method == known, told
            assert path in {*ROUTES, *EVALUATION, "/metrics"} or path.startswith("/v1/models/")
            if method == "POST":
                assert isinstance(json.loads(given), dict), told
    assert passed > 100, "the fuzzer sends what passes, too"
