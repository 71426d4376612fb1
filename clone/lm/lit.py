"""The one door to LitGPT: which bases it knows, and how a checkpoint of Hugging Face becomes one of its own.

Only parts are used, never its entry points, which read `sys.argv` again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from litgpt.config import Config, configs
from litgpt.scripts import convert_hf_checkpoint as convert
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clone.errors import ModelError
from clone.lm.weights import EMBEDDING, HEAD

# For a model that LitGPT does not know by name: the config of a sibling, whose sizes config.json then corrects.
_SIBLINGS = {
    "falcon": "falcon-7b",
    "gemma": "Gemma-2b",
    "gemma2": "Gemma-2-2b",
    "gemma3_text": "Gemma-3-1b-it",
    "gpt_neox": "pythia-14m",
    "llama": "Llama-3.2-1B",
    "mistral": "Mistral-7B-v0.3",
    "qwen2": "Qwen2.5-0.5B",
    "qwen3": "Qwen3-0.6B",
}
# config.json -> LitGPT's field
_SIZES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "num_key_value_heads": "n_query_groups",
    "head_dim": "head_size",
    "intermediate_size": "intermediate_size",
    "ffn_hidden_size": "intermediate_size",
    "max_position_embeddings": "block_size",
    # LitGPT's own tables are wrong about some of these (Gemma: 1e-5 for 1e-6, a relative error of 0.3 to 0.4)
    "rms_norm_eps": "norm_eps",
    "layer_norm_epsilon": "norm_eps",
    "layer_norm_eps": "norm_eps",
    "sliding_window": "sliding_window_size",
    "query_pre_attn_scalar": "attention_scores_scalar",
    "attn_logit_softcapping": "attention_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope_local_base_freq": "rope_local_base_freq",
    "rotary_pct": "rotary_percentage",
}
_ROPE_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_max_seq_len",
}


def known_names() -> list[str]:
    """Return the hub names that LitGPT knows, as org/name."""
    return sorted({f"{c['hf_config']['org']}/{c['hf_config']['name']}" for c in configs if c.get("hf_config")})


def fields_of(name: str) -> dict[str, Any] | None:
    """Return LitGPT's config fields of a hub name ("org/name" or its last part), None for one it does not know."""
    try:
        return asdict(Config.from_name(name))
    except ValueError:
        return None


