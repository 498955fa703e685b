"""The receiver of notices, from the environment: its address, form, token and occasions."""

from __future__ import annotations

from urllib.parse import urlsplit

from reconciler.edges.notify import Receiver
from reconciler.settings import NotifySettings, SettingsError
from reconciler.web.hosts import is_loopback
from reconciler.web.notices import Occasion
from reconciler.web.signatures import signing_key

FORMS = ("cloudevents", "webhook", "teams")


def receiver_of(values: NotifySettings) -> Receiver | None:
    """The receiver; None where MOORAGE_NOTIFY_URL is not set.

    Raises:
        SettingsError: a value cannot be used; the message does not show the address.
    """
    if not values.url:
        return None
    try:
        parts = urlsplit(values.url)
        host = parts.hostname or ""
    except ValueError:
        raise SettingsError("MOORAGE_NOTIFY_URL is no URL.") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise SettingsError("MOORAGE_NOTIFY_URL must be an https URL, or http on this machine.")
    if values.form not in FORMS:
        raise SettingsError(
            f"MOORAGE_NOTIFY_FORMAT must be one of {', '.join(FORMS)}, not {values.form!r}."
        )
    key = signing_key(values.secret)
    if values.secret and key is None:
        raise SettingsError("MOORAGE_NOTIFY_SECRET must be whsec_ and a key in base64.")
    return Receiver(values.url, values.form, values.token, _occasions(values.occasions), key)


def _occasions(text: str) -> frozenset[Occasion]:
    known = {each.casefold(): each for each in Occasion}
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word.casefold() not in known]
    if unknown:
        raise SettingsError(
            f"MOORAGE_NOTIFY_ON holds {unknown[0]!r}; it may hold {', '.join(Occasion)}."
        )
    return frozenset(known[word.casefold()] for word in words) or frozenset(Occasion)
