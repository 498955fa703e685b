"""What the tables of broken saves are written with: the beginnings of documents, and a row."""

import pytest

SERVICE = "kind: InferenceService\nmetadata: {name: phi}\nspec:\n"
ENVIRONMENT = "kind: Environment\nmetadata: {name: dev}\nspec:\n"
MODEL = SERVICE + "  model: {source: share://m}\n"


def case(reason, text, *expected):
    return pytest.param(text, expected, id=reason)
