"""A failure of the night as the page tells it in the morning: the log lines at that moment, whole."""

import re

import aiohttp
import pytest

from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.engine.events import warning
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.web.axes import split_lines
from tests.web.worlds import NOW, World

PHI = DocumentRef("InferenceService", "phi")
FIRST = 'File "/app/app.py", line 34, in <module>'
LAST = "ValueError: invalid literal for int() with base 10: 'oops'"
CUT = (
    f"m.yaml:20: revision phi--r2: Container crashing. phi's last output: {FIRST} | ValueError:"
    " invalid literal for int() with ..."
)


@pytest.mark.parametrize("state", ["serves", "is to serve again"])
def test_what_holds_after_a_rollback_is_no_line_of_the_log(state):
    """The sentence follows the lines in the message, and stands apart from them on the page."""
    holds = f"revision phi--r1 {state} until the document's spec changes"
    text, lines = split_lines(f"{CUT}; {holds}")
    assert text.endswith(f"is below. {holds}")
    assert lines == (FIRST, "ValueError: invalid literal for int() with ...")


async def test_a_rollback_shows_the_last_line_whole():
    """A rollback keeps its cause cut; the event of the failure has the word that explains it."""
    world = World()
    world.service("phi", "held")
    world._held("phi", PHI, CUT)
    said = f"revision phi--r2 fails. phi's last output: {FIRST} | {LAST}. phi--r1 still serves"
    event = warning(Reason.REVISION_FAILED, said, ObjectKey(Kind.APP, "phi"), PHI)
    world.store.add_event(event, NOW.timestamp() - 60)
    async with world.served() as address, aiohttp.ClientSession() as http:
        page = await (await http.get(f"{address}/services/phi")).text()
    (lines,) = re.findall(r'<pre class="lines"[^>]*>([^<]*)</pre>', page)
    assert lines.splitlines()[-1] == LAST.replace("'", "&#39;")
    assert page.count("&#39;oops&#39;") == 2  # in the timeline too
    assert "revision phi--r1 serves until" not in lines
