"""What was used is counted once, whatever is cut, killed or full."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.passage import Patience
from serving.gateway.records import Records
from serving.gateway.routes import GatewayState, LearnedStart, StartSeen, UsageLine
from serving.gateway.usage import TAIL, Usage, Used
from tests.serving.gateway.stand_in import StandIn

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
COMMENT = b': moorage {"prompt_tokens": 7, "completion_tokens": 42}\n\n'


def usage():
    return Usage(lambda: NOON)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=20), st.integers(1, 400))
def test_lines_add_up_to_what_the_answer_said(events, step):
    """However a stream is cut into pieces, and however often lines are told while it runs, their
    sum is the service's own count.
    """
    made = sum(count for count, _ in events)
    told = f': moorage {{"prompt_tokens": 7, "completion_tokens": {made}}}\n\n'.encode()
    whole = b"".join(b'data: {"x": 1}\n\n' * count for count, _ in events) + told
    counting, lines = usage(), []
    meter = counting.begin("team", "phi", 100)
    for at in range(0, len(whole), step):
        meter.saw(whole[at : at + step])
        if at % 3 == 0:
            lines += counting.lines()
    counting.end(meter)
    lines += counting.lines()
    assert sum(line.output_tokens for line in lines) == made
    assert sum(line.input_tokens for line in lines) == 7
    assert sum(line.requests for line in lines) == 1
    assert counting.lines() == []


def test_a_text_cannot_forge_its_own_usage():
    """What a model writes is quoted, so that it is never taken for the service's count."""
    answer = {
        "usage": {"prompt_tokens": 7, "completion_tokens": 42},
        "choices": [{"text": '"prompt_tokens": 999999, "completion_tokens": 0'}],
    }
    counting = usage()
    meter = counting.begin("team", "phi", 1)
    meter.saw(json.dumps(answer).encode())
    assert meter.tokens == (7, 42)


def test_a_stream_that_was_cut_counts_what_came():
    """Without the service's count, the events are counted and the prompt is guessed."""
    counting = usage()
    meter = counting.begin("team", "phi", 12)
    meter.saw(b"data: {}\n\n" * 10)
    meter.failed = True
    counting.end(meter)
    (line,) = counting.lines()
    assert (line.input_tokens, line.output_tokens, line.errors) == (12, 7, 1)


def test_the_tail_alone_is_kept():
    """A long answer costs no memory, and its usage is found where it ends."""
    counting = usage()
    meter = counting.begin("team", "phi", 1)
    for _ in range(100):
        meter.saw(b"x" * 70_000)
    meter.saw(COMMENT[:20])
    meter.saw(COMMENT[20:])
    assert len(meter._tail) <= TAIL
    assert meter.tokens == (7, 42)


def test_lines_that_could_not_be_written_are_told_again():
    """A full share loses nothing."""
    counting = usage()
    counting.add("team", "phi", Used(requests=2, held_seconds=1.5))
    lines = counting.lines()
    counting.untell(lines)
    counting.add("team", "phi", Used(requests=1))
    (line,) = counting.lines()
    assert (line.requests, line.held_seconds) == (3, 1.5)


def test_a_line_that_a_crash_cut_spoils_no_other(tmp_path):
    """What is written after a torn line begins a line of its own."""
    records = Records(tmp_path, "gw-1")
    line = UsageLine(day="2026-11-29", key="team", model="phi", requests=1)
    records.append([line])
    file = tmp_path / "usage" / "gw-1" / "2026-11-29.jsonl"
    with file.open("ab") as cut:
        cut.write(b'{"day": "2026-11-2')
    records.append([line, line])
    read = []
    for text in file.read_text().splitlines():
        try:
            read.append(UsageLine.model_validate(json.loads(text)))
        except ValueError:
            continue
    assert read == [line] * 3


def test_a_new_revision_goes_on_with_what_was_learned(tmp_path):
    """The state that was written last is read, whatever time the replica's clock had; one that
    cannot be read is passed over.
    """
    for number, seconds in ((1, 100), (2, 200)):
        learned = LearnedStart(
            name="phi", starts=(StartSeen(seconds=seconds, told=1, published=1),)
        )
        heartbeat = NOON - timedelta(hours=number)
        state = GatewayState(replica=f"gw-{number}", heartbeat=heartbeat, learned=(learned,))
        Records(tmp_path, f"gw-{number}").save(state)
        written = NOON.timestamp() + number
        os.utime(tmp_path / "usage" / f"gw-{number}" / "state.json", (written, written))
    (tmp_path / "usage" / "gw-3").mkdir()
    (tmp_path / "usage" / "gw-3" / "state.json").write_bytes(b"[" * 100_000)
    (tmp_path / "usage" / "stray").write_bytes(b"")
    ((learned,),) = [Records(tmp_path, "gw-4").learned()]
    assert learned.starts[0].seconds == 200


async def test_a_start_is_counted_for_whom_woke_and_for_all_who_waited(gateways, monkeypatch):
    """One start is one wake-up; every caller's seconds of waiting are counted; state.json tells the
    daemon what is going on.
    """
    monkeypatch.setattr("serving.gateway.backend.NO_START", 0.2)
    phi = StandIn(awake=False, starts_in=0.5)
    gateway = await gateways(patience=Patience(comments=0.05), phi=phi)
    async with gateway.post(stream=True) as answer:
        await answer.content.readline()
        await gateway.world._record()
        (state,) = [GatewayState.model_validate_json(_state(gateway).read_bytes())]
        assert (state.services[0].state, state.services[0].held) == ("starting", 1)
        assert state.services[0].stage == "assigned"
        await answer.read()
    await gateway.world._record()
    used = gateway.world.usage.totals["team", "phi"]
    assert (used.requests, used.wakeups, used.output_tokens) == (1, 1, 3)
    assert 0.3 < used.held_seconds < 60
    state = GatewayState.model_validate_json(_state(gateway).read_bytes())
    assert state.services[0].state == "ready"
    ((seen,),) = [one.starts for one in state.learned]
    assert 0.3 < seen.seconds < 60
    assert seen.told == 90
    lines = [
        UsageLine.model_validate_json(line)
        for file in _state(gateway).parent.glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert sum(line.output_tokens for line in lines) == 3
    assert sum(line.wakeups for line in lines) == 1


def _state(gateway):
    return gateway.data / "usage" / "gw-1" / "state.json"


async def test_a_share_that_fails_loses_no_usage(gateways):
    """While the share takes no file, requests are answered and nothing that was used is
    forgotten.
    """
    gateway = await gateways(phi=StandIn())
    shutil.rmtree(gateway.data / "usage")
    (gateway.data / "usage").write_bytes(b"not a folder")
    async with gateway.post() as answer:
        assert answer.status == 200
    with pytest.raises(OSError):
        await gateway.world._record()
    (gateway.data / "usage").unlink()
    await gateway.world._record()
    (file,) = (gateway.data / "usage" / "gw-1").glob("*.jsonl")
    assert UsageLine.model_validate_json(file.read_text()).requests == 1
