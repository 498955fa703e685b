"""The words that the tiny model knows and how it reads: a byte-level tokenizer whose answers are tokens
of their own.
"""

from __future__ import annotations

from typing import Any

WORDS = ("red", "green", "blue")
BASE_WORD = "plain"
VOCABULARY = (
    BASE_WORD,
    *WORDS,
    *(
        "amber",
        "violet",
        "white",
        "black",
        "north",
        "south",
        "east",
        "west",
        "one",
        "two",
        "three",
        "four",
    ),
)

SPECIAL = ("<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>")

# outside the byte alphabet: no prompt encodes to an answer token, and the decoder drops it
ANSWER_MARK = "□"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content']"
    " }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CONTEXT = 2048


def token_ids() -> dict[str, int]:
    tokens = [*SPECIAL, *byte_alphabet(), *(ANSWER_MARK + word for word in VOCABULARY)]
    return {token: index for index, token in enumerate(tokens)}


def tokenizer(vocabulary: dict[str, int]) -> dict[str, Any]:
    """A byte-level BPE without merges: prompts become bytes, answers are tokens of their own."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, token in enumerate(SPECIAL)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": ANSWER_MARK}, "content": ""},
                byte_level,
            ],
        },
        "model": {"type": "BPE", "unk_token": None, "vocab": vocabulary, "merges": []},
    }


def byte_alphabet() -> list[str]:
    """The characters that stand for the 256 bytes in every byte-level BPE (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]
