"""With which key each share was registered, kept on the share."""

import json

import pytest

from reconciler.arm import files, mountkeys
from reconciler.arm.sharedkey import key_fingerprint

PLACE = ("cae", "moorage")
PATH = "storages-cae.json"
ONE, OTHER = key_fingerprint("one"), key_fingerprint("other")


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b'{"moorage": "0123',
        b'{"moorage": "0123456789abcde"}',
        b"\xff\xfe",
        b'{"moorage": 5}',
        b'["moorage"]',
        b"null",
    ],
)
async def test_what_is_no_fingerprint_says_nothing(share, torn):
    """Half a fingerprint would look like another key, and so like a rotation."""
    await files.write(share, PATH, torn)
    assert await mountkeys.recall(share, *PLACE) is None


async def test_a_torn_read_is_tried_again(share, monkeypatch):
    """The second answer counts; what is not there is not asked for again."""
    await mountkeys.note(share, "cae", {"moorage": ONE})
    read, answers = files.read, []

    async def torn_once(*arguments):
        answers.append(await read(*arguments))
        return answers[-1] and (answers[-1][:7] if len(answers) == 1 else answers[-1])

    monkeypatch.setattr(files, "read", torn_once)
    assert await mountkeys.recall(share, *PLACE) == ONE
    assert len(answers) == 2
    assert await mountkeys.recall(share, "nobody's", "moorage") is None
    assert len(answers) == 3


async def test_what_is_noted_later_keeps_what_was_noted_before(share):
    """Each storage keeps the key it was made with, and is forgotten alone."""
    await mountkeys.note(share, "cae", {"moorage": ONE, "moorage-rw": ONE}, new=True)
    await mountkeys.note(share, "cae", {"moorage-0123": OTHER})
    await mountkeys.note(share, "cae", {"moorage-rw": OTHER})
    names = ("moorage", "moorage-rw", "moorage-0123", "nobody's")
    assert [await mountkeys.recall(share, "cae", name) for name in names] == [
        ONE,
        OTHER,
        OTHER,
        None,
    ]
    await mountkeys.forget(share, "cae", "moorage")
    assert json.loads(await files.read(share, PATH)) == {"moorage-rw": OTHER, "moorage-0123": OTHER}


async def test_a_new_environment_is_noted_once(share):
    """One write for all names; an environment made anew has nothing of the one before it."""
    await mountkeys.note(share, "cae", {"old": OTHER})
    share.mount_keys.clear()  # another daemon, which creates the environment again
    both = {"moorage": ONE, "moorage-rw": ONE}
    before = share.arm.calls["files"]
    for _ in both:
        await mountkeys.note(share, "cae", both, new=True)
    assert share.arm.calls["files"] == before + 1
    assert json.loads(await files.read(share, PATH)) == both
