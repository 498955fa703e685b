"""Completion of commands, options and names of services in bash, zsh and fish."""

import os
import shutil
import subprocess
import sys

import pytest

from reconciler.cli.app import run
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from tests.e2e.ground import ROOT

MOORAGE = f"{sys.executable} -c 'from reconciler.cli import main; main()'"
QUESTIONS = {
    "bash": {"COMP_WORDS": "moorage {words}", "COMP_CWORD": "{at}"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "moorage {words}"},
    "fish": {
        "_TYPER_COMPLETE_ARGS": "moorage {words}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}


@pytest.fixture
def state(tmp_path):
    """A state directory that knows the service phi."""
    folder = tmp_path / "daemon" / "local"
    folder.mkdir(parents=True)
    store = Store.open(folder / "state.db", "local")
    store.put_document(DocumentRef("InferenceService", "phi"), 1, "default", False)
    store.close()
    return tmp_path


@pytest.mark.parametrize("shell", QUESTIONS)
@pytest.mark.parametrize(
    ("words", "answer"),
    [("roll", "rollback"), ("key ", "phi"), ("plan --detailed", "--detailed-exitcode")],
)
def test_a_shell_is_answered(shell, words, answer, state):
    """A command, an option and the name of a service, asked as the shell's script asks."""
    asked = {
        name: text.format(words=words, at=len(words.split(" ")))
        for name, text in QUESTIONS[shell].items()
    }
    env = {**os.environ, **asked, "_MOORAGE_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(
        [sys.executable, "-c", "from reconciler.cli import main; main()"],
        env=env | {"MOORAGE_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer in done.stdout, done.stderr


@pytest.mark.parametrize("shell", QUESTIONS)
def test_the_script_names_the_command_and_the_variable(shell, capsys):
    """What a person sources or saves; another shell is refused with exit code 2."""
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_MOORAGE_COMPLETE=complete_{shell}" in script
    assert "moorage" in script
    assert run(["completion", "tcsh"]) == 2


def test_bash_completes_with_the_script(tmp_path, capsys):
    """Bash itself sources the script and completes a command."""
    assert run(["completion", "bash"]) == 0
    program = tmp_path / "moorage"
    program.write_text(f'#!/bin/sh\nexec {MOORAGE} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(capsys.readouterr().out)
    asked = (
        f"source {tmp_path}/script; COMP_WORDS=(moorage stat); COMP_CWORD=1;"
        " _moorage_completion moorage; echo ${COMPREPLY[@]}"
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", asked], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["status"]


def test_the_version_is_printed(capsys):
    """`moorage --version` prints name and version, and nothing else."""
    assert run(["--version"]) == 0
    name, version = capsys.readouterr().out.split()
    assert name == "moorage"
    assert version[0].isdigit()


ZSH = """\
wait_for() {{ repeat 200 {{ [[ -e $1 ]] && return; sleep 0.1; zpty -r -t shell more }}; exit 1 }}
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell 'cd {folder}; PATH={folder}:$PATH; {load}; compinit -u -D; : > loaded'
wait_for loaded
zpty -w -n shell $'moorage stat\\t\\n'
wait_for ran
"""
LOADS = {
    "sourced": "source {folder}/_moorage",
    "found in fpath": "fpath=({folder} $fpath); autoload -Uz compinit",
}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
@pytest.mark.parametrize("way", LOADS)
def test_zsh_completes_with_the_script_at_the_first_tab(way, tmp_path, capsys):
    """Zsh itself, at a terminal, with the script sourced and with the script in a folder."""
    assert run(["completion", "zsh"]) == 0
    (tmp_path / "_moorage").write_text(capsys.readouterr().out)
    program = tmp_path / "moorage"
    asked = f'[ -n "$_MOORAGE_COMPLETE" ] || {{ echo "$@" > {tmp_path}/ran; exit; }}'
    program.write_text(f'#!/bin/sh\n{asked}\nexec {MOORAGE} "$@"\n')
    program.chmod(0o755)
    load = LOADS[way].format(folder=tmp_path)
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = ZSH.format(folder=tmp_path, load=load)
    subprocess.run(["zsh", "-f", "-c", script], cwd=tmp_path, env=env, check=True, timeout=60)
    assert (tmp_path / "ran").read_text().split() == ["status"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_fish_completes_with_the_script(tmp_path, capsys):
    """Fish itself sources the script and completes a command."""
    assert run(["completion", "fish"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    program = tmp_path / "moorage"
    program.write_text(f'#!/bin/sh\nexec {MOORAGE} "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["fish", "-c", f"source {tmp_path}/script; complete -C 'moorage stat'"],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "status"
