"""What a base looks like: the sizes and switches that LitGPT's `model_config.yaml` writes down.

Read without importing LitGPT, which takes seconds; the meaning of each field is LitGPT's. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clone.errors import ModelError


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder-only transformer, in LitGPT's words (`litgpt.Config`)."""

    name: str
    block_size: int  # longest sequence, in tokens
    vocab_size: int  # rows of the embedding, padding included
    n_layer: int
    n_embd: int
    n_head: int
    n_query_groups: int  # heads of K and V
    head_size: int
    intermediate_size: int
    norm: str  # LayerNorm, RMSNorm, RMSNorm+1 (Gemma's weights count from one) or LayerNorm-plain (OLMo's have none)
    norm_eps: float
    has_norm_1: bool
    has_norm_2: bool
    has_post_attention_norm: bool
    has_post_mlp_norm: bool
    qk_norm: str  # "" where q and k are not normed, otherwise default or olmo2
    is_parallel: bool  # attention and MLP read the same residual
    is_norm_shared: bool  # and the same norm
    mlp: str  # GptNeoxMLP, LLaMAMLP or GemmaMLP
    gelu: str  # none or tanh
    has_bias: bool
    has_qkv_bias: bool
    has_head_bias: bool
    scales_embeddings: bool
    rope_n_elem: int
    rope_base: float
    rope_local_base: float | None
    rope_condense: float
    rope_scaling: Mapping[str, float] | None
    local_rope_layers: tuple[int, ...]
    window: int | None
    windowed_layers: tuple[int, ...]
    attention_scalar: float  # scores are divided by its root
    attention_softcap: float | None
    logit_softcap: float | None

    @property
    def n_parameters(self) -> int:
        """Weights of the matrices, a separate head counted once."""
        qkv = self.n_embd * (self.n_head + 2 * self.n_query_groups) * self.head_size
        out = self.n_head * self.head_size * self.n_embd
        mlp = (2 if self.mlp == "GptNeoxMLP" else 3) * self.n_embd * self.intermediate_size
        return self.n_layer * (qkv + out + mlp) + self.n_embd * self.vocab_size

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """Return the shape of a base's folder. Raises ModelError where it has none or one we cannot run."""
        path = folder / "model_config.yaml"
        try:
            fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"{folder} has no model_config.yaml.", "The base is incomplete; remove it.") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise ModelError(f"{path} is not YAML.", "The base is damaged; remove its folder and run again.") from None
        if not isinstance(fields, dict):
            raise ModelError(f"{path} is empty.", "The base is damaged; remove its folder and run again.")
        return cls.of(fields)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Shape:
        """Return the shape that LitGPT's config fields describe. Raises ModelError for one we cannot run."""
        name = str(fields.get("name", ""))
        mlp = fields.get("mlp_class_name", "GptNeoxMLP")
        unsupported = [
            what
            for what, is_there in (
                ("a mixture of experts", mlp == "LLaMAMoE"),
                ("latent attention", bool(fields.get("latent_attention"))),
                ("interleaved rotary embeddings", bool(fields.get("rope_interleave"))),
                ("YaRN", "beta_fast" in (fields.get("rope_adjustments") or {})),
            )
            if is_there
        ]
        if unsupported:
            raise ModelError(
                f"{name} uses {' and '.join(unsupported)}, which clone cannot train.",
                "Choose a dense base: Falcon, Llama, Qwen 2.5 or 3, Gemma, Mistral or Pythia.",
            )
        n_layer, n_head, n_embd = int(fields["n_layer"]), int(fields["n_head"]), int(fields["n_embd"])
        head_size = int(fields.get("head_size") or n_embd // n_head)
        norm = fields.get("norm_class_name", "LayerNorm")
        if norm == "RMSNorm" and "Gemma" in name:
            norm = "RMSNorm+1"
        if norm == "LayerNorm" and "OLMo" in name:
            norm = "LayerNorm-plain"
        window = fields.get("sliding_window_size")
        local_base = fields.get("rope_local_base_freq")
        bias = bool(fields.get("bias", True))
        rope_n_elem = int(fields.get("rotary_percentage", 0.25) * head_size)
        if rope_n_elem % 2:
            raise ModelError(f"{name} rotates an odd number of elements, which clone cannot train.")
        return cls(
            name=name,
            block_size=int(fields["block_size"]),
            vocab_size=int(fields.get("padded_vocab_size") or fields["vocab_size"]),
            n_layer=n_layer,
            n_embd=n_embd,
            n_head=n_head,
            n_query_groups=int(fields.get("n_query_groups") or n_head),
            head_size=head_size,
            intermediate_size=int(fields.get("intermediate_size") or 4 * n_embd),
            norm=norm,
            norm_eps=float(fields.get("norm_eps", 1e-5)),
            has_norm_1=bool(fields.get("norm_1", True)),
            has_norm_2=bool(fields.get("norm_2", True)),
            has_post_attention_norm=bool(fields.get("post_attention_norm")),
            has_post_mlp_norm=bool(fields.get("post_mlp_norm")),
            qk_norm=str(fields.get("norm_qk_type", "default")) if fields.get("norm_qk") else "",
            is_parallel=bool(fields.get("parallel_residual", True)),
            is_norm_shared=bool(fields.get("shared_attention_norm")),
            mlp=mlp,
            gelu=str(fields.get("gelu_approximate", "none")),
            has_bias=bias,
            has_qkv_bias=bias or bool(fields.get("attn_bias")),
            has_head_bias=bool(fields.get("lm_head_bias")),
            scales_embeddings=bool(fields.get("scale_embeddings")),
            rope_n_elem=rope_n_elem,
            rope_base=float(fields.get("rope_base", 10000)),
            rope_local_base=float(local_base) if local_base is not None else None,
            rope_condense=float(fields.get("rope_condense_ratio", 1)),
            rope_scaling=fields.get("rope_adjustments"),
            local_rope_layers=_layers(fields.get("rope_indices"), n_layer) if local_base is not None else (),
            window=int(window) if window is not None else None,
            windowed_layers=_layers(fields.get("sliding_window_indices"), n_layer) if window is not None else (),
            attention_scalar=float(fields.get("attention_scores_scalar") or head_size),
            attention_softcap=fields.get("attention_logit_softcapping"),
            logit_softcap=fields.get("final_logit_softcapping"),
        )


def _layers(flags: list[int] | None, n_layer: int) -> tuple[int, ...]:
    return tuple(i for i in range(n_layer) if flags is None or flags[i])
