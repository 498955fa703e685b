"""A push that GitHub, GitLab or Gitea tells of wakes the look for a new commit; nobody else does."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket

import aiohttp
import pytest

from reconciler.edges.git_repository import GitRepository
from reconciler.web.decisions import WriteToken
from reconciler.web.git_hook import GitHook
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.server import WebServer
from tests.web.worlds import TOKEN, World

SECRET = "a-secret-of-24-characters"
KEY = bytes(range(32))
SIGNING = "whsec_" + base64.b64encode(KEY).decode()
COMMIT = {"id": "a" * 40, "message": "a change", "added": [], "modified": ["live/web.yaml"]}
# As the hosts document what they send.
GITHUB = {
    "ref": "refs/heads/main",
    "before": "b" * 40,
    "after": "a" * 40,
    "repository": {"id": 1, "full_name": "team/live", "clone_url": "https://github.com/team/live"},
    "pusher": {"name": "ann", "email": "ann@example.com"},
    "commits": [COMMIT],
    "head_commit": COMMIT,
}
GITLAB = {
    "object_kind": "push",
    "event_name": "push",
    "ref": "refs/heads/main",
    "checkout_sha": "a" * 40,
    "project": {"id": 15, "path_with_namespace": "team/live"},
    "commits": [COMMIT],
    "total_commits_count": 1,
}


def signed(body, secret=SECRET):
    code = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={code}"}


def signed_by_gitlab(body, key=KEY, **other):
    """As GitLab signs with a signing token, after the specification of Standard Webhooks."""
    parts = {"id": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f", "timestamp": "1797800000", **other}
    said = f"{parts['id']}.{parts['timestamp']}.".encode() + body
    code = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    names = {f"webhook-{name}": value for name, value in parts.items()}
    return {"X-Gitlab-Event": "Push Hook", **names, "webhook-signature": f"v1,{code}"}


@pytest.fixture
async def hook(request):
    """The address, and what was told."""
    world, told = World(), []
    pages = Pages(world.store, world.look, world, WriteToken(TOKEN, ""))
    server = WebServer(
        socket.create_server(("127.0.0.1", 0)),
        dict,
        DaemonMetrics({}),
        lambda: True,
        pages,
        hook=GitHook(getattr(request, "param", SECRET), lambda: told.append(1)),
    )
    async with server, aiohttp.ClientSession() as http:
        yield http, f"{server.address}git", told


BODY, LAB = json.dumps(GITHUB).encode(), json.dumps(GITLAB).encode()
TOKENS = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET}


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (BODY, signed(BODY), 202, "GitHub, Gitea, Forgejo"),
        (LAB, TOKENS, 202, "GitLab"),
        (BODY, signed(BODY, "another secret of somebody"), 401, "another secret"),
        (BODY + b" ", signed(BODY), 401, "another body"),
        (BODY, {"X-Hub-Signature-256": "sha256="}, 401, "an empty signature"),
        (BODY, {"X-Hub-Signature-256": "sha1=x\u00e9"}, 401, "no ASCII"),
        (BODY, {**TOKENS, "X-Hub-Signature-256": "sha256=0"}, 401, "a signature is not passed by"),
        (LAB, {"X-Gitlab-Token": SECRET[:-1]}, 401, "a part of the token"),
        (LAB, {"X-Gitlab-Token": ""}, 401, "no token"),
        (LAB, {}, 401, "nothing"),
    ],
)
async def test_only_who_has_the_secret_wakes_the_daemon(hook, body, headers, status, reason):
    """Behind a proxy too, whose name is not this machine's."""
    http, address, told = hook
    headers = {**headers, "Host": "hooks.example.com"}
    async with http.post(address, data=body, headers=headers) as answer:
        assert answer.status == status, reason
    assert len(told) == (status == 202)


MADE = signed_by_gitlab(LAB)


@pytest.mark.parametrize("hook", [SIGNING], indirect=True)
@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (LAB, MADE, 202, "GitLab with a signing token"),
        (LAB, {**MADE, "webhook-signature": f"v1,x {MADE['webhook-signature']}"}, 202, "two keys"),
        (LAB, {**TOKENS, "X-Gitlab-Token": SIGNING}, 202, "an older GitLab with the same secret"),
        (BODY, signed(BODY, SIGNING), 202, "GitHub with the same secret"),
        (LAB, signed_by_gitlab(LAB, SIGNING.encode()), 401, "another key"),
        (LAB + b" ", MADE, 401, "another body"),
        (LAB, {**MADE, "webhook-id": "another"}, 401, "another id"),
        (LAB, {**MADE, "webhook-timestamp": "1797800001"}, 401, "another time"),
        (LAB, {**MADE, "webhook-signature": "v1,", "X-Gitlab-Token": SIGNING}, 401, "passed by"),
        (LAB, {**MADE, "webhook-signature": "v1,\u00e9"}, 401, "no ASCII"),
    ],
)
async def test_a_signing_token_signs_for_gitlab(hook, body, headers, status, reason):
    """The key is what the token holds in base64; id, time and body are signed together."""
    http, address, told = hook
    async with http.post(address, data=body, headers=headers) as answer:
        assert answer.status == status, reason
    assert len(told) == (status == 202)


@pytest.mark.parametrize("hook", ["whsec_", "whsec_no base64 at all"], indirect=True)
async def test_a_signing_token_without_a_key_signs_nothing(hook):
    """An empty key would be one that everybody knows."""
    http, address, told = hook
    async with http.post(address, data=LAB, headers=signed_by_gitlab(LAB, b"")) as answer:
        assert answer.status == 401
    assert told == []


async def test_nothing_else_is_open_by_it(hook):
    """Reading it is no way around the rules of the page."""
    http, address, _ = hook
    async with http.get(address, headers={"Host": "hooks.example.com"}) as answer:
        assert answer.status in (401, 405)


@pytest.mark.looptime
async def test_a_push_is_looked_at_at_once_and_pushes_together_are_one_look():
    """The poll goes on beside it."""

    class Checkout:
        commit, pushed = "a", asyncio.Event()

    edge = GitRepository(Checkout, 300.0, None, None, None)
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(edge.wait())
    await asyncio.sleep(10.0)
    Checkout.pushed.set()
    await asyncio.sleep(0.2)
    Checkout.pushed.set()
    await waiting
    assert asyncio.get_running_loop().time() - began == pytest.approx(11.0, abs=0.3)
    await edge.wait()
    assert asyncio.get_running_loop().time() - began > 300.0
