from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _random_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the tiny random base, whatever comes with the package: here only the machinery is looked at."""
    monkeypatch.setattr("clone.lm.base.packaged_base", lambda: None)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of these tests save after every step; a busy disk would make minutes of it."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
