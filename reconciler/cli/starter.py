"""A first document for a folder: what lies there, and the commented YAML that serves it. `init`
asks for what is missing and writes the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.toolkit.choice import service_name
from reconciler.toolkit.document import scalar
from serving.preflight import check_adapter

DEPTH = 4  # folders below the one that is looked at
MOST = 5000  # folders that are looked at; a home folder has more
_NOT_OURS = {".git", ".moorage", ".venv", "venv", "node_modules", "__pycache__"}
_CHECKPOINT = ("checkpoint-", "checkpoints", "runs")


@dataclass(frozen=True)
class FoundAdapter:
    """A folder as peft writes it, below the folder that was looked at. `base` is the name of the
    model that it was trained on, `problem` why it cannot be served.
    """

    path: str
    base: str
    problem: str = ""


@dataclass(frozen=True)
class FoundHere:
    """What a folder holds: models as save_pretrained writes them, adapters, and whether it is an AI
    Toolkit project.
    """

    models: tuple[str, ...] = ()
    adapters: tuple[FoundAdapter, ...] = ()
    is_toolkit: bool = False


def look(root: Path) -> FoundHere:
    """What lies in `root` and its folders; links are not followed."""
    models, adapters = [], []
    for folder, names in _folders(root):
        path = folder.relative_to(root).as_posix()
        if "adapter_config.json" in names:
            found = check_adapter(folder)
            problem = found.problems[0] if found.problems else ""
            adapters.append(FoundAdapter(path, found.base_model or "", problem))
        elif "config.json" in names and any(
            name.endswith((".safetensors", ".safetensors.index.json")) for name in names
        ):
            models.append(path)
    is_toolkit = (root / "infra" / "provision" / "inference.parameters.json").is_file()
    return FoundHere(tuple(models), tuple(adapters), is_toolkit)


def _folders(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Every folder to look at, with the names of its files."""
    for count, (folder, folders, files) in enumerate(os.walk(root)):
        if count >= MOST:
            return
        here = Path(folder)
        depth = len(here.relative_to(root).parts)
        folders[:] = sorted(
            name
            for name in folders
            if depth < DEPTH and name not in _NOT_OURS and not name.startswith((".", *_CHECKPOINT))
        )
        yield here, set(files)


def model_for(found: FoundHere, root: Path) -> tuple[str, ...]:
    """The sources that the base model may be: the only model in the folder, or what the adapters
    say that they were trained on. One is an answer, several are a question.
    """
    if len(found.models) == 1:
        return (f"./{found.models[0]}",)
    bases = dict.fromkeys(each.base for each in found.adapters if each.base)
    named = {_plain(base) for base in bases}
    fitting = [f"./{path}" for path in found.models if _plain(path) in named]
    if fitting or found.models:
        return tuple(fitting or (f"./{path}" for path in found.models))
    return tuple(filter(None, (_source_of(base, root) for base in bases)))


def _plain(name: str) -> str:
    """The last part of a path or a repository's name, in letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.rstrip("/").rpartition("/")[2].lower())


def _source_of(base: str, root: Path) -> str:
    """The source of a base model as an adapter names it: a folder that is here, or a repository of
    Hugging Face; empty for a folder of another machine.
    """
    if (root / base).is_dir():
        return f"./{os.path.relpath(root / base, root)}"
    owner, slash, name = base.partition("/")
    return f"hf://{owner}/{name}@main" if slash and owner and name and "/" not in name else ""


HEAD = """\
# A model and its LoRA adapters as an OpenAI endpoint. `moorage up` serves it and applies
# what you save here. docs/documents.md lists all fields.
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: {name}}}
spec:
  # The base model: a folder as save_pretrained writes it, share://PATH on the file share,
  # or hf://ORG/NAME@REVISION. Pin a commit: a branch such as main moves.
  model: {{source: {model}}}
  # LoRA adapters as peft writes them. A client chooses one by its name. Save a retrained
  # adapter into its folder, and every replica takes it without a restart.
"""
NO_ADAPTERS = "  # adapters: [{name: support, source: share://adapters/support}]\n"
TAIL = """\
  # With 0 replicas nothing is billed while nobody asks; the next request waits for a start.
  # scale: {minReplicas: 0, maxReplicas: 1}
  # Options of vLLM. Moorage derives those about LoRA.
  # engine: {args: {max-model-len: 2048}}
  # API keys by name; `moorage key {name}` prints a value.
  # auth: {apiKeys: [{name: default}]}
"""


def document(
    name: str,
    model: str,
    adapters: Sequence[tuple[str, str]],
    location: str = "",
    resource_group: str = "",
) -> str:
    """The commented YAML. Every line that is commented out is valid once its `# ` is removed."""
    listed = "".join(
        f"    - {{name: {scalar(each)}, source: {scalar(source)}}}\n" for each, source in adapters
    )
    body = HEAD.format(name=scalar(name), model=scalar(model))
    served = f"  adapters:\n{listed}" if adapters else NO_ADAPTERS
    tail = TAIL.replace("{name}", name)
    return "".join([*_environment(location, resource_group), body, served, tail])


def _environment(location: str, resource_group: str) -> Iterator[str]:
    if not (location or resource_group):
        return
    yield "# What services share. `moorage plan` names everything that is derived from it.\n"
    yield "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: default}\nspec:\n"
    if resource_group:
        yield f"  resourceGroup: {scalar(resource_group)}\n"
    if location:
        yield f"  location: {scalar(location)}\n"
    yield "---\n"


def adapter_name(path: str, taken: Sequence[str]) -> str:
    """A name for the adapter in a folder: the folder's own, made fit for a model's name."""
    stem = service_name(Path(path).name) or "adapter"
    number = 2
    name = stem
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
