"""A second run finds everything as it should be: it reads, and writes nothing."""

from tests.e2e.stage import service


def test_a_second_run_writes_nothing(stage):
    """`up --once` twice: the second ends well without one write, and costs a bounded number of
    calls.
    """
    stage.code("web")
    stage.save(service("web"))
    stage.once()
    before = len(stage.journal())
    done = stage.once()
    assert "everything matches the documents" in done.stdout
    assert stage.writes(since=before) == []
    entries = [
        entry
        for entry in stage.json("local-azure", "journal")["requests"][before:]
        if entry["plane"] != "login"
    ]
    calls = [
        f"{e['method']} {e['path']}"
        for e in entries
        if e["client"].startswith("moorage/") and "comp=lease" not in e["query"]
    ]
    assert len(calls) <= 20, calls


def test_a_lost_cache_costs_no_write(stage):
    """Without state.db the daemon knows as much as Azure and the share tell, which is
    all it needs.
    """
    for path in (stage.state / "daemon" / "local").glob("state.db*"):
        path.unlink()
    before = len(stage.journal())
    stage.once()
    assert stage.writes(since=before) == []


def test_a_plan_after_a_run_is_empty(stage):
    """`plan` sees with the same eyes: nothing to do, exit code 0 with --detailed-exitcode, no
    write.
    """
    before = len(stage.journal())
    done = stage.moorage("plan", "-f", str(stage.manifest), "--detailed-exitcode")
    assert "nothing to do" in done.stdout
    assert stage.writes(since=before) == []
