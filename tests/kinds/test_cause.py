"""Output of somebody else's container is shown short, printable, and without secrets."""

import pytest

from reconciler.kinds.cause import LONGEST, plain


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-11-29T10:00:00.1Z ValueError: no such model", "ValueError: no such model"),
        ("\x1b[31mred\x1b[0m\x07 alarm", "red alarm"),
        ('{"Msg": "Back-off pulling image", "Reason": "Pending", "Count": 3}',
         "Pending: Back-off pulling image"),
        ("connect password=hunter22 to db", "connect (secret) to db"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: (secret)"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", "(secret)"),
        ("the value is s3cr3t-value", "the value is (secret)"),
        ("ReplicaAssigned: Replica 'a'", "ReplicaAssigned: Replica 'a'"),
        ("GET /f?sv=2024&sig=abc%2Fdef", "GET /f?sv=2024&(secret)"),
        ("{broken json", "{broken json"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_line(line, shown):
    """Colours and control characters go, JSON gives its message, secrets are masked."""
    assert plain(line, ["s3cr3t-value", ""]) == shown


def test_a_line_is_bounded():
    """A line of a megabyte is shown as two hundred characters."""
    assert len(plain("x y " * 300_000)) <= LONGEST
