from __future__ import annotations

from pathlib import Path

import pytest

from clone.lm.base import build_random_base


@pytest.fixture(autouse=True)
def _random_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on a tiny random base in place of the packaged one: here only the machinery is looked at."""
    folder = tmp_path / "checkpoints" / "base" / "embedded"

    def built() -> Path:
        if not folder.exists():
            build_random_base(folder)
        return folder

    monkeypatch.setattr("clone.lm.base.packaged_base", built)
