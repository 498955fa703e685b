"""`Arm`: one signed-in connection to Resource Manager, for raw reads and for the SDK's typed
clients.

All of them share one HTTP pipeline: our credential, no retries (the loop owns those) and a counter.
Neighbours: `inventory` caches reads, `operations` polls, `apps` and its kin write, `providers`
registers what the subscription lacks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import typing
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import AsyncPipeline, PipelineRequest, PipelineResponse, policies
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.polling import AsyncLROPoller
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core import AsyncARMPipelineClient
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.async_arm_polling import AsyncARMPolling

from reconciler.arm import ids
from reconciler.arm.callers import signed_in
from reconciler.arm.credentials import Renewable, credential_for
from reconciler.arm.errors import UNREGISTERED, translate
from reconciler.arm.faults import fault_of_response
from reconciler.arm.inventory import Inventory
from reconciler.arm.server_time import ServerTime
from reconciler.arm.throttle import Throttle
from reconciler.engine import permit
from reconciler.settings import Settings

if TYPE_CHECKING:
    from azure.mgmt.appcontainers.aio import ContainerAppsAPIClient
    from azure.mgmt.storage.aio import StorageManagementClient

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = Mapping[str, Json]

# What azure.identity logs is in its errors, too; without a handler Python prints it to stderr.
logging.getLogger("azure").addHandler(logging.NullHandler())

# How the id of each request begins that the daemon makes itself; Azure's Activity Log shows it.
OWN_REQUEST = "6d6f6f72-"


class Arm:
    """An async context manager; `inventory` is its read cache, `calls` counts requests by HTTP
    method, `time` is Azure's.

    Every method raises `engine.errors` only.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.subscription_id = settings.subscription_id
        self.calls: Counter[str] = Counter()
        self.inventory = Inventory(self)
        self.account_keys: dict[str, tuple[float, list[str]]] = {}  # and when they were read
        self.time = ServerTime()
        self.throttle = Throttle()
        self.registering = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self.session = session(self.settings, trace_configs=[_traced(self)], response_class=_Answer)
        # Answers of an app must not set Azure's time, and must not count as failures of Azure.
        self.outside = session(
            self.settings, connector=self.session.connector, connector_owner=False
        )
        # The session owns the TLS context: given a CA file by path, the transport would read it
        # again and reconnect every call.
        transport = AioHttpTransport(
            session=self.session, session_owner=False, connection_timeout=10, read_timeout=60
        )
        self._credential = Renewable(partial(credential_for, self.settings, transport))
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            transport, self._policies()
        )
        self.client: AsyncARMPipelineClient[HttpRequest, AsyncHttpResponse] = (
            AsyncARMPipelineClient(self.settings.arm_endpoint, policies=[], pipeline=self._pipeline)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._credential.close()
        await self.outside.close()
        await self.session.close()

    async def get_json(self, path: str, api_version: str) -> dict[str, Any] | None:
        """The resource at `path` (an ARM id) as Azure wrote it, None if it does not exist."""
        response = await self._send("GET", path, api_version)
        if response.status_code >= 400:
            return None
        return dict(_parsed(response))

    async def list_json(
        self, path: str, api_version: str, *, pages: int | None = None
    ) -> list[dict[str, Any]]:
        """All items of a collection, or those of the first `pages`, following nextLink; empty when
        what holds the collection does not exist.
        """
        items: list[dict[str, Any]] = []
        link: str | None = path
        while link and pages != 0:
            pages = None if pages is None else pages - 1
            response = await self._send("GET", link, api_version)
            if response.status_code >= 400:
                return []
            page = _parsed(response)
            items.extend(page.get("value") or [])
            link = page.get("nextLink")
        return items

    async def post_json(self, path: str, api_version: str, body: JsonObject | None = None) -> Any:
        """What a POST action answers: an object, a string or None."""
        response = await self._send("POST", path, api_version, body)
        if response.status_code >= 400:
            raise translate(HttpResponseError(response=response))
        return json.loads(response.text()) if response.text() else None

    @property
    def signed_in(self) -> frozenset[str]:
        """The names and ids of this process's own identity, in lower case."""
        return signed_in(self._credential.token)

    async def begin(
        self,
        method: str,
        path: str,
        api_version: str,
        body: JsonObject | None = None,
        **options: Any,
    ) -> AsyncLROPoller[None]:
        """Issue a write by path alone, as the SDK's `begin_…` calls do. For resource groups and
        workspaces: the SDK clients of the two took 7 MB of the daemon for three calls.
        """
        url, params = self.settings.arm_endpoint + path, {"api-version": api_version}
        request = HttpRequest(method, url, params=params, json=body)
        answer = await self._pipeline.run(request, **options)
        if answer.http_response.status_code >= 400:
            raise HttpResponseError(response=answer.http_response)
        polling: AsyncARMPolling = AsyncARMPolling(**options)
        return AsyncLROPoller(self.client, answer, lambda _: None, polling)

    @cached_property
    def storage(self) -> StorageManagementClient:
        from azure.mgmt.storage.aio import StorageManagementClient

        return StorageManagementClient(**self._typed())

    @cached_property
    def apps(self) -> ContainerAppsAPIClient:
        from azure.mgmt.appcontainers.aio import ContainerAppsAPIClient

        return ContainerAppsAPIClient(**self._typed())

    def _typed(self) -> dict[str, Any]:
        """Arguments of an SDK client that runs on our pipeline. Clients are made at the first
        write: reads need none.
        """
        # Python keeps every overload of what was imported, for programs that ask for them. With
        # 1,650 of the two SDKs these were 2.2 MB.
        typing.clear_overloads()
        return {
            "credential": self._credential,
            "subscription_id": self.subscription_id,
            "base_url": self.settings.arm_endpoint,
            "credential_scopes": [self.settings.scope],
            "pipeline": self._pipeline,
        }

    def _policies(self) -> list[Any]:
        return [
            _OwnRequest(),
            policies.UserAgentPolicy(base_user_agent=user_agent(), user_agent_use_env=False),
            policies.ProxyPolicy(),
            AsyncARMChallengeAuthenticationPolicy(self._credential, self.settings.scope),
            policies.CustomHookPolicy(),
            _Refused(self._credential),
            _Count(self.calls),
        ]

    async def _send(
        self, method: str, path: str, api_version: str, body: JsonObject | None = None
    ) -> AsyncHttpResponse:
        url = path if path.startswith("https://") else self.settings.arm_endpoint + path
        params = {} if "api-version=" in url else {"api-version": api_version}
        request = HttpRequest(method, url, params=params, json=body)
        try:
            response = await self.client.send_request(request)
        except Exception as error:
            raise translate(error) from error
        if response.status_code >= 400 and not _says_absent(response):
            raise translate(HttpResponseError(response=response))
        if (
            response.status_code == 404
            and fault_of_response(response).code == "ResourceGroupNotFound"
        ):
            group = ids.part(urlsplit(url).path, "resourceGroups")
            self.inventory.missing(ids.resource_group(self.subscription_id, group))
        return response


class _OwnRequest(policies.RequestIdPolicy):
    """Gives each request an id by which it can be told from those of others."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        super().on_request(request)
        own = f"{OWN_REQUEST}{str(uuid.uuid4()).partition('-')[2]}"
        request.http_request.headers["x-ms-client-request-id"] = own


class _Refused(policies.SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Tells the credential which of its tokens Azure does not take."""

    def __init__(self, credential: Renewable) -> None:
        super().__init__()
        self._credential = credential

    def on_response(
        self,
        request: PipelineRequest[HttpRequest],
        response: PipelineResponse[HttpRequest, AsyncHttpResponse],
    ) -> None:
        if response.http_response.status_code == 401:
            given = request.http_request.headers.get("Authorization", "")
            self._credential.refuse(given.removeprefix("Bearer "))


class _Count(policies.SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Counts what really goes out."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self._calls = calls

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        self._calls[request.http_request.method] += 1


def session(settings: Settings, **options: Any) -> aiohttp.ClientSession:
    """An HTTP session that trusts the settings' CA file, if there is one, else the machine's; must
    be closed by the caller.
    """
    if "connector" not in options:
        # True is the context that aiohttp has made for the machine's certificates; each is 0.8 MB.
        trust: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True
        )
        options["connector"] = aiohttp.TCPConnector(ssl=trust, limit=16)
    jar = aiohttp.DummyCookieJar()
    # A proxy of the environment is for the internet; what listens on this machine is not behind it.
    proxied = urlsplit(settings.arm_endpoint).hostname not in {"127.0.0.1", "localhost", "::1"}
    return aiohttp.ClientSession(
        cookie_jar=jar,
        trust_env=proxied,
        auto_decompress=False,
        request_class=_Request,
        **options,
    )


class _Request(aiohttp.ClientRequest):
    """Asks for the permission to write when the connection is there and nothing is sent yet."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if self.method not in ("GET", "HEAD"):
            permit.confirm()
        return await super().send(conn)


class _NotAzure(aiohttp.ClientError):
    """Something between this machine and Azure answered in Azure's place, so that no request has
    reached Azure.
    """


class _Answer(aiohttp.ClientResponse):
    """Refuses the web page of a proxy or of a network that asks to sign in: its 200 would count as
    a success. Azure's services put an id of theirs on each answer, and send no page.
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        answer = await super().start(connection)
        page = "html" in self.headers.get("Content-Type", "").lower()
        if page and self.status < 500 and "x-ms-request-id" not in self.headers:
            place = self.url.origin()
            raise _NotAzure(
                f"{place} answers with a web page ({self.status}), which is not Azure's: a proxy"
                " or a sign-in page of the network stands between"
            )
        return answer


def _traced(arm: Arm) -> aiohttp.TraceConfig:
    """Every request of the session, to whichever plane."""

    async def asked(_: object, __: object, start: aiohttp.TraceRequestStartParams) -> None:
        await arm.throttle.enter(start.method, str(start.url))

    async def answered(_: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        answer = end.response
        arm.time.saw(answer.headers.get("Date"))
        arm.throttle.saw(end.method, str(end.url), answer.status, answer.headers)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(asked)
    config.on_request_end.append(answered)
    return config


@cache
def user_agent() -> str:
    """`moorage/<version>`, what Azure's logs and the local Azure's journal show, with the addition
    that Azure's SDKs take from the environment.
    """
    added = os.environ.get("AZURE_HTTP_USER_AGENT", "")
    try:
        return f"moorage/{metadata.version('moorage')} {added}".strip()
    except metadata.PackageNotFoundError:
        return f"moorage {added}".strip()


def _says_absent(response: AsyncHttpResponse) -> bool:
    """Whether nothing is there. A subscription that is not registered for a provider holds nothing
    of it.
    """
    if response.status_code == 409:
        return fault_of_response(response).code in UNREGISTERED
    return response.status_code == 404


def _parsed(response: AsyncHttpResponse) -> Any:
    try:
        return json.loads(response.text())
    except ValueError as error:
        raise translate(error) from error
