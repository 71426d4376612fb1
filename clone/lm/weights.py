"""Weights from and to files: bases opened lazily, adapters as safetensors.

Everything is safetensors, so that nothing of a stranger's is unpickled. Files are mapped, not read: a base opens in
milliseconds and its pages come in when they are used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from clone.errors import ModelError
from clone.lm.model import Transformer
from clone.lm.shape import Shape
from clone.lm.template import TEMPLATE_VERSION
from clone.workspace import write_atomically

HEAD = "lm_head.weight"
EMBEDDING = "transformer.wte.weight"


@dataclass(frozen=True, slots=True)
class AdapterMeta:
    """What an adapter was made for."""

    rank: int
    alpha: float
    base: str
    base_sha256: str
    template: str = TEMPLATE_VERSION


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA matrices by name: `<linear>.lora_A` (rank, in) and `<linear>.lora_B` (out, rank), fp32."""

    meta: AdapterMeta
    tensors: Mapping[str, Tensor]


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a base's weights; [] where there are none."""
    whole = folder / "lit_model.safetensors"
    return [whole] if whole.exists() else sorted(folder.glob("lit_model-*-of-*.safetensors"))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return a base's tensors by LitGPT's names, mapped from disk. Raises ModelError for a damaged file."""
    tensors: dict[str, Tensor] = {}
    files = weight_files(folder)
    if not files:
        raise ModelError(f"{folder} holds no weights.", "Remove the folder and run again to fetch the base anew.")
    for path in files:
        try:
            with safe_open(str(path), framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                    tensors[name] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path} is cut off or damaged.", "Remove its folder and run again to fetch the base anew."
            ) from error
    return tensors


def open_model(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None, is_head_tied: bool = True
) -> Transformer:
    """Return the base in `folder`, frozen and without adapter.

    On a CPU with the dtype of the file nothing is copied: weights stay mapped and must not be written to.
    Raises ModelError where weights are missing, have the wrong shape, or lack a head that is not tied.
    """
    model, tensors = open_bare(folder, is_head_tied=is_head_tied)
    moved = {name: tensor.to(device=device, dtype=dtype or tensor.dtype) for name, tensor in tensors.items()}
    if HEAD not in moved:
        moved[HEAD] = moved[EMBEDDING]
    model.load_state_dict(moved, strict=True, assign=True)
    model.requires_grad_(False)
    return model.eval()


def open_bare(folder: Path, *, is_head_tied: bool = True) -> tuple[Transformer, dict[str, Tensor]]:
    """Return the base in `folder` without storage, and its tensors, mapped; they fit. Raises as `open_model` does."""
    tensors = read_weights(folder)
    if HEAD not in tensors and not is_head_tied:
        raise ModelError(f"{folder} has no lm_head.", "The base is incomplete; remove its folder and run again.")
    with torch.device("meta"):
        model = Transformer(Shape.read(folder))
    check_names(tensors, model, folder)
    return model, tensors


def check_names(tensors: Mapping[str, Tensor], model: nn.Module, where: Path) -> None:
    """Raise ModelError unless `tensors` are the weights of `model`, a tied head left out or not."""
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    missing = sorted(wanted.keys() - tensors.keys() - {HEAD})
    unknown = sorted(tensors.keys() - wanted.keys())
    wrong = sorted(n for n in wanted.keys() & tensors.keys() if tuple(tensors[n].shape) != wanted[n])
    for what, names in (("lacks", missing), ("has, beyond its shape,", unknown), ("has in another size", wrong)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"the base in {where} {what} {names[0]}{more}.", "Remove its folder and run again to fetch it anew."
            )


# -- adapters -----------------------------------------------------------------------------------------------------


def add_adapter(model: Transformer, *, targets: list[str], rank: int, alpha: float, dropout: float, seed: int) -> None:
    """Give every linear whose name ends with one of `targets` an adapter that changes nothing yet (B is zero).

    A is drawn as torch's Linear draws its weight, on the CPU and by name order, so that a seed means the same
    everywhere. LoRA stays in fp32 beside a base of any dtype: in bf16 half of the updates would round to nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    n_added = 0
    for name, linear in model.linears():
        if not any(name.endswith("." + target) for target in targets):
            continue
        n_out, n_in = linear.n_out, linear.n_in
        bound = 1 / math.sqrt(n_in)
        a = torch.empty(rank, n_in).uniform_(-bound, bound, generator=generator)
        linear.lora_A = nn.Parameter(a.to(model.device))
        linear.lora_B = nn.Parameter(torch.zeros(n_out, rank, device=model.device))
        linear.lora_scale, linear.lora_dropout = alpha / rank, dropout
        n_added += 1
    if not n_added:
        raise ModelError(f"the base has no layer named {' or '.join(targets)}.", "See finetune.lora_targets.")


