"""What the one client of a local Azure posts to its login."""

from collections.abc import Mapping


def login_form(facts: Mapping[str, str], audience: str) -> dict[str, str]:
    """The form for a token of `audience`; `facts` are what `local-azure start` prints."""
    return {
        "grant_type": "client_credentials",
        "client_id": facts["clientId"],
        "client_secret": facts["clientSecret"],
        "scope": f"{audience}/.default",
    }
