"""What README.md and docs/local-azure.md show to type, typed: on a local Azure, with its addresses
in place of Azure's. The blocks for az and azcopy are typed by tests/clients/test_recipe.py.
"""

import json
import os
import re
import shlex
import subprocess

import pytest

from tests.docs.test_recipes import DOCS, blocks
from tests.e2e.ground import aimed_at
from tests.e2e.outside import outside
from tests.e2e.stage import Stage, environment, service
from tests.e2e.vaults import make_vault, token

ROOT = DOCS.parent
GROUP = "rg-typed"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("typed")) as stage:
        stage.code("web")
        stage.save(environment(resourceGroup=GROUP), service("web"))
        stage.once()
        yield stage


def readme(beginning):
    """The lines of the block that begins so, each as the words behind `moorage`."""
    text = next(each for each in blocks("../README.md", "") if each.startswith(beginning))
    lines = [line for line in text.splitlines() if line.startswith("moorage ")]
    assert lines
    return [shlex.split(line.replace(" manifests", f" {ROOT}/manifests"))[1:] for line in lines]


def test_the_examples_of_the_readme_are_valid_and_can_be_planned(tmp_path):
    """With a state directory that is empty."""
    with Stage(tmp_path) as stage:
        validate, plan = readme("moorage validate")
        assert "InferenceService chat: valid" in stage.moorage(*validate).stdout
        assert "+ ContainerApp/tools" in stage.moorage(*plan).stdout
        assert stage.writes() == []


def test_the_first_commands_on_azure(tmp_path):
    """`doctor` finds nothing in the way, `plan` and `up` show the same, and nothing is written
    before a person has said yes. `az` is replaced by the local Azure's own facts.
    """
    with Stage(tmp_path) as stage:
        env = aimed_at(stage.facts)
        del env["MOORAGE_TARGET"]  # the commands of the page name it
        doctor, plan, up = readme("export MOORAGE_SUBSCRIPTION_ID")
        assert "nothing stands in the way" in stage.moorage(*doctor, **env).stdout
        shown = stage.moorage(*plan, **env).stdout
        assert "+ ContainerApp/tools" in shown
        asked = stage.moorage(*up, code=4, **env)
        assert "+ ContainerApp/tools" in asked.stdout
        assert "-y" in asked.stderr
        assert stage.writes() == []


def test_faults_are_added_listed_and_cleared(stage):
    """local-azure.md: the two faults of the page are in force until `clear`."""
    (text,) = (each for each in blocks("local-azure.md", "") if "faults add" in each)
    lines = [shlex.split(line)[1:] for line in text.splitlines()]
    assert [words[2] for words in lines] == ["add", "add", "list", "clear"]
    for words in lines[:2]:
        stage.moorage(*words)
    listed = stage.moorage(*lines[2]).stdout
    assert "Throttle" in listed
    assert "ResetAfter" in listed
    stage.moorage(*lines[3])
    assert stage.json("local-azure", "faults", "list")["faults"] == []


async def test_a_secret_is_put_into_a_vault_as_the_page_shows(stage):
    """local-azure.md: curl finds the vault by a name of this machine and trusts its certificate."""
    (text,) = (each for each in blocks("local-azure.md", "") if "vault.localhost" in each)
    async with outside(stage) as azure:
        await make_vault(azure, stage.facts, GROUP, "kv-phi")
    port = stage.facts["armEndpoint"].rpartition(":")[2]
    typed = text.replace("PORT", port).replace(".moorage/local-azure", str(stage.azure_dir))
    said = shell(typed, TOKEN=await token(stage.facts))
    assert json.loads(said)["id"].startswith("https://kv-phi.vault")


async def test_a_label_is_asked_for_as_the_page_shows(stage):
    """local-azure.md: curl reaches the revision with the label `next` by the name in `Host`."""
    (text,) = (each for each in blocks("local-azure.md", "") if "---next" in each)
    async with outside(stage) as azure:
        app = await azure.apps.container_apps.get(GROUP, "web")
        (revision,) = (each.revision_name for each in app.configuration.ingress.traffic)
        traffic = [{"revisionName": revision, "weight": 100, "label": "next"}]
        patch = {"properties": {"configuration": {"ingress": {"traffic": traffic}}}}
        await (await azure.apps.container_apps.begin_update(GROUP, "web", patch)).result()
    port = re.search(r":(\d+)", app.configuration.ingress.fqdn)[1]
    said = shell(text.replace("PORT", port), caFile=stage.ca)
    assert json.loads(said)["revision"] == revision


def shell(text, **env):
    """What bash prints for it."""
    call = ["bash", "-euo", "pipefail", "-c", text]
    env = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
