"""The identity of a set: kept on every machine, never shared by accident."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.sources import identity
from reconciler.sources.identity import ID_FILE, NoIdentityError, identity_of


def _documents(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("moorage.yaml",):
        (folder / name).write_text("kind: Environment\n")
    return folder


def _repository(folder: Path, url: str = "", remote: str = "origin") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", folder], check=True)
    if url:
        subprocess.run(["git", "-C", folder, "remote", "add", remote, url], check=True)
    return folder


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/org/repo.git", "git@github.com:org/repo.git"),
        ("https://token@github.com/org/repo", "ssh://git@github.com:22/org/repo.git/"),
        ("https://GitHub.com/org/repo", "ssh://git@ssh.github.com:443/org/repo.git"),
        (
            "https://org@dev.azure.com/org/project/_git/repo",
            "git@ssh.dev.azure.com:v3/org/project/repo",
        ),
    ],
)
def test_clones_of_one_repository_are_one_set_whatever_the_address(tmp_path, one, other):
    """The scheme, the user, a token and the ending of a remote's address do not matter."""
    ids = set()
    for name, url in (("a", one), ("b", other)):
        folder = _documents(_repository(tmp_path / name, url) / "deploy")
        found = identity_of([folder])
        ids.add(found.id)
        assert "token" not in found.source
        assert not (folder / ID_FILE).exists()
    assert len(ids) == 1


def test_another_path_or_remote_is_another_set(tmp_path):
    """Two folders, two files and a folder beside its file, and a fork each have their own."""
    repository = _repository(tmp_path / "a", "https://example.com/org/repo")
    fork = _repository(tmp_path / "b", "https://example.com/fork/repo")
    team = _documents(repository / "team", "a.yaml", "b.yaml")
    other, forked = _documents(repository / "other"), _documents(fork / "team")
    sets = [[team], [other], [forked], [team / "a.yaml"], [team / "b.yaml"], [team, other]]
    ids = [identity_of(files).id for files in sets]
    assert len(set(ids)) == len(sets)
    assert ids[0].startswith("team-")
    assert identity_of([other, team]).id == ids[-1], "the order of -f does not matter"


def test_a_linked_work_tree_and_a_submodule_read_their_own_remote(tmp_path):
    """`.git` may be a file that leads to the configuration."""
    main = _repository(tmp_path / "main", "https://example.com/org/repo")
    _documents(main / "team")
    run = ["git", "-C", str(main), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "first"], check=True)
    subprocess.run([*run, "worktree", "add", "-q", str(tmp_path / "linked")], check=True)
    assert identity_of([main / "team"]) == identity_of([tmp_path / "linked" / "team"])


@pytest.mark.parametrize("url", ["", "/srv/git/repo.git", "file:///srv/git/repo", "../repo"])
def test_without_a_remote_that_others_know_an_id_is_made_once(tmp_path, url):
    """The id lies beside the documents, so it survives the state folder and a renamed remote."""
    folder = _documents(_repository(tmp_path / "a", url) / "team")
    made = identity_of([folder])
    assert (folder / ID_FILE).is_file()
    assert identity_of([folder]) == made
    subprocess.run(
        ["git", "-C", folder, "remote", "add", "up", "https://example.com/a/b"], check=True
    )
    assert identity_of([folder]) == made


def test_two_folders_without_git_never_share_an_identity(tmp_path):
    """Equal documents in folders of one name are two sets, and so is a copy that took the id along;
    a folder that moved is the same set.
    """
    one, two = _documents(tmp_path / "a" / "docs"), _documents(tmp_path / "b" / "docs")
    first = identity_of([one])
    assert identity_of([two]).id != first.id
    shutil.copytree(one, tmp_path / "c" / "docs")
    copied = identity_of([tmp_path / "c" / "docs"])
    assert copied.id != first.id
    assert identity_of([tmp_path / "c" / "docs"]) == copied
    shutil.move(one, tmp_path / "d" / "docs")
    assert identity_of([tmp_path / "d" / "docs"]).id == first.id


def test_what_came_from_another_machine_keeps_its_identity(tmp_path, monkeypatch):
    """A folder that was carried to another machine with its id file is the same set."""
    folder = _documents(tmp_path / "docs")
    first = identity_of([folder])
    shutil.copytree(folder, tmp_path / "there" / "docs")
    monkeypatch.setattr(identity, "_machine", lambda: "another")
    assert identity_of([tmp_path / "there" / "docs"]).id == first.id


