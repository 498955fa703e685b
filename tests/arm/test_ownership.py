"""Whose a resource is."""

import pytest

from reconciler.api import tags
from reconciler.api.reasons import Reason
from reconciler.arm.ownership import Ownership, applied
from reconciler.engine.errors import NotOwned


def owned_by(owner, **more):
    return {"tags": {"Moorage-Owner": owner, **more}}


def test_only_the_tag_of_this_set_makes_a_resource_its_own():
    """No tags, null tags and another set's tag do not."""
    ownership = Ownership("mine")
    assert ownership.owns(owned_by("mine"))
    for foreign in (None, {}, {"tags": None}, owned_by("theirs"), owned_by("")):
        assert not ownership.owns(foreign)
        assert not ownership.made(foreign)


def test_documents_may_give_an_identity_and_take_it_back():
    """The Environment's owner is tagged; what was made under an earlier one is still this set's."""
    ownership = Ownership("mine", {"dev": "team"}, frozenset({"before"}))
    assert (ownership.owner_of("dev"), ownership.owner_of("prod")) == ("team", "mine")
    assert all(ownership.made(owned_by(owner)) for owner in ("mine", "team", "before"))


def test_what_may_be_taken_over_is_not_yet_made_by_this_set():
    """It may be written to, and is never deleted for want of a document."""
    ownership = Ownership("mine", taken=frozenset({"theirs"}))
    assert ownership.owns(owned_by("theirs"))
    assert not ownership.made(owned_by("theirs"))
    assert ownership.another(owned_by("theirs")) is None


def test_the_refusal_says_whose_it_is_since_when_and_what_to_do():
    """The set, the host, the time of its last write, and the command."""
    with pytest.raises(NotOwned) as refused:
        Ownership("mine").refuse_another(
            "ContainerApp phi", owned_by("theirs", **{tags.APPLIED: "2026-11-29T10:00Z from desk"})
        )
    assert refused.value.reason is Reason.OWNED_BY_ANOTHER
    for word in ("ContainerApp phi", "theirs", "desk", "2026-11-29", "moorage take-over theirs"):
        assert word in refused.value.message
    Ownership("mine").refuse_another("ContainerApp phi", owned_by("mine"))
    Ownership("mine").refuse_another("ContainerApp phi", {"tags": {}})


def test_a_write_is_stamped_with_a_time_and_a_host():
    """Within what a tag may hold."""
    (value,) = applied().values()
    assert " from " in value
    assert len(value) <= 256
