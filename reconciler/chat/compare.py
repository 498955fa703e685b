"""The tab that asks two models, or two versions of one adapter, the same question: both answers
grow at once, and a question that comes meanwhile waits its turn. `page` puts it beside the chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from reconciler.chat import versions, wording
from reconciler.chat.endpoint import EndpointAnswer, EndpointError
from reconciler.chat.parts import sent
from reconciler.chat.sampling import sampling
from reconciler.chat.talk import (
    ChatQuestion,
    Messages,
    PairQuestion,
    Talk,
    kept,
    signed,
    unanswered,
)

Stream = Callable[[ChatQuestion, Messages], AsyncIterator[EndpointAnswer]]
News = tuple[int, EndpointAnswer | None, str]


class Compare:
    """`stream` asks the service, `talk` finds what waits of a session. Each question is asked by
    itself: what was said before belongs to two models, and each would read the other's past.
    """

    def __init__(self, stream: Stream, talk: Callable[[gr.Request], Talk]) -> None:
        self._stream, self._talk = stream, talk

    def build(self) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider]:
        """The two choices and the length of an answer, which the page fills in."""
        with gr.Row(equal_height=True):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="One prompt for both",
                lines=1,
                max_lines=6,
                scale=6,
                elem_id="prompt",
            )
            both = gr.Button("Ask both", variant="primary", scale=1, min_width=130, elem_id="both")
            again = gr.Button("Ask again", scale=1, min_width=110, elem_id="again")
            stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop-both")
        queue = gr.HTML(wording.waiting(()), elem_id="pairs", padding=False)
        with gr.Row():
            settings = sampling("compare-")
        with gr.Row():
            left, right = _side("left"), _side("right")
        chosen = [left[0], right[0], *settings]
        asked = gr.on(
            [both.click, prompt.submit],
            self._said,
            [prompt, *chosen],
            queue,
            show_progress="hidden",
            queue=False,
            js=sent("prompt"),
            trigger_mode="multiple",
        )
        retried = again.click(self._again, chosen, queue, show_progress="hidden", queue=False)
        answering = [
            event.then(
                self._answer,
                [left[1], right[1]],
                [*left[1:], *right[1:], queue],
                show_progress="hidden",
                concurrency_limit=None,
            )
            for event in (asked, retried)
        ]
        stop.click(self._stopped, None, queue, cancels=answering, queue=False)
        return left[0], right[0], settings[2]

    def _said(
        self,
        text: str,
        left: str,
        right: str,
        temperature: float,
        top_p: float,
        length: float,
        request: gr.Request,
    ) -> str:
        talk = self._talk(request)
        if text.strip():
            rest = (temperature, top_p, int(length))
            sides = [ChatQuestion(text.strip(), each, "", *rest) for each in (left, right)]
            talk.pairs.append(PairQuestion(*sides))
        return _waiting(talk)

    def _again(
        self,
        left: str,
        right: str,
        temperature: float,
        top_p: float,
        length: float,
        request: gr.Request,
    ) -> str:
        """The last question once more, of what is chosen now."""
        talk = self._talk(request)
        text = (talk.pairs[-1] if talk.pairs else talk.last).left.text if talk.last else ""
        return self._said(text, left, right, temperature, top_p, length, request)

    def _stopped(self, request: gr.Request) -> str:
        talk = self._talk(request)
        talk.pairs.clear()
        talk.asking = False
        return _waiting(talk)

    async def _answer(
        self, left: Messages, right: Messages, request: gr.Request
    ) -> AsyncIterator[list[Any]]:
        """Answer everything that waits, in order."""
        talk = self._talk(request)
        if talk.asking or not talk.pairs:
            yield [gr.skip()] * 5
            return
        talk.asking = True
        told = [kept(left), kept(right)]
        try:
            while talk.pairs:
                talk.last = pair = talk.pairs.popleft()
                for side in told:
                    side.append({"role": "user", "content": pair.left.text})
                paces = [wording.pace(None)] * 2
                yield [told[0], paces[0], told[1], paces[1], _waiting(talk)]
                async for side_number, answer, problem in self._both(pair):
                    if answer is not None:
                        _grow(told[side_number], pair[side_number], answer)
                        who, _ = versions.asked(pair[side_number].choice)
                        paces[side_number] = wording.pace(answer, who)
                    elif problem:
                        _fail(told[side_number], problem)
                        paces[side_number] = wording.trouble(problem)
                    yield [told[0], paces[0], told[1], paces[1], _waiting(talk)]
        finally:
            talk.asking = False

    async def _both(self, pair: PairQuestion) -> AsyncIterator[News]:
        """What comes from either side; a side ends with neither an answer nor, if all was well, a
        problem.
        """
        news: asyncio.Queue[News] = asyncio.Queue()

        async def one(side: int, question: ChatQuestion) -> None:
            problem = ""
            try:
                asked = [{"role": "user", "content": question.text}]
                async for answer in self._stream(question, asked):
                    news.put_nowait((side, answer, ""))
            except EndpointError as error:
                problem = str(error)
            news.put_nowait((side, None, problem))

        running = [asyncio.create_task(one(side, each)) for side, each in enumerate(pair)]
        try:
            to_come = len(running)
            while to_come:
                found = await news.get()
                to_come -= found[1] is None
                yield found
        finally:
            for task in running:
                task.cancel()


def _grow(told: Messages, question: ChatQuestion, answer: EndpointAnswer) -> None:
    """Append the answer so far to its question."""
    model, _ = versions.asked(question.choice)
    text = signed(answer.text, model, answer.version) if answer.done else answer.text
    if told[-1]["role"] == "user":
        told.append({"role": "assistant", "content": text})
    else:
        told[-1] = {"role": "assistant", "content": text}


def _fail(told: Messages, problem: str) -> None:
    """Say at the place of the answer why it ended."""
    text = "" if told[-1]["role"] == "user" else str(told.pop()["content"])
    told.append({"role": "assistant", "content": unanswered(text, problem)})


def _waiting(talk: Talk) -> str:
    return wording.waiting([each.left.text for each in talk.pairs])


def _side(name: str) -> tuple[gr.Dropdown, gr.Chatbot, gr.HTML]:
    with gr.Column(min_width=320):
        model = gr.Dropdown(label="Model", choices=[], elem_id=f"{name}-model")
        text = gr.Chatbot(
            label="Answers",
            show_label=False,
            height=360,
            buttons=["copy"],
            feedback_options=None,
            elem_id=f"{name}-answer",
            placeholder="Each prompt is asked by itself, without those before it.",
        )
        return model, text, gr.HTML(wording.pace(None), elem_id=f"{name}-pace", padding=False)
