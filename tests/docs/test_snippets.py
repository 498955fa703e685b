"""What the pages show to paste is well-formed, also where no test runs it: each command line names
a command and options that exist, YAML is accepted as a document or as a part of one, and JSON and
Python can be read.

docs/from-ai-toolkit.md, the `bash` blocks of docs/local-azure.md, docs/security.md and docs/cost.md
are run as well (test_ai_toolkit, test_recipe, test_recipes), and so is what this machine can run
of the other pages (test_typed).
"""

import ast
import json
import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest
import typer
from ruamel.yaml import YAML

from infra.local_azure.faults.script import read as read_faults
from infra.local_azure.runtime.images import find, refusal
from reconciler.api.documents import DOCUMENTS
from reconciler.api.evaluation import read_evaluation
from reconciler.cli.app import app

ROOT = Path(__file__).parents[2]
WRITTEN = {"commands.md", "transcripts.md"}  # by a program
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(language, dedent(block), id=f"{page.name}-{number}")
    for page in PAGES
    if page.name not in WRITTEN
    for number, (language, block) in enumerate(FENCE.findall(page.read_text()), 1)
]
SHELLS = {"", "sh", "bash"}
# Of YAML that is no document: the local Azure's own files, by their first key.
OWN = {"seed", "image"}
SERVICE = {"kind": "InferenceService", "metadata": {"name": "phi"}}
SPEC = {
    "model": {"source": "./model"},
    "adapters": [{"name": "sales", "source": "./sales"}],
}


def of(*languages):
    return [block for block in BLOCKS if block.values[0] in languages]


def commands(block):
    """The words behind each `moorage` of a shell block."""
    text = re.sub(r"\\\n *", "", block)
    for line in text.splitlines():
        inner = re.findall(r"\$\((moorage [^()|]*)\)", line)
        whole = [line] if re.match(r"(sudo )?moorage ", line) else []
        for each in [*whole, *inner]:
            plain = re.split(r" [>|] | && |…", each.removeprefix("sudo "))[0]
            yield shlex.split(plain, comments=True)[1:]


@pytest.mark.parametrize(("language", "block"), of(*SHELLS))
def test_every_command_line_is_one_that_moorage_has(language, block):
    """Its command exists, and so does each option behind it."""
    for words in commands(block):
        command, rest = typer.main.get_command(app), list(words)
        while hasattr(command, "commands"):
            assert rest, words
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {flag for option in command.params for flag in (*option.opts, "-h", "--help")}
        free = command.context_settings.get("ignore_unknown_options", False)
        named = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert free or named <= known, (words, named - known)


@pytest.mark.parametrize(("language", "block"), of("yaml"))
def test_yaml_is_a_document_or_a_part_of_one(language, block):
    """A part is a few fields of a service's spec, and is read in a service with a model and the
    adapter `sales`.
    """
    for value in YAML(typ="safe").load_all(block):
        if value is None:  # a comment alone
            continue
        first = value[0] if isinstance(value, list) else value
        if next(iter(first)) in OWN:
            continue  # read below
        document = value if "kind" in value else SERVICE | {"spec": SPEC | value}
        kind = DOCUMENTS[document["kind"]]
        kind.model_validate({"apiVersion": "moorage.dev/v1alpha1"} | document)


def _only(language, beginning):
    """The one block of a language that begins so, whichever page it is in."""
    (found,) = [block.values[1] for block in of(language) if block.values[1].startswith(beginning)]
    return found


def test_the_script_of_faults_is_one(tmp_path):
    """The local Azure reads the file of docs/local-azure.md with all its faults."""
    file = tmp_path / "faults.yaml"
    file.write_text(_only("yaml", "seed:"))
    assert len(read_faults(file).faults) == 4


def test_the_mapping_of_images_is_one(tmp_path):
    """The entries of docs/local-azure.md let an app have the images that they name."""
    file = tmp_path / "images.yaml"
    file.write_text(_only("yaml", '- image: ["*vllm/'))
    assert refusal(file, "docker.io/vllm/vllm-openai:v1", None) is None
    assert refusal(file, "docker.io/other:v1", None).kind == "missing"
    python = tmp_path / "py" / "bin"
    python.mkdir(parents=True)
    (python / "python3").touch()
    entry = _only("yaml", '- image: ["*python:')
    file.write_text(entry.replace("/home/me/py", str(tmp_path / "py")))
    assert find(file, "docker.io/library/python:3.11-slim").environment == tmp_path / "py"


def test_the_evaluation_is_one(tmp_path):
    """The prompts of docs/documents.md are a file that a document may name."""
    file, problems = tmp_path / "prompts.jsonl", []
    file.write_text(_only("", '{"prompt"'))
    assert len(read_evaluation(file, problems)) == 2
    assert problems == []


@pytest.mark.parametrize(("language", "block"), of("json"))
def test_json_can_be_read(language, block):
    """Each block is one value."""
    assert json.loads(block)


@pytest.mark.parametrize(("language", "block"), of("python"))
def test_python_can_be_read(language, block):
    """Each block is Python."""
    assert ast.parse(block).body


def test_the_search_finds_what_a_page_gets_wrong():
    """A command or an option that does not exist is no command line of Moorage."""
    blocks = ["moorage frobnicate\n", "moorage plan --frobnicate\n", "x=$(moorage keys phi)\n"]
    for block in blocks:
        with pytest.raises(AssertionError):
            test_every_command_line_is_one_that_moorage_has("", block)
