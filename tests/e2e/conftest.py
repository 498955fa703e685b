"""Stages: a module's own, or a test's own where the test breaks things."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.stage import Stage


@pytest.fixture(scope="module")
def make_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stage]]:
    """Makes stages with a running local Azure; every process they started is ended with
    the module.
    """
    made: list[Stage] = []

    def make(*azure_options: str) -> Stage:
        stage = Stage(tmp_path_factory.mktemp("e"), *azure_options)
        made.append(stage)
        stage.start_azure()
        return stage

    yield make
    for stage in made:
        stage.close()


@pytest.fixture(scope="module")
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """One stage for the module."""
    return make_stage()
