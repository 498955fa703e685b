"""The commands of docs/security.md and docs/cost.md do what the pages say: each is run."""

import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.api.documents import DOCUMENTS
from reconciler.api.service import Scale
from tests.e2e.stage import Stage, service

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("security.md", "cost.md")


def blocks(page, language):
    text = (DOCS / page).read_text()
    every = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    found = [block for name, block in every if name == language]
    assert found, page
    return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("recipes")) as stage:
        stage.code("web")
        stage.save(service("web"))
        stage.once()
        yield stage


@pytest.mark.parametrize("page", PAGES)
def test_each_command_runs(page, stage):
    """In the order of the page, on a service that runs; nothing is written on Azure by it."""
    before = len(stage.writes())
    if page == "cost.md":
        (stage.root / "prices.json").write_text(blocks(page, "json")[0])
    for block in blocks(page, ""):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "moorage"
            stage.moorage(*arguments)
    assert len(stage.writes()) == before


def test_the_plan_tells_the_price_of_the_pages_table(stage):
    """A price from the file that the page shows, for an app on the Consumption profile."""
    (stage.root / "prices.json").write_text(blocks("cost.md", "json")[0])
    changes = stage.json("plan", "--prices", "prices.json")["changes"]
    app = next(each for each in changes if each["object"] == "ContainerApp/web")
    assert app["price"]["currency"] == "EUR"
    assert app["price"]["most"] > 0


def test_the_yaml_is_valid():
    """What the pages show of documents is accepted as it stands."""
    yaml = YAML(typ="safe")
    for text in blocks("security.md", "yaml"):
        value = {"apiVersion": "moorage.dev/v1alpha1", **yaml.load(text)}
        DOCUMENTS[value["kind"]].model_validate(value)
    for text in blocks("cost.md", "yaml"):
        Scale.model_validate(yaml.load(text)["scale"])
