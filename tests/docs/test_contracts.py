"""The import contracts in pyproject.toml bite: each refuses an import it must not allow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# What is wrongly written, where, and the contract that has to say so.
WRONG = [
    ("reconciler/engine/queue.py", "import reconciler.arm.ids", "reconciler's layers"),
    ("reconciler/web/server.py", "import reconciler.sources.files", "reconciler's layers"),
    ("reconciler/stray.py", "", "reconciler's layers"),
    ("reconciler/edges/saves.py", "import reconciler.intake", "reconciler's layers"),
    ("reconciler/kinds/service/quota.py", "import azure.identity", "azure is imported only"),
    ("serving/request/keys.py", "import azure.identity", "azure is imported only"),
    ("reconciler/api/names.py", "import serving.engine", "reconciler takes the catalogue"),
    ("reconciler/cli/key.py", "import serving.stray", "reconciler takes the catalogue"),
    ("serving/catalogue.py", "import serving.replica", "serving's layers"),
    ("serving/stray.py", "", "serving's layers"),
    ("serving/request/answers.py", "import serving.request.keys", "a request is judged"),
    ("serving/inspection/base.py", "import serving.inspection.fit", "an adapter is judged"),
    ("serving/gateway/routes.py", "import serving.gateway.world", "the gateway's layers"),
    ("serving/training/recipe.py", "import serving.training.run", "a training's layers"),
    ("serving/hub.py", "import reconciler.api.hub", "know nothing of the reconciler"),
    ("infra/local_azure/server.py", "import reconciler.api.hub", "know nothing of the reconciler"),
    ("infra/local_azure/server.py", "import serving.catalogue", "shares no code"),
    (
        "infra/local_azure/arm/front.py",
        "import infra.local_azure.providers.lock",
        "the local Azure's layers",
    ),
    ("infra/local_azure/stray.py", "", "the local Azure's layers"),
    ("reconciler/daemon.py", "import infra.local_azure.server", "reached over HTTPS"),
    ("serving/replica.py", "import infra.local_azure.server", "reached over HTTPS"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """What the linter says, by contract, of a copy of the code with everything in WRONG in it."""
    copy = tmp_path_factory.mktemp("wrong")
    for package in ("reconciler", "serving", "infra"):
        shutil.copytree(
            REPOSITORY / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    for file, line, _ in WRONG:
        with (copy / file).open("a", encoding="utf-8") as source:
            source.write(f"\n{line}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"],
        check=False,
        cwd=copy,
        env={"PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    broken = done.stdout.partition("Broken contracts\n")[2]
    parts = re.split(r"\n(?P<name>[^\n]+)\n-{5,}\n", broken)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("file", "line", "contract"), WRONG)
def test_a_forbidden_import_breaks_its_contract(verdicts, file, line, contract):
    """The linter names the contract and the import, or the module that no layer places."""
    (said,) = [text for name, text in verdicts.items() if contract in name]
    importer = file.removesuffix(".py").replace("/", ".")
    said = " ".join(said.split())
    if line:
        imported = line.removeprefix("import ")
        assert re.search(rf"\b{re.escape(importer)}\b.*{re.escape(imported.split('.')[0])}", said)
        assert f"{importer} -> {_shown(imported)}" in said
    else:
        assert re.search(rf"The following .*\b{re.escape(importer)}\b.*exhaustive", said)


def test_every_contract_is_tried(verdicts):
    """A contract without a wrong import in WRONG may be one that cannot fail."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    names = re.findall(r'\[\[tool\.importlinter\.contracts\]\]\nname = "(.+)"', text)
    assert [name for name in names if not any(tried in name for _, _, tried in WRONG)] == []


def _shown(imported):
    """The linter sees a package of somebody else's as one module."""
    return "azure" if imported.startswith("azure") else imported
