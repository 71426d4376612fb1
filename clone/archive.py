"""The message store: one SQLite file for every source and account, and the only place with SQL for messages.

    accounts ─┬─ chats ─┬─ messages ┬─ versions     what a message said at other times
              │         │           └─ raws         the source's own payload, one for each format it was seen in
              │         ├─ cursors                  how far a chat has been read
              │         ├─ dialogs                  what the messenger said of a live chat at the last visit
              │         └─ gaps                     messages that were seen and could not be read, each with its reason
              └─ people                             names, for scrubbing
    forgotten                                       contacts that are never to come back
    imports, meta

A page of messages and the cursor that says it was read commit in one transaction, so a kill at any instant loses
nothing and repeats nothing. Nothing is ever overwritten: an edit adds a version, a deletion a mark.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clone.errors import DataError, MissingExtra, StageMissing
from clone.passphrase import ask_passphrase
from clone.records import Account, Chat, ChatKind, Kind, Message, Person, make_message

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
    account_pk INTEGER PRIMARY KEY, source TEXT NOT NULL, account_id TEXT NOT NULL,
    name TEXT NOT NULL, username TEXT NOT NULL, phone TEXT NOT NULL, UNIQUE (source, account_id));
CREATE TABLE chats (
    chat_pk INTEGER PRIMARY KEY, account_pk INTEGER NOT NULL REFERENCES accounts, chat_id TEXT NOT NULL,
    kind TEXT NOT NULL, title TEXT NOT NULL, username TEXT NOT NULL, phone TEXT NOT NULL,
    is_deleted INTEGER NOT NULL, UNIQUE (account_pk, chat_id));
CREATE TABLE people (
    account_pk INTEGER NOT NULL REFERENCES accounts, person_id TEXT NOT NULL, name TEXT NOT NULL,
    username TEXT NOT NULL, phone TEXT NOT NULL, PRIMARY KEY (account_pk, person_id)) WITHOUT ROWID;
CREATE TABLE messages (
    chat_pk INTEGER NOT NULL REFERENCES chats, message_id INTEGER NOT NULL, sender_id TEXT NOT NULL,
    sent_at INTEGER NOT NULL, text TEXT NOT NULL, kind TEXT NOT NULL, reply_to INTEGER, edited_at INTEGER,
    is_forwarded INTEGER NOT NULL, is_outgoing INTEGER NOT NULL, deleted_at INTEGER,
    PRIMARY KEY (chat_pk, message_id)) WITHOUT ROWID;
CREATE TABLE formats (format_pk INTEGER PRIMARY KEY, format TEXT NOT NULL UNIQUE);
CREATE TABLE raws (
    chat_pk INTEGER NOT NULL, message_id INTEGER NOT NULL, format_pk INTEGER NOT NULL REFERENCES formats,
    raw BLOB NOT NULL, PRIMARY KEY (chat_pk, message_id, format_pk)) WITHOUT ROWID;
CREATE TABLE versions (
    chat_pk INTEGER NOT NULL, message_id INTEGER NOT NULL, edited_at INTEGER NOT NULL, text TEXT NOT NULL,
    kind TEXT NOT NULL, raw BLOB, PRIMARY KEY (chat_pk, message_id, edited_at, text)) WITHOUT ROWID;
CREATE TABLE cursors (chat_pk INTEGER PRIMARY KEY REFERENCES chats, message_id INTEGER NOT NULL);
CREATE TABLE gaps (
    chat_pk INTEGER NOT NULL REFERENCES chats, message_id INTEGER NOT NULL, why TEXT NOT NULL, raw BLOB,
    PRIMARY KEY (chat_pk, message_id)) WITHOUT ROWID;
CREATE TABLE dialogs (
    chat_pk INTEGER PRIMARY KEY REFERENCES chats, access_hash INTEGER, top_message INTEGER NOT NULL,
    n_server INTEGER, is_walked INTEGER NOT NULL, visited_at INTEGER);
CREATE TABLE forgotten (
    source TEXT NOT NULL, account_id TEXT NOT NULL, chat_id TEXT NOT NULL,
    PRIMARY KEY (source, account_id, chat_id)) WITHOUT ROWID;
CREATE TABLE imports (
    sha256 TEXT NOT NULL, file_name TEXT NOT NULL, source TEXT NOT NULL, imported_at INTEGER NOT NULL,
    n_messages INTEGER NOT NULL, PRIMARY KEY (sha256)) WITHOUT ROWID;
"""