def fields_for(name: str, hf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config fields for a checkpoint: LitGPT's for its name or its family, corrected by its config.json."""
    hf = {**hf, **hf.get("text_config", {})} if "text_config" in hf and hf.get("model_type") == "gemma3" else dict(hf)
    kind = hf.get("model_type", "")
    known = fields_of(name)
    if known is None:
        sibling = "falcon-40b" if kind == "falcon" and hf.get("new_decoder_architecture") else _SIBLINGS.get(kind)
        if sibling is None:
            raise ModelError(
                f"{name} is a {kind or 'model of a kind'} that LitGPT does not know.",
                "Choose a Falcon, Llama, Qwen, Gemma, Mistral or Pythia base.",
            )
        known = asdict(Config.from_name(sibling))
        known["hf_config"] = {}
    fields = deepcopy(known)
    for theirs, ours in _SIZES.items():
        if hf.get(theirs) is not None:
            fields[ours] = hf[theirs]
    if kind not in ("gemma2", "gemma3", "gemma3_text"):
        fields["sliding_window_size"] = known["sliding_window_size"]
    if hf.get("head_dim") is None and kind not in ("gemma", "gemma2", "gemma3", "gemma3_text", "qwen3"):
        fields["head_size"] = fields["n_embd"] // fields["n_head"]
    if kind == "falcon":
        n_kv = hf.get("num_kv_heads") if hf.get("new_decoder_architecture") else None
        fields["n_query_groups"] = n_kv or (1 if hf.get("multi_query", True) else fields["n_head"])
        fields["intermediate_size"] = hf.get("ffn_hidden_size") or 4 * fields["n_embd"]
        if hf.get("alibi"):
            raise ModelError(f"{name} uses ALiBi, which LitGPT does not know.", "Choose another base.")
    if kind == "gpt_neox":
        fields["n_query_groups"] = fields["n_head"]
        fields["parallel_residual"] = hf.get("use_parallel_residual", True)
    if kind in ("llama", "mistral") and hf.get("num_key_value_heads") is None and "num_attention_heads" in hf:
        fields["n_query_groups"] = fields["n_head"]
    if "layer_types" in hf and fields.get("sliding_window_size") is not None:
        fields["sliding_window_indices"] = [int(t == "sliding_attention") for t in hf["layer_types"]]
        if fields.get("rope_indices") is not None:  # Gemma 3 rotates its local layers by a base of their own
            fields["rope_indices"] = fields["sliding_window_indices"]
    _set_rope(fields, hf, kind)
    if "vocab_size" in hf:
        fields["vocab_size"] = fields["padded_vocab_size"] = hf["vocab_size"]
    for indices in ("sliding_window_indices", "rope_indices"):
        if fields.get(indices) is not None:
            fields[indices] = fields[indices][: fields["n_layer"]]
    return asdict(Config(**fields))


def _set_rope(fields: dict[str, Any], hf: Mapping[str, Any], kind: str) -> None:
    """Take base and scaling of the rotary embedding from config.json, in its old form or that of transformers 5."""
    rope: Mapping[str, Any] = hf.get("rope_parameters") or {}
    if "full_attention" in rope:  # Gemma 3: one set a kind of layer
        fields["rope_local_base_freq"] = rope.get("sliding_attention", {}).get("rope_theta", 10000)
        rope = rope["full_attention"]
    theta = rope.get("rope_theta", hf.get("rope_theta", hf.get("rotary_emb_base")))
    if theta is not None:
        fields["rope_base"] = theta
    scaling = rope or hf.get("rope_scaling") or {}
    how = scaling.get("rope_type", scaling.get("type", "default"))
    if how in ("llama3", "linear"):
        fields["rope_adjustments"] = {ours: scaling[t] for t, ours in _ROPE_SCALING.items() if t in scaling}
    elif how == "default":
        if "rope_parameters" in hf or "rope_scaling" in hf:
            fields["rope_adjustments"] = None
    elif how is not None:
        raise ModelError(f"this base scales its positions by {how}, which clone cannot train.", "Choose another base.")
    if "partial_rotary_factor" in rope and kind != "gemma3":
        fields["rotary_percentage"] = rope["partial_rotary_factor"]


def source_files(folder: Path) -> list[Path]:
    """Return the files of a Hugging Face checkpoint to read: *.safetensors, or *.bin where there are none.

    A repository may hold both; LitGPT would read both, the second over the first. Raises ModelError where the index
    names files that are not there.
    """
    for index_name, pattern in (
        ("model.safetensors.index.json", "*.safetensors"),
        ("pytorch_model.bin.index.json", "*.bin"),
    ):
        index = folder / index_name
        if index.exists():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            missing = [name for name in names if not (folder / name).exists()]
            if missing and pattern == "*.safetensors" and list(folder.glob("*.bin")):
                continue
            if missing:
                raise ModelError(
                    f"{folder} lacks {missing[0]}" + (f" and {len(missing) - 1} more." if len(missing) > 1 else "."),
                    "The download is incomplete; run the same command again to fetch the rest.",
                )
            return [folder / name for name in names]
        found = sorted(p for p in folder.glob(pattern) if p.name not in ("training_args.bin", "optimizer.bin"))
        if pattern == "*.safetensors":
            found = [p for p in found if not p.name.startswith(("lit_model", "adapter_"))]
        if found:
            return found
    raise ModelError(f"{folder} holds no weights (*.safetensors or *.bin).", "Give the folder of a whole model.")


def convert_files(
    fields: Mapping[str, Any], files: list[Path], on_file: Callable[[int, int], None]
) -> Iterator[dict[str, Tensor]]:
    """Yield LitGPT's tensors for a Hugging Face checkpoint, a dictionary for each file read.

    The head is among them only where it differs from the embedding. Raises ModelError for unknown or damaged files.
    """
    copy, pending = _copier(Config(**dict(fields)))
    embedding: Tensor | None = None
    head: Tensor | None = None
    for i, path in enumerate(files):
        source = _load(path)
        # A Llama without a head gets one made of the embedding by LitGPT, and does so again for each file: the marker
        # keeps it from it.
        marker = torch.empty(0)
        out: dict[str, Tensor] = {HEAD: marker}
        try:
            copy(out, source)
        except (KeyError, NotImplementedError) as error:
            raise ModelError(
                f"{path.name} holds tensors that LitGPT does not expect of this kind of model.",
                "Choose a base that LitGPT knows, as its authors published it.",
            ) from error
        if out[HEAD] is marker:
            del out[HEAD]
        head = out.pop(HEAD, head)
        embedding = out.get(EMBEDDING, embedding)
        on_file(i + 1, len(files))
        yield {name: tensor.contiguous() for name, tensor in out.items()}
    if pending and any(pending.values()):
        raise ModelError("the checkpoint lacks some of q, k and v.", "The download is incomplete; fetch it again.")
    if head is not None and not (embedding is not None and torch.equal(head, embedding)):
        yield {HEAD: head.contiguous()}


def _load(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return tensors
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path} is cut off or damaged.", "Remove it and run the same command again to fetch it anew."
        ) from error


