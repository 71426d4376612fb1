"""The loop, its optimizer, its batches, and the grading on held-out text."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from tools.embedded_base.falcon import Block, Falcon, distilled_loss, text_loss
from tools.embedded_base.recipe import Phase, Preset, Shape
from tools.embedded_base.talk import DOC_ID, Renderings, Talk, held_out_text, plain, replacing


class Muon:
    """Momentum whose step is orthogonalised, for the weight matrices inside the blocks (Jordan et al. 2024).

    Five Newton-Schulz steps bring every singular value of the momentum near 1, so that no direction of a matrix is
    starved. Queries, keys and values share a matrix but are stepped apart. Weight decay is decoupled.
    """

    def __init__(self, blocks: nn.ModuleList, rate: float, weight_decay: float) -> None:
        self.rate, self.weight_decay, self.factor = rate, weight_decay, 1.0
        self.params = [p for p in blocks.parameters() if p.dim() == 2]
        self.momenta = [torch.zeros_like(p) for p in self.params]
        self.groups: dict[tuple[int, int], list[tuple[int, slice]]] = {}
        head = cast(Block, blocks[0]).head
        for i, p in enumerate(self.params):
            n_rows, n_columns = p.shape
            borders = [0, n_rows - 2 * head, n_rows - head, n_rows] if n_rows == n_columns + 2 * head else [0, n_rows]
            for start, stop in itertools.pairwise(borders):
                self.groups.setdefault((stop - start, n_columns), []).append((i, slice(start, stop)))

    @torch.no_grad()
    def step(self) -> None:
        grads = [cast(Tensor, p.grad) for p in self.params]
        torch._foreach_lerp_(self.momenta, grads, 0.05)
        torch._foreach_lerp_(grads, self.momenta, 0.95)  # Nesterov; the gradients are spent here
        rate = self.rate * self.factor
        torch._foreach_mul_(self.params, 1 - rate * self.weight_decay)
        for (n_rows, n_columns), members in self.groups.items():
            steps = orthogonalised(torch.stack([grads[i][rows] for i, rows in members]))
            scale = rate * max(1.0, n_rows / n_columns) ** 0.5
            for (i, rows), step in zip(members, steps, strict=True):
                self.params[i][rows].sub_(step, alpha=scale)

    def state(self) -> list[Tensor]:
        return self.momenta

    def load(self, state: list[Tensor]) -> None:
        for mine, saved in zip(self.momenta, state, strict=True):
            mine.copy_(saved)


def orthogonalised(g: Tensor) -> Tensor:
    """Return U V^T of each matrix U S V^T, nearly: (N, R, C) → (N, R, C). The quintic's coefficients are Jordan's."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16() if g.is_cuda else g
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if is_tall else x).to(g.dtype)


def schedule(step: int, n_steps: int, phase: Phase) -> float:
    """Return the share of the peak rate: up, level, and down to zero in a line."""
    left = (n_steps - step) / max(1.0, n_steps * (1 - phase.hold_share))
    return min(1.0, (step + 1) / phase.warmup_steps, left)


