"""A push that GitHub, GitLab or Gitea tells of wakes the look for a new commit; nobody else does."""

import asyncio
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


@pytest.fixture
async def hook():
    """The address, and what was told."""
    world, told = World(), []
    pages = Pages(world.store, world.look, world, WriteToken(TOKEN, ""))
    server = WebServer(
        socket.create_server(("127.0.0.1", 0)),
        dict,
        DaemonMetrics({}),
        lambda: True,
        pages,
        hook=GitHook(SECRET, lambda: told.append(1)),
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
