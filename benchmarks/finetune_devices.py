"""Training on one device and on several, the same steps in one call: how many times faster, and what travels.

    python benchmarks/finetune_devices.py [--devices N] [--layers N] [--nodes N --node-rank K --master ADDRESS]

On GPUs, Falcon-7B's true shape with random weights in bf16 (14 GB are written to a temporary folder), rows of 8,192
tokens, steps of 8,192 a device; without a GPU, gloo processes and a tiny base. Each row is a run of torchrun of its own
over the same texts: one device, all by DDP, all by FSDP. With --nodes, type it on each machine, in the same minute.

Prints a table, and one JSON line last, on the first machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

MEAN, LONGEST, PROMPT = 120, 512, 0.6


def texts(n_tokens: int, vocab: int) -> Any:
    """Return sequences of random ids with the lengths that texts of chats have."""
    from clone.finetune.sequences import Sequences

    draw = torch.Generator().manual_seed(0)
    mu = math.log(MEAN) - 0.8**2 / 2
    n = n_tokens // MEAN
    lengths = torch.randn(n, generator=draw).mul(0.8).add(mu).exp().round().clamp(8, LONGEST).long()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    total = int(starts[-1])
    within = torch.arange(total) - starts[:-1].repeat_interleave(lengths)
    return Sequences(
        ids=torch.randint(12, vocab, (total,), generator=draw, dtype=torch.int32),
        is_learned=(within >= (lengths * PROMPT).long().repeat_interleave(lengths)).to(torch.uint8),
        starts=starts,
        n_examples=n,
        n_folded_away=0,
        n_too_long=0,
        n_cut=0,
        n_bytes=total,
        n_characters=total,
        passed_over={},
    )


def write_base(folder: Path, layers: int | None) -> None:
    """Write a random base of Falcon-7B's shape."""
    import yaml
    from safetensors.torch import save_file

    from clone.lm.lit import fields_of
    from clone.lm.model import Transformer
    from clone.lm.shape import Shape

    device = "cuda" if torch.cuda.is_available() else "cpu"
    fields = fields_of("falcon-7b")
    assert fields is not None
    fields["n_layer"] = layers or fields["n_layer"]
    folder.mkdir()
    (folder / "model_config.yaml").write_text(yaml.safe_dump(fields))
    with torch.device("meta"):
        model = Transformer(Shape.of(fields))
    like: dict[tuple[int, ...], torch.Tensor] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        shape = tuple(parameter.shape)
        if shape not in like:
            like[shape] = torch.randn(shape, device=device).mul_(0.02).bfloat16().cpu()
        part = name.split(".")[2] if ".h." in name else "rest"
        parts.setdefault(part, {})[name] = like[shape]
    for k, (_, tensors) in enumerate(parts.items()):
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        save_file(copies, folder / f"lit_model-{k + 1:05}-of-{len(parts):05}.safetensors")


def work(asked: argparse.Namespace) -> None:
    """Be one process of a run: train a few steps and, in the first process, print what they took."""
    from dataclasses import dataclass

    from clone.finetune.devices import make_fabric
    from clone.finetune.stage import open_packed
    from clone.finetune.train import Plan, measure_steps, memory_gb
    from clone.lm.shape import Shape
    from clone.lm.weights import adapter_parameters
    from clone.recipe import FinetuneRecipe

    @dataclass
    class Base:
        path: Path
        is_head_tied: bool

    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    each = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // each
    fabric = make_fabric("cuda" if on_gpu else "cpu", asked.worker, each, nodes)
    row = 8192 if on_gpu else 512
    shape = Shape.read(asked.base)
    plan = Plan(peak_rate=1e-5, row_tokens=row, step_tokens=row * asked.devices * asked.nodes, n_steps=1)
    sequences = texts(plan.step_tokens * (asked.steps + 4), min(shape.vocab_size, 250))
    recipe = FinetuneRecipe(checkpointing=asked.checkpointing)
    model = open_packed(recipe, Base(asked.base, True), fabric)
    seconds = measure_steps(fabric, model, sequences, recipe, plan, asked.steps)
    if fabric.is_global_zero:
        n = sum(p.numel() for p in adapter_parameters(model.model).values())
        told = {"seconds": seconds, "tokens_per_s": plan.step_tokens / seconds, "peak_gb": memory_gb(fabric.device)}
        print(json.dumps({**told, "gradient_mb": n * 4 / 1e6}))


def run(strategy: str, n: int, asked: argparse.Namespace, base: Path) -> dict[str, Any] | None:
    """Return what a run of `n` devices on this machine measured; None on a machine that is not the first."""
    nodes = asked.nodes if n > 1 or asked.nodes > 1 else 1
    where = [f"--nnodes={nodes}", f"--node-rank={asked.node_rank}", f"--master-addr={asked.master}"]
    if strategy == "one":
        where = ["--nnodes=1"]
    command = [sys.executable, "-m", "torch.distributed.run", *where, f"--nproc-per-node={n}", "--master-port=29655"]
    given = ["--worker", strategy, "--base", str(base), "--devices", str(asked.devices), "--nodes", str(asked.nodes)]
    given += ["--steps", str(asked.steps)] + (["--checkpointing"] if asked.checkpointing else [])
    done = subprocess.run([*command, __file__, *given], stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else None


def main() -> None:
    parser = argparse.ArgumentParser(description="One device and several.")
    parser.add_argument("--devices", type=int, default=torch.cuda.device_count() or 2, help="of each machine")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--master", default="127.0.0.1")
    parser.add_argument("--layers", type=int, help="fewer layers than Falcon-7B's 32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--worker", choices=["one", "ddp", "fsdp"], help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked)
        return
    from clone.lm.base import build_random_base

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        if torch.cuda.is_available():
            write_base(base, asked.layers)
        else:
            build_random_base(base)
        every = asked.devices * asked.nodes
        rows: list[dict[str, Any]] = []
        for name, strategy, n in (
            ("one device", "one", 1),
            ("DDP", "ddp", asked.devices),
            ("FSDP", "fsdp", asked.devices),
        ):
            told = run(strategy, n, asked, base)
            if told is None:
                continue
            told = {"name": name, "devices": 1 if strategy == "one" else every, **told}
            rows.append({**told, "times_one": rows[0]["seconds"] / told["seconds"] if rows else 1.0})
            print(
                f"{name:12} {told['devices']:3} x  {told['tokens_per_s']:9,.0f} tokens/s"
                f"  {told['seconds']:7.3f} s a step  {rows[-1]['times_one']:5.2f} times one"
                f"  {told['peak_gb']:6.1f} GB a device  {told['gradient_mb']:6.1f} MB of gradients a step",
                flush=True,
            )
    if rows:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        print(json.dumps({"device": device, "devices": every, "rows": rows}))


if __name__ == "__main__":
    main()
