from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import FOLDER, exports, golden_of, read_export


@pytest.mark.parametrize("export", exports(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_export_is_read_as_its_golden_file_says(export: Path) -> None:
    assert read_export(export) == golden_of(export).read_text(encoding="utf-8"), "make golden rewrites it"


def test_every_golden_file_has_its_export() -> None:
    assert {golden_of(path) for path in exports()} == set(FOLDER.glob("*/*.messages.jsonl"))
