"""Logging in: what is asked, what is refused, what lies on disk."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clone.collect.telegram.connection import Application
from clone.collect.telegram.login import Login, locked, open_line, read_application, read_session
from clone.errors import LoginError
from tests.collect.telegram.collector import APPLICATION, QUICK
from tests.mtproto import Account, FakeTelegram, faults


class Typist:
    """Somebody at a terminal who answers from a list."""

    def __init__(
        self, server: FakeTelegram, account: Account, *, codes: tuple[str, ...] = ("12345",), **more: Any
    ) -> None:
        self.server, self.account = server, account
        self.codes, self.passwords = list(codes), list(more.get("passwords", ()))
        self.phones = list(more.get("phones", ("+" + account.phone,)))
        self.heard: list[str] = []
        self.shown: list[str] = []

    def application(self) -> Application:
        return APPLICATION

    def phone(self) -> str:
        return self.phones.pop(0)

    def code(self, where: str) -> str:
        self.heard.append(where)
        return self.codes.pop(0)

    def password(self, hint: str) -> str:
        self.heard.append(hint)
        return self.passwords.pop(0)

    def show_qr(self, url: str) -> None:
        self.shown.append(url)
        threading.Timer(0.05, lambda: self.server.scan(url, self.account)).start()

    def tell(self, text: str) -> None:
        self.heard.append(text)


def log_in(login: Login) -> Account | None:
    """Log in and return whom the server takes us for."""

    async def run() -> None:
        with locked(login.folder):
            line = await open_line(login, patience=QUICK)
            await line.close()

    asyncio.run(run())
    return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "telegram"


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o177])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_phone_number_and_a_code_log_in(server: FakeTelegram, account: Account, folder: Path) -> None:
    typist = Typist(server, account)
    log_in(Login(folder, person=typist))
    assert list(server.signed_in.values()) == [account]
    assert typist.heard == ["your Telegram app"]
    assert read_application(folder) == APPLICATION
    log_in(Login(folder))  # nobody has to be asked any more
    assert server.n("auth.SendCode") == 1


def test_session_and_credentials_are_their_owners_alone(
    server: FakeTelegram, account: Account, folder: Path, umask: None
) -> None:
    log_in(Login(folder, person=Typist(server, account)))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"session": 0o600, "application.json": 0o600, "lock": 0o600}
    for parent in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700


def test_a_wrong_code_is_asked_again_and_three_are_enough(server: FakeTelegram, account: Account, folder: Path) -> None:
    typist = Typist(server, account, codes=("11111", "12-345"))
    log_in(Login(folder, person=typist))
    assert "That was not the code." in typist.heard
    with pytest.raises(LoginError, match="not the code"):
        log_in(Login(folder, person=Typist(server, account, codes=("1", "2", "3")), is_anew=True))


def test_the_password_of_two_step_verification_is_asked_for(
    server: FakeTelegram, account: Account, folder: Path
) -> None:
    account.password = "correct horse"
    typist = Typist(server, account, passwords=("wrong", "correct horse"))
    log_in(Login(folder, person=typist))
    assert list(server.signed_in.values()) == [account]
    assert typist.heard[1:] == ["the usual", "That was not the password.", "the usual"]
    with pytest.raises(LoginError, match="not the password"):
        log_in(Login(folder, person=Typist(server, account, passwords=("a", "b", "c")), is_anew=True))


@pytest.mark.parametrize("password", [None, "correct horse"])
def test_a_qr_code_logs_in(server: FakeTelegram, account: Account, folder: Path, password: str | None) -> None:
    account.password = password
    typist = Typist(server, account, passwords=("correct horse",))
    log_in(Login(folder, person=typist, use_qr=True))
    assert typist.shown[0].startswith("tg://login?token=")
    assert list(server.signed_in.values()) == [account]
    log_in(Login(folder))


def test_an_empty_phone_number_means_the_qr_code(server: FakeTelegram, account: Account, folder: Path) -> None:
    typist = Typist(server, account, phones=("",))
    log_in(Login(folder, person=typist))
    assert typist.shown


def test_a_number_that_telegram_does_not_know_is_asked_again(
    server: FakeTelegram, account: Account, folder: Path
) -> None:
    typist = Typist(server, account, phones=("+1", "+" + account.phone))
    log_in(Login(folder, person=typist))
    assert any("as +49" in heard for heard in typist.heard)


def test_without_a_terminal_it_is_an_error_and_nothing_is_asked(server: FakeTelegram, folder: Path) -> None:
    for login in (Login(folder), Login(folder, application=APPLICATION)):
        with pytest.raises(LoginError, match="nobody is there to be asked") as caught:
            log_in(login)
        assert "CLONE_TELEGRAM_SESSION" in caught.value.hint
    assert server.n_connections == 0


def test_a_session_from_the_environment_needs_no_person_and_stays_off_the_disk(
    server: FakeTelegram, account: Account, folder: Path
) -> None:
    log_in(Login(folder, application=APPLICATION, session=server.session_for(account)))
    assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("session", ["nonsense", "1", "1abc", "2" + "A" * 352])
def test_a_session_that_is_none_is_an_error(server: FakeTelegram, folder: Path, session: str) -> None:
    with pytest.raises(LoginError, match="not a StringSession"):
        log_in(Login(folder, application=APPLICATION, session=session))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ((401, "SESSION_REVOKED"), "ended in Telegram's settings"),
        ((401, "AUTH_KEY_UNREGISTERED"), "AUTH_KEY_UNREGISTERED"),
        ((406, "AUTH_KEY_DUPLICATED"), "from two places at once"),
        ((401, "USER_DEACTIVATED_BAN"), "deactivated"),
    ],
)
def test_a_session_that_is_over_stops_with_the_next_step(
    server: FakeTelegram, account: Account, folder: Path, error: tuple[int, str], words: str
) -> None:
    log_in(Login(folder, person=Typist(server, account)))
    before = read_session(folder)
    server.faults.append(faults.RpcFailure(*error, name="users.GetUsers", times=10**6))
    with pytest.raises(LoginError, match=words) as caught:
        log_in(Login(folder))
    assert caught.value.exit_code == 6
    assert "--login" in caught.value.hint or "recover@telegram.org" in caught.value.hint
    assert read_session(folder) == before


def test_a_key_that_telegram_forgot_stops_with_the_next_step_and_a_new_login_works(
    server: FakeTelegram, account: Account, folder: Path
) -> None:
    log_in(Login(folder, person=Typist(server, account)))
    server.forget_keys()
    with pytest.raises(LoginError, match="no longer knows the key") as caught:
        log_in(Login(folder))
    assert "--login" in caught.value.hint
    log_in(Login(folder, person=Typist(server, account), is_anew=True))
    log_in(Login(folder))
    assert (folder / "session.before").exists()


def test_a_second_process_on_the_same_session_is_refused(server: FakeTelegram, account: Account, folder: Path) -> None:
    log_in(Login(folder, person=Typist(server, account)))
    n_before = server.n_connections
    with locked(folder), pytest.raises(LoginError, match=f"process {os.getpid()}"):
        log_in(Login(folder))
    assert server.n_connections == n_before
    log_in(Login(folder))


def test_a_session_that_others_can_read_is_not_used(server: FakeTelegram, account: Account, folder: Path) -> None:
    log_in(Login(folder, person=Typist(server, account)))
    (folder / "session").chmod(0o644)
    with pytest.raises(LoginError, match="others on this machine can read") as caught:
        log_in(Login(folder))
    assert "chmod 600" in caught.value.hint


def test_a_wrong_api_id_is_explained(server: FakeTelegram, account: Account, folder: Path) -> None:
    server.faults.append(faults.RpcFailure(400, "API_ID_INVALID", name="auth.SendCode"))
    with pytest.raises(LoginError, match="api id and hash"):
        log_in(Login(folder, person=Typist(server, account)))


def test_too_many_logins_say_when_to_come_back(server: FakeTelegram, account: Account, folder: Path) -> None:
    server.faults.append(faults.RpcFailure(420, "FLOOD_WAIT_86400", name="auth.SendCode"))
    with pytest.raises(LoginError, match="asks for a pause until"):
        log_in(Login(folder, person=Typist(server, account)))
