"""What is exported: the weights of a base with an adapter laid over them, one tensor at a time, never all at once.

Names are LitGPT's. Knows nothing of the formats that they are written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clone.errors import ModelError
from clone.lm.base import BaseFolder
from clone.lm.shape import Shape
from clone.lm.tokens import Tokens
from clone.lm.weights import Adapter, read_adapter, read_weights


@dataclass(frozen=True)
class Source:
    """A base and the adapter of a run."""

    base: BaseFolder
    shape: Shape
    tokens: Tokens
    weights: dict[str, Tensor]  # mapped from disk, not read
    adapter: Adapter
    title: str  # of the run

    @classmethod
    def open(cls, base: BaseFolder, adapter_path: Path, title: str) -> Source:
        """Return the source. Raises ModelError for an adapter of another base."""
        adapter = read_adapter(adapter_path)
        if adapter.meta.base_sha256 != base.sha256:
            raise ModelError(
                f"the adapter was trained on {adapter.meta.base}, not on this {base.name} (their weights differ).",
                f"Use the base it was trained on: {adapter.meta.base}.",
            )
        weights = read_weights(base.path)
        for name in adapter.tensors:
            if f"{name.rpartition('.')[0]}.weight" not in weights:
                raise ModelError(f"the adapter does not fit the base at {name}.", "Train again on this base.")
        return cls(base, base.shape, Tokens.load(base.path), weights, adapter, title)

    @property
    def scale(self) -> float:
        return self.adapter.meta.alpha / self.adapter.meta.rank

    def linears(self) -> list[str]:
        """Return the names of the adapted products."""
        return sorted({name.rpartition(".")[0] for name in self.adapter.tensors})

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight with the adapter added, in the dtype of the base."""
        for name, weight in self.weights.items():
            linear = name.removesuffix(".weight")
            a = self.adapter.tensors.get(f"{linear}.lora_A")
            if a is None:
                yield name, weight
            else:
                update = self.adapter.tensors[f"{linear}.lora_B"].float() @ a.float() * self.scale
                yield name, (weight.float() + update).to(weight.dtype)


def require_falcon(shape: Shape, what: str) -> None:
    """Raise ModelError unless the shape is Falcon-7B's, of any size."""
    is_falcon = (
        shape.is_parallel
        and shape.is_norm_shared
        and shape.norm == "LayerNorm"
        and shape.mlp == "GptNeoxMLP"
        and not shape.has_bias
        and shape.n_query_groups == 1
        and shape.rope_n_elem == shape.head_size
        and shape.head_size * shape.n_head == shape.n_embd
    )
    if not is_falcon:
        raise ModelError(
            f"{what} is written for bases of Falcon-7B's kind, and {shape.name} is of another.",
            "clone export hf works for every base; llama.cpp's convert_hf_to_gguf.py goes on from there.",
        )


def to_numpy_f32(tensor: Tensor) -> object:
    """Return a tensor as a float32 array."""
    return tensor.to(torch.float32).contiguous().numpy()
