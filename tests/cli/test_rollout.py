"""Rollouts under way on a terminal: stages, seconds against the prediction, a bar."""

import re

import pytest

from reconciler.cli.output.rollout import arrivals, rollout_lines, rollouts_of
from reconciler.web import view
from reconciler.web.stages import RolloutStage, StageState
from reconciler.web.view import stages
from tests.cli.statuses import service, status
from tests.web.worlds import STATES, World, many

MESSAGE = "reading weights from the share, which takes as long as the share is slow at this time"
STEPS = (
    RolloutStage("Azure resources", StageState.DONE),
    RolloutStage("Files on the share", StageState.DONE),
    RolloutStage("Replica", StageState.NOW, MESSAGE, 41.0, 300),
    RolloutStage("Adapters", StageState.TO_COME),
)


def test_a_start_is_shown_against_its_prediction():
    """What is done, what is now with its seconds and a bar, what is to come."""
    lines = rollout_lines({"phi": STEPS}, 120)
    assert lines[0] == "phi"
    assert lines[1].split() == ["✓", "Azure", "resources", "done"]
    now = next(line for line in lines if "▸" in line)
    assert "for 41 s (300 s predicted)" in now
    assert "━━──" in now
    assert lines[-1].split() == ["·", "Adapters", "to", "come"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits_the_width_and_cuts_no_word(width):
    """Narrow terminals lose the bar first; what is left of the message ends between words."""
    lines = rollout_lines({"phi": STEPS}, width)
    assert max(map(len, lines)) <= width
    assert ("━" in "".join(lines)) == (width >= 80)
    words = set(re.findall(r"\w+", "\n".join(lines)))
    known = set(re.findall(r"\w+", f"phi {MESSAGE} done to come for 41 s 300 predicted"))
    assert words <= known | {word for step in STEPS for word in step.name.split()}


def test_a_bar_is_full_when_the_prediction_is_over():
    """A start that takes longer than predicted leaves no bar behind its end."""
    late = RolloutStage("Replica", StageState.NOW, "", 900.0, 300)
    assert "━" * 20 in "\n".join(rollout_lines({"phi": [late]}, 80))


def test_only_what_moves_is_shown():
    """A service at rest has no stages; one that starts has."""
    world = World()
    world.service("calm")
    world.service("new", "starts")
    found = rollouts_of(world.store, "local Azure")
    assert list(found) == ["new"]
    assert [step.name for step in found["new"] if step.state == "now"] == ["Replica"]


def test_services_at_rest_cost_nothing(monkeypatch):
    """Of a thousand services those that move are viewed alone; each state has the stages that the
    whole view gives it.
    """
    world, viewed = many(60), []
    for state in STATES:
        world.service(f"in-{state}", state)
    whole = world.look()
    found = {each.name: stages(world.store, whole, each) for each in whole.services}
    expected = {name: steps for name, steps in found.items() if steps}
    viewing = view.document_view
    monkeypatch.setattr(
        view, "document_view", lambda row, *rest: viewed.append(row) or viewing(row, *rest)
    )
    told = rollouts_of(world.store, "local Azure")
    assert told.keys() == expected.keys()
    assert {n: [s.name for s in each] for n, each in told.items()} == {
        n: [s.name for s in each] for n, each in expected.items()
    }
    calm = [each.ref for each in whole.services if each.name == "in-serves"]
    assert calm
    assert not {row.ref for row in viewed}.intersection(calm)


def test_a_pipe_gets_one_line_when_a_stage_ends():
    """With what was predicted; the same end is told once."""
    ready = RolloutStage("Replica", StageState.DONE, "", 212.0, 300)
    before, now = {"phi": STEPS}, {"phi": (*STEPS[:2], ready)}
    assert list(arrivals(before, now)) == [
        ("phi", "replica is done in 212 s (300 s predicted)"),
    ]
    assert list(arrivals(now, now)) == []


def test_the_status_of_a_terminal_has_them_and_a_pipe_has_not():
    """They change every second, and whoever reads a pipe would get the status every second."""
    from reconciler.cli.output.status_text import lines_of

    value = status(service())
    wide = "\n".join(line.plain for line in lines_of(value, "t", 80, {"phi": STEPS}))
    assert "▸ Replica" in wide
    assert "▸" not in "\n".join(line.plain for line in lines_of(value, "t", None, {"phi": STEPS}))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_upload_has_a_bar_by_its_bytes(width):
    """Beside bytes, rate and time left, which stay whole on a narrow terminal."""
    said = "29 MiB of 58 MiB uploaded, 6 MiB/s, about 4 s left"
    step = RolloutStage("Files on the share", StageState.NOW, said, 5.0)
    text = "\n".join(rollout_lines({"phi": [step]}, width))
    assert ("━" * 10 + "─" * 10 in text) == (width >= 80)
    assert re.sub(r"\s+", " ", said) in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_many_services_have_their_present_stage_alone(width):
    """A line each, so that a screen shows all; the same where all stages of few have no room."""
    lines = rollout_lines({f"s{n}": STEPS for n in range(30)}, width)
    assert len(lines) <= 60
    assert sum(line.startswith("▸ s") for line in lines) == 30
    assert max(map(len, lines)) <= width
    assert len(rollout_lines({"a": STEPS, "b": STEPS}, 120, 6)) == 2
    assert len(rollout_lines({"a": STEPS}, 120, 3)) == len(rollout_lines({"a": STEPS}, 120))
