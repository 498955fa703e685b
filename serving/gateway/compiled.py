"""All modules of the gateway's runtime, compiled, in one file beside them. The share is mounted
read-only, so that without this file every start compiles every module again, and reads each from
the share.

The daemon packs the file; __main__.py finds modules in it. A file of another Python is ignored.
"""

from __future__ import annotations

import marshal
import sys
import warnings
import zlib
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

NAME = "modules.compiled"
_HEAD = b"moorage modules 1\n" + MAGIC_NUMBER
# Later versions of the format depend on how often the compiling process uses an object; the same
# modules must give the same bytes, or each restart of the daemon would replace the gateway.
_REPRODUCIBLE = 2


def pack(files: Mapping[str, bytes]) -> bytes:
    """The content of the file, made of the modules among `files` (bytes by relative path). What
    cannot be compiled is left out, and imported from its source if ever.
    """
    packed = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(files):
            if not path.endswith(".py"):
                continue
            try:
                code = compile(files[path], path, "exec", dont_inherit=True, optimize=0)
                packed[path] = zlib.compress(marshal.dumps(code, _REPRODUCIBLE))
            except (SyntaxError, ValueError):
                continue
    return _HEAD + marshal.dumps(packed, _REPRODUCIBLE)


def find_compiled(folder: Path | None = None) -> bool:
    """Import the modules of `folder`, by default the runtime that this file belongs to, from its
    compiled modules. Returns whether there are any that this Python can use.
    """
    folder = folder or Path(__file__).parents[2]
    try:
        data = (folder / NAME).read_bytes()
        if not data.startswith(_HEAD):
            return False
        packed = marshal.loads(data[len(_HEAD) :])  # noqa: S302 (trusted like the sources)
    except (OSError, ValueError, EOFError, TypeError):
        return False
    # After the built-in modules, before the folders of sys.path.
    sys.meta_path.insert(sys.meta_path.index(PathFinder), _Finder(folder, packed))
    return True


class _Finder:
    """A finder of sys.meta_path."""

    def __init__(self, folder: Path, packed: Mapping[str, bytes]) -> None:
        self._folder, self._packed = str(folder), packed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        base = name.replace(".", "/")
        for file, package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
            if file in self._packed:
                place = f"{self._folder}/{file}"
                return spec_from_file_location(
                    name,
                    place,
                    loader=_Loader(name, place, self._packed[file]),
                    submodule_search_locations=[f"{self._folder}/{base}"] if package else None,
                )
        return None


class _Loader(SourceFileLoader):
    """The source stays where tracebacks look for it."""

    def __init__(self, name: str, path: str, packed: bytes) -> None:
        super().__init__(name, path)
        self._packed = packed

    def get_code(self, fullname: str) -> CodeType | None:
        try:
            code = marshal.loads(zlib.decompress(self._packed))  # noqa: S302 (as above)
        except (ValueError, EOFError, TypeError, zlib.error):
            code = None
        return code if isinstance(code, CodeType) else super().get_code(fullname)
