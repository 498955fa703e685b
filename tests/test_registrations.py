"""Under which name a share is registered: decided by what Azure and the share say, whatever the
daemon remembers.
"""

from types import SimpleNamespace

import pytest

from reconciler.composition.world import Registered
from reconciler.registrations import Registrations, choose

NOW, OLD, OLDER = "aaaaaaaa" + "0" * 8, "bbbbbbbb" + "0" * 8, "cccccccc" + "0" * 8
A, B, C = NOW[:8], OLD[:8], OLDER[:8]
BOTH = ["read", "write"]


@pytest.mark.parametrize(
    ("key", "other", "registered", "before", "expected", "reason"),
    [
        (NOW, "", {}, "", Registered(), "nothing is there: the document's own name"),
        (NOW, "", {"": BOTH}, "", Registered(), "its key is the one of now, or unknown"),
        (
            NOW,
            OLD,
            {"": BOTH},
            "",
            Registered(A, (("", "read"), ("", "write")), new=True),
            "rotated: on to a new name",
        ),
        (
            NOW,
            OLD,
            {"": ["", "write"]},
            "",
            Registered(A, (("", "write"),), new=True),
            "somebody else's registration stays",
        ),
        (
            NOW,
            OLD,
            {"": [""]},
            "",
            Registered(A, (), new=True),
            "also when nothing of ours is left behind",
        ),
        (
            NOW,
            "",
            {"": BOTH, A: ["read"]},
            "",
            Registered(A, (("", "read"), ("", "write"))),
            "killed in the middle: it goes on",
        ),
        (
            NOW,
            "",
            {"": ["write"], A: BOTH},
            "",
            Registered(A, (("", "write"),)),
            "the end of a move",
        ),
        (NOW, "", {A: BOTH}, "", Registered(A), "a lost memory moves nothing back"),
        (
            NOW,
            "",
            {A: ["write"]},
            "",
            Registered(A),
            "half of it was taken away: it comes back under its name",
        ),
        (
            NOW,
            "",
            {B: BOTH},
            "",
            Registered(A, ((B, "read"), (B, "write")), new=True),
            "rotated again",
        ),
        (
            NOW,
            "",
            {B: ["read"], C: ["read"]},
            "",
            Registered(A, ((B, "read"), (C, "read")), new=True),
            "twice while away",
        ),
        (
            NOW,
            "",
            {"": BOTH, B: BOTH},
            "",
            Registered(A, (*[("", m) for m in BOTH], *[(B, m) for m in BOTH]), new=True),
            "amid",
        ),
        (NOW, "", {}, A, Registered(A), "all was taken away, or a list comes late: the name stays"),
        (
            NOW,
            "",
            {},
            B,
            Registered(),
            "all was taken away and the key is another: there is nothing to move from",
        ),
        (
            "",
            "",
            {"": BOTH, B: BOTH},
            B,
            Registered(B),
            "without a key nothing moves and nothing goes",
        ),
        ("", "", {B: BOTH}, "", Registered(B), "nor back, in a new process"),
        ("", "", {"": BOTH}, "", Registered(), "nor on"),
    ],
)
def test_the_name_follows_the_key(key, other, registered, before, expected, reason):
    """Every state of a rotation leads on to the name of the key of now, and what is left behind is
    named.
    """
    assert choose(key, other, registered, Registered(before)) == expected, reason


class Looked(Registrations):
    """Notes which Environments are asked for."""

    def __init__(self):
        super().__init__(SimpleNamespace(), SimpleNamespace())
        self.asked = []

    async def _look(self, names, seen):
        self.asked.append(names.environment)
        self.found[names.environment] = Registered()


def named(environment, share="moorage"):
    return SimpleNamespace(
        environment=environment,
        resource_group="rg",
        managed_environment="cae",
        storage="moorage",
        account="acct",
        share=share,
    )


async def test_a_save_waits_only_for_environments_that_are_new():
    """With 20 Environments each save waited for 20 lists. The others have their look afterwards,
    for which the edge is woken; one whose share was changed counts as new.
    """
    looked, known = Looked(), [named(f"env-{n}") for n in range(3)]
    await looked.look(known, {}, only_new=True)
    assert looked.asked == ["env-0", "env-1", "env-2"]
    assert not looked.aged
    assert not looked.changed.is_set()
    moved = [named("env-0", "other"), *known[1:], named("env-3")]
    await looked.look(moved, {}, only_new=True)
    assert looked.asked[3:] == ["env-0", "env-3"]
    assert looked.aged
    assert looked.changed.is_set()
    await looked.look(moved, {})
    assert looked.asked[5:] == ["env-0", "env-1", "env-2", "env-3"]
    assert not looked.aged
