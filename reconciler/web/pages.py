"""The page: routes that render the view, and the two that decide. It works without JavaScript; its
script only fetches the same page again when `updates` says that something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import Markup

from reconciler.api.printable import clean
from reconciler.engine.store import Store
from reconciler.web.axes import Tone, split_lines
from reconciler.web.azure_words import plain
from reconciler.web.decisions import Decisions, WriteToken
from reconciler.web.effects import Effect, approval_effects, digest_of, rollback_effects
from reconciler.web.generations import Generation
from reconciler.web.resource_graph import anchor
from reconciler.web.service_view import DocumentView
from reconciler.web.updates import Updates
from reconciler.web.view import PageView, snippets_of, stages
from reconciler.web.wording import (
    age,
    brief,
    change,
    clock,
    prose,
    second,
    span,
    spans,
    stamp,
    wait,
)

if TYPE_CHECKING:
    from jinja2 import Environment

PER_PAGE = 100  # services in a list
ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
ORDER = (Tone.BAD, Tone.WARN, Tone.BUSY, Tone.QUIET, Tone.GOOD)
ORDERS: Mapping[str, Callable[[DocumentView], tuple[int, str]]] = {
    "": lambda each: (ORDER.index(each.tone), each.name),
    "name": lambda each: (0, each.name),
    "replicas": lambda each: (-each.billed, each.name),
}
# Nothing comes from elsewhere, nothing goes elsewhere, and no other page may frame this one.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
        " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Pages:
    """`look` gives the view, at most some seconds old, or the present one for a decision; `store`
    has the rows below it.
    """

    def __init__(
        self,
        store: Store,
        look: Callable[[bool], PageView],
        decisions: Decisions,
        token: WriteToken,
    ) -> None:
        self._store, self._look = store, look
        self._decisions, self._token = decisions, token
        self.updates = Updates(self._version)
        # Read once: an upgrade of the package under a running daemon changes the files.
        here = resources.files("reconciler.web")
        self._sources = {
            each.name: each.read_text("utf-8") for each in here.joinpath("templates").iterdir()
        }
        self._assets = {name: here.joinpath("static", name).read_text("utf-8") for name in ASSETS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._overview),
            web.get("/services/{name}", self._document),
            web.get("/environments/{name}", self._document),
            web.get("/events", self._timeline),
            web.get("/approve/{kind}/{name}", self._approval),
            web.post("/approve/{kind}/{name}", self._approve),
            web.get("/services/{name}/rollback/{generation}", self._rollback),
            web.post("/services/{name}/rollback/{generation}", self._roll_back),
            web.get("/updates", self.updates.stream),
            web.get("/assets/{name}", self._asset),
        ]

    async def _overview(self, request: web.Request) -> web.Response:
        view, words = self._look(False), request.query.get("q", "").strip()
        only = request.query.get("only", "")
        found = [each for each in view.services if _matches(each, words, only)]
        sort = request.query.get("sort", "")
        found.sort(key=ORDERS.get(sort, ORDERS[""]))
        page = _number(request.query.get("page", ""))
        pages = max(1, -(-len(found) // PER_PAGE))
        page = min(page, pages)
        rows = found[(page - 1) * PER_PAGE : page * PER_PAGE]
        others = {"q": words, "only": only, "sort": sort}
        query = urlencode({name: value for name, value in others.items() if value})
        return self._render(
            "overview.html",
            view,
            rows=rows,
            found=len(found),
            words=words,
            only=only,
            sort=sort,
            page=page,
            pages=pages,
            query=query,
        )

    async def _document(self, request: web.Request) -> web.Response:
        view = self._look(False)
        kind = "InferenceService" if "/services/" in request.path else "Environment"
        document = view.find(kind, request.match_info["name"])
        if document is None:
            return self._missing(view)
        return self._render(
            "document.html",
            view,
            document=document,
            stages=stages(self._store, view, document),
            effects=self._effects(view, document),
            snippets=snippets_of(view, document),
            events=view.events_of(document.ref, 50),
            unwell=view.causes_of(document),
            decided=view.decided_lately(document.ref),
        )

    async def _timeline(self, _: web.Request) -> web.Response:
        view = self._look(False)
        return self._render("timeline.html", view, events=view.events[:500])

    async def _approval(self, request: web.Request) -> web.Response:
        view = self._look(True)
        document = view.find(request.match_info["kind"], request.match_info["name"])
        if document is None:
            return self._missing(view)
        return self._confirmation(view, document, self._effects(view, document))

    async def _approve(self, request: web.Request) -> web.Response:
        view = self._look(True)
        document = view.find(request.match_info["kind"], request.match_info["name"])
        if document is None:
            return self._missing(view)
        if document.waits is None:  # another person has decided meanwhile
            return self._confirmation(view, document, ())
        effects = self._effects(view, document)
        if refusal := await self._refusal(request, effects):
            return self._confirmation(view, document, effects, refusal=refusal)
        self._decisions.approve(document.waits, _who(request))
        raise web.HTTPSeeOther(_address(document))

    async def _rollback(self, request: web.Request) -> web.Response:
        view = self._look(True)
        document, to = _generation(view, request)
        if document is None or to is None:
            return self._missing(view)
        effects = rollback_effects(document, to, self._decisions.strategy(document.name))
        return self._confirmation(view, document, effects, to=to)

    async def _roll_back(self, request: web.Request) -> web.Response:
        view = self._look(True)
        document, to = _generation(view, request)
        if document is None or to is None or document.history is None:
            return self._missing(view)
        effects = rollback_effects(document, to, self._decisions.strategy(document.name))
        if refusal := await self._refusal(request, effects):
            return self._confirmation(view, document, effects, to=to, refusal=refusal)
        self._decisions.roll_back(document.name, document.history.decision(to), _who(request))
        raise web.HTTPSeeOther(_address(document))

    def _effects(self, view: PageView, document: DocumentView) -> tuple[Effect, ...]:
        return approval_effects(view, document, self._decisions.strategy(document.name))

    async def _refusal(self, request: web.Request, effects: tuple[Effect, ...]) -> str:
        """Why a form is refused: it must come from this page, still describe the present state, and
        carry the token.
        """
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return "The form was sent by another page."
        if closed := self._closed(self._look(True)):
            return closed
        form = await request.post()
        if not self._token.fits(str(form.get("token", "")).strip()):
            return "The token is not right. Nothing was changed."
        if form.get("seen") != digest_of(effects):
            return "What waits has changed since you read it. Read it again; nothing was changed."
        return "" if form.get("read") == "yes" else "Say that you have read what stops."

    def _closed(self, view: PageView) -> str:
        """Why nothing can be decided here, so that no button promises it."""
        if not view.facts.leading:
            return "Another daemon writes; decide on its page or its machine."
        if not self._token.value:
            return f"No token could be kept in {self._token.place}, so nobody can decide here."
        return ""

    def _confirmation(
        self,
        view: PageView,
        document: DocumentView,
        effects: tuple[Effect, ...],
        *,
        to: Generation | None = None,
        refusal: str = "",
    ) -> web.Response:
        return self._render(
            "confirm.html",
            view,
            403 if refusal else 200,
            document=document,
            effects=effects,
            seen=digest_of(effects),
            to=to,
            refusal=refusal,
            place=self._token.place,
        )

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(text=self._assets[name], content_type=ASSETS[name], headers=HEADERS)

    def _version(self) -> int:
        """It changes with every write to the store."""
        return self._store.database.connection.total_changes

    @cached_property
    def _templates(self) -> Environment:
        return _environment(self._sources)

    def _missing(self, view: PageView) -> web.Response:
        return self._render("missing.html", view, 404)

    def _render(self, name: str, view: PageView, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(name).render(
            view=view,
            now=view.now,
            version=view.facts.version,
            closed=self._closed(view),
            **values,
        )
        answer = web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)
        # An open page fetches itself anew at each change; a list of services shrinks to a tenth.
        answer.enable_compression()
        return answer


def _environment(sources: Mapping[str, str]) -> Environment:
    # Imported for the first page: Jinja and the templates take 3 MB of a daemon.
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        auto_reload=False,
    )
    found.filters.update(age=age, stamp=stamp, prose=prose, span=span, brief=brief, spans=spans)
    found.filters.update(plain=plain, split=split_lines)
    found.filters.update(wait=wait, clock=clock, second=second, change=change)
    found.globals.update(anchor=anchor, address=_address)
    return found


def _printable(value: Any) -> Any:
    """A page may be read with curl, and marks that turn text round work in browsers too."""
    if isinstance(value, Markup):
        return Markup(clean(value))  # noqa: S704 - it was escaped before
    return clean(value) if isinstance(value, str) else value


def _address(document: DocumentView) -> str:
    return f"/{'services' if document.is_service else 'environments'}/{document.name}"


def _matches(document: DocumentView, words: str, only: str) -> bool:
    fits = {
        "": True,
        "unwell": document.tone in (Tone.BAD, Tone.WARN),
        "waiting": document.waits is not None,
        "billed": document.billed > 0,
    }
    told = f"{document.name} {document.verdict}".casefold()
    return words.casefold() in told and fits.get(only, True)


def _generation(
    view: PageView, request: web.Request
) -> tuple[DocumentView | None, Generation | None]:
    document = view.find("InferenceService", request.match_info["name"])
    history, wanted = document.history if document else None, request.match_info["generation"]
    can = document and history and history.app.asked_revision and not history.held
    found = history.returnable(document.waits) if can and document and history else []
    return document, next(
        (each for each in found if wanted in (str(each.number), each.revision)), None
    )


def _who(request: web.Request) -> str:
    """Who decides on the page: all have the same token."""
    return f"somebody on the page (from {request.remote})"


def _number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 6 else 1