def _copier(config: Config) -> tuple[Callable[..., None], dict[Any, Any]]:
    """Return LitGPT's function that renames tensors of this kind of model, and where it keeps q, k, v until all are in.

    Which is which is said nowhere but inside its entry point, so the choice is repeated here.
    """
    name = config.name.lower()
    pending: dict[Any, Any] = {}
    if "falcon" in name:
        return partial(convert.copy_weights_falcon, config), pending
    if name.startswith("gemma-2-"):
        return partial(convert.copy_weights_gemma_2, pending), pending
    if name.startswith("gemma-3"):
        return partial(convert.copy_weights_gemma_3, pending, config=config), pending
    if name.startswith("phi"):
        return partial(convert.copy_weights_phi, config, pending), pending
    if name.startswith(("qwen2.5", "qwq")):
        return partial(convert.copy_weights_qwen_2_5, config, pending), pending
    if name.startswith("olmo-2-"):
        return partial(convert.copy_weights_olmo2, config, pending), pending
    if name.startswith("qwen3"):
        return partial(convert.copy_weights_qwen_3, config, pending), pending
    if config.mlp_class_name in ("LLaMAMLP", "GemmaMLP", "LLaMAMoE"):
        return partial(convert.copy_weights_hf_llama, config, pending), pending
    return partial(convert.copy_weights_gpt_neox, config), pending


# -- and back -----------------------------------------------------------------------------------------------------


def hf_tensors(folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a base's weights by Hugging Face's names, q, k and v parted where they part them.

    Which of LitGPT's functions does it is said nowhere but inside its entry point, so the choice is repeated here.
    """
    from litgpt.scripts import convert_lit_checkpoint as back

    config = Config.from_file(folder / "model_config.yaml")
    name = config.name.lower()
    if "falcon" in name:
        copy: Callable[..., None] = partial(back.copy_weights_falcon, config)
    elif name.startswith("gemma-2"):
        copy = partial(back.copy_weights_gemma_2, config)
    elif name.startswith("gemma-3"):
        copy = partial(back.copy_weights_gemma_3, config)
    elif name.startswith("phi"):
        copy = partial(back.copy_weights_phi, config)
    elif name.startswith(("qwen2.5", "qwq")):
        copy = partial(back.copy_weights_qwen_2_5, config)
    elif name.startswith("olmo-2-"):
        copy = partial(back.copy_weights_olmo2, config)
    elif name.startswith("qwen3"):
        copy = partial(back.copy_weights_qwen_3, config)
    elif config.mlp_class_name in ("LLaMAMLP", "GemmaMLP"):
        copy = partial(back.copy_weights_llama, config, untie_weights="gemma" in name)
    else:
        copy = partial(back.copy_weights_gpt_neox, config)
    out: dict[str, Tensor] = {}
    copy(out, dict(weights))
    return out
