"""Golden pairs: an invented export beside what the importer makes of it.

`x.json` (or .txt, or a folder) stands beside `x.messages.jsonl`, and `x.asked.json` where the person has to say
something. `make golden` (`python -m tests.golden`) rewrites the second of each pair; the difference is reviewed like
code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

from clone.collect.contract import Asked, Page, Tally
from clone.collect.files import parts_of, zone
from clone.collect.sources import detect

FOLDER = Path(__file__).parent
RESULT = ".messages.jsonl"


def exports() -> list[Path]:
    """Return the exports that have, or should have, a golden neighbour."""
    entries = (path for folder in FOLDER.iterdir() if folder.is_dir() for path in folder.iterdir())
    return sorted(path for path in entries if not path.name.endswith((RESULT, ".asked.json")) and path.name[0] != "_")


def golden_of(export: Path) -> Path:
    return export.with_name(export.stem + RESULT)


def read_export(export: Path) -> str:
    """Return what the importer makes of an export, a line each thing."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(export))


def _lines(export: Path) -> Iterator[dict[str, Any]]:
    path = export.with_name(export.stem + ".asked.json")
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    asked = Asked(
        me=said.get("me", ""),
        timezone=zone(said["timezone"]) if "timezone" in said else UTC,
        is_day_first=said.get("is_day_first"),
        with_saved=said.get("with_saved", False),
    )
    tally = Tally()
    with parts_of(export) as parts:
        source, claimed = detect(parts, export.name)
        for item in source.read(claimed, asked, tally):
            if isinstance(item, Page):
                for message, _ in item.messages:
                    yield {"message": _plain(asdict(message), drop=("source", "account_id", "chat_id"))}
                for message_id, why in item.gaps:
                    yield {"gap": {"message_id": message_id, "why": why}}
            else:
                yield {type(item).__name__.lower(): _plain(asdict(item))}
    yield {
        "tally": {
            "n_read": tally.n_read,
            "bad": tally.bad,
            "skipped": dict(tally.skipped),
            "n_repaired": tally.n_repaired,
            "cut": tally.cut,
            "notes": list(tally.notes),
        }
    }


def _plain(fields: dict[str, Any], drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what says something, with times as text."""
    shown = {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in fields.items()}
    return {key: value for key, value in shown.items() if key not in drop and value not in ("", None, False)}


def rewrite() -> None:
    for export in exports():
        golden_of(export).write_text(read_export(export), encoding="utf-8")
