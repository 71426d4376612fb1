"""An encrypted archive has none of anybody's words on the disk, and opens with its passphrase alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clone.archive import Archive, is_encrypted
from clone.errors import DataError
from clone.passphrase import ask_passphrase_with, no_passphrase
from clone.workspace import make_private_folder
from tests.collect.telegram.collector import Collector
from tests.mtproto import Account

PASSPHRASE = "it's a long one"
WORDS = ("marzipan-lighthouse", "Zwetschgenknödel", "сгущёнка-маяк")


@pytest.fixture
def passphrase() -> Iterator[None]:
    ask_passphrase_with(lambda is_new: PASSPHRASE)
    yield
    ask_passphrase_with(no_passphrase)


def seed(account: Account) -> None:
    account.add_user(2077, "Umlaut-Person Zweiundvierzig", username="umlautperson", phone="4477777777")
    for i in range(40):
        account.add_message(2077, f"{WORDS[i % 3]} number {i}")


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_word_of_a_chat_is_on_the_disk(
    collector: Collector, account: Account, tmp_path: Path, passphrase: None
) -> None:
    seed(account)
    seen = []

    def look(step: object) -> None:
        seen.append(on_disk(tmp_path))

    collector.on_progress = look
    assert collector.collect().is_complete
    assert is_encrypted(collector.archive_path)
    for bytes_ in (*seen, on_disk(tmp_path)):
        for word in (*WORDS, "Umlaut-Person", "umlautperson", "4477777777", "Person 1", "words 1"):
            assert word.encode() not in bytes_
            assert word.encode("utf-16-le") not in bytes_
    assert any(seen)
    with Archive.open(collector.archive_path) as archive:
        assert sum(chat.n_messages for chat in archive.chats()) == 640


def test_the_same_words_are_found_on_the_disk_without_a_passphrase(
    collector: Collector, account: Account, tmp_path: Path
) -> None:
    seed(account)
    collector.collect()
    assert all(word.encode() in on_disk(tmp_path) for word in WORDS)


def test_an_encrypted_archive_takes_news_and_restarts(collector: Collector, account: Account, passphrase: None) -> None:
    collector.collect()
    account.add_message(2001, "news")
    assert collector.collect().is_complete
    assert collector.has_everything()


def test_a_wrong_passphrase_and_none_are_told(collector: Collector, passphrase: None) -> None:
    collector.collect()
    for open_it in (Archive.open, Archive.create):
        with pytest.raises(DataError, match="does not open"):
            open_it(collector.archive_path, "another")
    ask_passphrase_with(no_passphrase)
    with pytest.raises(DataError, match="no passphrase") as caught:
        Archive.open(collector.archive_path)
    assert "CLONE_PASSPHRASE" in caught.value.hint
    with pytest.raises(DataError):
        Archive.create(collector.archive_path)


def test_an_archive_is_encrypted_in_its_place(collector: Collector, account: Account, tmp_path: Path) -> None:
    seed(account)
    collector.collect()
    with collector.archive() as archive:
        revision = archive.revision()
    with pytest.raises(DataError, match="not encrypted") as caught:  # nobody should believe that it is
        Archive.create(collector.archive_path, PASSPHRASE)
    assert "--encrypt" in caught.value.hint
    Archive.encrypt(collector.archive_path, PASSPHRASE)
    assert not any(word.encode() in on_disk(tmp_path) for word in WORDS)
    with Archive.open(collector.archive_path, PASSPHRASE) as archive:
        assert archive.revision() == revision
        assert sum(chat.n_messages for chat in archive.chats()) == 640
    with pytest.raises(DataError, match="already"):
        Archive.encrypt(collector.archive_path, PASSPHRASE)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
def test_archive_files_are_their_owners_alone(collector: Collector, umask: int) -> None:
    """From the first byte, under any umask, journal and all."""
    seen = set()

    def look(step: object) -> None:
        seen.update(path.stat().st_mode & 0o777 for path in collector.archive_path.parent.iterdir())

    collector.on_progress = look
    make_private_folder(collector.archive_path.parent)
    before = os.umask(umask)
    try:
        collector.collect()
    finally:
        os.umask(before)
    assert seen == {0o600}
    assert {path.stat().st_mode & 0o777 for path in collector.archive_path.parent.iterdir()} == {0o600}
    assert collector.archive_path.parent.stat().st_mode & 0o777 == 0o700
