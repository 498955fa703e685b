"""The page, in Gradio: a conversation, and base model and adapter side by side. The page loads
nothing from other servers.
"""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import gradio as gr

from reconciler.chat import parts, versions, wording
from reconciler.chat.compare import Compare
from reconciler.chat.endpoint import Endpoint, EndpointAnswer, EndpointError, ServedModel
from reconciler.chat.pictures import PictureError, data_url
from reconciler.chat.sampling import FIRST, LONGEST, limits_of
from reconciler.chat.state import Look, State, StateKind
from reconciler.chat.talk import (
    ChatQuestion,
    Messages,
    Talk,
    kept,
    plain,
    said,
    shown,
    signed,
    unanswered,
)
from reconciler.chat.versions import choices

EVERY = 3.0  # seconds between looks
CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
FONTS = {
    "font": ["system-ui", "sans-serif"],
    "font_mono": ["ui-monospace", "monospace"],
}  # no font is fetched
THEME = gr.themes.Base(primary_hue="indigo", neutral_hue="slate", radius_size="md", **FONTS)
UNSEEN = State(StateKind.UNKNOWN, "Looking …")


class Page:
    """The page of one service. `look` reads the state of the service from Azure, without a request
    to the service. `endpoint` sends a request when a person acts. `canaries` are the adapters of
    which two versions serve.
    """

    def __init__(
        self,
        service: str,
        target: str,
        endpoint: Endpoint,
        look: Look,
        canaries: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.service, self.target = service, target
        self.endpoint, self.look, self.canaries = endpoint, look, canaries
        self._models: list[ServedModel] = []
        self._talks: dict[str, Talk] = {}
        self._waking: asyncio.Task[Any] | None = None

    def build(self) -> gr.Blocks:
        """The whole page."""
        title, hour = f"{self.service} · Moorage", 3600
        with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(hour, hour)) as page:
            seen = gr.State(None)
            # What a reload finds again; it stays in the browser of whoever talked.
            saved = gr.BrowserState([], storage_key=f"moorage-{self.service}", secret="moorage")
            head = gr.HTML(wording.head(self.service, self.target, UNSEEN), padding=False)
            with gr.Column(visible=False) as closed:
                notice = gr.HTML(padding=False)
                wake = gr.Button("Wake it", variant="primary", visible=False, elem_id="wake")
            with gr.Tabs(visible=False) as opened:
                with gr.Tab("Chat"):
                    model, length, picture, history = self._chat(saved)
                with gr.Tab("Compare"):
                    *sides, other = Compare(self._stream, self._talk).build()
            outputs = [seen, head, closed, notice, wake, opened, model, *sides, length, other]
            outputs.append(picture)
            timer = gr.Timer(EVERY)
            page.load(js=parts.TAKE)
            page.load(kept, saved, history, show_progress="hidden")
            page.unload(self._left)
            page.load(self._open, seen, outputs, show_progress="hidden")
            timer.tick(self._refresh, seen, outputs, show_progress="hidden")
            wake.click(self._wake, None, [notice, wake], show_progress="hidden")
        return page

    @property
    def takes_images(self) -> bool:
        """Whether the service says that its model takes images."""
        return any(each.images for each in self._models)

    def _chat(self, saved: gr.BrowserState) -> tuple[gr.Dropdown, gr.Slider, gr.Image, gr.Chatbot]:
        with gr.Row():
            talk, chosen = parts.conversation(), parts.choices()
        picture = chosen.picture
        asked = gr.on(
            [talk.ask.submit, talk.send.click],
            self._said,
            [talk.ask, chosen.model, chosen.system, *chosen.sliders, picture],
            [talk.ask, talk.queue, picture, talk.speed],
            show_progress="hidden",
            queue=False,
            js=parts.sent("ask"),
            trigger_mode="multiple",  # Enter counts also before the last one was answered
        )
        picture.upload(
            self._looked, picture, [picture, talk.speed], show_progress="hidden", queue=False
        )
        ended = [talk.history, talk.speed, talk.queue, saved]
        answering = asked.then(
            self._answer,
            talk.history,
            ended,
            show_progress="hidden",
            concurrency_limit=None,  # one person's answer does not wait for another's
        )
        stopped = [talk.queue, saved]
        talk.stop.click(self._stopped, talk.history, stopped, cancels=[answering], queue=False)
        chosen.fresh.click(self._renewed, None, ended, cancels=[answering], queue=False)
        return chosen.model, chosen.length, picture, talk.history

    async def _open(self, seen: tuple[str, str] | None) -> list[Any]:
        self._models = []  # the list may have changed
        return await self._refresh(seen)

    async def _refresh(self, seen: tuple[str, str] | None) -> list[Any]:
        """The changes since the last look; without a change nothing is sent to the browser."""
        state = await self.look()
        if state.kind is StateKind.READY:
            state = await self._with_models(state)
        if state.kind is StateKind.ASLEEP and (failed := self._failed_to_wake()):
            state = State(StateKind.ASLEEP, f"{state.message} The last attempt: {failed}.")
        now = (state.kind.value, state.message)
        if seen is not None and tuple(seen) == now:
            return [gr.skip()] * 12
        ready = state.kind is StateKind.READY
        names = choices(self._models, self.canaries())
        base = names[0] if names else None
        tuned = names[1] if len(names) > 1 else base
        longest = min((each.longest for each in self._models if each.longest), default=None)

        def chosen(model: str | None) -> Any:
            return gr.update(choices=names, value=model) if ready else gr.skip()

        most = longest or LONGEST
        bounded = gr.update(maximum=most, value=min(FIRST, most), info=limits_of(longest))
        bounded = bounded if ready else gr.skip()

        return [
            now,
            wording.head(self.service, self.target, state),
            gr.update(visible=not ready),
            wording.notice(state),
            gr.update(visible=state.kind is StateKind.ASLEEP, interactive=True),
            gr.update(visible=ready),
            chosen(tuned),
            chosen(base),
            chosen(tuned),
            bounded,
            bounded,
            gr.update(visible=self.takes_images) if ready else gr.skip(),
        ]

    async def _with_models(self, state: State) -> State:
        """Ask for the models while a replica runs, so the request starts no replica. Ask only once,
        because repeated requests would keep the replica running.
        """
        if self._models:
            return state
        try:
            self._models = await self.endpoint.models()
        except EndpointError as error:
            return State(StateKind.STARTING, f"A replica runs, but {error}.")
        return state

    async def _wake(self) -> tuple[Any, Any]:
        """A person asked to start a replica: send one request, which Azure holds until a replica is
        ready.
        """
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self.endpoint.wake())
            self._waking.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # the next look shows the result
        return wording.notice(
            State(StateKind.STARTING, "It was asked to wake; a replica is being started.")
        ), gr.update(visible=False)

    def _failed_to_wake(self) -> str:
        done = self._waking is not None and self._waking.done() and not self._waking.cancelled()
        return str(self._waking.exception() or "") if self._waking is not None and done else ""

    def _talk(self, request: gr.Request) -> Talk:
        return self._talks.setdefault(str(request.session_hash), Talk())

    def _left(self, request: gr.Request) -> None:
        self._talks.pop(str(request.session_hash), None)

    def _said(
        self,
        text: str,
        choice: str,
        system: str,
        temperature: float,
        top_p: float,
        length: float,
        picture: str | None,
        request: gr.Request,
    ) -> tuple[Any, str, Any, Any]:
        """Queue a message, also while an answer grows. A message with an image that cannot be sent
        returns to the input box.
        """
        talk = self._talk(request)
        again: Any = gr.skip()
        after, problem = (None if picture else gr.skip()), gr.skip()
        if text.strip() or picture:
            try:
                if picture:
                    talk.pictures[picture] = data_url(picture, talk.pictures)
            except PictureError as error:
                again = text
                problem = wording.trouble(f"not sent: {error}")
            else:
                rest = (temperature, top_p, int(length), picture or "")
                talk.waiting.append(ChatQuestion(text.strip(), choice, system, *rest))
        return again, _waiting(talk), after, problem

    def _looked(self, picture: str, request: gr.Request) -> tuple[Any, Any]:
        """An image that cannot be sent is not kept for the next message."""
        try:
            data_url(picture, self._talk(request).pictures)
        except PictureError as error:
            return None, wording.trouble(str(error))
        return gr.skip(), wording.pace(None)

    def _stopped(self, history: Messages, request: gr.Request) -> tuple[Any, Messages]:
        """Waiting messages are not sent either, because a person who stops an answer wants to say
        something else.
        """
        talk = self._talk(request)
        talk.waiting.clear()
        talk.running = False
        return wording.waiting(()), kept(history)

    def _renewed(self, request: gr.Request) -> tuple[Messages, str, Any, Messages]:
        self._stopped([], request)
        self._talk(request).pictures.clear()
        return [], wording.pace(None), wording.waiting(()), []

    async def _answer(self, history: Messages, request: gr.Request) -> AsyncIterator[Any]:
        """Answer everything that waits, in order; the answer that grows already takes it along."""
        talk = self._talk(request)
        if talk.running or not talk.waiting:
            yield [gr.skip()] * 4
            return
        talk.running = True
        told: Messages = shown(history)
        try:
            while talk.waiting:
                one = talk.waiting.popleft()
                told = [*told, said(one)]
                messages = plain(told, one.system, talk.pictures)
                async for answer, speed in self._one(told, one, messages):
                    if answer:
                        told = answer
                    yield told, speed, _waiting(talk), gr.skip()
                yield told, gr.skip(), gr.skip(), kept(told)
        finally:
            talk.running = False

    async def _one(
        self, told: Messages, one: ChatQuestion, messages: Messages
    ) -> AsyncIterator[tuple[Messages | None, str]]:
        """The conversation as one answer grows, and what is said of its speed."""
        yield None, wording.pace(None)
        text = ""
        try:
            async for answer in self._stream(one, messages):
                text, (model, _) = answer.text, versions.asked(one.choice)
                content = signed(text, model, answer.version) if answer.done else text
                yield (
                    [*told, {"role": "assistant", "content": content}],
                    wording.pace(answer, model),
                )
        except EndpointError as error:
            failed = {"role": "assistant", "content": unanswered(text, str(error))}
            yield [*told, failed], wording.trouble(str(error))

    def _stream(self, question: ChatQuestion, messages: Messages) -> AsyncIterator[EndpointAnswer]:
        name, sticky = versions.asked(question.choice)
        return self.endpoint.stream(
            name,
            messages,
            sticky,
            temperature=question.temperature,
            top_p=question.top_p,
            max_tokens=question.length,
        )


def _waiting(talk: Talk) -> str:
    return wording.waiting([each.text or "(an image)" for each in talk.waiting])
