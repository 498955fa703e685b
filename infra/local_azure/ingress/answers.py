"""The ingress's own answers, with the status and text that Container Apps sends."""

from aiohttp import web

NO_APP = "Error 404 - This Container App is stopped or does not exist."
NO_REPLICA = (
    "upstream connect error or disconnect/reset before headers. No replica of revision {} is ready."
)
NOT_REACHED = "upstream connect error or disconnect/reset before headers. {}"
TIMED_OUT = "stream timeout"


def answer(request: web.BaseRequest, status: int, text: str) -> web.Response:
    """Plain text, or the same as JSON for a client that asks for JSON."""
    headers = {"Retry-After": "1"} if status == 503 else {}
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response(
            {"error": {"code": status, "message": text}}, status=status, headers=headers
        )
    return web.Response(status=status, text=text, headers=headers)


def to_https(request: web.BaseRequest) -> web.Response:
    """What HTTP gets from an app that does not allow it. A client that follows a POST does so with
    GET.
    """
    return web.Response(
        status=301,
        headers={"Location": f"https://{request.headers.get('Host', '')}{request.raw_path}"},
    )
