"""Invented chats in the form that prepare leaves, for a workspace in a test."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clone.lm.template import write_bubbles, write_context
from clone.records import Role, Turn

_WORDS = [
    "hi",
    "there",
    "how",
    "are",
    "you",
    "fine",
    "thanks",
    "pizza",
    "tonight",
    "sure",
    "see",
    "at",
    "eight",
    "bring",
    "the",
    "book",
    "ok",
    "lol",
    "no",
    "way",
    "да",
    "нет",
]


def sessions(n: int, seed: int, name: str, turns: int = 4) -> list[dict[str, Any]]:
    """Return the examples of `n` invented sessions."""
    draw = random.Random(seed)

    def bubbles() -> tuple[str, ...]:
        return tuple(" ".join(draw.choices(_WORDS, k=draw.randint(1, 5))) for _ in range(draw.randint(1, 2)))

    out = []
    for s in range(n):
        before: list[Turn] = []
        for k in range(draw.randint(1, turns)):
            them, me = Turn(Role.THEM, bubbles()), Turn(Role.ME, bubbles())
            out.append(
                {
                    "example_id": f"{name}-{s}-{k}",
                    "session_id": f"{name}-{s}",
                    "contact": "alex",
                    "instruction": write_bubbles(them.bubbles),
                    "context": write_context("alex", before),
                    "response": write_bubbles(me.bubbles),
                    "ended_at": datetime(2024, 1, 1, tzinfo=UTC).isoformat(),
                }
            )
            before += [them, me]
    return out


def write_prepared(
    root: Path,
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    *,
    recipe: str = "default",
    **changes: Any,
) -> Path:
    """Write a folder of prepared data; `changes` go into its manifest (None takes a field out)."""
    folder = root / "data" / "processed" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, rows in (("train.jsonl", train), ("validation.jsonl", validation)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
        files[name] = hashlib.sha256(text.encode()).hexdigest()
    manifest = {
        "schema": 1,
        "clone_version": "0.1.0",
        "archive_revision": "one:1",
        "recipe": {},
        "files": files,
        "n_train": len(train),
        "n_validation": len(validation),
        "contacts": ["alex"],
        "scrub": {"languages": ["en"]},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    return folder
