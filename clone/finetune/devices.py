"""Several devices, on one machine or many: who computes what, and what travels between them.

Every process lays the same plan and takes its share of each step. Under DDP it holds the base whole; under FSDP the
frozen weights of the blocks are cut into shards (torch's `fully_shard`), put together block by block while they are
needed and let go again. The adapter, under a hundredth of the base, is whole everywhere in both: what travels for it
is one sum of its gradients a step, and what is saved of a run does not depend on how many trained it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from clone.errors import CloneError, ModelError, ProcessLost, RecipeError
from clone.finetune.fabric import DDPStrategy, Fabric, ModelParallelStrategy
from clone.finetune.packed import PackedModel
from clone.finetune.rows import fill_rows, padded_size
from clone.lm.model import Block, Transformer
from clone.lm.weights import EMBEDDING, HEAD, open_bare
from clone.recipe import FinetuneRecipe

Strategy = Literal["one", "ddp", "fsdp"]
T = TypeVar("T")

# How gloo, NCCL and torch's store say that another process is gone.
_LOST = ("connection closed by peer", "connection reset", "connection refused", "broken pipe", "socket", "timed out")


class ToldElsewhere(CloneError):
    """What went wrong in another process of the run, which tells it."""


# -- processes ----------------------------------------------------------------------------------------------------


def make_fabric(device: str, strategy: Strategy = "one", n_devices: int = 1, n_nodes: int = 1) -> Fabric:
    """Return the Fabric that starts the processes, or joins those that torchrun or SLURM started.

    Raises RecipeError where these are not as many as the recipe says.
    """
    warnings.filterwarnings("ignore", module="lightning_fabric")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    how: Any = "auto"
    if strategy == "ddp":
        # Seeds and files are the same everywhere, so nothing is sent round at the start; without the second, the
        # frozen weights that are buffers (fp8, nf4) would be sent round at each forward pass.
        how = DDPStrategy(init_sync=False, broadcast_buffers=False)
    elif strategy == "fsdp":
        how = ModelParallelStrategy(
            lambda module, mesh: module,  # it was cut when it was opened
            data_parallel_size=n_devices * n_nodes,
            tensor_parallel_size=1,
        )
    try:
        fabric = Fabric(accelerator=device, devices=n_devices, num_nodes=n_nodes, strategy=how, precision="32-true")
        fabric.launch()
    except ValueError as error:
        if "devices" not in str(error) and "num_nodes" not in str(error):
            raise
        raise RecipeError(
            f"the recipe asks for {n_nodes} x {n_devices} processes, and other ones were started.",
            "Set finetune.nodes to the machines and finetune.devices to the processes on each of them.",
        ) from error
    if fabric.world_size != n_devices * n_nodes:
        raise RecipeError(
            f"the recipe asks for {n_nodes} x {n_devices} processes, {fabric.world_size} were started.",
            "Set finetune.nodes to the machines and finetune.devices to the processes on each of them.",
        )
    return fabric


def is_sharded(fabric: Fabric) -> bool:
    """Whether the frozen weights are cut into shards."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def in_turn(fabric: Fabric, work: Callable[[], None]) -> None:
    """Do `work` in the first process, then in the first of every other machine, then in the rest.

    The later ones find what the first left on a disk that they share. What fails in one is raised in all: in it as it
    is, in the others as ToldElsewhere.
    """
    mine = 0 if fabric.is_global_zero else 1 if fabric.local_rank == 0 else 2
    for turn in range(3 if fabric.world_size > 1 else 1):
        error: CloneError | None = None
        if turn == mine:
            try:
                work()
            except CloneError as caught:
                error = caught
        failed = [message for message in _gather(fabric, error.message if error else None) if message is not None]
        if error is not None:
            raise error
        if failed:
            raise ToldElsewhere(failed[0])


def check_alike(fabric: Fabric, facts: dict[str, object]) -> None:
    """Raise ModelError, naming what differs, unless every process was given the same."""
    everyone = _gather(fabric, facts)
    differ = [name for name in facts if any(theirs[name] != facts[name] for theirs in everyone)]
    if differ:
        raise ModelError(
            f"the processes of this run do not agree on {' and '.join(differ)}.",
            "Every machine needs the same recipe, base and prepared data: copy data/processed to all of them.",
        )


def _gather(fabric: Fabric, value: T) -> list[T]:
    if fabric.world_size == 1:
        return [value]
    everyone: list[Any] = [None] * fabric.world_size
    dist.all_gather_object(everyone, value)
    return everyone


