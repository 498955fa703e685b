import json
import textwrap
from types import SimpleNamespace

import pytest

from reconciler.api.manifest import ManifestError, load


@pytest.fixture
def manifest(tmp_path):
    """Write texts beside a set of source folders, and load them."""
    for folder in ("models/phi", "adapters/a", "adapters/b", "inference"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models" / "phi" / "config.json").write_text("{}")
    (tmp_path / "models" / "phi" / "pytorch_model.bin").touch()
    (tmp_path / "inference" / "app.py").write_text("print('hello')\n")

    def write(text, name="m.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text)) if isinstance(text, str) else path.write_bytes(text)
        return path

    def problems(*texts):
        files = [write(text, f"m{i or ''}.yaml") for i, text in enumerate(texts)]
        with pytest.raises(ManifestError) as caught:
            load(files).without_faults()
        return [
            str(problem._replace(file=problem.file.relative_to(tmp_path))).replace(
                str(tmp_path), "/tmp"
            )
            for problem in caught.value.problems
        ]

    def loaded(*texts):
        return load([write(text, f"m{i or ''}.yaml") for i, text in enumerate(texts)])

    return SimpleNamespace(write=write, problems=problems, load=loaded, path=tmp_path, json=json)
