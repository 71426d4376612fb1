"""Frozen products in fewer bits: fp8 to be faster, nf4 to be smaller.

The adapter and everything between the products stay as they are. In fp8 both the forward product and the one that
carries gradients to the activations run on the tensor cores' 8-bit path, with one scale for each row of what comes in
and one for each output (forward) or input (backward) of the weight. In nf4 (https://arxiv.org/abs/2305.14314) a weight
is stored as four bits with a scale a block of 64, and widened just before it is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clone.errors import HardwareError
from clone.lm.model import Block, Linear

_E4M3 = torch.float8_e4m3fn
_E4M3_MAX = 448.0
NF4_BLOCK = 64
# The 16 values of NF4, from appendix E of the QLoRA paper.
_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def quantise(block: Block, how: str) -> None:
    """Store the frozen weights of a block's products in fewer bits, in place; the norms stay."""
    for linear in block.modules():
        if isinstance(linear, Linear):
            assert linear.weight is not None
            linear.product = Fp8Product(linear.weight) if how == "fp8" else Nf4Product(linear.weight)
            linear.weight = None


def check_fp8(device: torch.device) -> None:
    """Raise HardwareError where the device has no fp8."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        raise HardwareError(
            "fp8 needs a GPU of the Ada or Hopper generation or newer.", "Train without: --set finetune.frozen=same"
        )


def move(
    part: nn.Module, device: torch.device | None, dtype: torch.dtype | None, courier: Courier | None = None
) -> None:
    """Move the parameters of `part` to a device, the frozen ones in `dtype` (as they are for None).

    Those that share their memory (a tied head) share it afterwards. What is there already is not touched.
    """
    moved: dict[tuple[int, torch.Size], Tensor] = {}
    for parameter in part.parameters():
        data = parameter.data
        key = (data.data_ptr(), data.shape)
        if key not in moved:
            wanted = None if parameter.requires_grad else dtype
            if courier is not None and data.device.type == "cpu" and data.is_contiguous():
                moved[key] = courier.bring(data, wanted)
            else:
                moved[key] = data.to(device=device, dtype=wanted)
        if moved[key] is not data:
            parameter.data = moved[key]


class Courier:
    """Brings tensors that are mapped from a file to a GPU, faster than torch does with memory that is not pinned.

    They pass through two pinned buffers: all cores read the pages of the file into one while the other is on its way.
    """

    def __init__(self, device: torch.device, buffer_bytes: int = 1 << 26) -> None:
        self._device = device
        is_gpu = device.type == "cuda"
        self._buffers = [torch.empty(buffer_bytes, dtype=torch.uint8, pin_memory=is_gpu) for _ in range(2)]
        self._sent: list[Any] = [torch.cuda.Event() if is_gpu else None for _ in range(2)]  # type: ignore[no-untyped-call]
        self._turn = 0

    def bring(self, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """Return a contiguous tensor of the CPU on the device, in `dtype` (as it is for None)."""
        out = torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=self._device)
        source, target = tensor.view(-1), out.view(-1)
        step = len(self._buffers[0]) // out.element_size()
        for a in range(0, len(source), step):
            buffer, sent = self._buffers[self._turn], self._sent[self._turn]
            self._turn = 1 - self._turn
            n = min(step, len(source) - a)
            staged = buffer[: n * out.element_size()].view(out.dtype)
            if sent is not None:
                sent.synchronize()  # what lay in it before has arrived
            staged.copy_(source[a : a + n])
            target[a : a + n].copy_(staged, non_blocking=True)
            if sent is not None:
                sent.record()
        return out


class Fp8Product(nn.Module):
    """x W' with W kept twice in fp8: each of the two products wants its own layout, so it takes what bf16 takes."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        forward, forward_scale = _to_fp8(weight)  # a scale an output: (out, in), (out, 1)
        backward, backward_scale = _to_fp8(weight.t())  # a scale an input: (in, out), (in, 1)
        self.register_buffer("forward_weight", forward)
        self.register_buffer("forward_scale", forward_scale)
        self.register_buffer("backward_weight", backward)
        self.register_buffer("backward_scale", backward_scale)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Fp8Matmul.apply(  # type: ignore[no-untyped-call]
            x, self.forward_weight, self.forward_scale, self.backward_weight, self.backward_scale
        )
        return out


class _Fp8Matmul(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, backward_weight: Tensor, backward_scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(backward_weight, backward_scale)
        return _scaled_product(x, weight, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        weight, scale = ctx.saved_tensors
        return _scaled_product(grads[0], weight, scale), None, None, None, None


def _scaled_product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Return x (T, in) times weight (out, in) transposed, both in fp8, in the dtype of x."""
    narrow, x_scale = _to_fp8(x)
    return torch._scaled_mm(narrow, weight.t(), x_scale, scale.t(), out_dtype=x.dtype, use_fast_accum=True)


def _to_fp8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x in fp8 and the scale of each row, (rows, 1) fp32: x is narrow * scale."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / _E4M3_MAX
    narrow = (x.float() / scale).clamp(-_E4M3_MAX, _E4M3_MAX).to(_E4M3)
    return narrow.contiguous(), scale.contiguous()


class Nf4Product(nn.Module):
    """x W' with W in four bits, widened to the dtype of x for each product and let go again."""

    codes: Tensor
    largest: Tensor
    levels: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        blocks = weight.detach().float().reshape(-1, NF4_BLOCK)
        largest = blocks.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
        levels = torch.tensor(_NF4, device=weight.device)
        borders = (levels[1:] + levels[:-1]) / 2
        codes = torch.bucketize(blocks / largest, borders).to(torch.uint8).reshape(-1)
        self.register_buffer("codes", (codes[0::2] << 4) | codes[1::2])  # (out * in / 2,) uint8
        self.register_buffer("largest", largest[:, 0].to(torch.float16))  # (out * in / 64,)
        self.register_buffer("levels", levels)

    def weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight, (out, in)."""
        return _widen(self.codes, self.largest, self.levels, self.shape[0], self.shape[1], dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Nf4Matmul.apply(  # type: ignore[no-untyped-call]
            x, self.codes, self.largest, self.levels, self.shape[0], self.shape[1]
        )
        return out


def _widen(codes: Tensor, largest: Tensor, levels: Tensor, n_out: int, n_in: int, dtype: torch.dtype) -> Tensor:
    both = torch.stack([codes >> 4, codes & 15], dim=-1).reshape(-1, NF4_BLOCK)  # (blocks, 64)
    return (levels[both.int()] * largest.float()[:, None]).to(dtype).reshape(n_out, n_in)


class _Nf4Matmul(torch.autograd.Function):
    """The product, which keeps the four bits for the backward pass and widens them again there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, largest: Tensor, levels: Tensor, n_out: int, n_in: int) -> Tensor:
        ctx.save_for_backward(codes, largest, levels)
        ctx.n_out, ctx.n_in = n_out, n_in
        return F.linear(x, _widen(codes, largest, levels, n_out, n_in, x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        codes, largest, levels = ctx.saved_tensors
        weight = _widen(codes, largest, levels, ctx.n_out, ctx.n_in, grads[0].dtype)
        return grads[0] @ weight, None, None, None, None, None
