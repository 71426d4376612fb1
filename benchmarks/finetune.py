"""Training speed and memory on one GPU, ours beside stock LitGPT and transformers + peft, in one process run.

    python benchmarks/finetune.py [--layers N] [--epoch FILE] [--only ours,litgpt,peft,epoch] [--out FILE]

Falcon-7B's true shape with random weights (speed and memory do not depend on their values), bf16. Texts have chat
lengths: log-normal, mean 120 tokens, at most 512, the first 60 % of each not graded. "Real" counts the tokens of the
texts and no padding. Ours takes the rows and steps that `clone finetune` plans; LitGPT steps every 16 texts, as it does
by itself. Stock nf4 needs bitsandbytes.

With --epoch, a file that `benchmarks/epoch_file.py` made of prepared examples is trained on for a whole epoch by ours.
Stock LitGPT takes the same examples one by one, for a stretch with each micro-batch and a longer one with its best,
from which its epoch is reckoned: once with the same adapter, once with the one it has by default.

Prints a row as soon as it is measured, a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

DEVICE = torch.device("cuda")
ROWS: list[dict[str, Any]] = []
MEAN, LONGEST, PROMPT = 120, 512, 0.6
BUDGET_S = 6.0


def chat_lengths(n: int, mean: int, longest: int, seed: int = 0) -> list[int]:
    """Return lengths of texts as chats have them."""
    draw = torch.Generator().manual_seed(seed)
    mu = math.log(mean) - 0.8**2 / 2
    return torch.randn(n, generator=draw).mul(0.8).add(mu).exp().round().clamp(8, longest).long().tolist()


def texts(
    lengths: list[int], graded: list[int] | None, vocab: int
) -> Callable[[int], tuple[torch.Tensor, torch.Tensor]]:
    """Return what gives a text of random ids and its labels (unshifted, -100 where not graded)."""

    def text(i: int) -> tuple[torch.Tensor, torch.Tensor]:
        n = lengths[i]
        ids = torch.randint(12, vocab, (n,), generator=torch.Generator().manual_seed(i))
        labels = ids.clone()
        labels[: n - graded[i] if graded else max(1, min(n - 1, int(n * PROMPT)))] = -100
        return ids, labels

    return text


def free() -> None:
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def timed(
    name: str, step: Callable[[int], int], n_warm: int, budget_s: float = BUDGET_S, **facts: Any
) -> dict[str, Any]:
    """Run `step` (which returns its real tokens) for a while, and keep the row."""
    try:
        began = time.perf_counter()
        for i in range(n_warm):
            step(i)
        torch.cuda.synchronize()
        warm_s = time.perf_counter() - began
        began, n_tokens, n = time.perf_counter(), 0, 0
        while time.perf_counter() - began < budget_s:
            n_tokens += step(n_warm + n)
            n += 1
            if n % 4 == 0:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        row = {
            "name": name,
            "tokens_per_s": round(n_tokens / seconds),
            "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
            "steps": n,
            "warm_s": round(warm_s, 1),
            **facts,
        }
    except torch.cuda.OutOfMemoryError:
        row = {"name": name, "tokens_per_s": 0, "peak_gb": 0.0, "error": "out of memory", **facts}
    ROWS.append(row)
    print(json.dumps(row), flush=True)
    return row


# -- ours -------------------------------------------------------------------------------------------------------------


def our_learner(n_layer: int | None, frozen: str, checkpointing: bool) -> Any:
    from clone.finetune.devices import make_fabric
    from clone.finetune.learner import Learner
    from clone.finetune.packed import PackedModel
    from clone.lm.lit import fields_of
    from clone.lm.model import Transformer
    from clone.lm.shape import Shape
    from clone.lm.weights import add_adapter

    free()
    fields = fields_of("tiiuae/falcon-7b")
    assert fields is not None
    if n_layer:
        fields["n_layer"] = n_layer
    with torch.device("meta"):
        model = Transformer(Shape.of(fields))
    model = model.to(torch.bfloat16).to_empty(device=DEVICE)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name or "ln_f" in name
        parameter.data.fill_(float(name.endswith("weight"))) if is_norm else parameter.data.normal_(0, 0.02)
    model.lm_head.weight = model.transformer["wte"].weight
    model.requires_grad_(False)
    targets = ["attn.qkv", "attn.proj", "mlp.fc", "mlp.proj"]
    add_adapter(model, targets=targets, rank=16, alpha=32, dropout=0, seed=0)
    packed = PackedModel(model, frozen=frozen, checkpointing=checkpointing, compiles=True)
    free()
    return Learner(make_fabric("cuda"), packed, 2e-4)


def synthetic(lengths: list[int], vocab: int) -> Any:
    """Return sequences of random ids with these lengths."""
    from clone.finetune.sequences import Sequences

    text = texts(lengths, None, vocab)
    made = [text(i) for i in range(len(lengths))]
    ids = torch.cat([a for a, _ in made]).to(torch.int32)
    learned = torch.cat([(b != -100) for _, b in made]).to(torch.uint8)
    return Sequences(ids, learned, torch.tensor([0, *lengths]).cumsum(0), len(lengths), 0, 0, 0, 1, 1, {})


def learning(learner: Any, sequences: Any, row_tokens: int, n_epochs: int | None) -> Iterator[int]:
    """Make steps as training plans and makes them, and yield the tokens of each."""
    from clone.finetune.rows import plan_epoch
    from clone.finetune.schedule import default_step_tokens

    step_tokens = default_step_tokens(sequences.n_tokens)
    epochs = itertools.count() if n_epochs is None else range(n_epochs)
    plans = (plan_epoch(sequences, 0, epoch, row_tokens, step_tokens) for epoch in epochs)
    steps = learner.lay(sequences, itertools.chain.from_iterable(plans), row_tokens)
    coming = next(steps, None)
    while coming is not None:
        step = coming
        told = learner.learn(step, 2e-4)
        coming = next(steps, None)
        told.tolist()
        yield step.n_tokens


def ours(
    name: str, row_tokens: int | None, longest: int, frozen: str, checkpointing: bool, n_layer: int | None
) -> None:
    from clone.finetune.rows import GPU_ROW

    row_tokens = row_tokens or GPU_ROW
    mean = MEAN * longest // LONGEST if longest > LONGEST else MEAN
    learner = our_learner(n_layer, frozen, checkpointing)
    sequences = synthetic(chat_lengths(8192, mean, longest), learner.model.model.shape.vocab_size)
    steps = learning(learner, sequences, row_tokens, None)
    timed(name, lambda i: next(steps), n_warm=4, row_tokens=row_tokens, frozen=frozen, checkpointing=checkpointing)


def our_epoch(tensors: dict[str, torch.Tensor], frozen: str, n_layer: int | None) -> float:
    """Return the seconds of an epoch over folded sequences, the kernels' compilation included."""
    from clone.finetune.rows import GPU_ROW
    from clone.finetune.sequences import Sequences

    n = len(tensors["starts"]) - 1
    sequences = Sequences(tensors["ids"], tensors["is_learned"], tensors["starts"], n, 0, 0, 0, 1, 1, {})
    learner = our_learner(n_layer, frozen, False)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in learning(learner, sequences, GPU_ROW, 1):
        pass
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    ROWS.append(
        {
            "name": f"ours, {frozen}: an epoch",
            "tokens_per_s": round(sequences.n_tokens / seconds),
            "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
            "seconds": round(seconds, 1),
        }
    )
    print(json.dumps(ROWS[-1]), flush=True)
    return seconds


