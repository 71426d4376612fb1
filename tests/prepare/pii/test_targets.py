"""The project's own labelled lines, the held-back ones among them, hold the targets."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pii import CRITICAL, score
from clone.prepare.pii import Entity, PiiSettings, Scrubber

LANGUAGES = {"ru", "en", "es", "fr", "de", "vi", "uk", "pt", "it", "pl", "tr", "zh"}
LINES = Path(__file__).parents[3] / "benchmarks" / "data" / "pii_lines.jsonl.xz"


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    with lzma.open(LINES, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def result(lines: list[dict[str, Any]]) -> dict[str, Any]:
    scrubber = Scrubber(PiiSettings(), key=b"a key for tests")
    return score(lines, lambda line: [(f.start, f.end) for f in scrubber.find(line["text"], lang=line["lang"])])


def test_labels_use_the_projects_types_and_stand_where_they_say(lines: list[dict[str, Any]]) -> None:
    assert {s["type"] for line in lines for s in line["spans"]} <= set(Entity)
    assert {line["lang"] for line in lines} == LANGUAGES
    assert all(0 <= s["start"] < s["end"] <= len(line["text"]) for line in lines for s in line["spans"])


def test_every_critical_type_is_a_type_or_another_name_of_one() -> None:
    assert {"PASSWORD", "CREDIT_CARD", "PIN", "OTP", "SEED_PHRASE", "DRIVER_LICENSE"} <= CRITICAL & set(Entity)


def test_the_lines_hold_the_targets(result: dict[str, Any]) -> None:
    assert result["critical_recall"] >= 0.95
    assert result["password_recall"] >= 0.90
    assert result["precision"] >= 0.97
    assert result["clean_hit_rate"] <= 0.03
    assert min(row["critical_recall"] for row in result["by_lang"].values()) >= 0.90
