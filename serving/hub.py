"""The part of a model hub's HTTP interface that a download needs: the files of a revision, and
bytes from an offset on.

Standard library only, for fetch.py. The interface is Hugging Face's; `HF_ENDPOINT` names a mirror
that speaks it too.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, Any

SAFE_FILES = (
    "*.safetensors",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.tiktoken",
)  # no pickles, which can run code
SKIPPED = (
    "original/*",
    "onnx/*",
    "consolidated*.safetensors",
)  # further copies of the same weights in other formats
TRIES = 5
TIMEOUT = 60.0
_CHUNK = 1 << 20
_FINAL = {
    "RepoNotFound": (
        "there is no such repository, or it is private and the token in HF_TOKEN does not open it"
    ),
    "GatedRepo": (
        "the repository is gated: accept its terms on the hub and set HF_TOKEN to a token of that"
        " account"
    ),
    "RevisionNotFound": "the repository has no such revision",
    "Unauthorized": "the hub refuses the token in HF_TOKEN",
}


class HubError(Exception):
    """The hub did not give what was asked; `final` when asking again will not help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = reason in _FINAL or reason in {"NoWeights", "BadName"}


class Hashes:
    """The hash that proves a file's content: its SHA-256 if the hub stores it apart (LFS), else
    git's own hash of the blob.
    """

    def __init__(self, size: int, sha256: str, blob: str) -> None:
        self.sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        self._wanted = (sha256, blob)

    def update(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self._blob.update(chunk)

    def right(self) -> bool:
        sha256, blob = self._wanted
        return self.sha256.hexdigest() == sha256 if sha256 else self._blob.hexdigest() == blob


@dataclass(frozen=True)
class HubFile:
    """A file of a revision; `size` in bytes, `sha256` empty for small files, which carry git's
    `blob` hash instead.
    """

    path: str
    size: int
    sha256: str
    blob: str

    def hashes(self) -> Hashes:
        return Hashes(self.size, self.sha256, self.blob)


class Hub:
    """One hub, with a token or without."""

    def __init__(self, endpoint: str, token: str = "") -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {
            "User-Agent": "moorage",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._opener = urllib.request.build_opener(_Redirects)

    def files(self, repository: str, revision: str) -> tuple[str, list[HubFile]]:
        """The commit of a revision, and those of its files that a model needs. Raises HubError."""
        quoted = urllib.parse.quote(revision, safe="")
        with self._open(
            f"{self._endpoint}/api/models/{repository}/revision/{quoted}?blobs=true"
        ) as answer:
            try:
                body = json.load(answer)
                files = [
                    _file(entry) for entry in body["siblings"] if _wanted(str(entry["rfilename"]))
                ]
                commit = str(body["sha"])
            except (ValueError, KeyError, TypeError) as error:
                raise HubError(
                    "BadAnswer", f"the hub's list of files cannot be read: {error}"
                ) from None
        # A pickle runs code when it is loaded, so a model without safetensors is refused.
        if not any(file.path.endswith(".safetensors") for file in files):
            raise HubError(
                "NoWeights",
                f"{repository}@{revision} holds no safetensors; pickled weights are not fetched",
            )
        return commit, files

    def read(self, repository: str, commit: str, file: HubFile, offset: int) -> Iterator[bytes]:
        """The bytes of a file from `offset` on; continues by itself after a broken connection.
        Raises HubError.
        """
        url = f"{self._endpoint}/{repository}/resolve/{commit}/{urllib.parse.quote(file.path)}"
        failures = 0
        while offset < file.size:
            before = offset
            try:
                with self._open(url, {"Range": f"bytes={offset}-"} if offset else {}) as answer:
                    if offset and answer.status != 206:
                        raise HubError(
                            # A whole answer to a request for the rest would be appended to the part
                            # that exists, and spoil the file.
                            "NoRanges",
                            f"the hub does not go on with {file.path} from byte {offset}",
                        )
                    while chunk := answer.read(_CHUNK):
                        offset += len(chunk)
                        yield chunk
            except OSError as error:
                reason = error
            else:
                reason = OSError("the connection ended early")
            # A download that advances may break any number of times: large models meet many breaks.
            failures = 0 if offset > before else failures + 1
            if offset < file.size and failures >= TRIES:
                raise HubError(
                    "Unreachable", f"{file.path} stopped at byte {offset} of {file.size}: {reason}"
                )

    def _open(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """One answer, tried again while the hub is busy. Raises HubError."""
        for attempt in range(TRIES):
            try:
                return self._opener.open(
                    urllib.request.Request(url, headers=self._headers | (headers or {})),
                    timeout=TIMEOUT,
                )
            except urllib.error.HTTPError as error:
                refused = _refusal(error)
                if error.code not in (408, 429, 500, 502, 503, 504):
                    raise refused from None
                pause = float(error.headers.get("Retry-After") or 2**attempt)
            except OSError as error:
                refused, pause = (
                    HubError(
                        "Unreachable", f"{url} does not answer: {getattr(error, 'reason', error)}"
                    ),
                    2.0**attempt,
                )
            if attempt < TRIES - 1:
                # Retry-After of a hub may be an hour, and the job has a limit of its own.
                time.sleep(min(pause, 60.0))
        raise refused


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Large files lie on another host, which must not see the token."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if (
            new is not None
            and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc
        ):
            new.remove_header("Authorization")
        return new


def _refusal(error: urllib.error.HTTPError) -> HubError:
    code = error.headers.get("X-Error-Code") or ("Unauthorized" if error.code in (401, 403) else "")
    said = error.headers.get("X-Error-Message") or f"HTTP {error.code}"
    return HubError(code or f"HTTP{error.code}", f"{_FINAL.get(code, 'the hub refused')} ({said})")


def _wanted(path: str) -> bool:
    def fits(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)

    return fits(SAFE_FILES) and not fits(SKIPPED)


def _file(entry: dict[str, Any]) -> HubFile:
    path = str(entry["rfilename"])
    if path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise HubError(
            "BadName", f"the hub names the file {path!r}, which does not stay in the folder"
        )
    return HubFile(
        path,
        int(entry["size"]),
        str((entry.get("lfs") or {}).get("sha256") or ""),
        str(entry.get("blobId") or ""),
    )
