"""A collector against the in-process server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collect.telegram.collector import Collector
from tests.mtproto import Account, FakeTelegram, serve
from tests.mtproto.account import make_account


@pytest.fixture
def account() -> Account:
    return make_account(n_people=5, n_messages=600)


@pytest.fixture
def server(account: Account) -> Iterator[FakeTelegram]:
    with serve(account) as running:
        yield running


@pytest.fixture
def collector(server: FakeTelegram, account: Account, tmp_path: Path) -> Collector:
    return Collector(server, account, tmp_path)