# -- stock LitGPT -----------------------------------------------------------------------------------------------------


def litgpt_rows(
    targets: str,
    rank: int,
    sizes: list[int],
    lengths: list[int],
    graded: list[int] | None,
    n_layer: int | None,
    what: str,
    is_nf4: bool = False,
    repeats_best: bool = False,
) -> list[dict[str, Any]]:
    """LitGPT 0.5.13's own loop (finetune/lora.py): right padding, chunked head over every position, AdamW."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import BitsandbytesPrecision
    from litgpt.lora import GPT, Config, mark_only_lora_as_trainable
    from litgpt.utils import chunked_cross_entropy

    every = targets == "all"
    switches = {f"lora_{part}": every or part in ("query", "value") for part in ("query", "key", "value")}
    switches |= {"lora_projection": every, "lora_mlp": every, "lora_head": False}
    sizes_of = {"n_layer": n_layer} if n_layer else {}
    config = Config.from_name("falcon-7b", lora_r=rank, lora_alpha=2 * rank, lora_dropout=0.05, **switches, **sizes_of)
    plugins = BitsandbytesPrecision("nf4", torch.bfloat16) if is_nf4 else None
    fabric = Fabric(accelerator="cuda", devices=1, precision=None if is_nf4 else "bf16-true", plugins=plugins)
    with fabric.init_module(empty_init=False):
        model = GPT(config)
    mark_only_lora_as_trainable(model)
    model.max_seq_length = min(config.block_size, max(lengths))
    trained = fabric.setup_module(model)
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, betas=(0.9, 0.95))
    )
    text = texts(lengths, graded, config.vocab_size)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(42)).tolist()

    def measure(size: int, budget_s: float, note: str = "") -> dict[str, Any]:
        free()
        accumulate = max(1, 16 // size)
        trained.train()

        def step(i: int) -> int:
            chosen = [text(order[(i * size + k) % len(order)]) for k in range(size)]
            longest = max(len(ids) for ids, _ in chosen)
            ids = torch.zeros(size, longest, dtype=torch.long)
            labels = torch.full((size, longest), -100)
            for k, (a, b) in enumerate(chosen):
                ids[k, : len(a)], labels[k, : len(b)] = a, b
            ids, labels = ids.to(DEVICE), labels.to(DEVICE)
            is_accumulating = (i + 1) % accumulate != 0
            with fabric.no_backward_sync(trained, enabled=is_accumulating):
                logits = trained(ids, lm_head_chunk_size=128)
                logits[-1] = logits[-1][..., :-1, :]
                loss = chunked_cross_entropy(logits, labels[..., 1:])
                fabric.backward(loss / accumulate)
            loss.item()  # as its running mean does in every iteration
            if not is_accumulating:
                optimizer.step()
                optimizer.zero_grad()
            return sum(len(a) for a, _ in chosen)

        row = timed(f"LitGPT, {what}{targets} rank {rank}, micro-batch {size}{note}", step, 4, budget_s, size=size)
        optimizer.zero_grad()
        return row

    found = [measure(size, BUDGET_S) for size in sizes]
    if repeats_best:
        best = max(found, key=lambda row: row["tokens_per_s"])
        return [measure(best["size"], 4 * BUDGET_S, ", longer")]
    return found


# -- transformers + peft ----------------------------------------------------------------------------------------------


class Borders:
    """The documents of the row in work, for the padding-free attention."""

    offsets: torch.Tensor
    longest = 0


def varlen_flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """What flash-attn's varlen call answers, by torch's own: (1, T, heads, hs)."""
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = Borders.offsets, Borders.longest
    q, k, v = (t[0].contiguous() for t in (q, k, v))
    return varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=(-1, 0)).unsqueeze(0)


def peft_row(way: str, n_layer: int | None) -> None:
    """transformers + peft, LoRA on all linear layers: padded, or padding-free as users of flash-attn have it."""
    import transformers.models.falcon.modeling_falcon as falcon
    from peft import LoraConfig, get_peft_model
    from transformers import FalconConfig, FalconForCausalLM

    lengths = chat_lengths(4096, MEAN, LONGEST)
    text = texts(lengths, None, 65024)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(42)).tolist()
    is_padded = way.startswith("padded")
    kept = falcon.FALCON_ATTENTION_CLASSES["sdpa"]
    if not is_padded:
        falcon.FALCON_ATTENTION_CLASSES["sdpa"] = falcon.FalconFlashAttention2
        falcon._flash_attention_forward = varlen_flash
        falcon.flash_attn_supports_top_left_mask = lambda: False
        falcon.create_causal_mask = lambda *_, **__: None
    config = FalconConfig(
        vocab_size=65024, hidden_size=4544, num_hidden_layers=n_layer or 32, num_attention_heads=71,
        multi_query=True, parallel_attn=True, bias=False, alibi=False, new_decoder_architecture=False,
        max_position_embeddings=2048,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = FalconForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    targets = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    model.train()
    rows: list[list[int]] = []
    count = 8193
    for i in order:
        if is_padded:
            if not rows or len(rows[-1]) == 8:
                rows.append([])
        elif count + lengths[i] > 8192:
            rows.append([])
            count = 0
        rows[-1].append(i)
        count += lengths[i]

    def step(i: int, rows: list[list[int]] = rows, is_padded: bool = is_padded, model: Any = model,
             optimizer: Any = optimizer) -> int:  # fmt: skip
        chosen = [text(k) for k in rows[i % len(rows)]]
        ns = [len(ids) for ids, _ in chosen]
        if is_padded:
            ids = torch.zeros(len(ns), max(ns), dtype=torch.long)
            labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
            for k, (a, b) in enumerate(chosen):
                ids[k, : len(a)], labels[k, : len(b)], mask[k, : len(a)] = a, b, 1
            given = {"input_ids": ids, "labels": labels, "attention_mask": mask}
        else:
            offsets = torch.tensor([0, *ns]).cumsum(0).to(torch.int32)
            Borders.offsets, Borders.longest = offsets.to(DEVICE), max(ns)
            labels = torch.cat([torch.cat([torch.tensor([-100]), b[1:]]) for _, b in chosen])[None]
            given = {
                "input_ids": torch.cat([a for a, _ in chosen])[None],
                "labels": labels,
                "position_ids": torch.cat([torch.arange(n) for n in ns])[None],
            }
        loss = model(**{key: value.to(DEVICE) for key, value in given.items()}, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        return sum(ns)

    free()
    timed(f"transformers + peft, all rank 16, {way}", step, n_warm=3)
    falcon.FALCON_ATTENTION_CLASSES["sdpa"] = kept


# -- the limit --------------------------------------------------------------------------------------------------------


def gemm_limit(n_layer: int, n_tokens: int = 8192) -> float:
    """Return the tokens/s of Falcon's frozen products alone, forward and activation-backward, in bf16."""
    shapes = {"qkv": (4544, 4672), "proj": (4544, 4544), "fc": (4544, 18176), "down": (18176, 4544)}
    sets = []
    for n_in, n_out in shapes.values():
        w = torch.randn(n_out, n_in, device=DEVICE, dtype=torch.bfloat16) * 0.02
        x = torch.randn(n_tokens, n_in, device=DEVICE, dtype=torch.bfloat16)
        g = torch.randn(n_tokens, n_out, device=DEVICE, dtype=torch.bfloat16)
        sets.append((w, x, g))
    began = 0.0
    for i in range(12):
        if i == 2:
            torch.cuda.synchronize()
            began = time.perf_counter()
        for _ in range(8):
            for w, x, g in sets:
                F.linear(x, w)
                g @ w
    torch.cuda.synchronize()
    return n_tokens / ((time.perf_counter() - began) / 80 * n_layer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=None, help="fewer layers, to try the script")
    parser.add_argument("--epoch", help="file of sequences for the epoch")
    parser.add_argument("--only", default="limit,ours,litgpt,peft,epoch")
    parser.add_argument("--out", help="write the JSON there too")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    only = args.only.split(",")
    n_layer = args.layers
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    if "limit" in only:
        result["gemm_limit_tokens_per_s"] = round(gemm_limit(n_layer or 32))
    lengths = chat_lengths(4096, MEAN, LONGEST)
    if "ours" in only:
        ours("ours, bf16", None, 512, "same", False, n_layer)
        ours("ours, fp8", None, 512, "fp8", False, n_layer)
        ours("ours, bf16, texts of mean 480 up to 2048", None, 2048, "same", False, n_layer)
        ours("ours, bf16, checkpointing, rows of 4224", 4224, 512, "same", True, n_layer)
        ours("ours, nf4, checkpointing, rows of 2816", 2816, 512, "nf4", True, n_layer)
    if "litgpt" in only:
        litgpt_rows("q,v", 8, [16, 4, 1], lengths, None, n_layer, "")
        litgpt_rows("q,v", 8, [1], lengths, None, n_layer, "nf4, ", is_nf4=True)
    if "peft" in only:
        peft_row("padding-free, rows of 8192", n_layer)
        free()
    if "epoch" in only and args.epoch:
        from safetensors.torch import load_file

        tensors = load_file(args.epoch)
        alone, graded = tensors["alone"].tolist(), tensors["graded"].tolist()
        result["epoch"] = {
            "n_examples": len(alone),
            "n_tokens_alone": sum(alone),
            "n_tokens_folded": len(tensors["ids"]),
        }
        for targets, rank in (("all", 16), ("q,v", 8)):  # the same adapter as ours, and LitGPT's default, its fastest
            (theirs,) = litgpt_rows(
                targets, rank, [4, 8, 16], alone, graded, n_layer, "the epoch's texts, ", repeats_best=True
            )
            result["epoch"][f"litgpt_{targets}_s"] = round(sum(alone) / theirs["tokens_per_s"])
        for frozen in ("same", "fp8"):
            seconds = our_epoch(tensors, frozen, n_layer)
            result["epoch"][f"ours_{frozen}_s"] = round(seconds, 1)
            for targets in ("all", "q,v"):
                stock_s = result["epoch"][f"litgpt_{targets}_s"]
                result["epoch"][f"ratio_{frozen}_{targets}"] = round(stock_s / seconds, 1)
            print(json.dumps(result["epoch"]), flush=True)
    if "litgpt" in only:
        litgpt_rows("all", 16, [8, 1], lengths, None, n_layer, "")
    if "peft" in only:
        peft_row("padded, micro-batch 8", n_layer)
        free()
    stock_best = max(
        (r["tokens_per_s"] for r in ROWS if r["name"].startswith("LitGPT, q,v") or "LitGPT, all" in r["name"]),
        default=0,
    )
    peft_best = max((r["tokens_per_s"] for r in ROWS if "peft" in r["name"]), default=0)
    print("\n| way | real tokens/s | x LitGPT's best | x peft's best | peak GB |\n|---|---|---|---|---|")
    for row in ROWS:
        ratio = [f"{row['tokens_per_s'] / other:.2f}" if other else "" for other in (stock_best, peft_best)]
        print(f"| {row['name']} | {row['tokens_per_s']:,} | {ratio[0]} | {ratio[1]} | {row['peak_gb']} |")
    our_best = next((r["tokens_per_s"] for r in ROWS if r["name"] == "ours, bf16"), 0)
    result |= {"rows": ROWS, "ratio_litgpt": round(our_best / stock_best, 2) if stock_best else None}
    result["ratio_peft"] = round(our_best / peft_best, 2) if peft_best else None
    text = json.dumps(result)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a plain script
            stream.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
