"""What only shows on a whole run of `clone finetune` on a GPU: how soon it starts, whether --auto's plans fit, and fp8.

    python benchmarks/finetune_start.py PREPARED TOKENIZER_FOLDER [--layers N]

PREPARED is a folder that `clone prepare` left, TOKENIZER_FOLDER holds Falcon's tokenizer.json. A converted base of
Falcon-7B's shape with random weights (14 GB) is written to a temporary folder, and the command is typed there:

- twice for two steps: the seconds from the command to its first step, first with nothing tokenised or compiled;
- with --auto, with torch's allocator capped as on cards of 24 and 8 GB;
- on the embedded base in bf16 and in fp8: the held-out loss before and after.

Prints a JSON line a run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CAPPED = """
import sys, torch
torch.cuda.set_per_process_memory_fraction({gb} * 1e9 / torch.cuda.get_device_properties(0).total_memory)
from clone.cli import main
main(sys.argv[1:])
"""


def run(folder: Path, what: str, *arguments: str, cap_gb: float | None = None, **settings: object) -> None:
    """Type `clone finetune` in `folder`, and print what it came to."""
    typed = [part for name, value in settings.items() for part in ("--set", f"finetune.{name}={value}")]
    start = ["-c", CAPPED.format(gb=cap_gb)] if cap_gb else ["-m", "clone"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    began = time.perf_counter()
    seen = set(folder.glob("checkpoints/*/*/metrics.jsonl"))
    process = subprocess.Popen(
        [sys.executable, *start, "finetune", "--json", *arguments, *typed],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first_step_s = None
    while process.poll() is None and first_step_s is None:
        time.sleep(0.05)
        for path in set(folder.glob("checkpoints/*/*/metrics.jsonl")) - seen:
            if '"step": 1,' in path.read_text(encoding="utf-8"):
                first_step_s = round(time.perf_counter() - began, 1)
    out, err = process.communicate()
    told = {"what": what, "first_step_s": first_step_s, "seconds": round(time.perf_counter() - began, 1)}
    if process.returncode:
        print(json.dumps({**told, "error": err[-600:]}), flush=True)
        return
    card = json.loads(out)
    kept = ("val_loss_before", "val_loss", "peak_memory_gb", "n_steps", "n_tokens", "wall_s")
    plan = {key: card["recipe"]["finetune"][key] for key in ("row_tokens", "frozen", "checkpointing")}
    print(json.dumps({**told, **{key: card[key] for key in kept}, **plan}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--layers", type=int, help="fewer layers than Falcon-7B's 32")
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from finetune_devices import write_base

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(args.prepared, folder / "data" / "processed" / "default")
        base = folder / "falcon"
        write_base(base, args.layers)
        shutil.copy(args.tokenizer / "tokenizer.json", base)
        files = sorted(path.name for path in base.glob("*.safetensors"))
        card = {"schema": 1, "name": "falcon", "sha256": "0" * 64, "files": files, "is_head_tied": True}
        (base / "base.json").write_text(json.dumps(card), encoding="utf-8")
        few = {"max_steps": 2, "evaluations": 1}
        run(folder, "first start", "--base", str(base), **few)
        for frozen in ("same", "fp8"):
            long = {"precision": "bf16", "frozen": frozen, "max_steps": 100, "step_tokens": 8192, "evaluations": 2}
            run(folder, f"embedded base, bf16, frozen {frozen}", "--base", "embedded", **long)
        for gb in (24.0, 8.0):
            run(folder, f"--auto, {gb:.0f} GB", "--base", str(base), "--auto", cap_gb=gb, **few)
        run(folder, "second start", "--base", str(base), **few)


if __name__ == "__main__":
    main()
