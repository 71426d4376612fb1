"""Make the embedded base again: openly licensed talk in, `clone/lm/embedded/` out, one command, one GPU.

    python -m tools.embedded_base DATA OUT                 (about seven minutes on one H200; run again to resume)
    python -m tools.embedded_base DATA OUT --preset tiny   (seconds on a CPU; a model that knows nothing, for tests)

DATA holds three files, each one JSON array a line or plain text:

    changelog_dev.jsonl.xz                  [show, episode, turn, speaker, text]   Changelog Media, CC BY-SA 4.0
    rusdracor_ostrovsky_bulgakov.jsonl.xz   [author, play, n, speaker, text]       RusDraCor, CC0 1.0
    koziev_anekdots_dialogues.tar.xz        dialogues as lines "- ...", a blank line pair between   Koziev, CC0

In order: read and split, train the tokenizer, render the talk as chats (`clone.lm.template`, so that what the base saw
is to the character what a twin is trained on), train a larger teacher, distil it into the base, grade it on the
held-out split, write the folder. Each step leaves a file in OUT/work and is passed over when that file is there;
training saves its state and goes on from it.

The model is LitGPT's Falcon (parallel residual, one KV head, rotary, no bias, tied head) written out in plain torch,
so that the machine with the GPU needs neither litgpt nor lightning; a test holds it equal to `litgpt.GPT`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from tools.embedded_base.card import figures, pack
from tools.embedded_base.falcon import Falcon
from tools.embedded_base.recipe import FULL, TINY, Phase, Preset, Shape
from tools.embedded_base.talk import Renderings, read_corpus, replacing, train_tokenizer
from tools.embedded_base.train import Batches, hold_out, learn, ngram_bits


def make(data: Path, out: Path, preset: Preset, device: torch.device, n_workers: int) -> None:
    """Do every step whose file is not there yet."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {text}", flush=True)

    corpus = read_corpus(data, preset)
    say(f"{len(corpus.talks)} episodes, {len(corpus.plays)} plays, {len(corpus.jokes)} dialogues "
        f"({corpus.n_crude} crude and {corpus.n_repeated} repeated left out)")  # fmt: skip
    tokenizer_path = work / "tokenizer.json"
    if not tokenizer_path.exists():
        with replacing(tokenizer_path) as path:
            train_tokenizer(corpus, preset.student.vocab).save(str(path))
        say("tokenizer trained")
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    renderings = Renderings(corpus, tokenizer, work, preset, n_workers)  # forks: before anything touches the GPU
    held_out = {"english": hold_out(corpus.val_talks, tokenizer), "russian": hold_out(corpus.val_jokes, tokenizer)}
    n_epoch = len(renderings.load(0))
    say(f"first rendering: {n_epoch:,} tokens")

    torch.set_float32_matmul_precision("high")
    curve_path = work / "curve.jsonl"

    def log(**row: Any) -> None:
        say(" ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
        with curve_path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def trained(name: str, shape: Shape, phase: Phase, seed: int, teacher: Falcon | None) -> Falcon:
        batches = Batches(renderings, phase.rows, shape.block, seed, device)
        return learn(name, shape, phase, preset, batches, held_out, work, device, teacher, log)

    teacher = trained("teacher", preset.teacher, preset.learn_teacher, preset.seed + 1, None).eval()
    teacher.requires_grad_(False)
    student = trained("student", preset.student, preset.learn_student, preset.seed + 2, teacher)
    figures_path = work / "figures.json"
    if not figures_path.exists():
        found = figures(preset, corpus, tokenizer, held_out, student, teacher)
        found |= {
            "seconds": round(time.perf_counter() - began, 1),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "tokens_an_epoch": n_epoch,
            "left_out": {"crude": corpus.n_crude, "repeated": corpus.n_repeated},
            "preset": asdict(preset),
        }
        weights = {k: v.detach().bfloat16().cpu().contiguous() for k, v in student.state_dict().items()}
        with replacing(work / "lit_model.safetensors") as path:
            save_file(weights, path)
        with replacing(figures_path) as path:
            path.write_text(json.dumps(found, ensure_ascii=False, indent=1))
    say("graded")
    ngram_path = work / "ngram.json"
    if not ngram_path.exists():
        with replacing(ngram_path) as path:
            path.write_text(json.dumps(ngram_bits(renderings.load(0), held_out)))
    renderings.close()
    pack(work, out / "embedded")
    say(f"packed in {out / 'embedded'}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the embedded base.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", choices=("full", "tiny"), default="full")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 3))
    asked = parser.parse_args()
    make(asked.data, asked.out, {"full": FULL, "tiny": TINY}[asked.preset], torch.device(asked.device), asked.workers)


if __name__ == "__main__":
    main()
