"""A second run finds everything as it should be: it reads, and writes nothing."""

import re
import subprocess
import sys
from importlib.util import find_spec

from tests.e2e.stage import MOORAGE, service

OURS = {"reconciler", "serving", "tests", "sitecustomize"}
IMPORTED = {
    "aiohappyeyeballs", "aiohttp", "aiosignal", "annotated_doc", "annotated_types", "anyio", "attr",
    "azure", "azure.core", "azure.identity", "azure.mgmt", "azure.mgmt.appcontainers",
    "azure.mgmt.core", "azure.mgmt.storage", "azure.storage", "brotli", "certifi",
    "charset_normalizer", "cronsim", "cryptography", "frozenlist", "idna", "isodate", "markupsafe",
    "msal", "multidict", "prometheus_client", "propcache", "pydantic", "pydantic_core", "pygments",
    "requests", "rich", "ruamel", "shellingham", "sniffio", "structlog", "typer",
    "typing_extensions", "typing_inspection", "urllib3", "watchfiles", "yarl",
}  # fmt: skip


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


def test_a_daemon_imports_what_it_uses_and_nothing_else(stage):
    """Imports are three quarters of a daemon's memory. What the page, the hub, a gateway and the
    chat need is imported when somebody uses them, and no SDK beyond those of the calls.
    """
    stage.code("more")
    stage.save(service("web"), service("more"))
    call = ["up", "-f", str(stage.manifest), "--once", "-y", "--listen", "127.0.0.1:0"]
    settings = {"MOORAGE_STATE_DIR": str(stage.state), "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        [*MOORAGE, *call],
        cwd=stage.root,
        env={**stage.env, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    names = re.findall(r"^import time:[^|]+\|[^|]+\| +(\S+)$", done.stderr, re.MULTILINE)
    assert {"azure.mgmt.appcontainers.aio", "reconciler.web.pages"} <= set(names)
    there = {name for name in names if find_spec(name.partition(".")[0])}  # others were tried
    foreign = {_distribution(name) for name in there} - sys.stdlib_module_names - OURS
    assert sorted(name for name in foreign - IMPORTED if not name.startswith("_")) == []


def _distribution(name):
    """Its top package, or for the Azure SDK, that of the service."""
    steps = name.split(".")
    return ".".join(
        steps[:3] if steps[:2] == ["azure", "mgmt"] else steps[: 1 + (steps[0] == "azure")]
    )
