"""With which key a share was registered, kept on the share."""

import pytest

from reconciler.arm import files, mountkeys
from reconciler.arm.sharedkey import key_fingerprint

PLACE = ("cae", "moorage")


@pytest.mark.parametrize(
    "torn", [b"", b"0123", b"0123456789abcde", b"\xff\xfe", b"no fingerprint!!"]
)
async def test_what_is_no_fingerprint_says_nothing(share, torn):
    """Half a fingerprint would look like another key, and so like a rotation."""
    await files.write(share, "storages/cae/moorage", torn)
    assert await mountkeys.recall(share, *PLACE) is None


async def test_a_torn_read_is_tried_again(share, monkeypatch):
    """The second answer counts; what is not there is not asked for again."""
    fingerprint = key_fingerprint("secret")
    await mountkeys.note(share, *PLACE, fingerprint)
    read, answers = files.read, []

    async def torn_once(*arguments):
        answers.append(await read(*arguments))
        return answers[-1] and (answers[-1][:7] if len(answers) == 1 else answers[-1])

    monkeypatch.setattr(files, "read", torn_once)
    assert await mountkeys.recall(share, *PLACE) == fingerprint
    assert len(answers) == 2
    assert await mountkeys.recall(share, "cae", "nobody's") is None
    assert len(answers) == 3
