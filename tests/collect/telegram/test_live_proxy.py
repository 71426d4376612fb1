"""Everything goes through the proxy that was asked for, or nothing goes anywhere."""

from __future__ import annotations

import asyncio
import sys

import pytest

from clone.collect.telegram.connection import Line, Patience, parse_proxy
from clone.collect.telegram.live import who_am_i
from clone.errors import LoginError, MissingExtra
from tests.collect.telegram.collector import APPLICATION
from tests.mtproto import Account, FakeTelegram
from tests.mtproto.proxies import SECRET, Http, MTProxy, Proxy, Socks5, running

HASTY = Patience(pace_s=0, retries=1, first_delay_s=0.01, answer_timeout_s=15)


def who(server: FakeTelegram, account: Account, url: str) -> str:
    async def run() -> str:
        line = Line(server.session_for(account), APPLICATION, patience=HASTY, proxy=url)
        await line.open()
        try:
            return (await who_am_i(line)).account_id
        finally:
            await line.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (Socks5, "socks5://user:pass%20word@{}:{}"),
        (Http, "http://user:pass%20word@{}:{}"),
        (MTProxy, f"mtproxy://{SECRET.hex()}@{{}}:{{}}"),
        (MTProxy, f"tg://proxy?server={{}}&port={{}}&secret=dd{SECRET.hex()}"),
    ],
)
def test_an_account_is_reached_through_a_proxy(
    server: FakeTelegram, account: Account, kind: type[Proxy], url: str
) -> None:
    with running(kind((server.host, server.port))) as proxy:
        assert who(server, account, url.format(proxy.host, proxy.port)) == str(account.me.id)
        assert proxy.reached == server.n_connections == 1


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (Socks5, "socks5://user:wrong@{}:{}"),
        (Http, "http://user:wrong@{}:{}"),
        (MTProxy, f"mtproxy://{'ab' * 16}@{{}}:{{}}"),
        (None, "socks5://127.0.0.1:1"),
    ],
)
def test_a_proxy_that_does_not_let_us_through_is_never_gone_around(
    server: FakeTelegram, account: Account, kind: type[Proxy] | None, url: str
) -> None:
    with (
        running((kind or Socks5)((server.host, server.port))) as proxy,
        pytest.raises(LoginError, match="cannot be reached"),
    ):
        who(server, account, url.format(proxy.host, proxy.port))
    assert server.n_connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "ftp://host:1",
        "socks5://host",
        "socks5://host:notaport",
        "mtproxy://host:1",
        "mtproxy://short@host:1",
    ],
)
def test_what_is_no_proxy_is_an_error(url: str) -> None:
    with pytest.raises(LoginError, match="not a proxy"):
        parse_proxy(url)


def test_an_error_about_a_proxy_does_not_tell_its_password() -> None:
    for url in ("socks5://me:topsecret@host", "tg://proxy?server=a&port=x&secret=topsecret"):
        with pytest.raises(LoginError) as caught:
            parse_proxy(url)
        assert "topsecret" not in caught.value.message + caught.value.hint


def test_without_the_library_a_proxy_is_an_error_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(MissingExtra):
        parse_proxy("socks5://127.0.0.1:1080")
