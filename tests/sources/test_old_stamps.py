"""A network mount may show the old times and sizes of a file for a while."""

import asyncio
from contextlib import aclosing

from reconciler.api.path_stamps import PathStamps
from reconciler.sources.documents import DocumentSource
from reconciler.sources.files import FileSource

SERVICE = """\
kind: InferenceService
metadata: {{name: web}}
spec: {{code: ./code, command: [run], targetPort: {port}}}
"""


async def test_old_stamps_hide_no_save(tmp_path, monkeypatch):
    """The slow reading of everything finds the save, and so does the reading that follows it."""
    monkeypatch.setattr(PathStamps, "of", lambda _self, _path: "always the same")
    file = tmp_path / "web.yaml"
    (tmp_path / "code").mkdir()
    file.write_text(SERVICE.format(port=80))
    documents = DocumentSource([file], tmp_path / "cache")
    source = FileSource([file], documents.stats, quiet=0.05, reread=0.3, doubt=documents.doubt)
    async with aclosing(source.watch(asyncio.Event())) as edges, asyncio.timeout(60):
        await anext(edges)
        assert documents._load().documents[0].document.spec.target_port == 80
        file.write_text(SERVICE.format(port=81))
        await anext(edges)
        assert documents._load().documents[0].document.spec.target_port == 81
