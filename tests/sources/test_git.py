"""Documents from a Git repository: each commit whole, in a folder of its own, and nothing of a
secret in what is said.
"""

import asyncio
import subprocess
from types import SimpleNamespace

import pytest

from reconciler.api.manifest import load
from reconciler.api.problems import ManifestError
from reconciler.cli.git_documents import valid_commit
from reconciler.engine.store import Store
from reconciler.sources import sets
from reconciler.sources.git import GitCheckout, GitError, GitPlace, in_repository
from reconciler.sources.identity import has_identity, identity_of, set_of

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.com")


class Repository:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        return subprocess.run(
            ["git", "-C", self.folder, *WHO, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, **files):
        for name, text in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change", "--allow-empty")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path / "origin")
    repository.commit(live__a="one")
    return repository


def _checkout(repository, tmp_path, **place):
    return GitCheckout(GitPlace(str(repository.folder), **place), tmp_path / "cache")


async def test_a_new_commit_is_another_folder_behind_the_same_link(repository, tmp_path):
    """What was read of the commit before stays as it was, for whoever still reads it."""
    checkout = _checkout(repository, tmp_path, path="live")
    assert await checkout.refresh()
    before = checkout.documents.resolve()
    assert not await checkout.refresh()
    commit = repository.commit(live__a="two")
    assert await checkout.refresh()
    assert checkout.commit == commit
    assert (checkout.documents / "a").read_text() == "two"
    assert (before / "a").read_text() == "one"


async def test_old_commits_are_forgotten(repository, tmp_path):
    """The disk does not fill with them."""
    checkout = _checkout(repository, tmp_path)
    for number in range(6):
        repository.commit(a=str(number))
        await checkout.refresh()
    kept = [each for each in checkout.current.parent.iterdir() if len(each.name) == 40]
    assert len(kept) == 3
    assert (checkout.documents / "a").read_text() == "5"


async def test_a_rewritten_branch_is_followed(repository, tmp_path):
    """A forced push is a commit like any other."""
    checkout = _checkout(repository, tmp_path, branch="main")
    await checkout.refresh()
    repository.git("commit", "-q", "--amend", "-m", "another")
    assert await checkout.refresh()


async def test_a_restart_knows_the_last_commit(repository, tmp_path):
    """While the repository does not answer, the documents are still there."""
    first = _checkout(repository, tmp_path)
    await first.refresh()
    repository.folder.rename(tmp_path / "gone")
    again = _checkout(repository, tmp_path)
    assert again.commit == first.commit
    assert (again.documents / "live" / "a").exists()
    with pytest.raises(GitError):
        await again.refresh()
    assert (again.documents / "live" / "a").exists()


@pytest.mark.parametrize(
    ("place", "says"),
    [({"branch": "none"}, "couldn't find remote ref"), ({"path": "none"}, "has no none in commit")],
)
async def test_what_is_not_there_is_said(repository, tmp_path, place, says):
    """One sentence, and nothing that was there before is lost."""
    with pytest.raises(GitError, match=says):
        await _checkout(repository, tmp_path, **place).refresh()


@pytest.mark.parametrize("place", [{"path": "../x"}, {"path": "/x"}, {"branch": "--upload-pack=x"}])
def test_what_leaves_the_repository_or_is_an_option_is_refused(place):
    """The command line of git is not the place for a person's text."""
    with pytest.raises(ValueError, match=r"repository|begin"):
        GitPlace("https://example.com/a.git", **place)


async def test_a_secret_is_in_no_message_and_no_file(tmp_path):
    """Neither the password in the address nor the token."""
    place = GitPlace("https://me:hunter22@127.0.0.1:9/a.git")
    checkout = GitCheckout(place, tmp_path / "cache", "tokentoken")
    with pytest.raises(GitError) as raised:
        await checkout.refresh()
    assert place.shown == "https://127.0.0.1:9/a.git"
    written = "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )
    for secret in ("hunter22", "tokentoken"):
        assert secret not in raised.value.message
        assert secret not in written


async def test_a_hook_of_the_repository_does_not_run(repository, tmp_path):
    """Nor does anything else that a repository can bring."""
    checkout = _checkout(repository, tmp_path)
    await checkout.refresh()
    hook = checkout.current.parent / "repository" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    repository.commit(a="b")
    await checkout.refresh()
    assert not (tmp_path / "ran").exists()


async def test_the_identity_of_the_documents_is_that_of_a_clone(repository, tmp_path, monkeypatch):
    """It comes from the address, not from the folder of a commit; without one there must be a
    name.
    """
    checkout = _checkout(repository, tmp_path, path="live")
    await checkout.refresh()
    assert not has_identity(checkout.documents)
    mirror = checkout.current.parent / "repository"
    address = "https://git.example.com/team/models.git"
    (mirror / "config").write_text(f'[remote "origin"]\n\turl = {address}\n')
    assert has_identity(checkout.documents)
    before = identity_of([checkout.documents], keep=False)
    repository.git("remote", "add", "origin", address)
    assert identity_of([repository.folder / "live"], keep=False).id == before.id


async def test_a_folder_that_a_commit_lacks_is_named_also_when_the_commit_is_known(
    repository, tmp_path
):
    """A checkout of the same branch that another command made must not hide it."""
    await _checkout(repository, tmp_path, path="live").refresh()
    with pytest.raises(GitError, match="has no none in commit"):
        await _checkout(repository, tmp_path, path="none").refresh()


async def test_a_problem_is_told_by_its_path_in_the_repository(repository, tmp_path):
    """The folder of the checkout on the daemon's machine tells nobody anything."""
    repository.commit(**{"live__web.yaml": "kind: ["})
    checkout = _checkout(repository, tmp_path, path="live")
    await checkout.refresh()
    for folder in (checkout.documents, checkout.documents.resolve()):
        with pytest.raises(ManifestError) as raised:
            load([folder])
        assert str(checkout.located(raised.value)).startswith("live/web.yaml:1:")


async def test_the_set_that_was_run_follows_the_link(repository, tmp_path):
    """A command without -f reads the newest commit, not the one of the daemon's start."""
    checkout = _checkout(repository, tmp_path, path="live")
    await checkout.refresh()
    store = Store.keep(tmp_path / "state.db", "local")
    sets.remember(store, set_of([checkout.documents], "team"), checkout)
    repository.commit(live__a="two")
    await checkout.refresh()
    last = sets.last(store)
    assert last is not None
    assert [(file / "a").read_text() for file in last.files] == ["two"]
    assert last.repository == f"{repository.folder} live"
    store.close()


def test_a_start_on_a_broken_commit_waits_for_the_next(repository, tmp_path, monkeypatch, capsys):
    """So a machine that starts again meanwhile needs nobody; a single run ends with the error."""
    document = "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: e}\n"
    broken = repository.commit(**{"live__web.yaml": "kind: ["})
    checkout = _checkout(repository, tmp_path, path="live")
    asyncio.run(checkout.refresh())
    with pytest.raises(ManifestError, match=r"^live/web.yaml:1:"):
        valid_commit(checkout, once=True)
    naps = iter(["kind: [", document])
    clock = SimpleNamespace(sleep=lambda _: repository.commit(**{"live__web.yaml": next(naps)}))
    monkeypatch.setattr("reconciler.cli.git_documents.time", clock)
    valid_commit(checkout, once=False, every=30.0)
    said = capsys.readouterr().err
    assert said.count("live/web.yaml:1:") == 2  # each broken commit once
    assert f"commit {broken[:12]} is refused" in said
    assert next(naps, None) is None


def test_a_refused_commit_names_files_as_they_stand_in_the_repository(tmp_path):
    """Each path of a message, also in the middle of it; other paths stay."""
    mirror = tmp_path / "cache" / "git" / ("e" * 16) / ("0f" * 20)
    said = (
        f"{mirror}/a/b.yaml:1:9: two documents, the first in {mirror}/c.yaml:2:1; see /etc/x.yaml:1"
    )
    assert (
        in_repository(said)
        == "a/b.yaml:1:9: two documents, the first in c.yaml:2:1; see /etc/x.yaml:1"
    )
    assert in_repository(f"{mirror.parent}/current/m.yaml:3") == "m.yaml:3"
    assert in_repository(r"C:\m\git\0123456789abcdef\%s\m.yaml:3" % ("ab" * 20)) == "m.yaml:3"
