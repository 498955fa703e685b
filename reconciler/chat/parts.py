"""What the chat tab shows: the conversation on one side, the choices on the other. `page` says what
happens when a person acts.
"""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from reconciler.chat import wording
from reconciler.chat.pictures import ImageBox
from reconciler.chat.sampling import sampling


class Conversation(NamedTuple):
    history: gr.Chatbot
    speed: gr.HTML
    queue: gr.HTML
    ask: gr.Textbox
    send: gr.Button
    stop: gr.Button


class Choices(NamedTuple):
    model: gr.Dropdown
    picture: gr.Image
    system: gr.Textbox
    temperature: gr.Slider
    top_p: gr.Slider
    length: gr.Slider
    fresh: gr.Button

    @property
    def sliders(self) -> tuple[gr.Slider, gr.Slider, gr.Slider]:
        return self.temperature, self.top_p, self.length


# Takes what stands in a box at the moment of Enter or of the button, and empties the box. Gradio
# reads the box later, and by then the next message may stand in it.
TAKE = """() => {
    if (window.taken) return;
    window.taken = {ask: [], prompt: []};
    const take = name => {
        const box = document.querySelector(`#${name} textarea`);
        window.taken[name].push(box.value);
        box.value = "";
        box.dispatchEvent(new Event("input", {bubbles: true}));
    };
    document.addEventListener("keypress", event => {
        const name = event.target.closest("#ask, #prompt")?.id;
        if (!name || event.key !== "Enter" || event.shiftKey) return;
        event.preventDefault();
        take(name);
    }, true);
    const boxes = {send: "ask", both: "prompt"};
    document.addEventListener("click", event => {
        const button = event.target.closest("#send, #both");
        if (button) take(boxes[button.id]);
    }, true);
}"""


def sent(box: str) -> str:
    """JavaScript that gives an event the text that `TAKE` took for it from the box."""
    return f"(text, ...rest) => [window.taken?.{box}.shift() ?? text, ...rest]"


def conversation() -> Conversation:
    """What was said, what waits, and the line to write in."""
    with gr.Column(scale=3, min_width=420):
        history = gr.Chatbot(
            label="Conversation",
            show_label=False,
            height=460,
            buttons=["copy"],
            feedback_options=None,
            elem_id="talk",
            placeholder="Ask something; the conversation is kept until you start a new one.",
        )
        speed = gr.HTML(wording.pace(None), elem_id="pace", padding=False)
        queue = gr.HTML(wording.waiting(()), elem_id="queue", padding=False)
        with gr.Row():
            ask = gr.Textbox(
                show_label=False,
                container=False,
                placeholder="Message",
                scale=6,
                lines=1,
                max_lines=6,
                elem_id="ask",
            )
            send = gr.Button("Send", variant="primary", scale=1, min_width=90, elem_id="send")
            stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop")
    return Conversation(history, speed, queue, ask, send, stop)


def choices() -> Choices:
    """Which model answers, and how."""
    with gr.Column(scale=1, min_width=240):
        model = gr.Dropdown(
            label="Model", info="the base, or one of its adapters", choices=[], elem_id="model"
        )
        picture = ImageBox(
            label="Image for the next message",
            type="filepath",
            sources=["upload", "clipboard"],
            placeholder="Drop it, or choose a file",
            buttons=[],
            height=150,
            visible=False,
            elem_id="picture",
        )
        system = gr.Textbox(label="System message", lines=2, elem_id="system")
        sliders = sampling()
        fresh = gr.Button("New conversation", elem_id="fresh")
    return Choices(model, picture, system, *sliders, fresh)
