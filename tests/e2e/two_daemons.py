"""Two daemons with the same documents, as on two machines: what the tests of leadership share."""

import pytest

from tests.e2e.stage import Stage, environment, service

TAKEOVER = 60.0  # seconds, as docs/operations.md promises


@pytest.fixture
def cloud(make_stage):
    return make_stage()


@pytest.fixture
def user(tmp_path_factory, cloud):
    """A stage whose daemons each have a state directory of their own."""
    stage = Stage(tmp_path_factory.mktemp("user"))
    stage.aim_at(cloud.facts, MOORAGE_OWNER="two-daemons")
    stage.code("web")
    save(stage, "red")
    yield stage
    stage.close()


def save(stage, colour):
    env = [{"name": "COLOUR", "value": colour}]
    stage.save(environment("dev"), service("web", environment="dev", env=env))
