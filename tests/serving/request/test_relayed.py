"""A gateway's key may say for whom it asks, and is told what a stream used; nobody else is
believed.
"""

import json

from serving.catalogue import GATEWAY_KEY
from serving.request.keys import Keys
from serving.request.traffic import current_call
from tests.serving.gate_call import AUTHORIZED, KEY, Inner, api_key, call, make_door

NAMED = [*AUTHORIZED, (b"x-moorage-key-name", b"phi/team"), (b"x-moorage-key-evaluation", b"1")]


class Counting(Inner):
    """vLLM, as the engine counts what it makes."""

    def __init__(self, kind=b"text/event-stream; charset=utf-8"):
        super().__init__(body=(b"data: a\n\n", b"data: [DONE]\n\n", b""))
        self.kind = kind

    async def __call__(self, scope, receive, send):
        self.call = current_call.get()
        self.call.prompt_tokens, self.call.completion_tokens = 5, 9

        async def typed(message):
            if message["type"] == "http.response.start":
                message["headers"] = [(b"content-type", self.kind)]
            await send(message)

        await super().__call__(scope, receive, typed)


async def _asked(key, headers=NAMED, inner=None):
    inner = inner or Counting()
    door = make_door(keys=Keys([key]))
    status, body, _, _ = await call(
        "/v1/chat/completions", "POST", door=door, headers=headers, inner=inner
    )
    assert status == 200
    return inner.call, body


async def test_a_gateway_names_the_key_that_asks():
    """The request is counted for the caller's key, with the rights that the gateway gives it."""
    asked, _ = await _asked(api_key(GATEWAY_KEY, KEY))
    assert (asked.key, asked.prompt_logprobs) == ("gateway/phi/team", True)
    asked, _ = await _asked(api_key(GATEWAY_KEY, KEY), NAMED[:2])
    assert (asked.key, asked.prompt_logprobs) == ("gateway/phi/team", False)


async def test_nobody_else_is_told():
    """A caller's own headers change neither its name nor its rights, nor what it reads."""
    asked, body = await _asked(api_key("default", KEY))
    assert (asked.key, asked.prompt_logprobs) == ("default", False)
    assert b"moorage" not in body


async def test_a_gateway_is_told_what_a_stream_used():
    """Behind the stream a comment says the tokens; an answer that is no stream is left alone."""
    key = api_key(GATEWAY_KEY, KEY)
    _, body = await _asked(key)
    comment = body.rstrip().rpartition(b"\n")[2]
    assert json.loads(comment.removeprefix(b": moorage ")) == {
        "prompt_tokens": 5,
        "completion_tokens": 9,
    }
    _, body = await _asked(key, inner=Counting(b"application/json"))
    assert b"moorage" not in body