def test_a_clone_of_a_repository_that_holds_the_id_file_is_the_same_set(tmp_path):
    """A second clone on one machine is no copy."""
    folder = _documents(_repository(tmp_path / "a") / "team")
    first = identity_of([folder])
    shutil.copytree(tmp_path / "a", tmp_path / "clone")
    assert identity_of([tmp_path / "clone" / "team"]).id == first.id


def test_a_given_identity_wins_and_touches_nothing(tmp_path):
    """MOORAGE_OWNER is used as it is."""
    folder = _documents(tmp_path / "docs")
    assert identity_of([folder], "team-a").id == "team-a"
    assert identity_of([], "team-a").id == "team-a"
    assert not (folder / ID_FILE).exists()


def _aliases() -> str:
    """A kilobyte whose id is endless as text."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join([*lines, "id: *a11\n"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id: short\n", "16 hexadecimal digits"),
        ("- a\n", "16 hexadecimal digits"),
        ("{", "cannot be read"),
        ("x" * 5000, "no file that Moorage wrote"),
        (b"\xff\xfe", "cannot be read"),
        (_aliases(), "16 hexadecimal digits"),
        (None, "no file that Moorage wrote"),
    ],
)
def test_a_spoilt_id_file_is_said_and_left_as_it_is(tmp_path, content, words):
    """Making a new id would give everything that exists to another set."""
    folder = _documents(tmp_path / "docs")
    path = folder / ID_FILE
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    with pytest.raises(NoIdentityError, match=words):
        identity_of([folder])
    assert path.exists()


def _no_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


SPOILT_GIT = [
    (".git", lambda path: path.write_bytes(b"gitdir: \xff\xfe\n"), "not UTF-8"),
    (".git", lambda path: path.write_bytes(b"gitdir: a\0b"), "a path cannot hold a zero byte"),
    (".git", lambda path: path.write_text("gitdir: " + "x" * 300), "too long for a name"),
    (".git", lambda path: path.write_text("x" * (1 << 21)), "larger than Git writes it"),
    (".git", lambda path: path.write_text("gitdir: .git"), "a file where a folder must be"),
    (".git", _no_file, "opening it would never return"),
    (".git", lambda path: path.symlink_to(".git"), "a link to itself"),
    (".git/config", _no_file, "opening it would never return"),
    (".git/config", lambda path: path.write_bytes(b"\xff" * 4096), "not UTF-8"),
    (".git/config", lambda path: path.write_text('[remote "origin"]\nurl = http://[x'), "no URL"),
    (".git/config", lambda path: path.symlink_to("/dev/zero"), "endless"),
]


@pytest.mark.parametrize(
    ("name", "write"),
    [case[:2] for case in SPOILT_GIT],
    ids=[f"{case[0]} {case[2]}" for case in SPOILT_GIT],
)
@pytest.mark.timeout(60)
def test_a_spoilt_repository_is_none(tmp_path, name, write):
    """Whatever lies in Git's place: the documents get an id of their own, and nothing hangs."""
    folder = _documents(tmp_path / "a" / "team")
    path = tmp_path / "a" / name
    path.parent.mkdir(exist_ok=True)
    write(path)
    assert "the id in" in identity_of([folder]).source


def test_a_remote_is_read_between_bytes_that_are_no_text(tmp_path):
    """A name in another encoding elsewhere in the configuration takes nothing from the remote."""
    repository = _repository(tmp_path / "a", "https://example.com/org/repo")
    config = repository / ".git" / "config"
    config.write_bytes(config.read_bytes() + "[user]\n\tname = Jérôme\n".encode("latin-1"))
    assert "example.com/org/repo" in identity_of([_documents(repository / "team")]).source


def test_no_documents_have_no_identity():
    """Nothing is derived from nothing."""
    with pytest.raises(NoIdentityError, match="there are no documents"):
        identity_of([])


def test_a_folder_that_cannot_be_written_asks_for_a_given_identity(tmp_path, monkeypatch):
    """A mounted configuration is such a folder."""
    folder = _documents(tmp_path / "docs")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(NoIdentityError, match=r"Read-only file system.*MOORAGE_OWNER"):
        identity_of([folder])


def test_a_mounted_config_map_keeps_its_identity_through_an_update(tmp_path):
    """Kubernetes swaps a link to a folder with a new name; the file's own path stays."""
    repository = _repository(tmp_path / "etc", "https://example.com/org/repo")
    for version in ("..1", "..2"):
        _documents(repository / "conf" / version)
    link = repository / "conf" / "moorage.yaml"
    ids = set()
    for version in ("..1", "..2"):
        link.unlink(missing_ok=True)
        link.symlink_to(Path(version) / "moorage.yaml")
        ids.add(identity_of([link]).id)
    assert len(ids) == 1
