"""Finds the catalogue a replica should follow: the highest valid one in a folder on a share that
may be stale or torn.

A file on the share counts only with its right hash, and a catalogue that was valid stays in use
while the folder cannot be read. Blocking; replica.py calls it in a thread.
"""

from __future__ import annotations

from pathlib import Path

from serving.catalogue import FILE_NAME, LONGEST, Catalogue
from serving.untrusted import UntrustedError, read


class CatalogueWatch:
    """Level-triggered: each read looks at the whole folder. `problem` says why the last look found
    nothing new, or is empty.
    """

    def __init__(self, folder: Path, service: str, engine: str) -> None:
        self._folder, self._service, self._engine = folder, service, engine
        self.current: Catalogue | None = None
        self.problem = ""

    def read(self) -> Catalogue | None:
        """The best catalogue seen so far, or None before there is any. Never raises for an error of
        the share.
        """
        current = self.current.file_name if self.current else ""
        try:
            names = sorted(
                (path.name for path in self._folder.iterdir() if FILE_NAME.match(path.name)),
                reverse=True,
            )
        except OSError as error:
            self.problem = f"the catalogue folder cannot be read: {error.strerror or error}"
            return self.current
        self.problem = "" if names or self.current else "there is no catalogue yet"
        for name in names:
            # Never return to an older catalogue, because a stale listing of the share may show only
            # older ones.
            if name <= current:
                break
            catalogue = self._valid(name)
            if catalogue is not None:
                self.current = catalogue
                break
        return self.current

    def _valid(self, name: str) -> Catalogue | None:
        try:
            catalogue = Catalogue.load(read(self._folder / name, LONGEST))
        except (OSError, UntrustedError) as error:
            self.problem = f"{name} cannot be read: {getattr(error, 'strerror', '') or error}"
            return None
        if catalogue is None:
            self.problem = f"{name} does not match its own hash"
        elif (catalogue.file_name, catalogue.service, catalogue.engine) != (
            name,
            self._service,
            self._engine,
        ):
            self.problem = f"{name} was written for something else"
            catalogue = None
        return catalogue
