"""Asks vLLM what it does with adapters; runs in the vLLM image's environment, one process for each
base.

    python lora_engine.py BASE DTYPE PROMPTS ADAPTER…   the last line of the output is JSON

PROMPTS are lists of token ids. Of "base" and each adapter: the likeliest tokens after each prompt
with their log-probabilities, or what vLLM says in refusing it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))


def main() -> None:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    from serving.patches import cpu_lora

    cpu_lora.correct()
    base, dtype, prompts, *adapters = sys.argv[1:]
    many = {"max_loras": 1, "max_cpu_loras": 2, "max_lora_rank": 16}
    try:
        llm = LLM(
            base,
            skip_tokenizer_init=True,
            enable_lora=True,
            dtype=dtype,
            max_model_len=256,
            max_num_seqs=8,
            enforce_eager=True,
            enable_prefix_caching=False,
            **many,
        )
    except Exception as error:
        print(json.dumps({"base": str(error)}))
        return
    sampling = SamplingParams(max_tokens=1, temperature=0, logprobs=20, detokenize=False)
    given = [{"prompt_token_ids": tokens} for tokens in json.loads(prompts)]

    def ask(request: Any) -> Any:
        outputs = llm.generate(given, sampling, lora_request=request, use_tqdm=False)
        rows = [output.outputs[0].logprobs[0] for output in outputs]
        return [{str(token): entry.logprob for token, entry in row.items()} for row in rows]

    found: dict[str, Any] = {"base": ask(None)}
    for number, folder in enumerate(adapters, 1):
        request = LoRARequest(Path(folder).name, number, folder)
        try:
            llm.llm_engine.add_lora(request)
        except Exception as error:
            found[Path(folder).name] = f"{type(error).__name__}: {error}"
        else:
            found[Path(folder).name] = ask(request)
            llm.llm_engine.remove_lora(number)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
