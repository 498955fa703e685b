"""Azure Files' refusals: an XML body and the code again in `x-ms-error-code`."""

from collections.abc import Mapping
from xml.sax.saxutils import escape


class FilesError(Exception):
    """An answer of 4xx or 5xx of the data plane; `more` are the elements that Azure adds to it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def body(self, request: str, time: str) -> bytes:
        text = f"{self.message}\nRequestId:{request}\nTime:{time}"
        more = "".join(f"<{name}>{escape(each)}</{name}>" for name, each in self.more.items())
        xml = f"<Error><Code>{self.code}</Code><Message>{escape(text)}</Message>{more}</Error>"
        return ('﻿<?xml version="1.0" encoding="utf-8"?>' + xml).encode()


def missing(what: str = "resource") -> FilesError:
    if what == "parent":
        return FilesError(404, "ParentNotFound", "The specified parent path does not exist.")
    return FilesError(404, "ResourceNotFound", "The specified resource does not exist.")


def exists() -> FilesError:
    return FilesError(409, "ResourceAlreadyExists", "The specified resource already exists.")


def wrong_type() -> FilesError:
    return FilesError(
        409,
        "ResourceTypeMismatch",
        "The specified resource type does not match the type of the existing resource.",
    )


def bad_header(name: str, value: str | None = None) -> FilesError:
    """Azure names the header beside the message, and its value if there is one."""
    text = None if value is None else value.encode(errors="replace").decode()
    return FilesError(
        400,
        "InvalidHeaderValue",
        "The value for one of the HTTP headers is not in the correct format.",
        more={"HeaderName": name, **({} if text is None else {"HeaderValue": text})},
    )


def denied(detail: str) -> FilesError:
    """A signature that does not hold; the detail says why."""
    text = (
        "Server failed to authenticate the request. "
        "Make sure the value of Authorization header is formed correctly including the signature."
    )
    return FilesError(403, "AuthenticationFailed", text, more={"AuthenticationErrorDetail": detail})


def not_there(what: str) -> FilesError:
    return FilesError(501, "NotImplemented", f"The local Azure does not implement {what}.")
