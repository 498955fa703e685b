"""Bounds images, audio and video in a request, and lets vLLM fetch them only from hosts that the
document names.

vLLM's own default fetches any address, the replica's loopback and the cloud's metadata included,
and follows redirects. limits.py calls `faults`; plugin.py puts `guard` under vLLM's downloads;
engine.py lists `modalities`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from serving.catalogue import Limits
from serving.request.schemas import BodyFault

ENVIRONMENT = {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
_URLS = ("image_url", "video_url", "audio_url", "file_url", "url")
_DATA = ("data", "file_data", "image_embeds", "audio_embeds")


def faults(asked: Mapping[str, Any], limits: Limits) -> Iterator[BodyFault]:
    """Finds media from hosts that the document does not name, and more bytes than the limit."""
    total = 0
    for name in ("messages", "input"):
        for part in _parts(asked.get(name)):
            for key, value in part.items():
                url = value.get("url") if isinstance(value, dict) else value
                if not isinstance(url, str):
                    continue
                if key in _DATA or (key in _URLS and url[:5].lower() == "data:"):
                    total += len(url)
                elif key in _URLS and not allowed(url, limits.media_domains):
                    text = (
                        "Media are not fetched from this address; send them as a data: URL."
                        if not limits.media_domains
                        else f"Media are fetched only from {', '.join(limits.media_domains)}."
                    )
                    yield BodyFault(name, text, "invalid_image_url")
    # Base64 has four letters for three bytes.
    if total * 3 // 4 > limits.media_bytes:
        text = f"The request holds more than {limits.media_bytes} bytes of media."
        yield BodyFault("messages", text, "image_too_large")


def allowed(url: str, domains: tuple[str, ...]) -> bool:
    """Whether vLLM may fetch the address: https or http, on its usual port, from a named host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and (parts.hostname or "") in domains
        and port in (None, 80, 443)
        and "\\" not in url
        and "@" not in parts.netloc
    )


def modalities(model: Any) -> list[str]:
    """What vLLM's configuration of a model says that it takes: text, and images, audio or video
    that vLLM's class reads and `limit-mm-per-prompt` does not forbid.

    This is only information for clients, so after any failure here the answer is text alone.
    """
    try:
        if not model.is_multimodal_model:
            return ["text"]
        from vllm.multimodal import MULTIMODAL_REGISTRY

        limits = MULTIMODAL_REGISTRY.get_processing_info(model).supported_mm_limits
        most = model.multimodal_config.get_limit_per_prompt
        return ["text", *(one for one in limits if limits[one] != 0 and most(one) > 0)]
    except Exception:  # noqa: BLE001 - vLLM's own code for any model
        return ["text"]


def guard(connection: Any, domains: Callable[[], tuple[str, ...]]) -> None:
    """Make vLLM download from named hosts with public addresses only.

    The gate has checked the request already; this checks each address that is really fetched, after
    redirects too.
    """
    import aiohttp
    from aiohttp.resolver import ThreadedResolver

    class PublicResolver(ThreadedResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> Any:
            found = await super().resolve(host, port, family)
            if not found or not all(is_public(one["host"]) for one in found):
                raise OSError(f"{host} is no public address")
            return found

    respond = connection.get_async_response
    made: list[aiohttp.ClientSession] = []

    async def client() -> aiohttp.ClientSession:
        if not made:
            connector = aiohttp.TCPConnector(resolver=PublicResolver())
            made.append(aiohttp.ClientSession(connector=connector))
        return made[0]

    async def async_response(url: str, **options: Any) -> Any:
        if not allowed(url, domains()):
            raise ValueError("Media are not fetched from this address.")
        return await respond(url, **options | {"allow_redirects": False})

    def response(_url: str, **_options: Any) -> Any:
        raise ValueError("Media are not fetched here.")  # vLLM's server fetches asynchronously

    connection.get_async_client, connection.get_async_response = client, async_response
    connection.get_response = response


def is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False


def _parts(value: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings below a value; the gate has bounded their number and depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
