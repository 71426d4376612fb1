from __future__ import annotations

import pytest

from clone.prepare.clean import LINK, PLACEHOLDERS, is_copied, why_dropped, wording
from clone.records import Kind
from tests.prepare.conftest import message


@pytest.mark.parametrize(
    "text", ["ok", "k", "+", "?", "😂", "да", "1", "/ maybe", "/etc/passwd", "/s/old/new/", "и/или"]
)
def test_short_replies_and_slashes_that_are_no_commands_stay(text: str) -> None:
    assert why_dropped(message(text)) == ""
    assert wording(message(text)).text == text


@pytest.mark.parametrize("text", ["/start", "/help@some_bot", "/remind me tomorrow", " /stop "])
def test_commands_are_dropped(text: str) -> None:
    assert why_dropped(message(text)) == "command"


def test_service_messages_and_empty_texts_are_dropped() -> None:
    assert why_dropped(message("Ann joined", kind=Kind.SERVICE)) == "service"
    assert why_dropped(message(" \n ")) == "empty"


@pytest.mark.parametrize(
    "text",
    ["https://example.org/a?b=c", "www.example.org", "t.me/durov", "https://a.b/c\nhttps://d.e/f", "(http://a.b)"],
)
def test_a_text_of_links_alone_is_a_placeholder(text: str) -> None:
    assert wording(message(text)) == wording(message(text, mine=True))
    assert (wording(message(text)).text, wording(message(text)).instead) == (LINK, "link only")


@pytest.mark.parametrize("text", ["look https://example.org", "and/or", "3/4", "https", "24/7 :)"])
def test_words_beside_a_link_stay(text: str) -> None:
    assert wording(message(text)).text == text


@pytest.mark.parametrize(
    "text",
    [
        "Ann Lee, [12.03.2024 14:05]\nhi there",
        "[12/03/2024, 14:05:33] Ann: hi there",
        "[3/12/24, 2:05 PM] Ann: hi\n[3/12/24, 2:06 PM] Bob: hello",
        "> first line quoted\n> second line quoted\nI agree",
        "\n".join(f"    value[{i}] = {i};" for i in range(20)),
        "\n".join(f"2024-03-01 12:00:{i:02} INFO started worker" for i in range(20)),
    ],
)
def test_what_was_pasted_is_told_from_what_was_typed(text: str) -> None:
    assert is_copied(text)


@pytest.mark.parametrize(
    "text",
    [
        "[sigh] fine",
        "milk\nbread\neggs",
        "first line\nsecond line: 12:30\nthird",
        "> really?",
        "\n".join(f"verse {i} of a poem I wrote" for i in range(20)),
    ],
)
def test_lists_and_poems_are_typed(text: str) -> None:
    assert not is_copied(text)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.TEXT, Kind.SERVICE)])
def test_every_kind_of_message_has_a_placeholder(kind: Kind) -> None:
    assert why_dropped(message("", kind=kind)) == ""
    said = wording(message("", kind=kind))
    assert said.text == PLACEHOLDERS[kind]
    assert said.instead


def test_a_sticker_is_its_emoji() -> None:
    assert wording(message("😂", kind=Kind.STICKER)).text == "😂"


def test_a_caption_of_the_person_is_words_alone_and_of_the_friend_says_what_it_is_under() -> None:
    assert wording(message("my cat", kind=Kind.PHOTO, mine=True)).text == "my cat"
    assert wording(message("my cat", kind=Kind.PHOTO)).text == "[photo] my cat"


def test_a_shared_contact_shows_nothing_of_it() -> None:
    assert wording(message("Bob +1 555 0100", kind=Kind.CONTACT)).text == "[contact]"
