"""Adapters as peft writes them, so that transformers, vLLM and others load what clone trained.

LitGPT keeps q, k and v in one matrix; most models of Hugging Face keep three. One pair of LoRA matrices over all three
is three pairs that share A, each with its rows of B. Falcon and Pythia keep one matrix with the heads interleaved:
there the rows of B move.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from clone.errors import ModelError
from clone.lm.base import BaseFolder
from clone.lm.shape import Shape
from clone.lm.weights import Adapter
from clone.workspace import make_private_folder, write_atomically

_LLAMA = {
    "attn.proj": "self_attn.o_proj",
    "mlp.fc_1": "mlp.gate_proj",
    "mlp.fc_2": "mlp.up_proj",
    "mlp.proj": "mlp.down_proj",
}
_FALCON = {
    "attn.qkv": "self_attention.query_key_value",
    "attn.proj": "self_attention.dense",
    "mlp.fc": "mlp.dense_h_to_4h",
    "mlp.proj": "mlp.dense_4h_to_h",
}
_NEOX = {
    "attn.qkv": "attention.query_key_value",
    "attn.proj": "attention.dense",
    "mlp.fc": "mlp.dense_h_to_4h",
    "mlp.proj": "mlp.dense_4h_to_h",
}
# model_type -> (where its layers are, its names); None for q, k and v in three
_MODELS = {
    "falcon": ("transformer.h", _FALCON),
    "gpt_neox": ("gpt_neox.layers", _NEOX),
    "llama": ("model.layers", _LLAMA),
    "mistral": ("model.layers", _LLAMA),
    "qwen2": ("model.layers", _LLAMA),
    "qwen3": ("model.layers", _LLAMA),
    "gemma": ("model.layers", _LLAMA),
    "gemma2": ("model.layers", _LLAMA),
    "gemma3_text": ("model.layers", _LLAMA),
}


def write_peft(folder: Path, adapter: Adapter, base: BaseFolder) -> Path:
    """Write `adapter_config.json` and `adapter_model.safetensors` to `folder` and return it.

    Raises ModelError for a base whose kind of model has no counterpart in peft's names.
    """
    kind = _model_type(base)
    layers, names = _MODELS[kind]
    tensors: dict[str, Tensor] = {}
    targets: set[str] = set()
    for key in sorted({name.rpartition(".")[0] for name in adapter.tensors}):
        _, _, layer, target = key.split(".", 3)  # transformer.h.0.attn.qkv
        a, b = adapter.tensors[f"{key}.lora_A"], adapter.tensors[f"{key}.lora_B"]
        for theirs, rows in _rows(target, names, base.shape, b):
            stem = f"base_model.model.{layers}.{layer}.{theirs}"
            tensors[f"{stem}.lora_A.weight"] = a.contiguous().clone()
            tensors[f"{stem}.lora_B.weight"] = rows.contiguous().clone()
            targets.add(theirs.rpartition(".")[2])
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "r": adapter.meta.rank,
        "lora_alpha": adapter.meta.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "target_modules": sorted(targets),
    }
    make_private_folder(folder)
    with write_atomically(folder / "adapter_model.safetensors", binary=True) as stream:
        stream.write(save(tensors, {"format": "pt"}))
    with write_atomically(folder / "adapter_config.json") as text:
        text.write(json.dumps(config, indent=2) + "\n")
    return folder


def _model_type(base: BaseFolder) -> str:
    path = base.path / "config.json"
    kind = ""
    if path.exists():
        kind = str(json.loads(path.read_text(encoding="utf-8")).get("model_type", ""))
    elif "falcon" in base.shape.name:
        kind = "falcon"  # the embedded base, which no hub has
    if kind not in _MODELS:
        raise ModelError(
            f"peft has no names for {base.name}" + (f", a {kind}." if kind else "."),
            "Export the merged weights instead.",
        )
    return kind


def _rows(target: str, names: Mapping[str, str], shape: Shape, b: Tensor) -> list[tuple[str, Tensor]]:
    """Return the modules of transformers that one of LitGPT's is, each with its rows of B."""
    if target != "attn.qkv":
        return [(names[target], b)]
    n_q, n_kv = shape.n_head * shape.head_size, shape.n_query_groups * shape.head_size
    q, k, v = torch.split(b, [n_q, n_kv, n_kv])
    if "attn.qkv" not in names:
        return [("self_attn.q_proj", q), ("self_attn.k_proj", k), ("self_attn.v_proj", v)]
    # [Q Q .. K K .. V V ..] -> for each group its queries, its key, its value
    groups = shape.n_query_groups
    parts = [part for group in zip(q.chunk(groups), k.chunk(groups), v.chunk(groups), strict=True) for part in group]
    return [(names["attn.qkv"], torch.cat(parts))]
