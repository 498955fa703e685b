"""The base model and, where there is one, its adapter. What gradio_chat.py answers with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

MODEL = "../model-cache/example/tiny"
ADAPTER = "../models/qlora/qlora/gpu_model/adapter"


class Answers:
    """Loads both at once; `uses_adapter` says whether there was one."""

    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        model: Any = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        self.uses_adapter = Path(ADAPTER).exists()
        self.model = PeftModel.from_pretrained(model, ADAPTER) if self.uses_adapter else model

    def stream(
        self, message: str, max_new_tokens: int, top_p: float, temperature: float, top_k: int = 50
    ) -> Iterator[str]:
        """The answer to one message, piece by piece."""
        chat = [{"role": "user", "content": message}]
        inputs = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = TextIteratorStreamer(
            self.tokenizer, timeout=60.0, skip_prompt=True, skip_special_tokens=True
        )
        options = {
            "max_new_tokens": max_new_tokens,
            "do_sample": True,
            "top_p": top_p,
            "temperature": temperature,
            "top_k": top_k,
        }
        Thread(
            target=self.model.generate,
            kwargs={**inputs, **options, "streamer": streamer},
            daemon=True,
        ).start()
        yield from streamer
