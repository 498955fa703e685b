"""Fine-tunes a LoRA adapter of the base model on dataset/phrases.json and leaves it where
inference/ looks for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL, ADAPTER, DATASET = (
    "model-cache/example/tiny",
    "models/qlora/qlora/gpu_model/adapter",
    "dataset/phrases.json",
)
STEPS = 8


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    base: Any = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model: Any = get_peft_model(
        base,
        LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    examples = [json.loads(line) for line in Path(DATASET).read_text(encoding="utf-8").splitlines()]
    for step in range(STEPS):
        example = examples[step % len(examples)]
        chat = [
            {"role": "user", "content": example["phrase"]},
            {"role": "assistant", "content": example["tone"]},
        ]
        inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(ADAPTER)


if __name__ == "__main__":
    main()
