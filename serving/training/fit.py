"""Trains one LoRA adapter on a loaded base, in float32 on a CPU and bfloat16 on a GPU. The same
seed gives the same numbers.

`run` decides whether training is needed; `report` writes down the result.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from serving.training.dataset import Chat, split_chats
from serving.training.encoding import IGNORED, Batch, Example, batch_order, collate, encode
from serving.training.errors import TrainingError
from serving.training.progress import TrainingProgress
from serving.training.recipe import AdapterRecipe

WARMUP_STEPS = 3
SAMPLE_TOKENS = 32


@dataclass(frozen=True)
class LoadedBase:
    """A base model, frozen, on its device. Loaded once for all adapters of a recipe."""

    model: Any
    tokenizer: Any
    device: torch.device
    name: str


@dataclass
class Fit:
    """What training saw: one loss per step (nats per answer token), held-out loss before and after,
    sampled answers.
    """

    losses: list[float] = field(default_factory=list)
    resumed_at: int = 0
    seconds: float = 0.0
    evaluation_chats: int = 0
    loss_before: float | None = None
    loss_after: float | None = None
    parameters: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)


def load_base(path: Path) -> LoadedBase:
    """Load a Hugging Face folder. Raises TrainingError when transformers cannot read it."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True).to(
            device
        )
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{path}: not a model that transformers can load: {error}") from None
    model.requires_grad_(requires_grad=False)
    return LoadedBase(model, tokenizer, device, path.name)


def fit(
    base: LoadedBase,
    recipe: AdapterRecipe,
    chats: Sequence[Chat],
    work: Path,
    inputs: str,
    progress: TrainingProgress,
) -> Fit:
    """Train `recipe` and leave the adapter in `work`/adapter. Training continues from a
    checkpoint in `work` of the same `inputs`.
    """
    started = time.monotonic()
    _make_deterministic(recipe.seed)
    training, held_out = split_chats(chats, recipe.evaluation, recipe.seed)
    examples = encode(training, base.tokenizer, recipe.dataset, recipe.max_tokens)
    evaluation = encode(held_out, base.tokenizer, recipe.dataset, recipe.max_tokens)
    model = _with_adapter(base, recipe)
    try:
        outcome = Fit(
            evaluation_chats=len(held_out),
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        )
        _train(
            model,
            base,
            recipe,
            examples,
            evaluation,
            work / "checkpoint.pt",
            inputs,
            outcome,
            progress,
        )
        _save(model, base.name, work / "adapter")
        progress.note(
            f"{recipe.name}: asking {len(recipe.samples)} sample question"
            f"{'' if len(recipe.samples) == 1 else 's'}"
        ) if recipe.samples else None
        outcome.samples = [_sample(model, base, question) for question in recipe.samples]
    finally:
        model.unload()
    outcome.seconds = time.monotonic() - started
    return outcome


def _make_deterministic(seed: int) -> None:
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # CUDA needs it for deterministic sums
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.manual_seed(seed)


def _with_adapter(base: LoadedBase, recipe: AdapterRecipe) -> Any:
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha if recipe.alpha % 1 else int(recipe.alpha),
        target_modules=sorted(recipe.target_modules),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base.model, config)
    except ValueError as error:
        raise TrainingError(f"{recipe.name}: {error}") from None


def _train(
    model: Any,
    base: LoadedBase,
    recipe: AdapterRecipe,
    examples: list[Example],
    evaluation: list[Example],
    checkpoint: Path,
    inputs: str,
    outcome: Fit,
    progress: TrainingProgress,
) -> None:
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    _resume(model, optimizer, checkpoint, inputs, outcome)
    padding = (
        base.tokenizer.pad_token_id
        if base.tokenizer.pad_token_id is not None
        else base.tokenizer.eos_token_id
    )
    if not outcome.resumed_at:
        outcome.loss_before = _evaluate(model, base, evaluation, padding)
    orders = batch_order(len(examples), min(recipe.batch_size, len(examples)), recipe.seed)
    model.train()
    with progress.steps(recipe.name, recipe.steps, outcome.resumed_at) as advance:
        for step, order in enumerate(
            islice(orders, outcome.resumed_at, recipe.steps), outcome.resumed_at
        ):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe.steps)
            batch = collate([examples[index] for index in order], padding).to(base.device)
            loss = _loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            outcome.losses.append(round(loss.item(), 6))
            if (step + 1) % recipe.checkpoint_every == 0 and step + 1 < recipe.steps:
                _checkpoint(model, optimizer, checkpoint, inputs, outcome)
            advance(outcome.losses[-1])
    outcome.loss_after = _evaluate(model, base, evaluation, padding)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay; never zero, so that the last step still counts."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (1 - step / steps)


def _loss(model: Any, batch: Batch) -> torch.Tensor:
    """Mean cross entropy over answer tokens. Logits are made for the answers' columns only: a third
    of the time saved.
    """
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        logits_to_keep=batch.answer_width + 1,
        use_cache=False,
    ).logits
    predicted = logits[:, :-1].float().flatten(0, 1)
    return torch.nn.functional.cross_entropy(
        predicted, batch.labels[:, -batch.answer_width :].flatten(), ignore_index=IGNORED
    )


def _evaluate(
    model: Any, base: LoadedBase, examples: list[Example], padding: int, size: int = 8
) -> float | None:
    if not examples:
        return None
    model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            count = sum(len(example.answer) for example in part)
            total += _loss(model, collate(part, padding).to(base.device)).item() * count
            tokens += count
    return round(total / tokens, 6)


def _checkpoint(
    model: Any, optimizer: torch.optim.Optimizer, path: Path, inputs: str, outcome: Fit
) -> None:
    state = {
        "inputs": inputs,
        "losses": outcome.losses,
        "loss_before": outcome.loss_before,
        "adapter": get_peft_model_state_dict(model),
        "optimizer": optimizer.state_dict(),
    }
    temporary = path.with_suffix(".new")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(
    model: Any, optimizer: torch.optim.Optimizer, path: Path, inputs: str, outcome: Fit
) -> None:
    """Continue from a checkpoint of the same inputs; any other checkpoint is ignored."""
    if not path.exists():
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  a torn file raises whatever its bytes happen to provoke; starting over is always right
        return
    if state.get("inputs") != inputs:
        return
    set_peft_model_state_dict(model, state["adapter"])
    optimizer.load_state_dict(state["optimizer"])
    outcome.losses, outcome.loss_before = list(state["losses"]), state["loss_before"]
    outcome.resumed_at = len(outcome.losses)


def _save(model: Any, base_name: str, folder: Path) -> None:
    """The PEFT folder as it will be served: two files, the same bytes for the same training."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = (
        base_name  # a path of this machine means nothing where the adapter is served
    )
    config["target_modules"] = sorted(
        config["target_modules"]
    )  # a set: its order changes from process to process
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sample(model: Any, base: LoadedBase, question: str) -> dict[str, str]:
    """One unseen question, answered greedily without and with the adapter."""
    model.eval()
    with model.disable_adapter():
        before = _answer(model, base, question)
    return {"question": question, "base": before, "adapter": _answer(model, base, question)}


def _answer(model: Any, base: LoadedBase, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    encoded = base.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        output = model.generate(
            **encoded.to(base.device),
            max_new_tokens=SAMPLE_TOKENS,
            do_sample=False,
            pad_token_id=base.tokenizer.eos_token_id,
        )
    text: str = base.tokenizer.decode(
        output[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return text.strip()
