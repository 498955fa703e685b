"""Replays one recording against a local Azure of its own and scores what it answers."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.login import login_form

from . import fields, redacted, scope, seeds
from .fields import Field
from .names import LRO, Names
from .recordings import Exchange, Recording
from .scope import Subject
from .stand_in import local_azure

PATIENCE = 30.0
SETTLING, GIVING_UP = 10.0, 2
_PENDING = {
    *(
        "InProgress",
        "Waiting",
        "Creating",
        "UpgradeRequested",
        "Updating",
        "Provisioning",
        "ScheduledForDelete",
        "Deleting",
    ),
    *("ResolvingDns", "ProvisioningAccount", "Running", "Accepted", "Activating"),
}
# What goes on moving after an operation ended: waited for, because the recording's client came
# later.
_MOVING = (
    *(
        "provisioningState",
        "runningStatus",
        "runningState",
        "healthState",
        "latestRevisionName",
        "latestReadyRevisionName",
    ),
    *(
        "replicas",
        "ready",
        "started",
        "active",
        "trafficWeight",
        "restartCount",
        "status",
        "currentCount",
    ),
)


_BURIED = re.compile(
    r"/shares/[^/]+_[0-9a-f]{16}$"
)  # a deleted share's id, which ends in a version that each side made


@dataclass
class Score:
    """One exchange: `wrong_status` and `wrong_headers` are sentences, empty when right; `apart`
    says why it is not scored.
    """

    recording: str
    exchange: Exchange
    subject: Subject
    status: int = 0
    refusal: str = ""
    wrong_headers: str = ""
    fields: list[Field] = field(default_factory=list)
    apart: str = ""

    @property
    def right_status(self) -> bool:
        return self.status == self.exchange.status


@dataclass
class Replayed:
    recording: str
    scores: list[Score]
    seeded: list[str]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Replay:
    """One recording, one server, one pass."""

    def __init__(
        self, recording: Recording, facts: dict[str, str], session: aiohttp.ClientSession
    ) -> None:
        self._recording = recording
        self._facts = facts
        self._session = session
        self._names = Names(recording.subscription, facts["subscriptionId"], facts["armEndpoint"])
        self._present: set[str] = set()
        self._made: set[str] = set()
        self._waited: dict[str, int] = {}
        self._seeded: list[str] = []
        self._keys: dict[str, str] = {}
        self._token = ""

    async def run(self) -> Replayed:
        self._token = await self._login()
        scores = [
            await self._step(place, exchange)
            for place, exchange in enumerate(self._recording.exchanges)
        ]
        return Replayed(self._recording.name, scores, self._seeded)

    async def _step(self, place: int, exchange: Exchange) -> Score:
        score = Score(self._recording.name, exchange, scope.subject(exchange))
        if score.subject.kind == "Azure Files data plane":
            score.apart = "the data plane has its own tests"
            return score
        if scope.OPERATION.search(exchange.path):
            if not self._begun_here(place, exchange):
                score.apart = (
                    "operations of what is listed apart, or that began outside the recording"
                )
            if not self._names.polled(exchange):
                score.fields = [Field("(no operation to ask about)", "was never begun here")]
                return score
        await self._seed(place, exchange)
        answer = await self._settled(exchange)
        self._follow(exchange)
        score.status, score.refusal = answer.status, refusal(answer.body)
        self._names.learn(exchange, answer.headers, answer.body)
        self._keys |= redacted.keys(exchange.path, answer.body)
        there, here = (
            pending(exchange.method, exchange.status, exchange.body),
            pending(exchange.method, answer.status, answer.body),
        )
        if there and not here and answer.status < 400:
            score.apart = "the operation had already ended here"
            return score
        score.wrong_headers = _headers(exchange, answer)
        score.fields = self._compare(exchange, answer.body)
        return score

    def _begun_here(self, place: int, exchange: Exchange) -> bool:
        """Whether a scored request of this recording was answered with this address."""
        return any(
            scope.subject(before).scored
            for before in self._recording.exchanges[:place]
            for name in LRO
            if exchange.path.lower() in before.headers.get(name, "").lower()
        )

    async def _settled(self, exchange: Exchange) -> Answer:
        """The answer to compare: a write waits for its turn, a read for the end that was
        recorded.
        """
        begun = time.monotonic()
        while True:
            url, headers = self._names.url(exchange), self._names.headers(exchange)
            answer = await self._send(exchange.method, url, exchange.sent, exchange.query, headers)
            passed = time.monotonic() - begun
            if not self._early(exchange, answer, passed):
                return answer
            await asyncio.sleep(0.1)

    def _early(self, exchange: Exchange, answer: Answer, passed: float) -> bool:
        if exchange.method not in {"GET", "HEAD"}:
            code = refusal(answer.body).partition(":")[0]
            busy = answer.status == 409 and code.endswith(("InProgress", "NotProvisioned"))
            return busy and exchange.status != 409 and passed < PATIENCE
        if pending("GET", exchange.status, exchange.body):
            return False
        if pending("GET", answer.status, answer.body):
            return passed < PATIENCE
        if answer.status != exchange.status or self._waited.get(exchange.path, 0) >= GIVING_UP:
            return False
        # A new name is no lag: only one that is known already may still be replaced.
        self._names.pair(exchange.body, answer.body)
        differing = [entry.path for entry in self._compare(exchange, answer.body) if entry.wrong]
        moving = any(path.rsplit(".", 1)[-1] in _MOVING for path in differing)
        if moving and passed > SETTLING:
            self._waited[exchange.path] = self._waited.get(exchange.path, 0) + 1
        return moving and passed <= SETTLING

    def _compare(self, exchange: Exchange, body: Any) -> list[Field]:
        recorded = self._names.translate(exchange.body)
        if isinstance(recorded, dict) and isinstance(body, dict):
            recorded, body = self._own(recorded, body)
            recorded, body = fields.moved_on(recorded, body)
        return (
            list(fields.compare(recorded, body)) if recorded is not None or body is not None else []
        )

    def _own(
        self, recorded: dict[str, Any], local: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Lists without what belongs to others: the recorder's subscription was full of things that
        no request here made.
        """
        if not all(isinstance(side.get("value"), list) for side in (recorded, local)):
            return recorded, local
        here = {
            str(entry.get("id", "")).lower() for entry in local["value"] if isinstance(entry, dict)
        }
        mine = {str(self._names.translate(key)).lower() for key in self._present}

        def kept(entry: Any) -> bool:
            key = str(entry.get("id", "")).lower() if isinstance(entry, dict) else ""
            made = key in mine or key in here or _BURIED.search(key)
            return not key or scope.route(key) not in seeds.LISTED or bool(made)

        value = [entry for entry in recorded["value"] if kept(entry)]
        shown = {str(entry.get("id", "")).lower() for entry in value if isinstance(entry, dict)}
        rest = [
            entry
            for entry in local["value"]
            if "_truncatedFrom" not in recorded or str(entry.get("id", "")).lower() in shown
        ]
        return {**recorded, "value": value}, {**local, "value": rest}

    def _follow(self, exchange: Exchange) -> None:
        """Keep in mind what exists according to the recording."""
        chain = scope.resources(exchange.path)
        if not chain or not exchange.succeeded:
            return
        if exchange.method == "PUT":
            self._present.add(chain[-1])
            self._made.add(chain[-1])
        elif exchange.method == "DELETE" and exchange.path.lower() == chain[-1]:
            self._present = {
                key
                for key in self._present
                if key != chain[-1] and not key.startswith(chain[-1] + "/")
            }

    async def _seed(self, place: int, exchange: Exchange) -> None:
        for key in seeds.needed(exchange):
            if (
                key not in self._present | self._made
            ):  # what was made and deleted here may come back only by itself
                await self._put_there(place, exchange, key)

    async def _put_there(self, place: int, exchange: Exchange, key: str) -> None:
        """One resource that was there before the recording began, after what it stands on."""
        self._present.add(key)
        body, version = seeds.document(self._recording, place, key, exchange)
        url = f"{self._facts['armEndpoint']}{self._names.translate(_spelled(self._recording, key))}"
        query = {"api-version": version or seeds.VERSIONS["microsoft.resources"]}
        if (await self._send("GET", url, None, query)).status == 200:
            return
        for below in seeds.prerequisites(body):
            if below not in self._present | self._made:
                await self._put_there(place, exchange, below)
        answer = await self._send("PUT", url, body, query)
        self._seeded.append(f"{key} {answer.status} {refusal(answer.body)}".strip())
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            shown = await self._send("GET", url, None, query)
            if shown.status >= 400 or not pending("GET", shown.status, shown.body):
                break
            await asyncio.sleep(0.1)

    async def _send(
        self,
        method: str,
        url: str,
        body: Any,
        query: dict[str, str],
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        if "?" not in url:
            url += "?" + "&".join(f"{key}={value}" for key, value in query.items())
        data = (
            None
            if body is None
            else json.dumps(redacted.restored(self._names.translate(body), self._keys))
        )
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            **more,
        }
        async with self._session.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as response:
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            heads = {name.lower(): value for name, value in response.headers.items()}
            return Answer(
                response.status, heads, json.loads(text) if is_json and text else text or None
            )

    async def _login(self) -> str:
        form = login_form(self._facts, "https://management.azure.com")
        async with self._session.post(
            f"{self._facts['authority']}/{self._facts['tenantId']}/oauth2/v2.0/token", data=form
        ) as answer:
            return str((await answer.json())["access_token"])


