"""The workflow that posts a plan to a pull request: its script runs as it stands in the file."""

import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tests.e2e.ground import ROOT, aimed_at
from tests.e2e.stage import Stage, service

pytestmark = [pytest.mark.slow, pytest.mark.vital]
WORKFLOW = YAML(typ="safe").load(
    (ROOT / "infra" / "deploy" / "plan-on-pull-request.yml").read_text()
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("pull"))
    facts = stage.start_azure()
    commands = stage.root / "bin"
    commands.mkdir()
    moorage = commands / "moorage"
    moorage.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from reconciler.cli import main; main()" "$@"\n'
    )
    moorage.chmod(0o755)
    stage.env |= {
        "PATH": f"{commands}:{stage.env['PATH']}",
        **aimed_at(facts),
        "MOORAGE_OWNER": "team",
        "DOCUMENTS": "live",
    }
    (stage.root / "live").mkdir()
    yield stage
    stage.close()


def _comment(stage, code):
    """Runs the step as a runner does, with `bash -e`; what would be posted."""
    steps = WORKFLOW["jobs"]["plan"]["steps"]
    script = next(step["run"] for step in steps if step.get("name") == "Plan")
    (stage.root / "comment.md").unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=stage.root,
        env=stage.env,
        capture_output=True,
        text=True,
        check=False,
    )
    comment = (stage.root / "comment.md").read_text()
    assert done.returncode == code, comment + done.stderr
    return comment


def test_a_plan_is_a_comment_and_an_error_ends_the_check(stage):
    """What would change, that nothing would, or where the document is wrong; all of it as text."""
    document = stage.root / "live" / "web.yaml"
    stage.save(service("web", code="../code-web"), path=document)
    stage.code("web")
    comment = _comment(stage, 0)
    assert comment.startswith("### This pull request would change\n\n    ")
    assert "ContainerApp/web" in comment
    stage.moorage("up", "--once", "-y", "-f", "live")
    assert _comment(stage, 0).startswith("### Nothing would change")
    document.write_text("kind: [```\n")
    comment = _comment(stage, 1)
    assert comment.startswith("### The plan failed")
    assert "web.yaml:1:" in comment
    body = comment.split("\n")[2:]
    assert all(line.startswith("    ") for line in body if line)


def test_the_workflow_asks_for_no_more_than_it_needs():
    """The names of its jobs' rights, and no secret that is stored."""
    assert WORKFLOW["permissions"] == {
        "contents": "read",
        "id-token": "write",
        "pull-requests": "write",
    }
    text = (ROOT / "infra" / "deploy" / "plan-on-pull-request.yml").read_text()
    assert "secrets." not in text
    # Nothing that a pull request's author writes stands in a script.
    for step in WORKFLOW["jobs"]["plan"]["steps"]:
        assert "${{" not in step.get("run", "")
