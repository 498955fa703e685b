"""`logs --system` on a terminal: events that a person can read."""

import json
from datetime import UTC, datetime, timedelta

from reconciler.cli.output.platform_events import readable


def event(**more):
    at = (datetime.now(UTC) - timedelta(minutes=3)).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
    said = {"TimeStamp": at, "Reason": "ProbeFailed", "Msg": "connection refused", "Count": 1}
    return json.dumps({**said, "ReplicaName": "web--r1-x", **more})


def test_an_event_is_one_line_with_its_age():
    """Age, reason, replica, sentence; how often where it was more than once."""
    assert readable(event(), 80) == ["  3m  ProbeFailed  web--r1-x  connection refused"]
    assert readable(event(Count=4), 80)[0].endswith("connection refused (x4)")


def test_a_replica_that_the_sentence_names_is_named_once():
    """The sentence says it."""
    (line,) = readable(event(Msg="Replica 'web--r1-x' has been scheduled"), 80)
    assert line.count("web--r1-x") == 1


def test_what_is_no_event_stays_as_it_is():
    """Another line, and an event in another form."""
    for line in ("Connecting...", "{}", "[1]", json.dumps({"TimeStamp": "?", "Reason": "a"})):
        assert readable(line, 80) == [line]
