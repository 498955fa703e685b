"""A connection to one Azure Files share: where it is, the key that opens it, the SDK's client and a
lean way around it.

Neighbours: `files` reads and writes with it, `publish` uploads folders, `lease` elects a leader.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from yarl import URL

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm import ids
from reconciler.arm.clients import Arm, user_agent
from reconciler.arm.errors import from_fault, translate
from reconciler.arm.faults import fault
from reconciler.arm.ownership import Ownership
from reconciler.arm.sharedkey import SharedKey, key_fingerprint
from reconciler.arm.storage import RECENT, storage_keys
from reconciler.engine.errors import NotReadyYet, ReconcileError

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest
    from azure.storage.fileshare.aio import ShareClient

Answer = TypeVar("Answer")


class Share:
    """Opens itself at the first use: the account's file endpoint and key1, both kept in memory
    only.

    A key that is refused is fetched again, once; `on_new_key` is called when it is another. All
    methods raise `engine.errors` only.
    """

    def __init__(
        self, arm: Arm, group: str, account: str, name: str, ownership: Ownership | None = None
    ) -> None:
        """With `ownership`, a share of another set of documents does not open: a lease taken there
        or a folder deleted would be theirs.
        """
        self.arm = arm
        self.group = group
        self.account = account
        self.name = name
        self._ownership = ownership
        self._client: ShareClient | None = None
        self._root = ""
        self._origin = ""
        self._key: SharedKey | None = None
        self._secret = self._fingerprint = ""
        self.on_new_key: Callable[[], None] = lambda: None
        self._accepted = -math.inf  # when Azure last took the key
        self.found = asyncio.Event()  # set by the loop whenever it sees that the share is there
        self._opening = asyncio.Lock()
        self.long_bodies = asyncio.Semaphore(_LONG_AT_ONCE)
        self.directories: set[str] = set()  # known to exist; forgotten when one turns out not to
        self.making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.mount_keys: dict[str, dict[str, str]] = {}  # as `mountkeys` wrote them last, by file

    def __repr__(self) -> str:
        return f"Share({self.account}/{self.name})"

    @property
    def is_new(self) -> bool:
        """Whether we created it a moment ago, so that it holds only what we put there."""
        share = ids.share(self.arm.subscription_id, self.group, self.account, self.name)
        return self.arm.inventory.is_new(share)

    async def call(self, action: Callable[[ShareClient], Awaitable[Answer]]) -> Answer:
        """Run `action` on the SDK's client, once more with a fresh key if the key was refused;
        errors are translated.
        """
        try:
            answer = await action(opened := await self._opened())
            self._accepted = time.monotonic()
            return answer
        except Exception as error:
            failure = translate(error)
            if failure.reason != _REFUSED:
                raise failure from error
        self._forget(opened)
        try:
            return await action(await self._opened())
        except Exception as error:
            raise translate(error) from error

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        query: Mapping[str, str] | None = None,
    ) -> Mapping[str, str]:
        """One signed request without the SDK; the answer's headers. `path` is inside the share and
        not encoded.

        The SDK spends 1.2 ms of CPU on creating a small file, this 0.4 ms (4 KiB, TLS, two cores):
        with thousands of files that, and not the network, is what an upload costs.
        `tests/benchmarks/publish.py` measures it.
        """
        opened = await self._opened()
        try:
            return await self._send(method, path, headers, body, query or {})
        except ReconcileError as failure:
            if failure.reason != _REFUSED:
                raise
        self._forget(opened)
        await self._opened()
        return await self._send(method, path, headers, body, query or {})

    def proven_key(self) -> str | None:
        """The account's key1 if Azure has just taken it: as good as asking for the keys, which
        would be two seconds old, too. A secret.
        """
        fresh = self._client is not None and time.monotonic() - self._accepted <= RECENT
        return self._secret if fresh else None

    async def fingerprint(self) -> str:
        """Of the key that opens this share now. Free of calls: a key that was rotated is noticed by
        the first refusal.
        """
        await self._opened()
        return self._fingerprint

    @property
    def known_fingerprint(self) -> str:
        """The same, of the key that opened it last; empty before that."""
        return self._fingerprint

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, str],
    ) -> Mapping[str, str]:
        assert self._key is not None
        raw = f"{self._root}/{quote(path, safe='~/')}"
        signed = self._key.sign(method, raw, query, headers, len(body), self.arm.time.now())
        signed["User-Agent"] = user_agent()
        url = URL(f"{self._origin}{raw}" + (f"?{urlencode(query)}" if query else ""), encoded=True)
        self.arm.calls["files"] += 1
        try:
            async with self.arm.session.request(
                method,
                url,
                headers=signed,
                data=_streamed(body),
                skip_auto_headers=_NOT_OURS,
                timeout=_TIMEOUT,
            ) as answer:
                text = await answer.text()
                if answer.status >= 400:
                    raise from_fault(fault(answer.status, answer.headers, text))
                self._accepted = time.monotonic()
                return answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translate(error) from error

    async def _opened(self) -> ShareClient:
        async with self._opening:
            return self._client or await self._open()

    async def _open(self) -> ShareClient:
        scope = ids.resource_group(self.arm.subscription_id, self.group)
        account = await self.arm.inventory.find(Kind.STORAGE_ACCOUNT, scope, self.account)
        endpoint = ((account or {}).get("properties") or {}).get("primaryEndpoints", {}).get("file")
        if not endpoint:
            raise NotReadyYet(
                Reason.STORAGE_ACCOUNT_NOT_READY,
                f"The storage account {self.account} has no file endpoint yet.",
            )
        if self._ownership is not None:
            await self._refuse_another(self._ownership, account or {})
        return self._connect(
            str(endpoint).rstrip("/"),
            (await storage_keys(self.arm, self.group, self.account, fresh=True))[0],
        )

    async def _refuse_another(self, ownership: Ownership, account: Mapping[str, Any]) -> None:
        ownership.refuse_another(f"storage account {self.account}", account)
        if ownership.made(account):
            return
        path = ids.share(self.arm.subscription_id, self.group, self.account, self.name)
        share = await self.arm.get_json(path, Kind.SHARE.listing.api_version)
        if share is not None:
            ownership.refuse_another(f"share {self.name}", tags.of_share(share))

    def _connect(self, endpoint: str, key: str) -> ShareClient:
        from azure.storage.fileshare.aio import ShareClient

        before = self._fingerprint
        self._key, self._fingerprint = SharedKey(self.account, key), key_fingerprint(key)
        self._secret, self._accepted = key, -math.inf
        if before not in ("", self._fingerprint):
            self.on_new_key()
        found = urlsplit(endpoint)
        self._origin, self._root = (
            f"{found.scheme}://{found.netloc}",
            f"{found.path}/{quote(self.name)}",
        )
        self._client = ShareClient(
            endpoint,
            self.name,
            credential={"account_name": self.account, "account_key": key},
            transport=AioHttpTransport(
                session=self.arm.session,
                session_owner=False,
                connection_timeout=10,
                read_timeout=60,
            ),
            retry_total=0,
            user_agent=user_agent(),
            user_agent_overwrite=True,
            user_agent_use_env=False,
            raw_request_hook=self._prepare,
        )
        return self._client

    def _prepare(self, request: PipelineRequest[Any]) -> None:
        """Called before the SDK signs. Its date is the machine's, whose clock may be wrong by more
        than the quarter of an hour that Azure bears.
        """
        self.arm.calls["files"] += 1
        date = format_datetime(self.arm.time.now(), usegmt=True)
        request.http_request.headers["x-ms-date"] = date

    def _forget(self, refused: ShareClient) -> None:
        """Drop the key, unless another request has already fetched a new one."""
        if self._client is refused:
            self._client = None


# A Content-Type of aiohttp's own would not be in the signature, and the session does not unpack
# compressed answers.
_NOT_OURS = ("Content-Type", "Accept-Encoding")
_REFUSED = AzureCode("AuthenticationFailed")
_LONG_AT_ONCE = 6  # bodies of up to 4 MiB in memory, however many folders are being published
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)


def _streamed(body: bytes) -> bytes | io.BytesIO:
    """A large body goes out piece by piece: written whole, TLS and the socket would hold five
    copies of it.
    """
    return body if len(body) <= 1 << 16 else io.BytesIO(body)
