"""The pages are true: links lead somewhere, commands, options, settings and output fields are all
described, nothing is private.
"""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel

from reconciler.api.outputs import ReplicaRow, RevisionRow, Startup
from reconciler.cli.exits import Exit
from reconciler.cli.output.plan_view import as_value
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.plan import PlanLine
from reconciler.engine.record import Phase
from tests.docs.commands import PAGE as COMMANDS_PAGE
from tests.docs.commands import page as commands_page
from tests.docs.faults import PAGE as FAULTS_PAGE
from tests.docs.faults import page as faults_page

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/*.md")),
]
NOTES = sorted((ROOT / "infra" / "decisions").glob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
# Words that would tell of one machine or of one registry, in a spelling that does not match itself.
PRIVATE = [
    re.compile(word)
    for word in (
        r"/wor[k]/",
        r"/roo[t]/",
        r"pypi[.]org",
        r"files[.]pythonhosted",
        r"registry[.]npmjs",
        r"download[.]pytorch",
    )
]


def _tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_the_index_of_decisions_lists_every_note():
    """Each note under its own title, once."""
    index = NOTES[-1].with_name("README.md")
    titles = {note.name: note.read_text().partition("\n")[0][2:] for note in NOTES if note != index}
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", index.read_text(), re.MULTILINE)
    assert sorted((name, title) for title, name in listed) == sorted(titles.items())


@pytest.mark.parametrize("page", [*PAGES, *NOTES], ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    """A link to a file finds it, a link to a heading finds the heading."""
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }


def test_every_command_and_option_is_described():
    """docs/commands.md is what the commands say of themselves; `python -m tests.docs.commands`
    writes it.
    """
    assert COMMANDS_PAGE.read_text() == commands_page()


def test_every_fault_is_described():
    """The table in docs/local-azure.md is the one in the code; `python -m tests.docs.faults` writes
    it.
    """
    text = FAULTS_PAGE.read_text()
    assert text == faults_page(text)


def test_every_exit_code_is_in_the_contract():
    """The table lists exactly the codes there are."""
    text = (ROOT / "docs" / "status.md").read_text().partition("## Exit codes")[2]
    codes = re.findall(r"^\| (\d+) \|", text.partition("\n## ")[0], re.MULTILINE)
    assert [int(code) for code in codes] == [code.value for code in Exit]


def test_every_setting_is_described():
    """The names that Moorage and its clients read from the environment are those of the table, and
    those of secrets are listed as what a file may hold.
    """
    files = (ROOT / "reconciler" / "settings.py", ROOT / "reconciler" / "arm" / "clients.py")
    code = "".join(file.read_text() for file in files)
    text = (ROOT / "docs" / "settings.md").read_text()
    table, _, rest = text.partition("| setting |")[2].partition("\n\n")
    read = set(re.findall(r'"((?:MOORAGE|AZURE|HF)_[A-Z_]+)"', code))
    assert read == set(re.findall(r"`((?:MOORAGE|AZURE|HF)_[A-Z_]+)`", table))
    secret = set(re.findall(r'_secret\(environ, "([A-Z_]+)"', code))
    assert secret == set(re.findall(r"`([A-Z]+_[A-Z_]+)`", rest.partition("## ")[0])) - {
        "NAME_FILE"
    }


def test_a_stranger_reads_the_readme_in_five_minutes():
    """At 240 words a minute."""
    assert len((ROOT / "README.md").read_text().split()) <= 1200


def test_every_setting_that_a_remedy_names_exists():
    """A remedy in docs/conditions.md names only variables that settings.py reads."""
    named = re.findall(r"\b(?:MOORAGE|AZURE|HF)_[A-Z_]+", (ROOT / "docs/conditions.md").read_text())
    code = (ROOT / "reconciler" / "settings.py").read_text()
    assert "HF_TOKEN" in named
    assert [name for name in named if f'"{name}"' not in code] == []


def _words(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


def _keys(path, functions):
    """The literal keys of dictionaries and of `row["key"] = …` in some functions of a
    source file.
    """
    found = set()
    for function in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Dict):
                    found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
                if (
                    isinstance(node, ast.Subscript)
                    and isinstance(node.ctx, ast.Store)
                    and isinstance(node.slice, ast.Constant)
                ):
                    found.add(node.slice.value)
    return found


@pytest.mark.parametrize(
    ("path", "functions"),
    [
        ("reconciler/web/status.py", ("status_of", "_document", "_object", "_service")),
        ("reconciler/cli/output/plan_view.py", ("as_value", "_transfer_value")),
        ("infra/local_azure/lifecycle.py", ("facts", "status")),
        ("infra/local_azure/journal.py", ("write",)),
    ],
)
def test_every_field_of_the_output_is_in_the_contract(path, functions):
    """What a program may read is in docs/status.md, whichever function writes it."""
    keys = _keys(path, functions)
    assert keys
    assert keys <= _words((ROOT / "docs" / "status.md").read_text())


@pytest.mark.parametrize("row", [RevisionRow, ReplicaRow, Startup])
def test_every_field_of_a_row_is_in_the_contract(row):
    """Revisions and replicas are shown as their classes are written."""
    keys = {to_camel(field.name) for field in fields(row)}
    assert keys <= _words((ROOT / "docs" / "status.md").read_text())


def test_every_phase_and_event_field_is_in_the_contract():
    """The phases of objects and the fields of an event are listed too."""
    words = _words((ROOT / "docs" / "status.md").read_text())
    event = ast.parse((ROOT / "reconciler" / "engine" / "events.py").read_text())
    fields = next(
        c for c in ast.walk(event) if isinstance(c, ast.ClassDef) and c.name == "Event"
    ).body
    assert {phase.value for phase in Phase} <= words
    assert {node.target.id for node in fields if isinstance(node, ast.AnnAssign)} <= words


def test_a_plan_line_has_the_fields_of_the_contract():
    """The keys are there even when a line says nothing."""
    line = PlanLine(
        ObjectKey("ContainerApp", "phi"), DocumentRef("InferenceService", "phi"), "no-op"
    )
    assert set(as_value(line)) == {
        *("object", "document", "action", "plane", "class"),
        *("effect", "problem", "fields", "transfer"),
    }


def test_nothing_private_is_in_a_tracked_file():
    """No path of one machine and no package registry's host is in the repository."""
    found = []
    for path in _tracked():
        if not path.is_file() or path.suffix in {".png", ".db"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{path.relative_to(ROOT)}: {word.pattern}" for word in PRIVATE if word.search(text)
        ]
    assert not found


def test_the_table_of_key_files_names_files_that_exist():
    """Every path in CONTRIBUTING's table is there."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| to change | open |")[2]
    paths = [
        path
        for path in re.findall(r"`([\w./-]+/[\w./-]*)`", table)
        if not path.startswith("python")
    ]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and "*" not in path] == []


def test_the_readmes_documents_are_valid(tmp_path):
    """The YAML that the README shows is accepted as it stands, given the folders it names."""
    from ruamel.yaml import YAML

    from reconciler.api.documents import DOCUMENTS

    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        value = YAML(typ="safe").load(block)
        DOCUMENTS[value["kind"]].model_validate(value)


def test_make_targets_in_the_pages_exist():
    """`make something` in a page is something that the Makefile can do."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z][a-z-]*)", TEXT, re.MULTILINE)) <= targets
