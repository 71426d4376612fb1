"""The file that `benchmarks/finetune.py --epoch` trains on, from what `clone prepare` left.

    python benchmarks/epoch_file.py data/processed/RECIPE BASE_FOLDER OUT.safetensors

BASE_FOLDER holds the tokenizer.json of the base whose tokens are counted. OUT holds the training examples folded into
sequences (`ids`, `is_learned`, `starts`) and, of the same examples one by one, how many tokens each has (`alone`) and
how many of them are graded (`graded`). No text is in it, but ids can be read back: keep it as you keep the examples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from clone.finetune.examples import ReadCount, fold, read_samples
from clone.finetune.sequences import make_sequences
from clone.lm.tokens import Tokens

MAX_TOKENS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    tokens = Tokens.load(args.base)
    samples = list(read_samples(args.prepared / "train.jsonl", ReadCount()))
    folded = make_sequences(fold(samples), tokens, MAX_TOKENS, {})
    alone = make_sequences((one for sample in samples for one in fold([sample])), tokens, MAX_TOKENS, {})
    graded = torch.stack([part.sum() for part in torch.split(alone.is_learned.long(), alone.lengths.tolist())])
    tensors = {
        "ids": folded.ids,
        "is_learned": folded.is_learned,
        "starts": folded.starts,
        "alone": alone.lengths.to(torch.int32),
        "graded": graded.to(torch.int32),
    }
    save_file(tensors, args.out)
    print(
        f"{len(samples):,} examples: {alone.n_tokens:,} tokens one by one, "
        f"{folded.n_tokens:,} in {len(folded):,} folded sequences ({alone.n_tokens / folded.n_tokens:.1f} times fewer)"
    )


if __name__ == "__main__":
    main()
