"""Whether a twin learns its person, and not merely how people chat: held-out replies, graded by bits a byte.

    python benchmarks/fidelity.py EXPORT [--stranger EXPORT] [--steps 64]

EXPORT is a Telegram result.json, plain or .xz. Its newest sessions are held out. Three models grade the replies of its
person there: the embedded base, the base with an adapter of this person's older replies, and the base with an adapter
of a stranger's, trained for as many steps of as many tokens and on nothing from the held-out time. The stranger is the
person of `--stranger`, or all others of the same export taken as one: the same chats told from the other side, so that
what they talk about is the same and only who speaks differs. All of it goes the way that a person types, `clone
collect`, `clone prepare`, `clone finetune`, in folders that are removed at the end. Some six minutes on two free cores;
on a busy machine set OMP_NUM_THREADS=1, as two threads that wait for each other are slower than one.

The last line is one JSON object: `own_gain` and `stranger_gain` are shares of the base's bits a byte.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STEP_TOKENS = 4096
HELD_OUT_SHARE = 0.05  # of the replies, the newest


def clone(folder: Path, *arguments: str) -> str:
    """Type a command in `folder` and return what it printed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "clone", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"clone {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def read_export(path: Path) -> dict[str, Any]:
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        export: dict[str, Any] = json.load(file)
    return export


def told_from_the_other_side(export: dict[str, Any]) -> dict[str, Any]:
    """Return the export as if everybody whom its person talks to were one person, and that one's chats these."""
    person = f"user{export['personal_information']['user_id']}"
    chats = []
    for number, chat in enumerate(export["chats"]["list"]):
        if chat.get("type") != "personal_chat":
            continue
        messages = []
        for message in chat["messages"]:
            is_theirs = message.get("from_id") != person
            who = (
                {"from": "The Others", "from_id": "user1"}
                if is_theirs
                else {"from": "P", "from_id": f"user{number + 2}"}
            )
            messages.append({**message, **who})
        chats.append({**chat, "name": "P", "id": number + 2, "messages": messages})
    about = {"user_id": 1, "first_name": "The", "last_name": "Others", "phone_number": "", "username": "", "bio": ""}
    return {"personal_information": about, "chats": {"list": chats}}


def prepare(folder: Path, export: dict[str, Any], *settings: str) -> Path:
    """Collect and prepare an export in `folder`, and return where its examples lie."""
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(export, ensure_ascii=False), encoding="utf-8")
    clone(folder, "collect", "--from", "result.json")
    clone(folder, "prepare", *settings)
    return folder / "data" / "processed" / "default"


def finetune(folder: Path, n_steps: int) -> dict[str, Any]:
    """Train an adapter and return what its run came to."""
    settings = {
        "max_steps": n_steps,
        "step_tokens": STEP_TOKENS,
        "epochs": 100,  # the steps decide
        "evaluations": 1,
        "patience": 0,
    }
    typed = [part for name, value in settings.items() for part in ("--set", f"finetune.{name}={value}")]
    told: dict[str, Any] = json.loads(clone(folder, "finetune", "--base", "embedded", "--json", *typed))
    return told


def grade(adapter_path: Path, examples: Path) -> float:
    """Return the bits a byte that the embedded base with an adapter needs for held-out replies."""
    import math

    import torch

    from clone.finetune.devices import make_fabric
    from clone.finetune.packed import PackedModel
    from clone.finetune.sequences import load_sequences
    from clone.finetune.train import evaluate
    from clone.lm.base import open_base, packaged_base
    from clone.lm.tokens import Tokens
    from clone.lm.weights import apply_adapter, open_model, read_adapter

    base = open_base(packaged_base())
    held_out = load_sequences(
        examples / "validation.jsonl",
        Tokens.load(base.path),
        base.path / "tokenizer.json",
        examples / "tokens",
        base.shape.block_size,
        lambda what, done, total: None,
    )
    fabric = make_fabric("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if fabric.device.type == "cuda" else torch.float32
    model = open_model(base.path, device=fabric.device, dtype=dtype, is_head_tied=base.is_head_tied)
    apply_adapter(model, read_adapter(adapter_path), base=base.name, base_sha256=base.sha256)
    nats = evaluate(fabric, PackedModel(model), held_out, row_tokens=2048)
    return nats * held_out.n_learned / held_out.n_bytes / math.log(2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Does an adapter learn its person?")
    parser.add_argument("export", type=Path)
    parser.add_argument(
        "--stranger", type=Path, help="another person's export; the others of the same one if not given"
    )
    parser.add_argument("--steps", type=int, default=64)
    asked = parser.parse_args()
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:5.0f} s  {text}", flush=True)

    export = read_export(asked.export)
    stranger = read_export(asked.stranger) if asked.stranger else told_from_the_other_side(export)
    with tempfile.TemporaryDirectory() as room:
        own_folder, stranger_folder = Path(room) / "own", Path(room) / "stranger"
        own_examples = prepare(own_folder, export, "--set", f"prepare.validation_share={HELD_OUT_SHARE}")
        held_out = [json.loads(line) for line in (own_examples / "validation.jsonl").open(encoding="utf-8")]
        held_out_from = min(item["ended_at"] for item in held_out)[:10]
        say(f"the person: {len(held_out):,} replies held out, from {held_out_from} on")
        prepare(
            stranger_folder,
            stranger,
            "--set",
            f"prepare.until={held_out_from}",
            "--set",
            "prepare.validation_share=0.01",
        )
        say("the stranger: prepared, up to that day")
        own = finetune(own_folder, asked.steps)
        say("the person: trained and graded")
        other = finetune(stranger_folder, asked.steps)
        say("the stranger: trained")
        stranger_bits = grade(Path(other["run"]) / "last.safetensors", own_examples)
        say("the stranger: graded on the person's replies\n")

    base_bits, own_bits = own["val_bits_per_byte_before"], own["val_bits_per_byte"]
    own_gain, stranger_gain = 1 - own_bits / base_bits, 1 - stranger_bits / base_bits
    print(f"{'the held-out replies by':<32}{'bits a byte':>12}{'gain':>9}{'tokens read':>14}")
    print(f"{'the embedded base':<32}{base_bits:>12.3f}")
    print(f"{'… with this person':<32}{own_bits:>12.3f}{own_gain:>9.1%}{own['n_tokens']:>14,}")
    print(f"{'… with a stranger':<32}{stranger_bits:>12.3f}{stranger_gain:>9.1%}{other['n_tokens']:>14,}\n")
    result = {
        "own_gain": round(own_gain, 4),
        "stranger_gain": round(stranger_gain, 4),
        "base_bits_per_byte": round(base_bits, 4),
        "n_held_out": len(held_out),
        "n_steps": own["n_steps"],
        "stranger": "given" if asked.stranger else "the others of the export",
        "seconds": round(time.perf_counter() - began),
        "device": own["device"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
