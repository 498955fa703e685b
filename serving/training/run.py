"""Runs one recipe: converts the base model if needed, and trains each adapter that is not up to
date.

Beside every made folder lies `<folder>.training/` (record, checkpoint, report); torch is imported
only when there is work.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.training.dataset import Chat, load_chats
from serving.training.errors import TrainingError
from serving.training.fingerprint import (
    CONVERSION_CODE,
    CONVERSION_PACKAGES,
    TRAINING_CODE,
    TRAINING_PACKAGES,
    FileFact,
    Record,
    code_version,
    contents,
    describe_file,
    describe_folder,
    digest,
    folder_stands,
    read_record,
    relative,
    write_record,
)
from serving.training.progress import TrainingProgress
from serving.training.recipe import AdapterRecipe, GgufSource, RecipeBase, load_recipe

WITHOUT_EFFECT = {
    "name",
    "dataset",
    "output",
    "checkpoint_every",
    "samples",
}  # part of the digest, because they change the resulting weights


@dataclass(frozen=True)
class Task:
    """An adapter with its chats, the digest of all that decides it, and the facts the digest was
    made from.
    """

    recipe: AdapterRecipe
    chats: list[Chat]
    inputs: str
    sources: dict[str, FileFact]

    @property
    def work(self) -> Path:
        return beside(self.recipe.output)


def train(path: Path, *, force: bool = False) -> list[Path]:
    """Make everything the recipe at `path` names; returns the adapter folders. Raises TrainingError
    or its InputError.
    """
    recipe, progress = load_recipe(path), TrainingProgress()
    chats = [load_chats(adapter.dataset) for adapter in recipe.adapters]
    with _alone(
        beside(recipe.base.path) if recipe.base.gguf else beside(recipe.adapters[0].output),
        progress,
    ):
        _make_base(recipe.base, progress, force=force)
        pending = []
        for adapter, lines in zip(recipe.adapters, chats, strict=True):
            task = _task(adapter, lines, recipe.base.path)
            if force or not _stands(task):
                pending.append(task)
            else:
                progress.note(f"{adapter.name}: up to date ({relative(adapter.output)})")
        if pending:
            _train_all(pending, recipe.base.path, progress, force=force)
    return [adapter.output for adapter in recipe.adapters]


def beside(folder: Path) -> Path:
    """The folder for everything about a made folder that must not be served with it."""
    return folder.with_name(folder.name + ".training")


def _make_base(base: RecipeBase, progress: TrainingProgress, *, force: bool) -> None:
    """Convert the GGUF file unless the folder is what it gave before. A folder without `gguf` is
    the user's own.
    """
    if base.gguf is None:
        return
    record_path = beside(base.path) / "record.json"
    record = read_record(record_path)
    source = base.gguf.locate()
    known = record.sources.get("gguf") if record else None
    fact = describe_file(source, known)
    inputs = digest(
        {"gguf": fact.sha256, "code": code_version(CONVERSION_CODE, CONVERSION_PACKAGES)}
    )
    if (
        not force
        and record
        and record.inputs == inputs
        and folder_stands(base.path, record.outputs)
    ):
        progress.note(f"{base.path.name}: up to date ({relative(base.path)})")
        return
    _convert(base.gguf, source, base.path, progress)
    write_record(
        record_path,
        Record(inputs=inputs, outputs=describe_folder(base.path), sources={"gguf": fact}),
    )


def _convert(gguf: GgufSource, source: Path, folder: Path, progress: TrainingProgress) -> None:
    from serving.training.conversion import convert

    made = beside(folder) / "model"
    shutil.rmtree(made, ignore_errors=True)
    progress.note(f"{folder.name}: converting {gguf.file} of the package {gguf.package}")
    with progress.steps(folder.name, 1) as advance:
        convert(source, made, lambda done, total: advance(None) if done == total else None)
    _put_in_place(made, folder)


def _task(recipe: AdapterRecipe, chats: list[Chat], base: Path) -> Task:
    record = read_record(beside(recipe.output) / "record.json")
    known = record.sources if record else {}
    base_known = {
        name.removeprefix("base/"): fact for name, fact in known.items() if name.startswith("base/")
    }
    model = describe_folder(base, base_known)
    dataset = describe_file(recipe.dataset, known.get("dataset"))
    inputs = digest(
        {
            "recipe": recipe.model_dump(mode="json", exclude=WITHOUT_EFFECT),
            "dataset": dataset.sha256,
            "base": {"name": base.name, "files": contents(model)},
            "code": code_version(TRAINING_CODE, TRAINING_PACKAGES),
        }
    )
    return Task(
        recipe,
        chats,
        inputs,
        {"dataset": dataset, **{f"base/{name}": fact for name, fact in model.items()}},
    )


def _stands(task: Task) -> bool:
    record = read_record(task.work / "record.json")
    return (
        record is not None
        and record.inputs == task.inputs
        and folder_stands(task.recipe.output, record.outputs)
    )


def _train_all(
    tasks: list[Task], base_path: Path, progress: TrainingProgress, *, force: bool
) -> None:
    progress.note(
        f"training {', '.join(task.recipe.name for task in tasks)} on {base_path.name}: loading the"
        " model"
    )
    # Waiting threads sleep instead of spinning: that is twice as fast on a busy machine and costs
    # nothing on an idle one. OpenMP reads it when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from serving.training.fit import fit, load_base
        from serving.training.report import write_report
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"training needs the package {error.name}; `make install` brings it"
        ) from None
    base = load_base(base_path)
    for task in tasks:
        recipe, work = task.recipe, task.work
        work.mkdir(parents=True, exist_ok=True)
        if force:
            (work / "checkpoint.pt").unlink(missing_ok=True)
        outcome = fit(base, recipe, task.chats, work, task.inputs, progress)
        _put_in_place(work / "adapter", recipe.output)
        outputs = describe_folder(recipe.output)
        write_report(work, recipe, base, outcome, task.inputs, outputs)
        write_record(
            work / "record.json", Record(inputs=task.inputs, outputs=outputs, sources=task.sources)
        )
        (work / "checkpoint.pt").unlink(missing_ok=True)
        loss = (
            ""
            if outcome.loss_after is None
            else f", held-out loss {outcome.loss_before:.2f} -> {outcome.loss_after:.2f}"
        )
        progress.note(
            f"{recipe.name}: trained in {outcome.seconds:.0f} s{loss} ({relative(recipe.output)})"
        )
        for sample in outcome.samples:
            progress.note(
                f"  {sample['question']}\n    base: {sample['base']}\n    {recipe.name}:"
                f" {sample['adapter']}"
            )


def _put_in_place(made: Path, folder: Path) -> None:
    """Swap a finished folder in by renames, so that a watcher sees the old one or the new one and
    never a half.
    """
    old = made.with_name(made.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(work: Path, progress: TrainingProgress) -> Iterator[None]:
    """A lock: of two runs of one recipe the second waits, and then finds everything up to date."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        said = False
        while not _taken(lock.fileno()):
            if not said:
                progress.note("another training run works in this folder; waiting for it")
            said = True
            time.sleep(0.2)
        yield


def _taken(file: int) -> bool:
    """Whether the lock is ours now; it ends with the file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
