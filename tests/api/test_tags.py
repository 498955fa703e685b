"""Ownership tags."""

from reconciler.api import tags


def test_merging_keeps_what_others_wrote():
    """Ours win, also over an older spelling of the same name; nothing else changes."""
    before = {"costCenter": "4711", "Moorage-Owner": "old"}
    after = tags.merged(before, tags.ownership("me", "InferenceService/phi", "dev"))
    assert after == {
        "costCenter": "4711",
        "moorage-owner": "me",
        "moorage-document": "InferenceService/phi",
        "moorage-environment": "dev",
    }
    assert before == {"costCenter": "4711", "Moorage-Owner": "old"}


def test_only_our_owner_id_makes_a_resource_ours():
    """No tags, null tags and another owner are not."""
    assert tags.is_ours({"tags": {"MOORAGE-OWNER": "me"}}, "me")
    for foreign in (None, {}, {"tags": None}, {"tags": {"moorage-owner": "you"}}):
        assert not tags.is_ours(foreign, "me")