# chat_pk, message_id, sender_id, sent_at, text, kind, reply_to, edited_at, is_forwarded, is_outgoing
_Row = tuple[int, int, str, int, str, str, int | None, int | None, bool, bool]


@dataclass(frozen=True, slots=True)
class PageCount:
    """What became of a page of messages."""

    n_new: int = 0
    n_edited: int = 0
    n_known: int = 0

    def __add__(self, other: PageCount) -> PageCount:
        return PageCount(self.n_new + other.n_new, self.n_edited + other.n_edited, self.n_known + other.n_known)


@dataclass(frozen=True, slots=True)
class DialogState:
    """What a messenger said of a live chat when it was last visited."""

    access_hash: int | None
    top_message: int  # id of its newest message
    n_server: int | None  # messages in it, as the messenger counts
    is_walked: bool  # read once from its beginning to its end
    visited_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChatCount:
    """One chat with what the archive holds of it."""

    chat: Chat
    n_messages: int
    n_outgoing: int
    first_at: datetime | None
    last_at: datetime | None


class Archive:
    """An open message store. Use as a context manager; one writer at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._driver: Any = sqlite3 if isinstance(connection, sqlite3.Connection) else _sqlcipher()
        self._path = path
        self._chat_pks: dict[tuple[str, str, str], int] = {}
        self._format_pks: dict[str, int] = {}

    @classmethod
    def create(cls, path: Path, passphrase: str | None = None) -> Archive:
        """Open the archive at `path`, made if missing, readable by its owner alone.

        A new one is encrypted where there is a passphrase (given here or by `clone.passphrase`). Raises DataError
        where there is one and the archive is not encrypted: nobody should believe that it is.
        """
        is_new = not path.exists() or not path.stat().st_size
        passphrase = passphrase or ask_passphrase(is_new or not is_encrypted(path))
        if passphrase and not is_new and not is_encrypted(path):
            raise DataError(
                f"there is a passphrase, and {path.name} is not encrypted.",
                "clone collect --encrypt encrypts it; or unset CLONE_PASSPHRASE.",
            )
        if not passphrase and is_encrypted(path):
            raise _no_passphrase_for(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives -wal and -shm the mode of the file
        path.chmod(0o600)
        archive = cls(_connect(path, passphrase), path)
        archive._prepare_schema()
        return archive

    @classmethod
    def open(cls, path: Path, passphrase: str | None = None) -> Archive:
        """Open an archive that exists. Raises StageMissing where there is none, DataError for a wrong passphrase."""
        if not path.exists():
            raise StageMissing("nothing has been collected yet.", "clone collect --from result.json")
        if is_encrypted(path):
            passphrase = passphrase or ask_passphrase(False)
            if not passphrase:
                raise _no_passphrase_for(path)
        else:
            passphrase = None
        archive = cls(_connect(path, passphrase), path)
        archive._prepare_schema()
        return archive

    @classmethod
    def encrypt(cls, path: Path, passphrase: str) -> None:
        """Encrypt an archive that is not, in its place. Raises DataError where it is already."""
        if is_encrypted(path):
            raise DataError(f"{path.name} is encrypted already.")
        copy = path.with_name(path.name + ".encrypting")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT, 0o600))
        plain = _sqlcipher().connect(path, isolation_level=None)
        try:
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            version = plain.execute("PRAGMA user_version").fetchone()[0]
            plain.execute(f"ATTACH DATABASE {_quote(str(copy))} AS sealed KEY {_quote(passphrase)}")
            plain.execute("SELECT sqlcipher_export('sealed')")
            plain.execute(f"PRAGMA sealed.user_version = {version}")
            plain.execute("DETACH DATABASE sealed")
        finally:
            plain.close()
        with copy.open("rb") as stream:
            os.fsync(stream.fileno())
        copy.replace(path)
        for left in ("-wal", "-shm"):
            path.with_name(path.name + left).unlink(missing_ok=True)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def _prepare_schema(self) -> None:
        try:
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
                self._set_meta("archive_id", secrets.token_hex(16))
                self._set_meta("revision", "0")
                self._db.commit()
        except self._driver.DatabaseError as error:
            raise DataError(
                f"{self._path.name} is not an archive of clone, or it is damaged.",
                "Put it aside and collect again.",
            ) from error
        if version > SCHEMA_VERSION:
            raise DataError(
                f"{self._path.name} was written by a newer clone (schema {version}, this one knows {SCHEMA_VERSION}).",
                "pip install --upgrade clone",
            )

    # -- writing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything written inside visible at once, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            before = self._db.total_changes
            yield
            if self._db.total_changes != before:
                self._db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'revision'")
            self._db.execute("COMMIT")
        except self._driver.OperationalError as error:
            self._rollback()
            if "full" in str(error):
                raise DataError(
                    "the disk is full: the archive could not grow.",
                    "Free some space and run the same command again; it goes on where it stopped.",
                ) from error
            raise
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._chat_pks.clear()
        self._format_pks.clear()

    def put_account(self, account: Account) -> None:
        """Remember an account. A field that is empty here never erases one that is known."""
        self._db.execute(
            """INSERT INTO accounts (source, account_id, name, username, phone) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (source, account_id) DO UPDATE SET name = iif(excluded.name = '', name, excluded.name),
              username = iif(excluded.username = '', username, excluded.username),
              phone = iif(excluded.phone = '', phone, excluded.phone)
            WHERE (excluded.name NOT IN ('', name)) OR (excluded.username NOT IN ('', username))
              OR (excluded.phone NOT IN ('', phone))""",
            (account.source, account.account_id, account.name, account.username, account.phone),
        )

    def put_chat(self, chat: Chat) -> None:
        """Remember a chat of an account already put. Empty fields never erase known ones."""
        self._db.execute(
            """INSERT INTO chats (account_pk, chat_id, kind, title, username, phone, is_deleted)
            VALUES ((SELECT account_pk FROM accounts WHERE source = ? AND account_id = ?), ?, ?, ?, ?, ?, ?)
            ON CONFLICT (account_pk, chat_id) DO UPDATE SET title = iif(excluded.title = '', title, excluded.title),
              username = iif(excluded.username = '', username, excluded.username),
              phone = iif(excluded.phone = '', phone, excluded.phone), is_deleted = max(is_deleted, excluded.is_deleted)
            WHERE (excluded.title NOT IN ('', title)) OR (excluded.username NOT IN ('', username))
              OR (excluded.phone NOT IN ('', phone)) OR excluded.is_deleted > is_deleted""",
            (
                chat.source,
                chat.account_id,
                chat.chat_id,
                chat.kind.value,
                chat.title,
                chat.username,
                chat.phone,
                chat.is_deleted,
            ),
        )

    def put_person(self, person: Person) -> None:
        """Remember how somebody in an account's chats is called. Empty fields never erase known ones."""
        self._db.execute(
            """INSERT INTO people (account_pk, person_id, name, username, phone)
            VALUES ((SELECT account_pk FROM accounts WHERE source = ? AND account_id = ?), ?, ?, ?, ?)
            ON CONFLICT (account_pk, person_id) DO UPDATE SET name = iif(excluded.name = '', name, excluded.name),
              username = iif(excluded.username = '', username, excluded.username),
              phone = iif(excluded.phone = '', phone, excluded.phone)
            WHERE (excluded.name NOT IN ('', name)) OR (excluded.username NOT IN ('', username))
              OR (excluded.phone NOT IN ('', phone))""",
            (person.source, person.account_id, person.person_id, person.name, person.username, person.phone),
        )

    def put_messages(
        self,
        chat: Chat,
        messages: Iterable[tuple[Message, bytes | None]],
        *,
        raw_format: str = "",
        fills_holes_only: bool = False,
    ) -> PageCount:
        """Add messages of a chat already put, each with the source's own payload, and say what became of them.

        `raw_format` names what the payloads are written in (and by which version); a message keeps one payload of each
        format. A message that is known with another text becomes an edit: the old text moves to the versions. With
        `fills_holes_only` (imports) that takes an edit later than the one that is known; else the known text stays as
        it is, another one joins the versions, and only fields that are empty are filled.
        """
        pk = self._chat_pk(chat)
        rows: list[_Row] = []
        raws: list[tuple[int, int, int, bytes]] = []
        format_pk = self._format_pk(raw_format)
        for m, raw in messages:
            rows.append(
                (
                    pk,
                    m.message_id,
                    m.sender_id,
                    int(m.sent_at.timestamp()),
                    m.text,
                    m.kind._value_,  # .value is a property, and slow
                    m.reply_to,
                    int(m.edited_at.timestamp()) if m.edited_at else None,
                    m.is_forwarded,
                    m.is_outgoing,
                )
            )
            if raw is not None:
                raws.append((pk, m.message_id, format_pk, raw))
        before = self._db.total_changes
        self._db.executemany(
            """INSERT OR IGNORE INTO messages (chat_pk, message_id, sender_id, sent_at, text, kind, reply_to, edited_at,
            is_forwarded, is_outgoing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            rows,
        )
        n_new = self._db.total_changes - before
        n_edited = 0
        if n_new < len(rows):
            n_edited = self._put_again(rows, raws, format_pk, fills_holes_only)
        self._db.executemany("INSERT OR IGNORE INTO raws VALUES (?, ?, ?, ?)", raws)
        if n_new:
            self._db.execute(
                """DELETE FROM gaps WHERE chat_pk = ? AND EXISTS (SELECT 1 FROM messages m
                WHERE m.chat_pk = gaps.chat_pk AND m.message_id = gaps.message_id)""",
                (pk,),
            )
        return PageCount(n_new, n_edited, len(rows) - n_new - n_edited)

    def _put_again(
        self, rows: Sequence[_Row], raws: Sequence[tuple[int, int, int, bytes]], format_pk: int, fills_holes_only: bool
    ) -> int:
        """Bring news about messages that are known; return how many of them were edited."""
        heads = [row[:8] for row in rows]
        payloads = {raw[1]: raw[3] for raw in raws}
        n_edited = sum(
            self._put_edit(row, payloads.get(row[1]), format_pk, fills_holes_only)
            for row in rows
            if not fills_holes_only or row[7] is not None
        )
        self._db.executemany(  # wordings that are not the newest
            """INSERT OR IGNORE INTO versions SELECT ?1, ?2, coalesce(?8, 0), ?5, ?6, NULL FROM messages
            WHERE chat_pk = ?1 AND message_id = ?2 AND ?5 <> '' AND text NOT IN ('', ?5)""",
            heads,
        )
        self._db.executemany(
            """UPDATE messages SET sender_id = iif(sender_id = '', ?3, sender_id), text = iif(text = '', ?5, text),
              reply_to = coalesce(reply_to, ?7), edited_at = iif(text IN ('', ?5), coalesce(edited_at, ?8), edited_at)
            WHERE chat_pk = ?1 AND message_id = ?2 AND (
              (sender_id = '' AND ?3 <> '') OR (text = '' AND ?5 <> '') OR (reply_to IS NULL AND ?7 IS NOT NULL)
              OR (edited_at IS NULL AND ?8 IS NOT NULL AND text IN ('', ?5)))""",
            heads,
        )
        return n_edited

    def _put_edit(self, row: _Row, raw: bytes | None, format_pk: int, must_be_later: bool) -> int:
        """Make a row the newest wording of its message if it is one, and return 1 for that.

        `must_be_later`: it is one only where words differ and its edit is dated after the one that is known.
        """
        pk, message_id, text, kind, edited_at = row[0], row[1], row[4], row[5], row[7]
        changed = self._db.execute(
            """SELECT 1 FROM messages WHERE chat_pk = ?1 AND message_id = ?2 AND (
              (text NOT IN ('', ?3) AND coalesce(edited_at, 0) + ?7 <= coalesce(?4, 0) AND NOT (?7 AND ?3 = ''))
              OR (NOT ?7 AND coalesce(edited_at, 0) < coalesce(?4, 0) AND EXISTS (  -- same words, something else
                SELECT 1 FROM raws WHERE chat_pk = ?1 AND message_id = ?2 AND format_pk = ?5 AND raw <> ?6)))""",
            (pk, message_id, text, edited_at, format_pk, raw, must_be_later),
        ).fetchone()
        if not changed:
            return 0
        self._db.execute(
            """INSERT OR IGNORE INTO versions SELECT chat_pk, message_id, coalesce(edited_at, 0), text, kind,
              (SELECT raw FROM raws WHERE chat_pk = ?1 AND message_id = ?2 AND format_pk = ?3)
            FROM messages WHERE chat_pk = ?1 AND message_id = ?2""",
            (pk, message_id, format_pk),
        )
        self._db.execute(
            "UPDATE messages SET text = ?, edited_at = ?, kind = ? WHERE chat_pk = ? AND message_id = ?",
            (text, edited_at, kind, pk, message_id),
        )
        if raw is not None:
            self._db.execute("INSERT OR REPLACE INTO raws VALUES (?, ?, ?, ?)", (pk, message_id, format_pk, raw))
        return 1

    def put_cursor(self, chat: Chat, message_id: int) -> None:
        """Say that a chat was read up to `message_id`; a cursor never goes back."""
        self._db.execute(
            """INSERT INTO cursors VALUES (?, ?) ON CONFLICT (chat_pk) DO UPDATE SET message_id = excluded.message_id
            WHERE excluded.message_id > message_id""",
            (self._chat_pk(chat), message_id),
        )

    def put_gap(self, chat: Chat, message_id: int, why: str, raw: bytes | None = None) -> None:
        """Remember a message that was seen and could not be read, with what could be had of it."""
        self._db.execute(
            """INSERT OR IGNORE INTO gaps SELECT ?1, ?2, ?3, ?4
            WHERE NOT EXISTS (SELECT 1 FROM messages WHERE chat_pk = ?1 AND message_id = ?2)""",
            (self._chat_pk(chat), message_id, why, raw),
        )

    def put_dialog(self, chat: Chat, state: DialogState) -> None:
        """Remember what the messenger said of a chat."""
        row = (
            self._chat_pk(chat),
            state.access_hash,
            state.top_message,
            state.n_server,
            state.is_walked,
            int(state.visited_at.timestamp()) if state.visited_at else None,
        )
        self._db.execute("INSERT OR REPLACE INTO dialogs VALUES (?, ?, ?, ?, ?, ?)", row)

    def mark_deleted(self, chat: Chat, message_ids: Iterable[int], now: datetime) -> int:
        """Mark messages as gone from the source, and return how many were not yet; nothing is removed."""
        pk, when = self._chat_pk(chat), int(now.timestamp())
        before = self._db.total_changes
        self._db.executemany(
            "UPDATE messages SET deleted_at = ? WHERE chat_pk = ? AND message_id = ? AND deleted_at IS NULL",
            [(when, pk, message_id) for message_id in message_ids],
        )
        return self._db.total_changes - before

    def remember(self, key: str, value: str | None) -> None:
        """Keep a note that is no content, as a deadline; None forgets it. At once, outside transactions."""
        if value is None:
            self._db.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self._set_meta(key, value)

    def put_import(self, sha256: str, file_name: str, source: str, now: datetime, n_messages: int) -> None:
        """Remember a file that was read to its end."""
        self._db.execute(
            "INSERT OR IGNORE INTO imports VALUES (?, ?, ?, ?, ?)",
            (sha256, file_name, source, int(now.timestamp()), n_messages),
        )

    # -- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, chat: Chat) -> int:
        """Remove a chat with everything in it and everybody who is only in it, and return how many messages it had.

        It stays forgotten: `is_forgotten` is true from now on. Call `scrub` afterwards, outside the transaction.
        """
        pk, key = self._chat_pk(chat), (chat.source, chat.account_id, chat.chat_id)
        title = chat.title.casefold()
        senders = [
            row[0] for row in self._db.execute("SELECT DISTINCT sender_id FROM messages WHERE chat_pk = ?", (pk,))
        ]
        n_messages = int(self._db.execute("SELECT count(*) FROM messages WHERE chat_pk = ?", (pk,)).fetchone()[0])
        for table in ("raws", "versions", "gaps", "cursors", "dialogs", "messages", "chats"):
            self._db.execute(f"DELETE FROM {table} WHERE chat_pk = ?", (pk,))
        self._db.executemany(
            """DELETE FROM people WHERE person_id = ?1
            AND account_pk = (SELECT account_pk FROM accounts WHERE source = ?2 AND account_id = ?3)
            AND NOT EXISTS (SELECT 1 FROM messages m JOIN chats c USING (chat_pk)
              WHERE m.sender_id = ?1 AND c.account_pk = people.account_pk)""",
            [(person, chat.source, chat.account_id) for person in {*senders, chat.chat_id} - {chat.account_id}],
        )
        for sha256, file_name in self._db.execute("SELECT sha256, file_name FROM imports").fetchall():
            if title and title in file_name.casefold():  # WhatsApp names its files after the contact
                self._db.execute("DELETE FROM imports WHERE sha256 = ?", (sha256,))
        self._db.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?, ?)", key)
        self._chat_pks.pop(key, None)
        return n_messages

    def unforget(self, source: str, chat_id: str) -> int:
        """Let a contact that was forgotten be collected again; return how many chats that are."""
        return self._db.execute("DELETE FROM forgotten WHERE source = ? AND chat_id = ?", (source, chat_id)).rowcount

    def is_forgotten(self, chat: Chat) -> bool:
        key = (chat.source, chat.account_id, chat.chat_id)
        sql = "SELECT 1 FROM forgotten WHERE source = ? AND account_id = ? AND chat_id = ?"
        return self._db.execute(sql, key).fetchone() is not None

    def scrub(self) -> None:
        """Write the file anew, so that no byte of what was removed is left in it or beside it.

        Freed pages, the rests that moved rows leave in pages, and the write-ahead log all keep what was removed.
        """
        folder = os.environ.get("SQLITE_TMPDIR")
        os.environ["SQLITE_TMPDIR"] = str(self._path.parent)  # VACUUM writes a copy; not into a folder of everybody
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except self._driver.OperationalError as error:
            raise DataError(
                "the archive could not be written anew: what was removed is no longer in use, but still on the disk.",
                "Free as much space as the archive takes, and run the same command again.",
            ) from error
        finally:
            if folder is None:
                del os.environ["SQLITE_TMPDIR"]
            else:
                os.environ["SQLITE_TMPDIR"] = folder

    # -- reading ----------------------------------------------------------------------------------------------------

    def revision(self) -> str:
        """Return what changes whenever the archive's content does."""
        rows = dict(self._db.execute("SELECT key, value FROM meta WHERE key IN ('archive_id', 'revision')"))
        return f"{rows['archive_id']}:{rows['revision']}"

    def has_import(self, sha256: str) -> bool:
        return self._db.execute("SELECT 1 FROM imports WHERE sha256 = ?", (sha256,)).fetchone() is not None

    def accounts(self) -> list[Account]:
        rows = self._db.execute("SELECT source, account_id, name, username, phone FROM accounts ORDER BY account_pk")
        return [Account(*row) for row in rows]

    def people(self) -> list[Person]:
        """Return everybody that is named in any account's chats."""
        rows = self._db.execute(
            """SELECT source, account_id, person_id, p.name, p.username, p.phone
            FROM people p JOIN accounts USING (account_pk) ORDER BY account_pk, person_id"""
        )
        return [Person(*row) for row in rows]

    def chats(self) -> list[ChatCount]:
        """Return every chat with its counts, largest first."""
        rows = self._db.execute(
            """SELECT a.source, a.account_id, c.chat_id, c.kind, c.title, c.username, c.phone, c.is_deleted,
              count(m.message_id), coalesce(sum(m.is_outgoing), 0), min(m.sent_at), max(m.sent_at)
            FROM chats c JOIN accounts a USING (account_pk) LEFT JOIN messages m USING (chat_pk)
            GROUP BY c.chat_pk ORDER BY 9 DESC, c.chat_pk"""
        )
        return [
            ChatCount(
                Chat(r[0], r[1], r[2], ChatKind(r[3]), r[4], r[5], r[6], bool(r[7])),
                r[8],
                r[9],
                _time(r[10]),
                _time(r[11]),
            )
            for r in rows
        ]

    def messages(self, chat: Chat) -> Iterator[Message]:
        """Yield a chat's messages, oldest first; deleted ones are left out."""
        head = (chat.source, chat.account_id, chat.chat_id)
        rows = self._db.execute(
            """SELECT message_id, sender_id, sent_at, text, kind, reply_to, edited_at, is_forwarded, is_outgoing
            FROM messages WHERE chat_pk = ? AND deleted_at IS NULL ORDER BY sent_at, message_id""",
            (self._chat_pk(chat),),
        )
        kinds = {kind.value: kind for kind in Kind}
        source, account_id, chat_id = head
        read_time = datetime.fromtimestamp
        for number, sender, sent_at, text, kind, reply_to, edited_at, is_forwarded, is_outgoing in rows:
            yield make_message(
                source,
                account_id,
                chat_id,
                number,
                sender,
                read_time(sent_at, UTC),
                text,
                kinds[kind],
                reply_to,
                None if edited_at is None else read_time(edited_at, UTC),
                bool(is_forwarded),
                bool(is_outgoing),
            )

    def cursor(self, chat: Chat) -> int:
        """Return the last message id up to which a chat was read, 0 for none."""
        row = self._db.execute("SELECT message_id FROM cursors WHERE chat_pk = ?", (self._chat_pk(chat),)).fetchone()
        return int(row[0]) if row else 0

    def recall(self, key: str) -> str | None:
        """Return a note that `remember` kept."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def find_chat(self, source: str, account_id: str, chat_id: str) -> Chat | None:
        """Return a chat by its ids."""
        row = self._db.execute(
            """SELECT c.kind, c.title, c.username, c.phone, c.is_deleted FROM chats c JOIN accounts USING (account_pk)
            WHERE source = ? AND account_id = ? AND chat_id = ?""",
            (source, account_id, chat_id),
        ).fetchone()
        if row is None:
            return None
        return Chat(source, account_id, chat_id, ChatKind(row[0]), row[1], row[2], row[3], bool(row[4]))

    def dialog(self, chat: Chat) -> DialogState | None:
        """Return what the messenger said of a chat when it was last visited."""
        row = self._db.execute(
            "SELECT access_hash, top_message, n_server, is_walked, visited_at FROM dialogs WHERE chat_pk = ?",
            (self._chat_pk(chat),),
        ).fetchone()
        return DialogState(row[0], row[1], row[2], bool(row[3]), _time(row[4])) if row else None

    def message_ids(self, chat: Chat) -> list[int]:
        """Return the ids of a chat's messages that are not marked as deleted, ascending."""
        rows = self._db.execute(
            "SELECT message_id FROM messages WHERE chat_pk = ? AND deleted_at IS NULL ORDER BY message_id",
            (self._chat_pk(chat),),
        )
        return [row[0] for row in rows]

    def first_id_since(self, chat: Chat, moment: datetime) -> int | None:
        """Return the lowest id of the newest messages of a chat, those that were sent at `moment` or later."""
        first, limit = None, int(moment.timestamp())
        rows = self._db.execute(
            "SELECT message_id, sent_at FROM messages WHERE chat_pk = ? ORDER BY message_id DESC",
            (self._chat_pk(chat),),
        )
        for message_id, sent_at in rows:
            if sent_at < limit:
                break
            first = int(message_id)
        rows.close()
        return first

    def n_messages(self, chat: Chat) -> int:
        """Return how many messages a chat has that are not marked as deleted."""
        row = self._db.execute(
            "SELECT count(*) FROM messages WHERE chat_pk = ? AND deleted_at IS NULL", (self._chat_pk(chat),)
        ).fetchone()
        return int(row[0])

    def gaps(self, chat: Chat) -> list[tuple[int, str]]:
        """Return the messages of a chat that were seen and could not be read, each with its reason."""
        rows = self._db.execute(
            "SELECT message_id, why FROM gaps WHERE chat_pk = ? ORDER BY message_id", (self._chat_pk(chat),)
        )
        return list(rows)

    def _chat_pk(self, chat: Chat) -> int:
        key = (chat.source, chat.account_id, chat.chat_id)
        if key not in self._chat_pks:
            row = self._db.execute(
                """SELECT chat_pk FROM chats JOIN accounts USING (account_pk)
                WHERE source = ? AND account_id = ? AND chat_id = ?""",
                key,
            ).fetchone()
            assert row is not None, "a chat is put before its messages"
            self._chat_pks[key] = int(row[0])
        return self._chat_pks[key]

    def _format_pk(self, name: str) -> int:
        if name not in self._format_pks:
            self._db.execute("INSERT OR IGNORE INTO formats (format) VALUES (?)", (name,))
            row = self._db.execute("SELECT format_pk FROM formats WHERE format = ?", (name,)).fetchone()
            self._format_pks[name] = int(row[0])
        return self._format_pks[name]

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def is_encrypted(path: Path) -> bool:
    """Whether a file may be SQLCipher's: whole pages, which look like noise from the first byte."""
    if not path.exists():
        return False
    with path.open("rb") as stream:
        head = stream.read(16)
    return bool(head) and head != b"SQLite format 3\0" and path.stat().st_size % _CIPHER_PAGE == 0


_CIPHER_PAGE = 4096  # bytes, of SQLCipher 4
_PLAIN_PAGE = 8192


def _no_passphrase_for(path: Path) -> DataError:
    return DataError(f"{path.name} is encrypted (or damaged), and there is no passphrase.", "Set CLONE_PASSPHRASE.")


def _sqlcipher() -> Any:
    try:
        import sqlcipher3
    except ImportError:
        raise MissingExtra("sqlcipher3", "encryption") from None
    return sqlcipher3


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _connect(path: Path, passphrase: str | None) -> sqlite3.Connection:
    driver: Any = _sqlcipher() if passphrase else sqlite3
    # the live collector writes from a thread of its own while the next page is on its way; never two at once
    connection: sqlite3.Connection = driver.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        if passphrase:
            connection.execute(f"PRAGMA key = {_quote(passphrase)}")
        else:
            connection.execute(f"PRAGMA page_size = {_PLAIN_PAGE}")  # of a new file; fewer pages to split
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # freed pages are overwritten
    except driver.DatabaseError as error:
        connection.close()
        if passphrase:
            raise DataError(
                f"the passphrase does not open {path.name} (or the file is damaged).", "Check CLONE_PASSPHRASE."
            ) from None
        raise DataError(
            f"{path.name} is not an archive of clone, or it is damaged.", "Put it aside and collect again."
        ) from error
    return connection


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
