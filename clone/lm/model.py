"""The transformer that training and talking share: LitGPT's names and numbers, on tokens laid in one row.

In come token ids and their positions, out come hidden states and logits. How a token finds the ones before it (packed
documents, a cache) is the business of `attend`, which the caller brings. Knows nothing of files or text.

Equal to `litgpt.GPT` for the same weights; differences of form: no batch dimension is needed, K and V keep their own
number of heads, and LoRA is two plain products beside every frozen one (https://arxiv.org/abs/2106.09685):

    y = x W' + alpha/rank * (x A') B'          W (out, in) frozen, A (rank, in), B (out, rank)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clone.lm.shape import Shape


@dataclass(frozen=True, slots=True)
class Heads:
    """What one layer's attention asks of `attend`."""

    layer: int
    scale: float
    window: int | None  # tokens seen, the current one included; None for all
    softcap: float | None


# (heads, q (..., n_head, hs), k and v (..., n_query_groups, hs)) -> (..., n_head, hs)
Attend = Callable[[Heads, Tensor, Tensor, Tensor], Tensor]


class Linear(nn.Module):
    """A frozen product, with an adapter where one was added."""

    lora_A: nn.Parameter | None
    lora_B: nn.Parameter | None

    def __init__(self, n_in: int, n_out: int, has_bias: bool) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = nn.Parameter(torch.empty(n_out, n_in), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(n_out), requires_grad=False) if has_bias else None
        self.register_parameter("lora_A", None)
        self.register_parameter("lora_B", None)
        self.lora_scale = 0.0
        self.lora_dropout = 0.0
        self.product: nn.Module | None = None  # stands in for the weight where that is kept in fewer bits
        self.n_in, self.n_out = n_in, n_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.frozen(x)
        if self.lora_A is None or self.lora_B is None:
            return y
        if self.lora_dropout:
            x = F.dropout(x, self.lora_dropout, self.training)
        a = F.linear(x, self.lora_A.to(x.dtype))  # (..., rank)
        return y + F.linear(a, (self.lora_B * self.lora_scale).to(x.dtype))

    def frozen(self, x: Tensor) -> Tensor:
        """Return the product with the base's own weight."""
        if self.weight is None:
            assert self.product is not None
            y: Tensor = self.product(x)
            return y if self.bias is None else y + self.bias
        return F.linear(x, self.weight, self.bias)


