"""Here the recordings judge, and they may know a field before the type data of their api-version
does.
"""

import pytest


@pytest.fixture(scope="module", autouse=True)
def typed() -> None:
    """Instead of the check against the type data."""
