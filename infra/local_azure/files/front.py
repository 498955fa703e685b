"""The front of the Files data plane: which account, who signed, which operation, and the headers
that every answer has.
"""

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote

from aiohttp import StreamReader

from infra.local_azure import clock
from infra.local_azure.login import Login, TokenError
from infra.local_azure.store import Record

from . import operations, sas, signature
from .answer import FilesAnswer
from .errors import FilesError, bad_header
from .request import DataPlane, FilesRequest, decoded
from .share_records import ACCOUNT

_FIRST = date(2014, 2, 14)  # the first version with Azure Files
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A request as it came: `path` and `query` are still encoded; `pairs` are all headers,
    `headers` the same for looking up without case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    body: StreamReader
    base: str
    remote: str


@dataclass(frozen=True)
class Response:
    """What goes out: `body` bytes, or a stream with `length`."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncIterator[bytes]
    length: int | None


class FilesFront:
    """Answers one Files request; never raises. `interfere` is where scripted faults meet a request;
    it may raise FilesError.
    """

    def __init__(self, plane: DataPlane, login: Login, interfere: Callable[[], None]) -> None:
        self.plane = plane
        self._login = login
        self._interfere = interfere
        self._accounts: dict[str, Record | None] = {}
        self._version = -1

    def close(self) -> None:
        self.plane.extras.close()

    async def answer(self, incoming: Incoming) -> Response:
        """With the headers that every answer has."""
        request, headers = str(uuid.uuid4()), incoming.headers
        common = {
            "x-ms-request-id": request,
            "x-ms-version": headers.get("x-ms-version", "2025-05-05"),
            "Server": "Local-Azure-File/1.0",
        }
        if "x-ms-client-request-id" in headers:
            common["x-ms-client-request-id"] = headers["x-ms-client-request-id"]
        try:
            self._interfere()
            answer = await self._dispatch(incoming)
        except FilesError as refused:
            text = b"" if incoming.method == "HEAD" else refused.body(request, clock.zulu())
            error = {
                "x-ms-error-code": refused.code,
                "Content-Type": "application/xml",
                **refused.headers,
            }
            return Response(refused.status, {**common, **error}, text, len(text))
        except Exception:
            log.exception("%s %s failed", incoming.method, incoming.path)
            text = FilesError(500, "InternalError", "The local Azure failed; see its log.").body(
                request, clock.zulu()
            )
            return Response(500, {**common, "x-ms-error-code": "InternalError"}, text, len(text))
        return Response(answer.status, {**common, **answer.headers}, answer.body, answer.length)

    async def _dispatch(self, incoming: Incoming) -> FilesAnswer:
        method, headers = incoming.method, incoming.headers
        _check_version(headers.get("x-ms-version"))
        name, _, rest = incoming.path.lstrip("/").partition("/")
        account = self._account(name)
        if account is None:
            raise FilesError(
                404, "ResourceNotFound", f"The storage account '{name}' does not exist."
            )
        share, _, below = rest.strip("/").partition("/")
        parameters = decoded(incoming.query)
        by_sas = "sig" in parameters and "Authorization" not in headers
        request = FilesRequest(
            plane=self.plane,
            account=account,
            share=unquote(share),
            path=below,
            query=parameters,
            headers=headers,
            body=incoming.body,
            base=incoming.base,
            remote=incoming.remote,
            by_sas=by_sas,
        )
        if not by_sas:
            self._authenticate(account, incoming)
            return await operations.find(method, share, below, parameters, headers).run(request)
        self._key_allowed(account)
        operation = operations.find(method, share, below, parameters, headers)
        sas.check(parameters, operation.need, request)
        answer = await operation.run(request)
        return (
            replace(answer, headers=sas.override(parameters, answer.headers))
            if method in {"GET", "HEAD"}
            else answer
        )

    def _account(self, name: str) -> Record | None:
        """Cached between writes: 2,000 small files are 4,000 look-ups of one account."""
        if self._version != self.plane.store.version:
            self._accounts.clear()
            self._version = self.plane.store.version
        if name not in self._accounts:
            accounts = self.plane.store.each(ACCOUNT)
            self._accounts[name] = next(
                (account for account in accounts if account.name == name.lower()), None
            )
        return self._accounts[name]

    def _authenticate(self, account: Record, incoming: Incoming) -> None:
        scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
        if not scheme:
            raise FilesError(
                401,
                "NoAuthenticationInformation",
                "Server failed to authenticate the request. Please refer to the information in the"
                " www-authenticate header.",
                {"WWW-Authenticate": "SharedKey"},
            )
        if scheme.lower() == "bearer":
            self._bearer(token, incoming.headers)
            return
        self._key_allowed(account)
        keys = (account.private["key1"], account.private["key2"])
        signature.check(
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            headers=incoming.pairs,
            account=account.name,
            keys=keys,
        )

    def _key_allowed(self, account: Record) -> None:
        """A SAS of the account's key is good only as long as the key itself."""
        if account.body["properties"].get("allowSharedKeyAccess") is False:
            raise FilesError(
                403,
                "KeyBasedAuthenticationNotPermitted",
                "Key based authentication is not permitted on this storage account.",
            )

    def _bearer(self, token: str, headers: Mapping[str, str]) -> None:
        if headers.get("x-ms-file-request-intent", "").lower() != "backup":
            raise FilesError(
                400,
                "MissingRequiredHeader",
                "An HTTP header that's mandatory for this request is not specified:"
                " x-ms-file-request-intent.",
            )
        try:
            claims = self._login.verify(token)
        except TokenError as refused:
            raise FilesError(401, "InvalidAuthenticationInfo", refused.message) from None
        if not str(claims["aud"]).startswith("https://storage.azure.com"):
            raise FilesError(
                401, "InvalidAuthenticationInfo", "The token's audience is not Azure Storage."
            )


def _check_version(text: str | None) -> None:
    """FilesError 400 for a service version that Azure cannot have published."""
    try:
        known = text is None or _FIRST <= date.fromisoformat(text) <= _latest()
    except ValueError:
        known = False
    if not known:
        raise bad_header("x-ms-version", text)


def _latest() -> date:
    # Clients may be newer than this Azure, so a list of versions would refuse the next SDK.
    return datetime.now(UTC).date() + timedelta(days=366)