def adapter_parameters(model: Transformer) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name."""
    found: dict[str, nn.Parameter] = {}
    for name, linear in model.linears():
        if linear.lora_A is not None and linear.lora_B is not None:
            found[f"{name}.lora_A"], found[f"{name}.lora_B"] = linear.lora_A, linear.lora_B
    return found


def save_adapter(path: Path, model: Transformer, meta: AdapterMeta) -> None:
    """Write the adapter of `model`, or leave what was there."""
    tensors = {name: p.detach().float().cpu().contiguous() for name, p in adapter_parameters(model).items()}
    with write_atomically(path, binary=True) as stream:
        stream.write(safetensors_bytes(tensors, {key: str(value) for key, value in asdict(meta).items()}))


def read_adapter(path: Path) -> Adapter:
    """Return an adapter. Raises ModelError for a file that is none."""
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = AdapterMeta(
            rank=int(meta["rank"]),
            alpha=float(meta["alpha"]),
            base=meta["base"],
            base_sha256=meta["base_sha256"],
            template=meta["template"],
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not an adapter of clone.", "Train one with clone finetune.") from error
    if known.template != TEMPLATE_VERSION:
        raise ModelError(
            f"{path} was trained with the template {known.template}, this clone writes {TEMPLATE_VERSION}.",
            "Upgrade clone, or train again.",
        )
    return Adapter(known, tensors)


def apply_adapter(model: Transformer, adapter: Adapter, *, base: str, base_sha256: str) -> None:
    """Lay an adapter beside the weights of its base. Raises ModelError for an adapter of another base."""
    if adapter.meta.base_sha256 != base_sha256:
        raise ModelError(
            f"the adapter was trained on {adapter.meta.base}, not on this {base} (their weights differ).",
            f"Use the base it was trained on: {adapter.meta.base}.",
        )
    linears = dict(model.linears())
    for name in sorted({key.rpartition(".")[0] for key in adapter.tensors}):
        linear = linears.get(name)
        a, b = adapter.tensors.get(f"{name}.lora_A"), adapter.tensors.get(f"{name}.lora_B")
        if linear is None or a is None or b is None or (b.shape[0], a.shape[1]) != (linear.n_out, linear.n_in):
            raise ModelError(f"the adapter does not fit the base at {name}.", "Train again on this base.")
        linear.lora_A = nn.Parameter(a.to(model.device), requires_grad=False)
        linear.lora_B = nn.Parameter(b.to(model.device), requires_grad=False)
        linear.lora_scale = adapter.meta.alpha / adapter.meta.rank


def merge_adapter(model: Transformer) -> None:
    """Add the adapter into the weights (W + alpha/rank B A, summed in fp32) and take it away.

    The weights are replaced, never written to: they may be mapped from a file.
    """
    for _, linear in model.linears():
        if linear.lora_A is None or linear.lora_B is None:
            continue
        with torch.no_grad():
            update = linear.lora_B.float() @ linear.lora_A.float() * linear.lora_scale
            assert linear.weight is not None, "weights in fewer bits are not merged into"
            merged = (linear.weight.float() + update).to(linear.weight.dtype)
        linear.weight = nn.Parameter(merged, requires_grad=False)
        linear.lora_A = linear.lora_B = None


def safetensors_bytes(tensors: Mapping[str, Tensor], meta: Mapping[str, str]) -> bytes:
    """Return a safetensors file whose bytes follow from its content (the library writes metadata in any order)."""
    data: bytes = save(dict(tensors), dict(meta))
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + n :]
