"""The page of a running daemon: a person reads what a change did, approves and rolls back there."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.e2e.stage import Stage, environment, service


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("page")) as stage:
        yield stage


def _get(address, path="/"):
    with urllib.request.urlopen(address.rstrip("/") + path, timeout=90) as answer:
        return answer.read().decode()


def _decide(stage, address, path):
    """Read and confirm; what has changed in between is read again, as a person would."""
    while True:
        page = _get(address, path)
        try:
            return _confirm(stage, address, path, page)
        except urllib.error.HTTPError as error:
            if "has changed since you read it" not in error.read().decode():
                raise


def _confirm(stage, address, path, page):
    token = (stage.state / "daemon" / "local" / "page-token").read_text().strip()
    seen = re.search(r'name="seen" value="(\w+)"', page)[1]
    form = urllib.parse.urlencode({"seen": seen, "token": token, "read": "yes"}).encode()
    with urllib.request.urlopen(address.rstrip("/") + path, form, timeout=90) as answer:
        assert answer.status == 200
    return page


def _history(page):
    return page[page.index('id="history"') : page.index('id="resources"')]


@pytest.mark.slow
@pytest.mark.vital
async def test_a_change_is_read_approved_and_taken_back_on_the_page(stage):
    """Nothing is applied before the approval; the history names the changed field; the rollback
    lets the former revision serve.
    """
    manual = environment(syncPolicy={"automated": False})
    stage.code("web")
    blue = service("web", env=[{"name": "COLOUR", "value": "blue"}])
    stage.save(manual, blue)
    place = stage.state / "daemon" / "local" / "page.json"
    with stage.watching(resync=5) as up:
        address = (await up.until(lambda: place.exists() and json.loads(place.read_text())))[
            "address"
        ]
        await up.until(lambda: f"page:   {address}" in up.output)
        await up.until(lambda: "Look at the plan" in _get(address))
        _decide(stage, address, "/approve/Environment/default")
        _decide(stage, address, "/approve/InferenceService/web")
        await up.settled_on("web", colour="blue")

        red = service("web", env=[{"name": "COLOUR", "value": "red"}])
        stage.save(manual, red)
        await up.until(lambda: "COLOUR" in _get(address, "/services/web"))
        page = _decide(stage, address, "/approve/InferenceService/web")
        assert "COLOUR" in page
        await up.settled_on("web", colour="red")
        await up.until(lambda: "env" in _history(_get(address, "/services/web")))
        former = r"/services/web/rollback/([\w-]+)"
        (former,) = await up.until(lambda: re.findall(former, _get(address, "/services/web")))
        _decide(stage, address, f"/services/web/rollback/{former}")
        await up.until(lambda: up.condition("web", "Synced")["reason"] == "RolledBack", 60)
        await up.until(lambda: re.search("replicas?, rolled back", _get(address, "/services/web")))
    assert not place.exists()
    place.write_text("{}")  # as a daemon that was killed leaves it
    silent = stage.up("--listen", "none")
    await silent.until(lambda: not place.exists(), 30)
    silent.end()
    assert "page-token" not in up.output