class Norm(nn.Module):
    """LayerNorm or RMSNorm, as the shape says."""

    def __init__(self, shape: Shape, size: int) -> None:
        super().__init__()
        self.kind, self.eps = shape.norm, shape.norm_eps
        if self.kind != "LayerNorm-plain":
            self.weight = nn.Parameter(torch.empty(size), requires_grad=False)
        if self.kind == "LayerNorm":
            self.bias = nn.Parameter(torch.empty(size), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "LayerNorm":
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        if self.kind == "LayerNorm-plain":
            return F.layer_norm(x, x.shape[-1:], eps=self.eps)
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        weight = self.weight.float()
        return (wide * (1 + weight if self.kind == "RMSNorm+1" else weight)).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        n_q, n_kv, size = shape.n_head, shape.n_query_groups, shape.head_size
        self.n_q, self.n_kv, self.size, self.n_rope = n_q, n_kv, size, shape.rope_n_elem
        self.heads = Heads(
            layer=layer,
            scale=1 / math.sqrt(shape.attention_scalar),
            window=shape.window if layer in shape.windowed_layers else None,
            softcap=shape.attention_softcap,
        )
        self.qkv = Linear(shape.n_embd, (n_q + 2 * n_kv) * size, shape.has_qkv_bias)
        self.proj = Linear(n_q * size, shape.n_embd, shape.has_bias)
        self.qk_norm = shape.qk_norm
        if self.qk_norm:
            self.norm_q = Norm(shape, n_q * size if self.qk_norm == "olmo2" else size)
            self.norm_k = Norm(shape, n_kv * size if self.qk_norm == "olmo2" else size)

    def split(self, qkv: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, normed and rotated: (..., heads, head size) each."""
        size = self.size
        q, k, v = torch.split(qkv, [self.n_q * size, self.n_kv * size, self.n_kv * size], dim=-1)
        if self.qk_norm == "olmo2":
            q, k = self.norm_q(q), self.norm_k(k)
        q = q.reshape(*q.shape[:-1], self.n_q, size)
        k = k.reshape(*k.shape[:-1], self.n_kv, size)
        v = v.reshape(*v.shape[:-1], self.n_kv, size)
        if self.qk_norm == "default":
            q, k = self.norm_q(q), self.norm_k(k)
        return rotate(q, rope, self.n_rope), rotate(k, rope, self.n_rope), v

    def gather(self, x: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Return what every head gathered, (..., n_head * hs), before the output product."""
        q, k, v = self.split(self.qkv(x), rope)
        return attend(self.heads, q, k, v).flatten(-2)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        out: Tensor = self.proj(self.gather(x, rope, attend))
        return out


class Mlp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.kind, self.gelu = shape.mlp, shape.gelu
        n, inner, bias = shape.n_embd, shape.intermediate_size, shape.has_bias
        if self.kind == "GptNeoxMLP":
            self.fc = Linear(n, inner, bias)
        else:
            self.fc_1 = Linear(n, inner, bias)
            self.fc_2 = Linear(n, inner, bias)
        self.proj = Linear(inner, n, bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "GptNeoxMLP":
            inner = F.gelu(self.fc(x), approximate=self.gelu)
        elif self.kind == "LLaMAMLP":
            inner = F.silu(self.fc_1(x)) * self.fc_2(x)
        else:
            inner = F.gelu(self.fc_1(x), approximate=self.gelu) * self.fc_2(x)
        out: Tensor = self.proj(inner)
        return out


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.is_parallel, self.is_norm_shared = shape.is_parallel, shape.is_norm_shared
        self.norm_1 = Norm(shape, shape.n_embd) if shape.has_norm_1 else nn.Identity()
        self.attn = Attention(shape, layer)
        self.post_attention_norm = Norm(shape, shape.n_embd) if shape.has_post_attention_norm else nn.Identity()
        if not shape.is_norm_shared:
            self.norm_2 = Norm(shape, shape.n_embd) if shape.has_norm_2 else nn.Identity()
        self.mlp = Mlp(shape)
        self.post_mlp_norm = Norm(shape, shape.n_embd) if shape.has_post_mlp_norm else nn.Identity()

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], attend: Attend, places: Tensor | None = None) -> Tensor:
        """Return the next hidden states; with `places`, of these tokens alone (every token is attended to)."""
        normed = self.norm_1(x)
        attended = self.attn.gather(normed, rope, attend)
        if places is not None:
            x, normed, attended = x[places], normed[places], attended[places]
        attended = self.post_attention_norm(self.attn.proj(attended))
        if self.is_parallel:
            if not self.is_norm_shared:
                normed = self.norm_2(x)
            both: Tensor = x + attended + self.post_mlp_norm(self.mlp(normed))
            return both
        x = x + attended
        out: Tensor = x + self.post_mlp_norm(self.mlp(self.norm_2(x)))
        return out


class Transformer(nn.Module):
    """A base and, once added, its adapter. Parameters carry LitGPT's names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(shape.vocab_size, shape.n_embd),
                "h": nn.ModuleList(Block(shape, layer) for layer in range(shape.n_layer)),
                "ln_f": Norm(shape, shape.n_embd),
            }
        )
        self.transformer.requires_grad_(False)
        self.lm_head = Linear(shape.n_embd, shape.vocab_size, shape.has_head_bias)

    @property
    def blocks(self) -> list[Block]:
        return list(cast(Iterable[Block], self.transformer["h"]))

    @property
    def embedding(self) -> Tensor:
        return cast(Tensor, self.transformer["wte"].weight)  # (V, C)

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """What hidden states are made of."""
        return self.embedding.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids: (...) -> (..., C)."""
        x: Tensor = self.transformer["wte"](ids)
        if self.shape.scales_embeddings:
            x = x * torch.tensor(self.shape.n_embd**0.5, dtype=x.dtype, device=x.device)
        return x

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend, rope: Rope | None = None) -> Tensor:
        """Return the hidden states before the head: ids and positions (...) -> (..., C)."""
        ropes = (rope or Rope(self.shape, device=ids.device)).at(positions)
        x = self.embed(ids)
        for layer, block in enumerate(self.blocks):
            x = block(x, ropes[layer in self.shape.local_rope_layers], attend)
        return self.norm(x)

    def norm(self, x: Tensor) -> Tensor:
        """Return the last norm of hidden states."""
        out: Tensor = self.transformer["ln_f"](x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of hidden states: (..., C) -> (..., V)."""
        logits: Tensor = self.lm_head(hidden)
        cap = self.shape.logit_softcap
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def linears(self) -> Iterator[tuple[str, Linear]]:
        """Yield the products of the blocks by name; the head, which is often tied, is not among them."""
        for name, module in self.transformer.named_modules(prefix="transformer"):
            if isinstance(module, Linear):
                yield name, module


class Rope:
    """The angles of rotary embeddings (https://arxiv.org/abs/2104.09864), with Llama 3's and linear scaling."""

    def __init__(self, shape: Shape, device: torch.device | str | None = None) -> None:
        n = shape.rope_n_elem
        steps = torch.arange(0, n, 2, device=device).float() / n
        theta = 1.0 / (shape.rope_base**steps)
        scaling = shape.rope_scaling or {}
        if "low_freq_factor" in scaling:
            ratio = scaling["original_max_seq_len"] / (2 * math.pi / theta)
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            smooth = ((ratio - low) / (high - low)).clamp(0, 1)
            theta = (1 - smooth) * (theta / scaling["factor"]) + smooth * theta
        elif "factor" in scaling:
            theta = theta / scaling["factor"]
        self.condense = shape.rope_condense
        self.thetas = [theta]  # (n/2,) of the global layers, then of the local ones
        if shape.rope_local_base is not None:
            self.thetas.append(1.0 / (shape.rope_local_base**steps))

    def at(self, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return cosines and sines, (..., 1, n/2) each, for the global layers and, where they differ, the local."""
        out = []
        for theta in self.thetas:
            angles = (positions.float() / self.condense).unsqueeze(-1).unsqueeze(-1) * theta
            out.append((angles.cos(), angles.sin()))
        return out


def rotate(x: Tensor, rope: tuple[Tensor, Tensor], n: int) -> Tensor:
    """Return (..., heads, hs) with its first `n` elements rotated, computed in fp32 as LitGPT does."""
    if n == 0:
        return x
    cos, sin = rope
    a, b = x[..., : n // 2].float(), x[..., n // 2 : n].float()
    parts = [(a * cos - b * sin).to(x.dtype), (b * cos + a * sin).to(x.dtype)]
    if n < x.shape[-1]:
        parts.append(x[..., n:])
    return torch.cat(parts, dim=-1)


def attend_within(heads: Heads, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend causally within one document: (T, heads, hs). The reference that faster ways are tested against."""
    n = q.shape[0]
    q, k, v = (t.transpose(0, 1).unsqueeze(0) for t in (q, k, v))  # (1, heads, T, hs)
    is_grouped = k.shape[1] != q.shape[1]
    if heads.softcap is None and (heads.window is None or heads.window >= n):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=heads.scale, enable_gqa=is_grouped)
        return y[0].transpose(0, 1)
    sees = torch.ones(n, n, dtype=torch.bool, device=q.device).tril()
    if heads.window is not None:
        sees = sees.triu(1 - heads.window)
    if heads.softcap is None:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=sees, scale=heads.scale, enable_gqa=is_grouped)
        return y[0].transpose(0, 1)
    if is_grouped:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    scores = torch.tanh(q @ k.mT * heads.scale / heads.softcap) * heads.softcap
    scores = scores.masked_fill(~sees, torch.finfo(scores.dtype).min)
    y = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v
    return y[0].transpose(0, 1)
