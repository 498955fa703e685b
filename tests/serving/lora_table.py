"""Writes serving/inspection/vllm_lora.json: what vLLM's own classes say about LoRA, by architecture.

    python -m tests.serving.lora_table [--check]

Run it after a change of the pinned vLLM. It starts itself again in the vLLM image's environment,
builds each architecture there without memory (on torch's meta device) and asks vLLM's LoRA manager
which modules it wraps. serving/inspection/architecture.py reads the table; needs no GPU.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
from tests.serving.lora_wrapped import light_experts, lost, names, retired, usual  # noqa: E402

TABLE = ROOT / "serving" / "inspection" / "vllm_lora.json"
# What the CPU image lacks and no LoRA module needs: image, audio and satellite libraries.
_ABSENT = ("torchvision", "torchaudio", "timm", "terratorch")
# One build of an architecture may lack modules that another configuration of it has.
_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"tie_word_embeddings": True},
    {"mlp_only_layers": [0]},
    {"first_k_dense_replace": 1},
    {"decoder_sparse_step": 2},
    {"q_lora_rank": None},
    {"intermediate_size": 7168},
    {"num_key_value_heads": 2},
    # Hybrids, whose first layers may all be of one sort: an adapter on the others was refused.
    {"attn_layer_period": 2, "attn_layer_offset": 1},
    {"layer_types": ["mamba", "attention"] * 2},
    {"layer_types": ["linear_attention", "full_attention"] * 2},
    {"layer_types": ["conv", "full_attention"] * 2},
    {"layers_block_type": ["mamba", "hybrid"] * 2},
    {"layers_block_type": ["mamba", "attention"] * 2},
)
# What real checkpoints say and transformers' default configuration leaves out.
_USUAL = {
    "head_dim": 128,
    "first_k_dense_replace": 1,
    "score_func": "sigmoid",
    "rotary_dim": 64,
    "norm_topk_prob": True,
    "position_embedding_type": "absolute",
    "num_local_experts": 4,
    "route_norm": True,
    "block_dim": 1024,
    "scoring_func": "sigmoid",
    "use_qk_norm": False,
}


def main() -> None:
    """Write the table, or with --check say whether the one in the repository is vLLM's."""
    if "--inside" in sys.argv:
        print(json.dumps(Tables().rows()))
        return
    text = render(generate())
    if "--check" in sys.argv:
        sys.exit(0 if text == TABLE.read_text() else f"{TABLE.name} is not what vLLM says")
    TABLE.write_text(text)


def generate() -> dict[str, Any]:
    """The table as the vLLM image's environment makes it; about a minute of CPU."""
    import yaml

    images = yaml.safe_load((ROOT / "infra/local_azure/images.yaml").read_text())
    folder = next(
        one["environment"] for one in images if any("vllm-openai" in i for i in one["image"])
    )
    quiet = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_PLUGINS": "",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    command = [str(ROOT / folder / "bin/python"), __file__, "--inside"]
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, check=False, timeout=900
    )
    unbuilt = [line for line in done.stderr.splitlines() if re.match(r"\w+: \w+\(", line)]
    print(*unbuilt, sep="\n", file=sys.stderr)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    table: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return table


def render(table: dict[str, Any]) -> str:
    """One line for each class, so that a change of vLLM reads as a short diff."""
    lines = [
        f'{{"vllm": {json.dumps(table["vllm"])},',
        f'"endings": {json.dumps(table["endings"])},',
    ]
    for part in ("stored", "retired", "architectures", "classes"):
        rows = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(table[part].items()))
        lines += [f'"{part}": {{', ",\n".join(rows), "}" + ("," if part != "classes" else "")]
    return "\n".join([*lines, "}", ""])


