from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _random_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `embedded` be the tiny random base, whatever comes with the package."""
    monkeypatch.setattr("clone.lm.base.packaged_base", lambda: None)
