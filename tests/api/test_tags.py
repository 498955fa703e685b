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
