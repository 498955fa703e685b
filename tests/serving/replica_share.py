"""A share as a replica sees it, written by hand: published adapters, catalogues, and the runtime
with its entry points.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from serving import ENTRY_POINTS
from serving.catalogue import Adapter, AdapterVersion, ApiKey, Catalogue

ROOT = Path(__file__).parents[2]
KEY = "sk-test-0123456789"


class ReplicaShare:
    """`root` is the share's content; `publish` and `catalogue` do what the reconciler does."""

    def __init__(self, root: Path, service: str = "tiny", engine: str = "e1") -> None:
        self.root, self.service, self.engine = root, service, engine
        self.generation = 0
        self.catalogue_folder = root / "services" / service / engine / "catalogue"
        self.reports = root.parent / "replicas"
        self.reports.mkdir(parents=True, exist_ok=True)
        self.catalogue_folder.mkdir(parents=True)

    def publish(self, folder: Path, name: str) -> AdapterVersion:
        """Copy a folder to its content-addressed place, manifest last."""
        files = {
            path.relative_to(folder).as_posix(): [
                path.stat().st_size,
                hashlib.sha256(path.read_bytes()).hexdigest(),
            ]
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        path = f"adapters/{name}/{digest}"
        target = self.root / path
        if not target.exists():
            shutil.copytree(folder, target)
            (target / ".moorage.json").write_text(json.dumps({"digest": digest, "files": files}))
        return AdapterVersion(digest=digest, path=path)

    def write(
        self,
        *adapters: Adapter,
        keys: dict[str, str] | None = None,
        limited: Any = None,
        **more: Any,
    ) -> Catalogue:
        """Write the next generation; `keys` are clear texts by name, `limited` what else there is
        to a key, by name.
        """
        self.generation += 1
        hashed = [
            ApiKey(
                name=n, sha256=hashlib.sha256(k.encode()).hexdigest(), **(limited or {}).get(n, {})
            )
            for n, k in (keys or {"default": KEY}).items()
        ]
        catalogue = Catalogue(
            service=self.service,
            engine=self.engine,
            epoch=0,
            generation=self.generation,
            adapters=adapters,
            api_keys=tuple(hashed),
            **more,
        )
        (self.catalogue_folder / catalogue.file_name).write_bytes(catalogue.dump())
        return catalogue

    def runtime(self) -> Path:
        """The serving package with its entry-point metadata, as `runtime/<digest>` holds it."""
        target = self.root / "runtime" / "test"
        shutil.copytree(
            ROOT / "serving",
            target / "serving",
            ignore=shutil.ignore_patterns("__pycache__", "training"),
            dirs_exist_ok=True,
        )
        info = target / "moorage-0.1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moorage\nVersion: 0.1.0\n")
        groups = (
            (group, name, point)
            for group, points in ENTRY_POINTS.items()
            for name, point in points.items()
        )
        (info / "entry_points.txt").write_text(
            "".join(f"[{group}]\n{name} = {point}\n" for group, name, point in groups)
        )
        return target

    def environment(self, replica: str = "tiny--r1-abc") -> dict[str, str]:
        """What the template sets for a replica, with this share in the place of the mounts."""
        return {
            "PYTHONPATH": str(self.runtime()),
            "MOORAGE_SERVICE": self.service,
            "MOORAGE_ENGINE": self.engine,
            "MOORAGE_SHARE": str(self.root),
            "MOORAGE_REPORTS": str(self.reports),
            "MOORAGE_LOCAL": str(self.root.parent / "local"),
            # vLLM's own cache of this machine serves all tests; benchmarks/compile_cache.py turns it on.
            "MOORAGE_COMPILE_CACHE": "off",
            "CONTAINER_APP_REPLICA_NAME": replica,
            "CONTAINER_APP_REVISION": "tiny--r1",
        }
