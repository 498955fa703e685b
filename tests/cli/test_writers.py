"""Who wrote to an object, as `diff` says it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.arm.activity import Told, Written
from reconciler.arm.callers import caller_of, signed_in, writer_of
from reconciler.cli.writers import writer_lines
from reconciler.engine.external import LastWrite

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
APPLICATION = "11111111-2222-3333-4444-555555555555"
UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
IDENTITY = "/subscriptions/0/resourcegroups/rg/providers/Microsoft.ManagedIdentity/x/deployer"


def at(**ago):
    """As Azure writes a time: seven digits, no zone."""
    return f"{NOW - timedelta(**ago):%Y-%m-%dT%H:%M:%S}.1234567"


@pytest.mark.parametrize(
    ("event", "said", "reason"),
    [
        ({"caller": "ann@example.org"}, "ann@example.org", "a user"),
        (
            {"caller": "ann@example.org", "claims": {"appid": APPLICATION}},
            "ann@example.org",
            "a user's token names the az CLI",
        ),
        (
            {"caller": APPLICATION, "claims": {"appid": "app", UPN: "ann@example.org"}},
            "ann@example.org",
            "a user who is told by an object id",
        ),
        (
            {"caller": "22222222-2222-3333-4444-555555555555", "claims": {"appid": APPLICATION}},
            f"application {APPLICATION}",
            "the id that a person can look up",
        ),
        ({"caller": APPLICATION, "claims": None}, f"application {APPLICATION}", "no claims"),
        (
            {"caller": APPLICATION, "claims": {"xms_mirid": IDENTITY}},
            "managed identity deployer",
            "its name is in the claims",
        ),
        ({}, "somebody", "an event that says nothing"),
    ],
)
def test_a_caller_is_named(event, said, reason):
    """By what a person knows it by."""
    assert caller_of(event) == said, reason


def test_a_last_writer_is_named():
    """From what a resource tells: a name, or an id with its kind."""
    assert writer_of("ann@example.org", "User") == "ann@example.org"
    assert writer_of(APPLICATION, "Application") == f"application {APPLICATION}"
    assert writer_of(APPLICATION, "ManagedIdentity") == f"managed identity {APPLICATION}"


def test_an_own_token_names_its_owner():
    """By object id and application id; a text that is no token names nobody."""
    claims = {"oid": "ABC", "appid": APPLICATION, "roles": ["x"]}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert signed_in(f"head.{body}.signature") == {"abc", APPLICATION}
    for broken in ("", "x", "a.b.c", "a.bnVsbA.c", f"a.{body[:9]}.c"):
        assert signed_in(broken) == frozenset()


def test_the_writes_of_several_are_told_newest_first():
    """Three of them, then a number; a deletion is called one, and so is what is our own."""
    names = [f"{name}@example.org" for name in ("ann", "bob", "cy", "dee", "eve")]
    writes = [
        Written(name, at(hours=hours), "Microsoft.App/containerApps/write", "c", name)
        for hours, name in enumerate(names, 1)
    ]
    told = Told(tuple(writes), asked=NOW)
    lines = list(writer_lines(told, LastWrite("ann@example.org", at(hours=1), "User")))
    assert lines == [
        "changed at 2026-11-30T11:00:00Z by ann@example.org",
        "changed at 2026-11-30T10:00:00Z by bob@example.org",
        "changed at 2026-11-30T09:00:00Z by cy@example.org",
        "and 2 times before that",
    ]
    gone = Written("ann", at(hours=1), "Microsoft.App/containerApps/delete", "c", "ann", own=True)
    assert list(writer_lines(Told((gone,), asked=NOW), None)) == [
        "deleted at 2026-11-30T11:00:00Z by ann, as which this command signs in too"
    ]


BY = f"by application {APPLICATION}"
LATE = "; the Activity Log does not show it yet"


@pytest.mark.parametrize(
    ("told", "ago", "said", "reason"),
    [
        (Told(asked=NOW), {"hours": 3}, BY, "the log has no entry of it"),
        (Told(asked=NOW), {"minutes": 3}, BY + LATE, "the log is late"),
        (
            Told(asked=NOW),
            {"days": 100},
            f"{BY}; the Activity Log keeps 90 days",
            "it is older than the log",
        ),
        (Told(problem="no", asked=NOW), {"minutes": 3}, BY, "the log is forbidden: told elsewhere"),
        (None, {"hours": 3}, BY, "the log was not asked"),
        (
            Told(asked=NOW, signed_in=frozenset({APPLICATION})),
            {"hours": 3},
            f"{BY}, as which this command signs in too",
            "it may have been a daemon, or a person with its credential",
        ),
        (
            Told(asked=NOW, own_at=at(hours=5)),
            {"minutes": 3},
            BY + LATE,
            "somebody wrote after Moorage",
        ),
    ],
)
def test_the_last_writer_is_told_where_the_log_names_nobody(told, ago, said, reason):
    """With why the log does not know, where that can be said."""
    when = (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (line,) = writer_lines(told, LastWrite(APPLICATION, at(**ago), "Application"))
    assert line == f"last written at {when} {said}", reason


def test_the_last_write_may_be_our_own():
    """The end of Moorage's operation is in the log some seconds after the time of the resource."""
    told = Told(asked=NOW, own_at=at(hours=1))
    last = LastWrite(APPLICATION, at(hours=1, seconds=40), "Application")
    assert list(writer_lines(told, last)) == ["last written by Moorage at 2026-11-30T11:00:00Z"]
    assert list(writer_lines(told, None)) == ["last written by Moorage at 2026-11-30T11:00:00Z"]
    assert list(writer_lines(Told(asked=NOW), None)) == []
