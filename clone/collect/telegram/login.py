"""Logging in: the application's id and hash, the session, code, password and QR code.

Comes in: a folder, what the environment gave, and a person to ask (or nobody). Goes out: a connection that is logged
in. The session is a StringSession in one file, written whole or not at all: it is the key to the account, so it and its
folder are readable by their owner alone from the first byte. Knows nothing of terminals.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from telethon import errors
from telethon.password import compute_check
from telethon.tl import functions as f
from telethon.tl import types as t

from clone.collect.telegram.connection import (
    PATIENT,
    Application,
    Line,
    OnWait,
    Patience,
    come_back,
    refused,
)
from clone.errors import LoginError
from clone.workspace import hold, make_private_folder, write_atomically

Answer = TypeVar("Answer")
TRIES = 3


class Person(Protocol):
    """Somebody at a terminal."""

    def application(self) -> Application:
        """Ask for what my.telegram.org gives."""

    def phone(self) -> str:
        """Ask for the account's phone number; "" for logging in by QR code."""

    def code(self, where: str) -> str:
        """Ask for the login code, which was sent to `where`."""

    def password(self, hint: str) -> str:
        """Ask for the password of two-step verification."""

    def show_qr(self, url: str) -> None:
        """Show a QR code for the phone to scan."""

    def tell(self, text: str) -> None:
        """Say something."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where a session comes from."""

    folder: Path
    application: Application | None = None  # from the environment
    session: str | None = None  # a StringSession from the environment; never written to disk
    person: Person | None = None  # None: nobody is there to be asked
    proxy: str | None = None
    use_qr: bool = False
    is_anew: bool = False  # log in although there is a session


