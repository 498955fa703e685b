"""Runs a deployment: each resource is sent through the front, like a client's PUT, when its
dependencies are there.

Level-triggered: the deployment's record says what is done, so a restarted server continues it.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from infra.local_azure import clock
from infra.local_azure.arm.front import Front
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control.records import Body, Records
from infra.local_azure.store import Record, Store
from infra.local_azure.templates.errors import Lookup, Needed, TemplateError
from infra.local_azure.templates.resource import Resource
from infra.local_azure.templates.template import Template

from .deployment_prune import prune
from .deployment_request import KIND, DeploymentRequests
from .deployment_view import duration

ACTIVE = {"Accepted", "Running"}
_BUSY = {
    "InProgress",
    "Accepted",
    "Running",
    "Waiting",
    "Creating",
    "Updating",
    "UpgradeRequested",
    "Provisioning",
}
_PATIENCE = 60
_FAILED = (
    "At least one resource deployment operation failed. Please list deployment operations for"
    " details. Please see https://aka.ms/arm-deployment-operations for usage details."
)
log = logging.getLogger(__name__)


class Failed(Exception):
    """A resource could not be deployed: the HTTP code's name and ARM's error."""

    def __init__(self, code: str, error: Body) -> None:
        super().__init__(error.get("message"))
        self.code = code
        self.error = error


class Runs:
    """The deployments that run now. `pause_s` is the time between two polls."""

    def __init__(
        self,
        store: Store,
        records: Records,
        front: Front,
        requests: DeploymentRequests,
        pause_s: float,
    ) -> None:
        self.store = store
        self.records = records
        self.front = front
        self.requests = requests
        self.pause_s = pause_s
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, key: str) -> None:
        """Start carrying out the deployment stored under `key`."""
        task = asyncio.get_running_loop().create_task(_Run(self, key).go())
        self._tasks.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._tasks.discard)

    def resume(self) -> None:
        """Continue what a previous server left unfinished."""
        for record in self.store.each(KIND):
            if record.body["properties"]["provisioningState"] in ACTIVE:
                self.begin(record.key)


class _Run:
    """One deployment. `answers` holds what its expressions asked Azure for."""

    def __init__(self, runs: Runs, key: str) -> None:
        self.store = runs.store
        self.records = runs.records
        self.front = runs.front
        self.requests = runs.requests
        self.pause = runs.pause_s
        self.key = key
        self.answers: dict[Lookup, Any] = {}
        self.principal = ""

    async def go(self) -> None:
        try:
            await asyncio.sleep(self.pause)
            await self._all()
        except Exception:
            log.exception("deployment %s failed", self.key)
            self._end(
                "Failed",
                {"code": "InternalServerError", "message": "The local Azure failed; see its log."},
            )

    def record(self) -> Record | None:
        """The deployment as it is stored now; None once it was canceled or is gone."""
        found = self.store.get(self.key)
        return found if found and found.body["properties"]["provisioningState"] in ACTIVE else None

    async def _all(self) -> None:
        record = self.record()
        if record is None:
            return
        self.principal = record.private["principal"]
        record.body["properties"]["provisioningState"] = "Running"
        self.store.put(record)
        template = self._template(record)
        wanted = [one for one in template.resources if one.enabled and not one.existing]
        # After a restart, what was deployed before is not sent a second time.
        done = {key for key, one in record.private["done"].items() if one["state"] == "Succeeded"}
        await self._rounds([one for one in wanted if one.key not in done], done)
        record = self.record()
        if record is None:
            return
        errors = [
            one["error"] for one in record.private["done"].values() if one["state"] == "Failed"
        ]
        # Only after everything else succeeded, because a failed deployment must delete nothing.
        if not errors and record.private["request"]["mode"].lower() == "complete":
            errors = await prune(
                self.records,
                self.front,
                record,
                {one.key for one in wanted},
                self.principal,
                self.pause,
            )
        if errors:
            self._end(
                "Failed",
                {
                    "code": "DeploymentFailed",
                    "target": record.id,
                    "message": _FAILED,
                    "details": errors,
                },
            )
        else:
            await self._outputs(template, wanted)

    async def _rounds(self, waiting: list[Resource], done: set[str]) -> None:
        """Start every resource whose dependencies are there, until none runs and none can start."""
        running: dict[asyncio.Task[bool], Resource] = {}
        wanted = {one.key for one in waiting} | done
        while self.record() is not None:
            for one in [
                one for one in waiting if {need.lower() for need in one.needs} & wanted <= done
            ]:
                waiting.remove(one)
                running[asyncio.get_running_loop().create_task(self._one(one))] = one
            if not running:
                return
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            done |= {one.key for task in finished if (one := running.pop(task)) and task.result()}
        for task in running:
            task.cancel()

    async def _one(self, resource: Resource) -> bool:
        """Deploy one resource and keep its result."""
        started, tracking = clock.now(), str(uuid.uuid4())
        self._keep(
            resource.id,
            {
                "state": "Running",
                "started": started,
                "ended": started,
                "tracking": tracking,
                "code": "Accepted",
            },
        )
        state, code, error = "Succeeded", "OK", None
        try:
            code = await self._deploy(resource)
        except Failed as failed:
            state, code, error = "Failed", failed.code, failed.error
        except TemplateError as wrong:
            text = resource.fail(wrong).text.replace(" {at}", "")
            state, code, error = (
                "Failed",
                "BadRequest",
                {"code": "InvalidTemplate", "message": text},
            )
        ended: Body = {
            "state": state,
            "started": started,
            "ended": clock.now(),
            "tracking": tracking,
            "code": code,
        }
        self._keep(resource.id, {**ended, **({"error": error} if error else {})})
        return error is None

    async def _deploy(self, resource: Resource) -> str:
        body = await self._settled(resource.body)
        for _ in range(_PATIENCE):
            reply = await self.front.send(
                "PUT", resource.id, resource.version, body, self.principal
            )
            if not _passing(reply):
                break
            await asyncio.sleep(self.pause)
        if reply.status >= 400:
            raise Failed(_phrase(reply.status), {"target": resource.id, **_error(reply.body)})
        await self._operation(reply, resource)
        await self._provisioned(resource)
        return _phrase(reply.status)

    async def _operation(self, reply: Reply, resource: Resource) -> None:
        """Follow the answer's own polling header to the end of its operation."""
        headers = {name.lower(): value for name, value in reply.headers.items()}
        status, location = headers.get("azure-asyncoperation"), headers.get("location")
        while status or location:
            await asyncio.sleep(self.pause)
            reply = await self._get(status or location or "")
            if reply.status >= 500 or reply.status == 429:
                continue
            body = reply.body if isinstance(reply.body, dict) else {}
            if status and body.get("status") in {"Failed", "Canceled"}:
                raise Failed(
                    "Conflict", _terminal(resource.id, str(body["status"]), body.get("error"))
                )
            if reply.status >= 400:
                raise Failed(_phrase(reply.status), {"target": resource.id, **_error(reply.body)})
            if (status and body.get("status") not in _BUSY) or (not status and reply.status != 202):
                return

    async def _provisioned(self, resource: Resource) -> None:
        """Wait for the resource's own state: an operation may succeed and leave it Failed."""
        while True:
            reply = await self.front.send(
                "GET", resource.id, resource.version, None, self.principal
            )
            properties = reply.body.get("properties") if isinstance(reply.body, dict) else None
            state = properties.get("provisioningState") if isinstance(properties, dict) else None
            if state in {"Failed", "Canceled"}:
                error = (properties or {}).get("error")
                raise Failed("Conflict", _terminal(resource.id, str(state), error))
            if state not in _BUSY:
                return
            await asyncio.sleep(self.pause)

    async def _outputs(self, template: Template, wanted: list[Resource]) -> None:
        started, tracking = clock.now(), str(uuid.uuid4())
        try:
            outputs = await self._settled(template.outputs)
        except (Failed, TemplateError) as wrong:
            error = {
                "code": "DeploymentOutputEvaluationFailed",
                "message": f"Unable to evaluate template outputs: '{wrong}'.",
            }
            self._end("Failed", error)
        else:
            self._keep(
                "",
                {
                    "state": "Succeeded",
                    "started": started,
                    "ended": clock.now(),
                    "tracking": tracking,
                    "code": "OK",
                },
            )
            self._end("Succeeded", None, outputs, self._written(wanted))

    def _written(self, wanted: list[Resource]) -> list[str]:
        """The ids of what was deployed, those of nested deployments in the place of the deployments
        themselves.
        """
        found: set[str] = set()
        for one in wanted:
            nested = self.store.get(one.id) if one.kind.lower() == KIND else None
            inner = nested.body["properties"].get("outputResources", []) if nested else []
            found |= {entry["id"] for entry in inner} if nested else {one.id}
        return sorted(found, key=str.lower)

    async def _settled(self, make: Callable[[], Any]) -> Any:
        """Evaluate, asking Azure for whatever the evaluation lacks."""
        while True:
            try:
                return make()
            except Needed as need:
                self.answers[need.request] = await self._ask(need.request)

    async def _ask(self, request: Lookup) -> Any:
        body = json.loads(request.body) if request.body else None
        reply = await self.front.send(
            request.method, request.path, request.version, body, self.principal
        )
        if reply.status >= 400:
            raise Failed(_phrase(reply.status), {"target": request.path, **_error(reply.body)})
        return reply.body

    async def _get(self, url: str) -> Reply:
        parts = urlsplit(url)
        version = parse_qs(parts.query)["api-version"][0]
        return await self.front.send("GET", unquote(parts.path), version, None, self.principal)

    def _template(self, record: Record) -> Template:
        """The template with this run's answers in reach of its expressions."""
        return self.requests.reopened(
            record.id,
            record.private["request"],
            self.answers,
            location=record.body.get("location"),
        )

    def _keep(self, identifier: str, done: Body) -> None:
        if record := self.record():
            record.private["done"][identifier.lower()] = {"id": identifier, **done}
            self.store.put(record)

    def _end(
        self,
        state: str,
        error: Body | None,
        outputs: Body | None = None,
        written: list[str] | None = None,
    ) -> None:
        record = self.record()
        if record is None:
            return
        properties = record.body["properties"]
        properties |= {"provisioningState": state, "timestamp": clock.zulu()}
        properties["duration"] = duration(clock.now() - record.private["started"])
        properties |= {"outputs": outputs} if outputs else {}
        properties |= {"outputResources": [{"id": one} for one in written]} if written else {}
        properties |= {"error": error} if error else {}
        self.store.put(record)


def _passing(reply: Reply) -> bool:
    """Whether ARM itself would wait and retry: the resource or its provider is busy."""
    if reply.status in {429, 500, 502, 503, 504}:
        return True
    return reply.status == 409 and any(
        word in str(_error(reply.body)["code"]) for word in ("InProgress", "NotProvisioned")
    )


def _error(body: Any) -> Body:
    inner = body.get("error", body) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {"code": "Unknown", "message": str(body)}


def _terminal(identifier: str, state: str, error: Any) -> Body:
    text = (
        "The resource write operation failed to complete successfully, because it reached terminal"
        f" provisioning state '{state}'."
    )
    found = {"code": "ResourceDeploymentFailure", "target": identifier, "message": text}
    return {**found, "details": [error]} if isinstance(error, dict) else found


def _phrase(status: int) -> str:
    words = {
        200: "OK",
        201: "Created",
        202: "Accepted",
        400: "BadRequest",
        403: "Forbidden",
        404: "NotFound",
        409: "Conflict",
    }
    return words.get(status, str(status))
