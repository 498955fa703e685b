"""The words about an upload say how much of it is done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.upload_progress import uploaded_share, uploaded_text

MIB = 1024**2


@given(st.floats(0, 1), st.integers(100 * MIB, 1023 * MIB))
def test_the_share_is_read_out_of_the_words(part, total):
    """To a hundredth, with words before and after it."""
    done = int(part * total)
    text = f"PublishedFolder/phi: {uploaded_text(done, total)}, 16 MiB/s, about 14 s left"
    assert uploaded_share(text) == pytest.approx(done / total, abs=0.01)


@given(st.integers(0, 2**45), st.integers(0, 2**45))
def test_any_sizes_give_a_share(one, other):
    """Between 0 and 1, also where rounding makes both equal; none of nothing."""
    done, total = sorted((one, other))
    share = uploaded_share(uploaded_text(done, total))
    assert share is None if total == 0 else 0 <= share <= 1


def test_other_words_have_none():
    """A message about anything else is no upload."""
    assert uploaded_share("revision web--r1: 0 of 1 replicas are ready") is None
