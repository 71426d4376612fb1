from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _random_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the tiny random base, whatever comes with the package: here only the machinery is looked at."""
    monkeypatch.setattr("clone.lm.base.packaged_base", lambda: None)
