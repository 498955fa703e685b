"""What a mount shows of a share when it behaves as SMB does: old listings, any case, names and
renames that are refused.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local_azure.smb_mount import FUSE, Refused, SmbMount

pytestmark = pytest.mark.skipif(
    not FUSE, reason="/dev/fuse cannot be opened by this user; root can, or `chmod 666 /dev/fuse`"
)

MiB = 1024 * 1024


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., tuple[SmbMount, Path]]]:
    """Mounts a folder of a few files with the options given; gives the mount and the folder behind
    it.
    """
    made: list[SmbMount] = []

    def mount(options: str, source: Path | None = None) -> tuple[SmbMount, Path]:
        if source is None:
            source = tmp_path / f"source{len(made)}"
            (source / "Folder").mkdir(parents=True)
            (source / "Hello.txt").write_text("hello")
            (source / "Folder" / "inner").write_text("inner")
        made.append(SmbMount(source, tmp_path / f"mount{len(made)}", options))
        return made[-1], source

    yield mount
    for mount_ in made:
        mount_.close()


def code(mount: SmbMount, line: str) -> str:
    with pytest.raises(Refused) as refused:
        mount(line)
    return refused.value.code


def names(mount: SmbMount, where: str = "") -> list[str]:
    return mount(f"result = sorted(path.name for path in (share / {where!r}).iterdir())")


def test_files_are_read_written_moved_and_removed(mounted) -> None:
    """What a plain program does with files works, and lands in the folder behind."""
    mount, source = mounted("actimeo=0")
    assert mount("result = (share / 'Hello.txt').read_text()") == "hello"
    mount("(share / 'big').write_bytes(b'x' * 3000000)")
    assert (source / "big").stat().st_size == 3_000_000
    mount(
        "with open(share / 'big', 'r+b') as file:\n file.seek(5); file.write(b'yy');"
        " file.truncate(10)"
    )
    assert (source / "big").read_bytes() == b"xxxxxyyxxx"
    mount(
        "(share / 'new' / 'deep').mkdir(parents=True); (share / 'Hello.txt').rename(share / 'new' /"
        " 'deep' / 'moved')"
    )
    assert (source / "new" / "deep" / "moved").read_text() == "hello"
    assert (
        mount("import shutil; shutil.rmtree(share / 'new'); result = (share / 'new').exists()")
        is False
    )
    mapped = (
        "import mmap\nwith open(share / 'big', 'rb') as file:\n result = mmap.mmap(file.fileno(),"
        " 0, prot=mmap.PROT_READ)[5:7].decode()"
    )
    assert mount(mapped) == "yy"


def test_a_listing_is_as_old_as_actimeo(mounted) -> None:
    """What another client adds or takes is not seen in a directory that was listed lately; one's
    own changes are.
    """
    mount, source = mounted("actimeo=3600")
    assert names(mount) == ["Folder", "Hello.txt"]
    (source / "late").write_text("late")
    (source / "Hello.txt").unlink()
    assert names(mount) == ["Folder", "Hello.txt"]
    mount("(share / 'own').write_text('own')")
    assert names(mount) == ["Folder", "late", "own"]


def test_what_was_not_there_stays_away_and_sizes_stay_old(mounted) -> None:
    """A name that was missed and the state of a file are remembered; an open asks the
    server again.
    """
    mount, source = mounted("actimeo=3600")
    assert mount("result = (share / 'later').exists()") is False
    assert mount("result = (share / 'Hello.txt').stat().st_size") == 5
    (source / "later").write_text("later")
    (source / "Hello.txt").write_text("hello, world")
    assert mount("result = (share / 'later').exists()") is False
    assert mount("result = (share / 'Hello.txt').stat().st_size") == 5
    assert mount("result = (share / 'Hello.txt').read_text()") == "hello, world"


def test_without_a_cache_everything_is_seen_at_once(mounted) -> None:
    """`actimeo=0` asks the server every time."""
    mount, source = mounted("actimeo=0")
    assert names(mount) == ["Folder", "Hello.txt"]
    (source / "late").write_text("late")
    assert names(mount) == ["Folder", "Hello.txt", "late"]
    assert mount("result = (share / 'late').read_text()") == "late"


def test_a_name_is_one_name_in_every_case(mounted) -> None:
    """A file is found, and cannot be made beside itself, in another case; it keeps the case it was
    made in.
    """
    mount, _ = mounted("actimeo=0")
    assert mount("result = (share / 'FOLDER' / 'INNER').read_text()") == "inner"
    assert code(mount, "(share / 'folder').mkdir()") == "EEXIST"
    mount("(share / 'HELLO.TXT').write_text('again')")
    assert names(mount) == ["Folder", "Hello.txt"]


@pytest.mark.parametrize(
    "name",
    ["a:b", "a*b", "a?b", 'a"b', "a<b", "a|b", "a\\b", "a\x01b", "dot.", "blank ", "con", "LPT1"],
)
def test_names_that_smb_cannot_hold_are_refused(mounted, name: str) -> None:
    """Neither a file nor a directory gets such a name, by making or by moving."""
    mount, source = mounted("actimeo=0")
    assert code(mount, f"(share / {name!r}).write_text('')") == "EINVAL"
    assert code(mount, f"(share / {name!r}).mkdir()") == "EINVAL"
    assert code(mount, f"(share / 'Hello.txt').rename(share / {name!r})") == "EINVAL"
    assert sorted(path.name for path in source.iterdir()) == ["Folder", "Hello.txt"]


def test_nothing_is_renamed_over_an_open_file(mounted) -> None:
    """The target is kept while anybody has it open, also through another mount, and so is a
    directory around an open file.
    """
    mount, source = mounted("actimeo=0")
    other, _ = mounted("actimeo=0", source)
    (source / "new").write_text("new")
    other("file = open(share / 'hello.txt')")
    assert code(mount, "(share / 'new').replace(share / 'Hello.txt')") == "EACCES"
    assert (source / "Hello.txt").read_text() == "hello"
    mount("file = open(share / 'Folder' / 'inner')")
    assert code(mount, "(share / 'Folder').rename(share / 'Moved')") == "EACCES"
    other("file.close()")
    mount(
        "import time\nfor _ in range(100):\n try:\n  (share / 'new').replace(share / 'Hello.txt');"
        " break\n except OSError:\n  time.sleep(0.05)"
    )
    assert (source / "Hello.txt").read_text() == "new"


def test_there_are_no_links_and_no_owners(mounted) -> None:
    """Links cannot be made and are not shown; modes and owners are those of the mount, whatever one
    sets.
    """
    mount, source = mounted("actimeo=0,uid=7,file_mode=0640")
    (source / "link").symlink_to("Hello.txt")
    assert names(mount) == ["Folder", "Hello.txt"]
    assert code(mount, "(share / 'a').symlink_to('Hello.txt')") == "ENOTSUP"
    assert code(mount, "(share / 'a').hardlink_to(share / 'Hello.txt')") == "ENOTSUP"
    mount("(share / 'Hello.txt').chmod(0o777)")
    assert mount(
        "state = (share / 'Hello.txt').stat(); result = [state.st_uid, oct(state.st_mode)]"
    ) == [7, "0o100640"]


async def test_both_planes_see_one_share(azure, share_service, mounted) -> None:
    """A half-uploaded file is read torn, and the data plane does not rename over what a mount has
    open.
    """
    share = share_service.get_share_client("seen")
    await share.create_share(quota=1)
    mount, _ = mounted("actimeo=0", azure.state / "files" / share.account_name / "seen")
    content = os.urandom(2 * MiB)
    client = share.get_file_client("weights.bin")
    await client.create_file(len(content))
    await client.upload_range(content[:MiB], 0, MiB)
    torn = (
        "data = (share / 'weights.bin').read_bytes(); result = [len(data), any(data[:1048576]),"
        " any(data[1048576:])]"
    )
    assert mount(torn) == [len(content), True, False]
    await client.upload_range(content[MiB:], MiB, MiB)
    assert mount(torn) == [len(content), True, True]

    await share.get_file_client("next.bin").upload_file(b"next")
    mount("file = open(share / 'weights.bin')")
    with pytest.raises(HttpResponseError) as refused:
        await share.get_file_client("next.bin").rename_file("weights.bin", overwrite=True)
    assert (refused.value.status_code, refused.value.error_code) == (409, "SharingViolation")
    mount("file.close()")
    assert mount("result = (share / 'NEXT.bin').read_text()") == "next"
