"""Chats are checked line by line before anything expensive starts."""

import json

import pytest

from serving.training.dataset import load_chats, split_chats
from serving.training.errors import InputError

USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Ahoy"}


def line(*messages):
    return json.dumps({"messages": list(messages)})


def test_reads_every_chat_with_its_line(tmp_path):
    """Blank lines are skipped, a system message may lead, turns may go on, and U+2028 inside a text
    ends no line.
    """
    path = tmp_path / "chats.jsonl"
    odd = json.dumps(
        {"messages": [USER, {"role": "assistant", "content": "a\u2028b"}]}, ensure_ascii=False
    )
    system = {"role": "system", "content": "Be brief"}
    path.write_text(
        "\n".join([line(USER, ANSWER), "", line(system, USER, ANSWER, USER, ANSWER), odd, ""]),
        encoding="utf-8",
    )

    chats = load_chats(path)

    assert [chat.line for chat in chats] == [1, 3, 4]
    assert [message.role for message in chats[1].messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert chats[2].messages[1].content == "a\u2028b"


FAULTS = [
    # text, place, words of the message, why it is refused
    ("", "", "holds no chat", "an empty file would train nothing"),
    (line(USER, ANSWER) + "\n{oops", ":2:2", "not valid JSON", "a torn line points at its column"),
    ('["a"]', ":1:1", '{"messages": [...]}', "another shape of data set"),
    (
        '{"prompt": "a", "completion": "b"}',
        ":1:1",
        '{"messages": [...]}',
        "another shape of data set",
    ),
    (
        line(USER, {"role": "robot", "content": "x"}),
        ":1:53",
        "'robot'; known: system, user, assistant",
        "a role no template knows",
    ),
    (
        line(USER, {"role": "assistant", "content": " "}),
        ":1:53",
        "no text",
        "an empty answer teaches silence",
    ),
    (
        line(USER, {"role": "assistant", "content": ["x"]}),
        ":1:53",
        "no text",
        "parts are for pictures; this is text",
    ),
    (line(USER, USER, ANSWER), ":1:53", "assistant comes here", "two questions in a row"),
    (line(ANSWER), ":1:15", "user comes here", "an answer to nothing"),
    (line(USER), ":1:1", "ends with the assistant's answer", "nothing to learn"),
    (line(), ":1:1", "ends with the assistant's answer", "nothing at all"),
]


@pytest.mark.parametrize(("text", "place", "words", "reason"), FAULTS)
def test_refuses_with_the_place(tmp_path, text, place, words, reason):
    """One clear error at file:line:column."""
    path = tmp_path / "chats.jsonl"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError) as caught:
        load_chats(path)

    assert str(caught.value).startswith(f"{path}{place}: "), reason
    assert words in str(caught.value), reason


def test_refuses_what_is_not_text(tmp_path):
    """A file in another encoding is named with the line of its first bad byte."""
    path = tmp_path / "chats.jsonl"
    path.write_bytes(line(USER, ANSWER).encode() + b"\n\xff\xfe")

    with pytest.raises(InputError, match=r"chats.jsonl:2:1: not UTF-8 text: byte 0xff"):
        load_chats(path)


@pytest.mark.parametrize(
    ("count", "share", "held_out"),
    [(10, 0.2, 2), (1, 0.5, 0), (2, 0.5, 1), (36, 0.1, 4), (5, 0.0, 0)],
)
def test_split_is_seeded_and_leaves_something_to_train_on(tmp_path, count, share, held_out):
    """The same seed holds out the same chats; training never runs dry."""
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join([line(USER, ANSWER)] * count), encoding="utf-8")
    chats = load_chats(path)

    training, evaluation = split_chats(chats, share, seed=3)

    assert (len(training), len(evaluation)) == (count - held_out, held_out)
    assert split_chats(chats, share, seed=3) == (training, evaluation)
    assert sorted(chat.line for chat in training + evaluation) == [chat.line for chat in chats]
