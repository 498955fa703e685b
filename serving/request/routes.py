"""Which requests the gate knows: OpenAI's routes, letter by letter, Azure OpenAI's spelling of
them, and the gate's own. Pure.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from serving.request.answers import Answer, refuse

Scope = MutableMapping[str, Any]

ROUTES: dict[str, str] = {
    "/v1/models": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
}
EVALUATION = ("/tokenize", "/detokenize")  # for keys that say so
METRICS, STATE = "/metrics", "/state"
ADMIN = (METRICS, STATE)
PROBES = ("/ready", "/live")
_ONE_MODEL = re.compile(r"/v1/models/(?!.*\.\.)[\w.:@+/-]+", re.ASCII)
_DEPLOYMENT = re.compile(
    r"/openai/deployments/(?P<model>(?!\.)[\w.:@+-]+)(?P<rest>/(?:chat/completions|completions|embeddings))",
    re.ASCII,
)


def translate(scope: Scope) -> str | None:
    """Turn a path as Azure OpenAI's clients write it into OpenAI's; the deployment's name, which is
    the model that the body does not have to name.
    """
    path = scope["path"]
    if not path.startswith("/openai/") or not _literal(scope):
        return None
    deployment = _DEPLOYMENT.fullmatch(path)
    if deployment:
        _rewrite(scope, "/v1" + deployment["rest"])
        return deployment["model"]
    if path == "/openai/models":
        _rewrite(scope, "/v1/models")
    elif path.startswith("/openai/v1/"):
        _rewrite(scope, path.removeprefix("/openai"))
    return None


def is_probe(scope: Scope) -> bool:
    return scope["path"] in PROBES and scope["method"] in {"GET", "HEAD"} and _literal(scope)


def refuse_route(scope: Scope) -> Answer | None:
    """Exact text only: no encoding, no second slash, no other case, no prefix can name a listed
    route differently.
    """
    path, method = scope["path"], scope["method"]
    literal = _literal(scope) and not scope.get("root_path")
    if path in ADMIN and method == "GET" and literal:
        return None
    allowed = allowed_method(scope)
    if allowed is None or (path in EVALUATION and method != allowed):
        return unknown(scope)
    if method != allowed:
        text = f"Not allowed to {method} on {path}"
        return refuse(405, text, "method_not_allowed", (b"allow", allowed.encode()))
    return None


def allowed_method(scope: Scope) -> str | None:
    """The method of an OpenAI route; None for anything else."""
    path = scope["path"]
    if scope.get("root_path"):
        return None
    if _ONE_MODEL.fullmatch(path):
        return "GET"
    if not _literal(scope):
        return None
    return "POST" if path in EVALUATION else ROUTES.get(path)


def unknown(scope: Scope) -> Answer:
    return refuse(404, f"Invalid URL ({scope['method']} {scope['path'][:200]})", "unknown_url")


def _rewrite(scope: Scope, path: str) -> None:
    scope["path"], scope["raw_path"] = path, path.encode()


def _literal(scope: Scope) -> bool:
    raw = scope.get("raw_path")
    return raw is None or raw == scope["path"].encode()