class _Stub(types.ModuleType):
    """A library that is not there: any name is an empty class, which is enough to import."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__module__": self.__name__, "__getattr__": lambda *_: None})
        setattr(self, name, made)
        return made


class _Finder:
    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if name.partition(".")[0] in _ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


class Tables:
    """Runs inside the image's environment: imports vLLM and builds one architecture after
    the other.
    """

    def __init__(self) -> None:
        import transformers  # noqa: F401 it must see that the absent libraries are absent

        sys.meta_path.append(_Finder())  # type: ignore[arg-type]
        import torch
        import vllm.lora.model_manager as manager
        from vllm.config import VllmConfig, set_current_vllm_config
        from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
        from vllm.model_executor.models import registry

        logging.disable(logging.WARNING)
        self.registry, self.manager = registry, manager
        info = registry._ModelInfo
        registry._LazyRegisteredModel.inspect_model_cls = lambda lazy: info.from_model_cls(
            lazy.load_model_cls()
        )
        manager.from_layer = light_experts(manager, torch)
        where = f"file://{tempfile.mktemp()}"
        init_distributed_environment(1, 0, where, 0, "gloo")
        with set_current_vllm_config(VllmConfig()):
            ensure_model_parallel_initialized(1, 1)
        self.types = _model_types()

    def rows(self) -> dict[str, Any]:
        import vllm

        speculative = self.registry._SPECULATIVE_DECODING_MODELS
        classes: dict[str, Any] = {}
        architectures: dict[str, str | bool | None] = {}
        for name in sorted(self.registry._VLLM_MODELS):
            if name in speculative or name == "Terratorch":
                continue
            row = self._row(name)
            same = next((key for key, other in classes.items() if other == row), None)
            if same is None and row["lora"]:
                classes[name] = row
            architectures[name] = (same or name) if row["lora"] else row["lora"]
        from vllm.config.model import iter_architecture_defaults

        endings = [ending for ending, _ in iter_architecture_defaults()]
        table = {"vllm": vllm.__version__, "endings": endings, "stored": self._stored(endings)}
        table["retired"] = retired(self.registry, endings)
        return {**table, "architectures": architectures, "classes": classes}

    def _stored(self, endings: list[str]) -> dict[str, list[list[str]]]:
        """How transformers renames the tensors of checkpoints that it loads for vLLM's backend."""
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        found = {}
        for architecture, kind in self.types.items():
            stem = re.sub("(ForCausalLM|ForConditionalGeneration)$", "", architecture)
            ours = {f"{stem}{ending}" for ending in endings} & self.registry._VLLM_MODELS.keys()
            renames = [
                [old, new]
                for one in get_checkpoint_conversion_mapping(kind) or ()
                if type(one).__name__ == "WeightRenaming"
                for old, new in zip(one.source_patterns, one.target_patterns, strict=False)
            ]
            if renames and stem != architecture and not ours:
                found[architecture] = renames
        return dict(sorted(found.items()))

    def _row(self, architecture: str) -> dict[str, Any]:
        from vllm.model_executor.models.interfaces import supports_lora, supports_multimodal

        try:
            cls = self._class(architecture)
        except (ImportError, AttributeError):
            return {"lora": None}
        if not supports_lora(cls):
            return {"lora": False}
        row = {
            "lora": True,
            "vision": bool(supports_multimodal(cls)),
            "embedding": sorted(cls.embedding_modules),
            "packed": dict(cls.packed_modules_mapping),
            "skip": list(cls.lora_skip_prefixes),
            "experts": ("3d" if cls.is_3d_moe_weight else "2d"),
            "names": names(getattr(cls, "hf_to_vllm_mapper", None)),
            "tower": False,
        }
        row |= self._built(architecture)
        return {key: value for key, value in row.items() if value not in (None, [], {}, False)}

    def _class(self, architecture: str) -> Any:
        module, name = self.registry._VLLM_MODELS[architecture]
        where = module if module.startswith("vllm.") else f"vllm.model_executor.models.{module}"
        return getattr(importlib.import_module(where), name)

    def _built(self, architecture: str) -> dict[str, Any]:
        """What only an instance tells; nothing where the CPU image cannot build one."""
        found: dict[str, Any] = {}
        for variant in _VARIANTS:
            signal.signal(signal.SIGALRM, _too_long)
            signal.alarm(60)
            try:
                one = self._instance(architecture, variant)
                one["plain"] = sorted(
                    {*one["plain"]}.intersection(found.get("plain", one["plain"]))
                )
                for key in ("modules", "suffixes", "towers", "lost"):
                    one[key] = sorted({*one[key], *found.get(key, ())})
                found = one
            except Exception as error:
                if not found:
                    print(f"{architecture}: {error!r}"[:200], file=sys.stderr)
                    break
            finally:
                signal.alarm(0)
        return found

    def _instance(self, architecture: str, variant: dict[str, Any]) -> dict[str, Any]:
        config = self._config(architecture, variant)
        for _ in range(6):
            try:
                return self._wrapped(config)
            except AttributeError as error:
                missing = re.search(r"has no attribute '(\w+)'", str(error))
                if missing is None or missing[1] not in _USUAL:
                    raise
                for one in {id(c): c for c in (config, config.get_text_config())}.values():
                    if not hasattr(one, missing[1]):
                        setattr(one, missing[1], _USUAL[missing[1]])
        raise LookupError(architecture)

    def _config(self, architecture: str, variant: dict[str, Any]) -> Any:
        """Transformers' default configuration with a few layers."""
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        names = [architecture, *(one.__name__ for one in self._class(architecture).__mro__)]
        cls = CONFIG_MAPPING[next(self.types[name] for name in names if name in self.types)]
        try:
            config = cls(num_hidden_layers=4)
        except Exception:
            config = cls()
        text = config.get_text_config()
        if any(not hasattr(text, key) for key in variant):
            raise LookupError("the architecture has no such variant")
        for key, value in variant.items():
            setattr(text, key, value)
        if getattr(text, "pad_token_id", None) is None:
            text.pad_token_id = 0
        config.architectures = [architecture]
        return config

    def _wrapped(self, config: Any) -> dict[str, Any]:
        folder = tempfile.mkdtemp()
        config.save_pretrained(folder)
        _, made = self.managed(folder)
        return self._told(made.model, made)

    def managed(self, folder: Any) -> tuple[Any, Any]:
        """The LoRA manager of a model folder's model, without memory, and its configuration."""
        import torch
        from vllm.config import LoRAConfig, ModelConfig, VllmConfig, set_current_vllm_config
        from vllm.config.device import DeviceConfig
        from vllm.config.load import LoadConfig
        from vllm.model_executor.model_loader.utils import initialize_model

        model_config = ModelConfig(
            model=str(folder),
            tokenizer=str(folder),
            skip_tokenizer_init=True,
            dtype="bfloat16",
            enforce_eager=True,
            max_model_len=512,
            skip_mm_profiling=True,
        )
        lora = LoRAConfig(max_lora_rank=16, max_loras=1, max_cpu_loras=1, lora_dtype=torch.bfloat16)
        whole = VllmConfig(
            model_config=model_config,
            lora_config=lora,
            device_config=DeviceConfig("cpu"),
            load_config=LoadConfig(load_format="dummy"),
        )
        with set_current_vllm_config(whole), torch.device("meta"):
            model = initialize_model(vllm_config=whole, model_config=model_config)
            made = self.manager.LoRAModelManager(
                model, 4, 64, model_config.get_vocab_size(), lora, torch.device("meta"), whole
            )
        return whole, made

    def _told(self, model: Any, made: Any) -> dict[str, Any]:
        from vllm.model_executor.layers.linear import LinearBase

        linear = {
            name
            for name, module in model.named_modules()
            if isinstance(module, LinearBase) and not name.endswith(".base_layer")
        }
        packed = {key: list(value) for key, value in made.packed_modules_mapping.items()}
        experts = sorted({re.sub(r"^experts\.\d+\.", "", one) for one in packed.pop("experts", [])})
        wrapped = {_template(name) for name in made.modules}
        odd = {_template(n) for n, m in made.modules.items() if not usual(n, m, model.config)}
        return {
            "plain": sorted(wrapped - odd),
            "packed": packed,
            "modules": sorted(wrapped),
            "suffixes": sorted(made.supported_lora_modules),
            "towers": sorted(
                {_template(n) for n in linear - set(made.modules)} - wrapped
                if made.supports_mm
                else ()
            ),
            "tower": bool(made.supports_mm and model.supports_tower_connector_lora),
            "lost": sorted({_template(name) for name in lost(model, made.modules)}),
            "experts": (("3d" if made._is_3d_moe_model else "2d") if made._is_moe else None),
            "expert_names": experts,
            "names": names(getattr(model, "hf_to_vllm_mapper", None)),
        }


def _template(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def _model_types() -> dict[str, str]:
    """Which of transformers' model types an architecture has."""
    from transformers.models.auto import modeling_auto

    found: dict[str, str] = {}
    for name in sorted(vars(modeling_auto)):
        if name.startswith("MODEL_") and name.endswith("MAPPING_NAMES"):
            for kind, classes in getattr(modeling_auto, name).items():
                for one in classes if isinstance(classes, list | tuple) else (classes,):
                    found.setdefault(one, kind)
    return found


def _too_long(*_: Any) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
