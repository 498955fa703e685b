"""The web API of an AI Toolkit project: a Gradio page at / and POST /v1/chat/completions, both on
port 7860.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from model import MODEL, Answers
from pydantic import BaseModel

answers = Answers()
app = FastAPI()


class Message(BaseModel):
    role: str
    content: str


class Request(BaseModel):
    messages: list[Message]
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0


@app.post("/v1/chat/completions")
def complete(request: Request) -> StreamingResponse:
    """Always streams, and answers the last message of the user only, as the templates do."""
    asked = [message.content for message in request.messages if message.role == "user"]
    if not asked:
        raise HTTPException(400, "'messages' should contain at least 1 user message")
    return StreamingResponse(events(asked[-1], request), media_type="text/event-stream")


def events(message: str, request: Request) -> Iterator[str]:
    head = {
        "id": str(uuid.uuid4()),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
    }
    for piece in answers.stream(message, request.max_tokens, request.top_p, request.temperature):
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": piece},
            "logprobs": None,
            "finish_reason": None,
        }
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"


def run(
    message: str, top_p: float, temperature: float, top_k: int, max_new_tokens: int
) -> Iterator[str]:
    text = ""
    for piece in answers.stream(message, int(max_new_tokens), top_p, temperature, int(top_k)):
        text += piece
        yield text


with gr.Blocks(title="Chat", analytics_enabled=False) as page, gr.Row():
    with gr.Column(scale=4):
        user_text = gr.Textbox(placeholder="Write your question here", label="User input")
        output = gr.Textbox(label="Model output", lines=10, interactive=False)
        submit = gr.Button("Submit")
    with gr.Column(scale=1):
        length = gr.Slider(1, 1000, value=250, step=1, label="Max New Tokens")
        top_p = gr.Slider(0.05, 1.0, value=0.95, step=0.05, label="Top-p (nucleus sampling)")
        top_k = gr.Slider(1, 50, value=50, step=1, label="Top-k")
        temperature = gr.Slider(0.1, 5.0, value=0.8, step=0.1, label="Temperature")
    inputs = [user_text, top_p, temperature, top_k, length]
    user_text.submit(run, inputs, output)
    submit.click(run, inputs, output)

app = gr.mount_gradio_app(app, page, path="/")

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=7860)
