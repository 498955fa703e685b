"""What is known of a model hub before anything is fetched from it. Pure values."""

from __future__ import annotations

from typing import NamedTuple

TOKEN_SECRET = "hf-token"  # the job's secret that holds the hub's token


class HubModel(NamedTuple):
    """What a hub says of a revision: the commit it stands for, and the bytes of the files a model
    needs.
    """

    commit: str
    size: int


class HubAccess(NamedTuple):
    """Where jobs find the hub (empty: the public one), and whether they are given a token."""

    endpoint: str = ""
    token: bool = False
