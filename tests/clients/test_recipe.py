"""What docs/local-azure.md tells a user to type, typed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_page_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    """Every block of the page runs, in order, with nothing but Moorage, az and azcopy on
    the path.
    """
    az, azcopy = installed("az"), installed("azcopy")
    blocks = re.findall(
        r"^```bash\n(.*?)^```",
        (ROOT / "docs" / "local-azure.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "az").write_text(f'#!/bin/sh\nexec {az}/bin/python -m azure.cli "$@"\n')
    (tmp_path / "bin" / "az").chmod(0o755)
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/share.md"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    environment = {
        "PATH": f"{tmp_path}/bin:{ROOT}/.venv/bin:{azcopy}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{azcopy}/lib/usr/lib/x86_64-linux-gnu",
        "HOME": str(tmp_path),
    }
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(
            [ROOT / ".venv/bin/moorage", "local-azure", "stop"],
            cwd=tmp_path,
            env=environment,
            check=True,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / ".moorage/back/docs/share.md").read_text() == (
        ROOT / "docs/share.md"
    ).read_text()