@contextmanager
def losing_none(fabric: Fabric, again: str) -> Iterator[None]:
    """Turn the loss of another process, which the next exchange meets, into a ProcessLost that says so."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        is_lost = isinstance(error, dist.DistError) or any(words in text for words in _LOST)
        if fabric.world_size == 1 or isinstance(error, torch.OutOfMemoryError) or not is_lost:
            raise
        raise ProcessLost(f"another of the {fabric.world_size} processes of this run was lost.", again) from error


# -- shares of a step ---------------------------------------------------------------------------------------------


def deal(lengths: Sequence[int], rows: list[list[int]], row_tokens: int, n: int) -> list[list[list[int]]]:
    """Return each of `n` devices' rows of a step, so that the one with the most to do is done as early as can be.

    Either whole rows are dealt out, or the step's sequences, longest first, to whoever has the fewest tokens. A device
    may have fewer rows than another, or none.
    """
    if n == 1:
        return [rows]
    sizes = [sum(lengths[i] for i in row) for row in rows]
    whole: list[list[list[int]]] = [[] for _ in range(n)]
    loads = [0] * n
    for k in sorted(range(len(rows)), key=lambda k: -sizes[k]):
        least = loads.index(min(loads))
        whole[least].append(rows[k])
        loads[least] += sizes[k]
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0] * n
    for i in sorted((i for row in rows for i in row), key=lambda i: -lengths[i]):
        least = loads.index(min(loads))
        shares[least].append(i)
        loads[least] += lengths[i]
    cut = [fill_rows(lengths, share, row_tokens) for share in shares]

    def longest(dealt: list[list[list[int]]]) -> int:
        return max(sum(padded_size(sum(lengths[i] for i in row)) for row in mine) for mine in dealt)

    return min(cut, whole, key=longest)


def passes(dealt: list[list[list[int]]], rank: int) -> list[tuple[list[int], bool]]:
    """Return the rows that a device sends through the model, and whether each counts.

    All devices make as many passes: a sharded block is put together by all of them, each time. One that has fewer rows
    than the others goes through a short one again, which counts for nothing.
    """
    n = max(len(rows) for rows in dealt)
    mine = dealt[rank]
    filler = (mine or next(rows for rows in dealt if rows))[-1][-1:]
    return [(row, True) for row in mine] + [(filler, False)] * (n - len(mine))


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Make every process's gradients their mean over all, as DDP does by itself during the backward pass."""
    if not is_sharded(fabric):
        return
    gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    mean = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for gradient, part in zip(gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


# -- shards of the base -------------------------------------------------------------------------------------------


def check_shardable(settings: FinetuneRecipe) -> None:
    """Raise RecipeError for settings that do not go with FSDP."""
    if settings.frozen != "same":
        raise RecipeError(
            f"finetune.strategy fsdp and finetune.frozen {settings.frozen} do not go together: shards keep the weights "
            "as they are.",
            "Take --set finetune.frozen=same, or --set finetune.strategy=ddp with the base whole on each device.",
        )
    if settings.devices * settings.nodes == 1:
        raise RecipeError(
            "finetune.strategy fsdp needs more than one device.", "Set finetune.devices, or leave the strategy out."
        )


def open_shards(fabric: Fabric, base: Any, dtype: torch.dtype) -> Transformer:
    """Return the base with each block's weights cut along their first dimension, this process's shard of each loaded.

    Of the files only what this process keeps is read. The embedding, the head and the last norm, which every row
    needs from end to end, are whole.
    """
    mesh = _mesh(fabric)
    model, tensors = open_bare(base.path, is_head_tied=base.is_head_tied)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    placed: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if name in tensors:
            placed[name] = _place(tensors[name], parameter, mesh, fabric.device, dtype)
    placed.setdefault(HEAD, placed[EMBEDDING])
    model.load_state_dict(placed, strict=True, assign=True)
    model.requires_grad_(False)
    return model.eval()


def join_blocks(fabric: Fabric, model: PackedModel, compiles: bool) -> None:
    """Make a model of sharded blocks one unit, so that a block is fetched while the one before it computes.

    The fetching stays outside of what is compiled.
    """
    whole = {parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(model, mesh=_mesh(fabric), ignored_params=whole)
    if compiles:
        options: dict[str, Any] = {"pattern_matcher": False}  # see PackedModel
        each = torch.compile(Block.forward, dynamic=False, options=options)
        last = torch.compile(Block.forward, options=options)
        for layer, block in enumerate(model.model.blocks):
            block.forward = MethodType(last if layer == model.model.shape.n_layer - 1 else each, block)  # type: ignore[method-assign]


def _mesh(fabric: Fabric) -> DeviceMesh:
    return cast(ModelParallelStrategy, fabric.strategy).device_mesh["data_parallel"]


def _place(tensor: Tensor, parameter: Tensor, mesh: DeviceMesh, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return this process's shard of a tensor mapped from a file, or all of it where it is not cut."""
    if not isinstance(parameter, DTensor):
        return tensor.to(device=device, dtype=dtype)
    size = -(-len(tensor) // mesh.size())  # as torch.chunk cuts; the last shards may be empty
    first = min(len(tensor), mesh.get_local_rank() * size)
    shard = tensor[first : first + size].to(device=device, dtype=dtype, copy=True)
    out: Tensor = DTensor.from_local(
        shard, mesh, parameter.placements, run_check=False, shape=parameter.shape, stride=parameter.stride()
    )
    return out
