"""Records ARM requests with both bodies, for tests that compare them with Azure's types. The file
holds secrets.

Only an environment variable turns it on, no command and no setting. Written by the server.
"""

import json
import os
from typing import Any

from .journal import short_client


class Exchanges:
    """Appends one JSON line for each answered request; does nothing if no file is named."""

    VARIABLE = "LOCAL_AZURE_EXCHANGES"

    def __init__(self) -> None:
        path = os.environ.get(self.VARIABLE)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if path else None

    def write(
        self, method: str, path: str, query: str, client: str, sent: bytes, status: int, answer: Any
    ) -> None:
        if self._file is not None:
            entry = {
                "method": method,
                "path": path,
                "query": query,
                "client": short_client(client),
                "status": status,
            }
            text = sent.decode("utf-8", "replace")
            os.write(
                self._file, (json.dumps({**entry, "sent": text, "answer": answer}) + "\n").encode()
            )
