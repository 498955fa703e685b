"""What is known of a model hub before anything is fetched from it. Pure values."""

from __future__ import annotations

from typing import NamedTuple

TOKEN_SECRET = "hf-token"  # the job's secret that holds the hub's token


class HubModel(NamedTuple):
    """A revision of a model on a hub: its commit, and the bytes of the files that a model needs."""

    commit: str
    size: int


class HubAccess(NamedTuple):
    """The hub's address for jobs (empty: the public hub), and whether they get a token."""

    endpoint: str = ""
    token: bool = False
