"""A file of documents that a command is about to change: its text, its new text, and the write,
which is whole or not at all. Used by `accept`.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.exits import CommandError, Exit, words

_BOM = "\ufeff"


@dataclass(frozen=True)
class DocumentFile:
    """`data` are the bytes that were read, `new` the text that is to be there."""

    path: Path
    data: bytes
    new: str

    @classmethod
    def read(cls, path: Path) -> DocumentFile:
        """The file as it is.

        Raises:
            CommandError: it is a link, or cannot be read.
        """
        try:
            if path.is_symlink():
                real = path.resolve()
                text = f"{path} is a link to {real}: name that file with -f to have it changed."
                raise CommandError(text, Exit.INVALID)
            data = path.read_bytes()
            return cls(path, data, data.decode("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {words(error)}", Exit.INVALID) from None

    @property
    def text(self) -> str:
        return self.data.decode("utf-8-sig")

    def difference(self) -> Iterator[str]:
        """What the write changes, as `diff -u` shows it."""
        before, after = (each.splitlines(keepends=True) for each in (self.text, self.new))
        name = str(self.path)
        for line in difflib.unified_diff(before, after, name, name, n=2):
            yield line if line.endswith("\n") else f"{line}\n"

    def write(self) -> None:
        """Replace the file by one with the new text and the same mode.

        Raises:
            CommandError: somebody changed it meanwhile, or it cannot be written.
        """
        temporary: Path | None = None
        try:
            mode = self.path.lstat().st_mode & 0o7777
            bom = _BOM if self.data.startswith(_BOM.encode()) else ""
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            temporary = Path(name)
            with os.fdopen(handle, "wb") as stream:
                stream.write((bom + self.new).encode())
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(mode)
            if self.path.is_symlink() or self.path.read_bytes() != self.data:
                text = f"{self.path} was changed meanwhile: nothing is written. Try again."
                raise CommandError(text, Exit.FAILED)
            temporary.replace(self.path)
            temporary = None
        except OSError as error:
            raise CommandError(f"{self.path} cannot be written: {words(error)}") from None
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
