"""Attention over packed documents: a document's tokens see their own document only.

On a GPU one kernel does all documents of a row (`clone.finetune.attention` or `torch.nn.attention.varlen`); elsewhere
each document is attended to by itself.
"""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from clone.lm.model import Heads, attend_within

_DOCUMENTS_STEP = 128  # offsets are padded to a multiple, so that a compiled block meets few shapes


@dataclass(frozen=True, slots=True)
class Documents:
    """The borders of a row, and how to attend within them."""

    offsets: list[int]
    longest: int  # rounded up to a power of two
    # on a GPU, None elsewhere:
    cumulative: Tensor | None = None  # (padded D + 1,) int32: the offsets
    starts: Tensor | None = None  # (T,) int32: where each token's document begins
    ends: Tensor | None = None  # (T,) int32: and ends

    @classmethod
    def of(cls, offsets: list[int], device: torch.device) -> Documents:
        """Return the documents that begin at `offsets` (D + 1,), the last of which is the end of the row."""
        lengths = [b - a for a, b in itertools.pairwise(offsets)]
        longest = 1 << (max(lengths) - 1).bit_length()
        if device.type != "cuda":
            return cls(offsets, longest)
        n = -(-len(offsets) // _DOCUMENTS_STEP) * _DOCUMENTS_STEP + 1
        padded = offsets + [offsets[-1]] * (n - len(offsets))
        bounds, sizes = torch.tensor(offsets, dtype=torch.int32), torch.tensor(lengths)
        on_device = [
            tensor.pin_memory().to(device, non_blocking=True)
            for tensor in (
                torch.tensor(padded, dtype=torch.int32),
                bounds[:-1].repeat_interleave(sizes),
                bounds[1:].repeat_interleave(sizes),
            )
        ]
        return cls(offsets, longest, *on_device)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First token and one past the last of each document."""
        return list(zip(self.offsets, self.offsets[1:], strict=False))

    def __call__(self, heads: Heads, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend: q (T, n_head, hs), k and v (T, n_query_groups, hs) -> (T, n_head, hs)."""
        if self.cumulative is not None and heads.softcap is None and q.dtype in (torch.bfloat16, torch.float16):
            if (
                self.starts is not None
                and k.shape[1] < q.shape[1]
                and heads.window is None
                and q.shape[2] in (32, 64, 128)
            ):
                from clone.finetune.attention import packed_attention

                out: Tensor = packed_attention(q, k, v, self.starts, self.ends, heads.scale)[0]
                return out
            return self._varlen(heads, q, k, v)
        return torch.cat([attend_within(heads, q[a:b], k[a:b], v[a:b]) for a, b in self.spans])

    def _varlen(self, heads: Heads, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        window = (-1, 0) if heads.window is None else (heads.window - 1, 0)
        options: dict[str, object] = {"scale": heads.scale, "window_size": window}
        if k.shape[1] != q.shape[1]:
            if "enable_gqa" in inspect.signature(varlen_attn).parameters:
                options["enable_gqa"] = True
            else:
                share = q.shape[1] // k.shape[1]
                k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        cumulative, longest = self.cumulative, self.longest
        return cast(Tensor, varlen_attn(q, k, v, cumulative, cumulative, longest, longest, **options))  # type: ignore[arg-type]