NOBODY = "There is no terminal to ask at: set CLONE_TELEGRAM_API_ID and CLONE_TELEGRAM_API_HASH (my.telegram.org), and "
NOBODY += "CLONE_TELEGRAM_SESSION to a Telethon StringSession, or run clone collect once at a terminal."


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process off the session in `folder`: Telegram ends a session that is used twice at once."""
    make_private_folder(folder)
    folder.chmod(0o700)

    def busy(other: str) -> LoginError:
        return LoginError(
            f"another clone (process {other}) is using this Telegram session.",
            "Wait for it to end, or stop it; one session serves one process at a time.",
        )

    with hold(folder / "lock", busy):
        yield


async def open_line(
    login: Login, *, patience: Patience = PATIENT, on_wait: OnWait = lambda why, seconds: None, **more: object
) -> Line:
    """Return a connection that is logged in, asking the person for what is missing.

    Call inside `locked`. Raises LoginError where somebody would have to be asked and nobody is there.
    """
    application = login.application or read_application(login.folder)
    is_asked = application is None
    if application is None:
        application = _asked(_someone(login, "the api id and hash of an application").application)

    def new_line(session: str, *, is_watching: bool = False) -> Line:
        assert application is not None
        return Line(
            session,
            application,
            patience=patience,
            proxy=login.proxy,
            on_wait=on_wait,
            is_watching=is_watching,
            **more,  # type: ignore[arg-type]
        )

    if login.session is not None:
        line = new_line(login.session)
        await line.open()
        await _check(line)
        return line
    stored = read_session(login.folder)
    if stored and not login.is_anew:
        line = new_line(stored)
        await line.open()
        await _check(line)
        return line
    person = _someone(login, "a login")
    line = new_line("", is_watching=login.use_qr)
    try:
        await line.open()
        await _log_in(line, login, application, person)
        session = line.session
    except errors.ApiIdInvalidError:
        raise LoginError(
            "Telegram does not know this api id and hash.", "Copy both again from https://my.telegram.org/apps."
        ) from None
    except (errors.FloodWaitError, errors.PhoneNumberFloodError, errors.PhonePasswordFloodError) as flood:
        raise _too_often(flood) from None
    except errors.RPCError as error:
        raise refused(error) from None
    except BaseException:
        await line.close()
        raise
    save_session(login.folder, session)
    if is_asked:
        save_application(login.folder, application)
    if not login.use_qr:
        return line
    await line.close()  # that one watched for the scan; from here on nothing is watched
    line = new_line(session)
    await line.open()
    return line


async def _check(line: Line) -> None:
    """Raise LoginError where Telegram does not accept the session."""
    try:
        await line.ask(f.users.GetUsersRequest([t.InputUserSelf()]), outside_takeout=True)
    except errors.RPCError as error:
        await line.close()
        raise refused(error) from None
    except BaseException:
        await line.close()
        raise


async def _log_in(line: Line, login: Login, application: Application, person: Person) -> None:
    phone = "" if login.use_qr else _asked(person.phone)
    try:
        if not phone:
            await _scan(line, person)
        else:
            await _enter_code(line, application, person, phone)
    except errors.SessionPasswordNeededError:
        await _enter_password(line, person)


async def _enter_code(line: Line, application: Application, person: Person, phone: str) -> None:
    for attempt in range(TRIES):
        request = f.auth.SendCodeRequest(phone, application.api_id, application.api_hash, t.CodeSettings())
        try:
            sent = await line.client(request)
            break
        except (errors.PhoneNumberInvalidError, errors.PhoneNumberUnoccupiedError):
            if attempt == TRIES - 1:
                raise LoginError("Telegram does not know this phone number.", "Give it as +4915112345678.") from None
            person.tell("Telegram does not know this number. Give it with its country, as +4915112345678.")
            phone = _asked(person.phone)
        except errors.PhoneNumberBannedError:
            raise LoginError("Telegram has banned this number.", "Ask Telegram: recover@telegram.org") from None
    where = _WHERE.get(type(sent.type), "your phone")
    for attempt in range(TRIES):
        code = _asked(partial(person.code, where)).replace("-", "").replace(" ", "")
        try:
            await line.client(f.auth.SignInRequest(phone, sent.phone_code_hash, code))
            return
        except (errors.PhoneCodeInvalidError, errors.PhoneCodeEmptyError):
            if attempt == TRIES - 1:
                raise LoginError("that was not the code.", "clone collect asks for a new one.") from None
            person.tell("That was not the code.")
        except errors.PhoneCodeExpiredError:
            raise LoginError("the code has expired.", "clone collect asks for a new one.") from None
        except errors.PhoneNumberUnoccupiedError:
            raise LoginError("this number has no Telegram account.", "Make one in the app first.") from None


_WHERE = {
    t.auth.SentCodeTypeApp: "your Telegram app",
    t.auth.SentCodeTypeSms: "your phone, as an SMS",
    t.auth.SentCodeTypeCall: "your phone, in a call",
    t.auth.SentCodeTypeEmailCode: "your email",
}


async def _enter_password(line: Line, person: Person) -> None:
    for attempt in range(TRIES):
        settings = await line.client(f.account.GetPasswordRequest())
        password = _asked(partial(person.password, settings.hint or ""))
        check = await asyncio.to_thread(compute_check, settings, password)
        try:
            await line.client(f.auth.CheckPasswordRequest(check))
            return
        except errors.PasswordHashInvalidError:
            if attempt == TRIES - 1:
                raise LoginError("that was not the password.", "It is the one of two-step verification.") from None
            person.tell("That was not the password.")


async def _scan(line: Line, person: Person) -> None:
    qr = await line.client.qr_login()
    while True:
        person.show_qr(qr.url)
        try:
            left = (qr.expires - datetime.now(UTC)).total_seconds()
            await qr.wait(max(1.0, left))
            return
        except TimeoutError:
            await qr.recreate()


def _asked(question: Callable[[], Answer]) -> Answer:
    """Ask a person, so that Ctrl-C stops at once: asyncio would wait for the next event, and a question makes none."""
    if threading.current_thread() is not threading.main_thread():
        return question()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return question()
    finally:
        signal.signal(signal.SIGINT, before)


def _someone(login: Login, what: str) -> Person:
    if login.person is None:
        raise LoginError(f"Telegram needs {what}, and nobody is there to be asked.", NOBODY)
    return login.person


def _too_often(flood: errors.RPCError) -> LoginError:
    seconds = getattr(flood, "seconds", None)
    if seconds is None:
        return LoginError("Telegram has had too many logins with this number.", "Try again tomorrow.")
    return come_back(datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC))


# -- files ----------------------------------------------------------------------------------------------------------


def read_session(folder: Path) -> str | None:
    return _read_private(folder / "session")


def save_session(folder: Path, session: str) -> None:
    """Write a session; one that was there is put aside, not lost."""
    path = folder / "session"
    if path.exists():
        path.replace(folder / "session.before")
    with write_atomically(path) as stream:
        stream.write(session)


def read_application(folder: Path) -> Application | None:
    """Return the api id and hash that a login left. Raises LoginError where the file is not one of ours."""
    text = _read_private(folder / "application.json")
    if text is None:
        return None
    try:
        return make_application(**json.loads(text))
    except (TypeError, ValueError):
        raise LoginError(f"{folder / 'application.json'} is damaged.", "Remove it; clone collect asks again.") from None


def save_application(folder: Path, application: Application) -> None:
    with write_atomically(folder / "application.json") as stream:
        stream.write(json.dumps({"api_id": application.api_id, "api_hash": application.api_hash}))


def make_application(api_id: object, api_hash: object) -> Application:
    """Return an application from what a person typed. Raises ValueError for what cannot be one."""
    number, text = str(api_id).strip(), str(api_hash).strip()
    if not re.fullmatch(r"[1-9]\d{0,9}", number, re.ASCII) or not re.fullmatch(r"[0-9A-Za-z]{32}", text):
        raise ValueError("an api id is a number above 0, and an api hash 32 letters and digits")
    return Application(int(number), text)


def _read_private(path: Path) -> str | None:
    """Return a secret file's text, None where there is none. Raises LoginError where others could read it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if mode & 0o077:
        raise LoginError(f"others on this machine can read {path}.", f"chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip() or None
