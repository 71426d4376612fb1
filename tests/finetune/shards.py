"""What two processes of tests/finetune/test_devices.py do: the gradients of one step over shards of a base.

    torchrun --nproc-per-node 2 -m tests.finetune.shards BASE OUT

Each process writes what it has to OUT.<rank>.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from clone.finetune.devices import average_gradients, deal, make_fabric, passes
from clone.finetune.fabric import Fabric
from clone.finetune.rows import fill_rows, lay_row
from clone.finetune.sequences import Sequences
from clone.finetune.stage import open_packed
from clone.lm.base import open_base
from clone.lm.weights import adapter_parameters
from clone.recipe import FinetuneRecipe

ROW_TOKENS = 128


def invented() -> Sequences:
    """Return sequences of random ids, of many lengths."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(5, 60, (21,), generator=draw)
    n = int(lengths.sum())
    return Sequences(
        ids=torch.randint(0, 200, (n,), generator=draw, dtype=torch.int32),
        is_learned=(torch.rand(n, generator=draw) < 0.6).to(torch.uint8),
        starts=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        n_examples=len(lengths),
        n_folded_away=0,
        n_too_long=0,
        n_cut=0,
        n_bytes=n,
        n_characters=n,
        passed_over={},
    )


def gradients(fabric: Fabric, base: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """Return the loss of one step, its gradients and, of a sharded base, how many of its numbers are here."""
    recipe = FinetuneRecipe(base=str(base), **settings)
    packed = open_packed(recipe, open_base(base), fabric)
    torch.manual_seed(3)
    parameters = adapter_parameters(packed.model)
    for parameter in parameters.values():
        torch.nn.init.normal_(parameter, std=0.05)
    trained = fabric.setup_module(packed)
    sequences = invented()
    lengths = sequences.lengths.tolist()
    rows = fill_rows(lengths, range(len(lengths)), ROW_TOKENS)
    weight = fabric.world_size / sequences.count_learned(range(len(lengths)))
    loss = torch.zeros(())
    for row, counts in passes(deal(lengths, rows, ROW_TOKENS, fabric.world_size), fabric.global_rank):
        summed = trained(lay_row(sequences, row)) * (weight if counts else 0.0)
        fabric.backward(summed)
        loss += summed.detach()
    average_gradients(fabric, parameters.values())
    shards = [p for p in packed.parameters() if isinstance(p, DTensor)]
    return {
        "loss": torch.as_tensor(fabric.all_reduce(loss, reduce_op="mean")),
        "n_here": torch.tensor(sum(p.to_local().numel() for p in shards)),
        "n_cut": torch.tensor(sum(p.numel() for p in shards)),
        **{name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None},
    }


def main() -> None:
    base, out = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    compiler = torch.compile
    # The code that inductor would write takes a minute to build; whether the blocks' hooks stay outside shows without.
    torch.compile = lambda f, dynamic=None, options=None: compiler(f, dynamic=dynamic, backend="aot_eager")
    fabric = make_fabric("cpu", "fsdp", 2)
    ways = {"plain": {}, "checkpointing": {"checkpointing": True}, "both": {"checkpointing": True, "compile": True}}
    torch.save({name: gradients(fabric, base, **way) for name, way in ways.items()}, f"{out}.{fabric.global_rank}")


if __name__ == "__main__":
    main()
