"""Each block of the pages is held: a test runs it, a test reads it, a program writes it, or a line
here says why neither can be. A new block needs a line here.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^ *```(\w*)\n *(\S.*?)\n", re.MULTILINE)
# By test_snippets, whichever page they are in.
READ = {"yaml": "yaml_is_a_document", "json": "json_can_be_read"}
WRITTEN = {
    "commands.md": "tests/docs/test_pages.py::test_every_command_and_option_is_described",
    "transcripts.md": "tests/docs/test_transcripts.py",
}


class Cannot(NamedTuple):
    """Why no test runs a block. test_snippets still reads its command lines."""

    reason: str


SYSTEM = Cannot("changes the machine, as root; typed by hand, see docs/unverified.md")
WALK = "tests/e2e/test_ai_toolkit.py"
RECIPE = "tests/clients/test_recipe.py"
TYPED = "tests/docs/test_typed.py"
RUN = "tests/docs/test_recipes.py::test_each_command_runs"
# By the page and the beginning of the block's first line.
HELD: dict[str, dict[str, str | Cannot]] = {
    "README.md": {
        "make up": Cannot("installs 3 GB and trains for minutes; tests/e2e has each of its steps"),
        "source .venv": Cannot("sets the path of a shell"),
        "moorage validate": f"{TYPED}::test_the_examples_of_the_readme_are_valid_and_can_be_planned",
        "eval": "tests/clients/test_pasted.py::test_the_lines_of_the_readme_get_an_answer",
        "export MOORAGE_SUBSCRIPTION_ID": f"{TYPED}::test_the_first_commands_on_azure",
    },
    "CONTRIBUTING.md": {
        "make install": "tests/docs/test_pages.py::test_make_targets_in_the_pages_exist"
    },
    "cost.md": {"moorage plan": RUN, "moorage status": RUN},
    "documents.md": {'{"prompt"': "tests/docs/test_snippets.py::test_the_evaluation_is_one"},
    "from-ai-toolkit.md": {
        "moorage import": WALK,
        "moorage plan": WALK,
        "ENDPOINT=": WALK,
        "moorage deploy": WALK,
        "moorage status": WALK,
        "moorage chat": WALK,
        "moorage down": WALK,
        "export MOORAGE_TARGET": Cannot("the settings of a real subscription"),
    },
    "gateway.md": {
        "caller": Cannot("a drawing"),
        "response =": f"{TYPED}::test_the_python_of_the_gateway_page_runs",
        "from azure.identity": f"{TYPED}::test_the_python_of_the_gateway_page_runs",
    },
    "git.md": {"moorage up": f"{TYPED}::test_a_plan_comes_from_a_repository"},
    "local-azure.md": {
        "eval": RECIPE,
        "az group": RECIPE,
        "az storage": RECIPE,
        "sas=": RECIPE,
        "moorage local-azure start": "tests/local_azure/test_share_view.py",
        "curl --cacert $caFile": f"{TYPED}::test_a_label_is_asked_for_as_the_page_shows",
        "curl --cacert .moorage": f"{TYPED}::test_a_secret_is_put_into_a_vault_as_the_page_shows",
        "moorage local-azure faults": f"{TYPED}::test_faults_are_added_listed_and_cleared",
        "make conformance": Cannot("reads recordings that Moorage does not ship"),
    },
    "notify.md": {"export MOORAGE_NOTIFY_URL": f"{TYPED}::test_the_test_notice_arrives"},
    "operations.md": {
        "sudo git": SYSTEM,
        "sudo install": SYSTEM,
        "sudo sh": SYSTEM,
        "docker build": Cannot("needs a container engine; see docs/unverified.md"),
        "az identity create": Cannot("needs a registry; see docs/unverified.md"),
        "az identity federated": Cannot(
            "needs a cluster; tests/docs/test_kubernetes.py reads the file"
        ),
        "az containerapp create": "tests/local_azure/test_daemon_app.py",
        "moorage export": f"{TYPED}::test_a_template_and_a_role_come_from_the_commands_of_the_page",
        "moorage role": f"{TYPED}::test_a_template_and_a_role_come_from_the_commands_of_the_page",
        "export OPENAI_API_KEY": Cannot(
            "`make bench` runs `vllm bench serve`; lm_eval fetches its tasks from a hub"
        ),
        "moorage pause": f"{TYPED}::test_a_change_by_hand_is_read_and_accepted",
    },
    "page.md": {"target:": "tests/e2e/test_page.py"},
    "security.md": {"moorage doctor": RUN, "moorage plan": RUN, "moorage events": RUN},
    "share.md": {"runtime/": Cannot("a drawing of folders")},
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
TESTS = sorted({how for page in HELD.values() for how in page.values() if isinstance(how, str)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_is_held(page):
    """And each line of the table above is of a block that is there."""
    if page.name in WRITTEN:
        assert page.name not in HELD
        return
    held = HELD.get(page.name, {})
    found = FENCE.findall(page.read_text())
    begins = [line for language, line in found if language not in READ]
    unheld = [line for line in begins if not any(line.startswith(each) for each in held)]
    assert unheld == []
    assert [each for each in held if not any(line.startswith(each) for line in begins)] == []


@pytest.mark.parametrize("how", [*TESTS, *WRITTEN.values()])
def test_what_holds_a_block_is_there(how):
    """A file or a folder with tests, and in it the test of that name."""
    path, _, name = how.partition("::")
    file = ROOT / path
    assert file.exists()
    if name:
        nodes = ast.walk(ast.parse(file.read_text()))
        assert name in {getattr(each, "name", "") for each in nodes}