def refusal(body: Any) -> str:
    """The code and message of an error; empty for anything else."""
    error = body.get("error") if isinstance(body, dict) else None
    return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else ""


def pending(method: str, status: int, body: Any) -> bool:
    """Whether an answer to a GET says that something is still going on."""
    if method != "GET":
        return False
    if status == 202:
        return True
    if not isinstance(body, dict) or status != 200:
        return False
    inner = body.get("properties") if isinstance(body.get("properties"), dict) else {}
    return bool({body.get("status"), (inner or {}).get("provisioningState")} & _PENDING)


async def replay(recording: Recording, folder: Path) -> Replayed:
    """Start a local Azure in `folder`, replay, and stop it again."""
    async with local_azure(folder) as facts:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=facts["caFile"]))
        async with aiohttp.ClientSession(connector=connector) as session:
            return await Replay(recording, facts, session).run()


def _headers(exchange: Exchange, answer: Answer) -> str:
    """The headers that lead a client to an operation: the same kinds, each leading to the same kind
    of address.
    """
    wrong = []
    for name in (*LRO, "x-ms-async-operation-timeout"):
        there, here = exchange.headers.get(name), answer.headers.get(name)
        if bool(there) != bool(here):
            wrong.append(f"{name} {'missing' if there else 'not in the recording'}")
        elif there and here and name in LRO and _kind(there) != _kind(here):
            wrong.append(f"{name} leads to {_kind(here)}, led to {_kind(there)}")
    if "retry-after" in exchange.headers and "retry-after" not in answer.headers:
        wrong.append("retry-after missing")
    return "; ".join(wrong)


def _kind(url: str) -> str:
    """Azure gives most addresses whole, and the new resource's as a path."""
    return scope.route(urlsplit(url).path.lstrip("/"))


def _spelled(recording: Recording, key: str) -> str:
    """The id in the case the recording writes it in."""
    for exchange in recording.exchanges:
        at = exchange.path.lower().find(key)
        if at == 0:
            return exchange.path[: len(key)]
    for exchange in recording.exchanges:
        named = (
            ((exchange.sent or {}).get("properties") or {})
            if isinstance(exchange.sent, dict)
            else {}
        )
        for value in named.values():
            if isinstance(value, str) and value.lower() == key:
                return value
    return key