class Batches:
    """Rows of `block + 1` ids: every stretch of an epoch once, most from where a conversation begins."""

    def __init__(self, renderings: Renderings, rows: int, block: int, seed: int, device: torch.device) -> None:
        self._renderings, self._rows, self._block, self._seed, self._device = renderings, rows, block, seed, device
        self._epoch, self._first_step, self._ids, self._starts = -1, 0, torch.empty(0), torch.empty(0)

    def at(self, step: int) -> Tensor:
        """Return the rows of a step, (B, T + 1). Steps must come in order, but may begin anywhere."""
        while self._epoch < 0 or step >= self._first_step + len(self._starts):
            self._first_step += len(self._starts) if self._epoch >= 0 else 0
            self._open(self._epoch + 1)
        starts = self._starts[step - self._first_step]
        return self._ids[starts[:, None] + torch.arange(self._block + 1, device=self._device)].long()

    def _open(self, epoch: int) -> None:
        self._epoch = epoch
        ids = self._renderings.load(epoch)
        rng = np.random.default_rng([self._seed, epoch])
        grid = np.arange(rng.integers(self._block), len(ids) - self._block - 1, self._block)
        docs = np.flatnonzero(ids == DOC_ID)
        before = docs[np.maximum(np.searchsorted(docs, grid, side="right") - 1, 0)]
        is_snapped = (grid - before < self._block // 2) & (grid >= before) & (rng.random(len(grid)) < 0.7)
        starts = rng.permutation(np.where(is_snapped, before, grid))
        n_steps = len(starts) // self._rows
        if not n_steps:
            raise SystemExit("The data is smaller than one batch.")
        self._starts = torch.from_numpy(starts[: n_steps * self._rows]).view(n_steps, self._rows).to(self._device)
        self._ids = torch.from_numpy(ids.astype(np.int32)).to(self._device)


@dataclass
class HeldOut:
    """Held-out ids of one language, with the bytes they stand for."""

    ids: Tensor  # (N,)
    text_bytes: int
    trial_bytes: int  # with the marks that the trial wrote between turns, and counted

    def bits(self, nats_per_token: float) -> dict[str, float]:
        bits = nats_per_token / math.log(2) * len(self.ids)
        return {"as_trial": bits / self.trial_bytes, "per_text_byte": bits / self.text_bytes}


def hold_out(talks: Sequence[Talk], tokenizer: Tokenizer) -> HeldOut:
    ids: list[int] = []
    for talk in talks:
        ids.extend(tokenizer.encode(held_out_text([plain(t) for t in talk]), add_special_tokens=False).ids)
    text_bytes = sum(len(t.encode()) for talk in talks for t in talk)
    marks = sum(len("<|turn|>") * (len(talk) - 1) + len("<|end|>") for talk in talks)
    return HeldOut(torch.tensor(ids), text_bytes, text_bytes + marks)


@torch.no_grad()
def grade(model: Falcon, ids: Tensor, length: int, rows: int, max_batches: int | None = None) -> float:
    """Return nats a token over windows of `length` side by side; a window sees nothing before it."""
    was_training = model.training
    model.eval()
    device = model.head.device
    n = (len(ids) - 1) // length
    x = ids[: n * length].view(n, length).to(device)
    y = ids[1 : n * length + 1].view(n, length).to(device)
    total, seen = 0.0, 0
    for i in range(0, n, rows):
        if max_batches is not None and i >= max_batches * rows:
            break
        a, b = x[i : i + rows].long(), y[i : i + rows].long()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(a)
        total += F.cross_entropy(logits.float().flatten(0, 1), b.flatten(), reduction="sum").item()
        seen += b.numel()
    model.train(was_training)
    return total / seen


def learn(
    name: str,
    shape: Shape,
    phase: Phase,
    preset: Preset,
    batches: Batches,
    held_out: dict[str, HeldOut],
    work: Path,
    device: torch.device,
    teacher: Falcon | None,
    log: Callable[..., None],
) -> Falcon:
    """Return a trained model, from where its saved state stands."""
    torch.manual_seed(preset.seed)
    model = Falcon(shape, phase.dropout).to(device).train()
    blocks = cast(nn.ModuleList, model.transformer["h"])
    muon = Muon(blocks, phase.muon_rate, phase.weight_decay)
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": [model.head], "weight_decay": phase.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=phase.adam_rate, betas=(0.9, 0.95), fused=device.type == "cuda")
    done, state_path = work / f"{name}.pt", work / f"{name}-state.pt"
    if done.exists():
        model.load_state_dict(torch.load(done, map_location=device, weights_only=True))
        return model

    def chance() -> list[Tensor]:
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if device.type == "cuda" else [])

    first, seconds_before = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.load(state["muon"])
        first, seconds_before = state["step"], state["seconds"]
        torch.set_rng_state(state["chance"].pop(0).cpu())
        if state["chance"]:
            torch.cuda.set_rng_state(state["chance"].pop(0).cpu())
    loss_on_text: Callable[..., Tensor] = text_loss
    loss_on_both: Callable[..., Tensor] = distilled_loss
    if device.type == "cuda":
        model.compile_blocks()
        loss_on_text, loss_on_both = (
            torch.compile(text_loss, dynamic=False),
            torch.compile(distilled_loss, dynamic=False),
        )
    n_steps = phase.n_tokens // (phase.rows * shape.block)
    started = last_saved = time.perf_counter()
    for step in range(first, n_steps):
        if time.perf_counter() - last_saved >= preset.save_every_s:
            parts = {"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.state(), "chance": chance()}
            with replacing(state_path) as path:
                torch.save({**parts, "step": step, "seconds": seconds_before + time.perf_counter() - started}, path)
            last_saved = time.perf_counter()
        share = schedule(step, n_steps, phase)
        muon.factor = share
        for group in adam.param_groups:
            group["lr"] = phase.adam_rate * share
        rows = batches.at(step)
        x, y = rows[:, :-1], rows[:, 1:]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            if teacher is None:
                loss = loss_on_text(model.features(x), model.head, y)
            else:
                with torch.no_grad():
                    advice = teacher.features(x)
                loss = loss_on_both(
                    model.features(x), model.head, y, advice, teacher.head.detach(), phase.teacher_share
                )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        if step % preset.grade_every == 0 or step == n_steps - 1:
            train_nats = loss.item()
            spent = seconds_before + time.perf_counter() - started
            graded = {
                k: h.bits(grade(model, h.ids, shape.block, phase.rows, 1))["as_trial"] for k, h in held_out.items()
            }
            n_tokens = (step + 1) * phase.rows * shape.block
            log(
                model=name,
                step=step,
                tokens=n_tokens,
                of=n_steps,
                seconds=round(spent, 1),
                train_nats=train_nats,
                **graded,
            )
    with replacing(done) as path:
        torch.save(model.state_dict(), path)
    state_path.unlink(missing_ok=True)
    return model


def ngram_bits(train: np.ndarray, held_out: dict[str, HeldOut], order: int = 4) -> dict[str, dict[str, float]]:
    """Return the bits of an n-gram over the same tokens: absolute discounting (0.75), interpolated down to uniform."""
    vocab = int(train.max()) + 1
    discount, tables = 0.75, []
    keys = train.astype(np.uint64)
    for n in range(1, order + 1):
        grams = np.zeros(len(keys) - n + 1, dtype=np.uint64)
        for k in range(n):
            grams = grams * np.uint64(vocab) + keys[k : len(keys) - n + 1 + k]
        whole, counts = np.unique(grams, return_counts=True)
        contexts, where = np.unique(whole // np.uint64(vocab), return_index=True)
        sums = np.add.reduceat(counts, where)
        kinds = np.diff(np.append(where, len(whole)))
        tables.append((whole, counts, contexts, sums, kinds))

    def found(sorted_keys: np.ndarray, wanted: np.ndarray, values: np.ndarray) -> np.ndarray:
        at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
        return np.where(sorted_keys[at] == wanted, values[at], 0).astype(np.float64)

    out = {}
    for name, held in held_out.items():
        ids = held.ids.numpy().astype(np.uint64)
        p = np.full(len(ids), 1 / vocab)
        for n, (whole, counts, contexts, sums, kinds) in enumerate(tables, 1):
            grams = np.zeros(len(ids) - n + 1, dtype=np.uint64)
            for k in range(n):
                grams = grams * np.uint64(vocab) + ids[k : len(ids) - n + 1 + k]
            context = grams // np.uint64(vocab)
            total, kind = found(contexts, context, sums), found(contexts, context, kinds)
            count, tail = found(whole, grams, counts), p[n - 1 :]
            seen = np.maximum(total, 1)
            better = (np.maximum(count - discount, 0) + discount * kind * tail) / seen
            p[n - 1 :] = np.where(total > 0, better, tail)
        out[name] = held.bits(float(-np.log(p[1:]).mean()))
    return out
