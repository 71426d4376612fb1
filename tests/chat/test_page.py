"""The page in a real browser: talk, retry, pick, stop, keyboard, phone, dark mode, download."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clone.chat.contacts import Contacts
from clone.chat.sampling import Sampling
from clone.chat.server import create_app
from clone.chat.twin import Answer, Piece, Reply
from clone.records import Role
from tests.chat.serving import serving
from tests.chat.test_repl import Parrot

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),  # where it must be there, a missing browser is a failure
    reason="no Chromium (sh tools/install_chromium.sh)",
)


class Scripted(Parrot):
    """A parrot that is endless when told to be."""

    def answer(self, contact, turns, sampling, *, n=1, stop=(), cancel=None):  # type: ignore[no-untyped-def]
        self.sampling = sampling
        if turns and turns[-1].bubbles[-1] == "talk on":
            self.heard.append(list(turns))
            said = ""
            for i in range(3000):
                if cancel.is_set():
                    break
                said += f"{i} "
                yield Piece(0, 0, f"{i} ")
                time.sleep(0.01)
            yield Answer((Reply((said,), "cancelled", 9),), 1, 0, 0, 0.0, 0.0)
            return
        yield from super().answer(contact, turns, sampling, n=n, stop=stop, cancel=cancel)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def voice() -> Scripted:
    return Scripted()


@pytest.fixture
def page(browser: Any, voice: Scripted) -> Iterator[Any]:
    contacts = Contacts(("amber", "birch"), lambda: {"birch": "Anna Berg"})
    with serving(create_app(voice, contacts, Sampling())) as address:
        context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True)
        page = context.new_page()
        page.errors = []
        page.elsewhere = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda r: page.elsewhere.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None,
        )
        page.goto(address)
        page.wait_for_selector("#contact option >> nth=2", state="attached")
        yield page
        errors, elsewhere = page.errors, page.elsewhere
        context.close()
        assert errors == []
        assert elsewhere == []


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def bubbles(page: Any, side: str = "twin") -> list[str]:
    return page.locator(f".turn.{side} .bubble:not(.typing)").all_text_contents()  # type: ignore[no-any-return]


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids what Playwright would evaluate inside it."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def replied(page: Any, n: int) -> None:
    """Wait until `n` replies stand and nothing more is being written."""
    until(
        page,
        f"document.querySelectorAll('.turn.twin').length === {n} && document.getElementById('stop').hidden"
        " && !document.querySelector('.typing')",
    )


def test_a_reply_comes_in_bubbles(page: Any) -> None:
    say(page, "hey")
    replied(page, 1)
    assert bubbles(page, "me") == ["hey"]
    assert bubbles(page) == ["reply 1.0", "hey"]


def test_messages_sent_in_a_row_are_answered_together(page: Any, voice: Scripted) -> None:
    say(page, "hey")
    say(page, "you there?")
    replied(page, 1)
    assert [turn.bubbles for turn in voice.heard[0]] == [("hey", "you there?")]


def test_the_twin_is_told_whom_it_talks_to_and_shows_their_real_name(page: Any, voice: Scripted) -> None:
    assert page.locator("#contact option").all_text_contents() == ["somebody", "amber", "Anna Berg"]
    page.select_option("#contact", label="Anna Berg")
    say(page, "hey")
    replied(page, 1)
    assert voice.asked_as == ["birch"]


def test_retry_says_it_anew_and_undo_takes_it_back(page: Any, voice: Scripted) -> None:
    say(page, "hey")
    replied(page, 1)
    page.click("#retry")
    page.wait_for_selector("text=reply 2.0")
    replied(page, 1)
    assert voice.heard[0] == voice.heard[1]
    page.click("#undo")
    assert bubbles(page) == []
    assert page.input_value("#text") == "hey"


def test_one_of_three_candidates_is_picked_by_key(page: Any, voice: Scripted) -> None:
    say(page, "hey")
    replied(page, 1)
    page.keyboard.press("Alt+p")
    page.wait_for_selector(".candidate >> nth=2")
    until(page, "document.activeElement.classList.contains('candidate')")
    page.keyboard.press("2")
    assert bubbles(page) == ["reply 2.1", "hey"]
    say(page, "and?")
    replied(page, 2)
    assert voice.heard[-1][1].role is Role.ME
    assert voice.heard[-1][1].bubbles == ("reply 2.1", "hey")


def test_escape_stops_a_reply_and_keeps_it_as_cut(page: Any) -> None:
    say(page, "talk on")
    page.wait_for_selector("text=0 1 2")
    page.keyboard.press("Escape")
    page.wait_for_selector(".cut")
    assert bubbles(page)[0].startswith("0 1 2")
    assert page.is_hidden("#stop")


def test_sampling_is_what_the_person_sets(page: Any, voice: Scripted) -> None:
    page.keyboard.press("Alt+s")
    page.fill("input[name=temperature]", "0.3")
    page.fill("input[name=seed]", "7")
    say(page, "hey")
    replied(page, 1)
    assert (voice.sampling.temperature, voice.sampling.seed, voice.sampling.top_p) == (0.3, 7, 1.0)


def test_asked_whether_it_is_an_ai_the_answer_stands_out(page: Any, voice: Scripted) -> None:
    say(page, "are you a bot?")
    replied(page, 1)
    assert page.locator(".notice .bubble").text_content().startswith("[AI] Yes, I am an AI")
    assert voice.heard == []


@pytest.mark.parametrize("kind", ["md", "jsonl"])
def test_the_transcript_is_downloaded(page: Any, kind: str) -> None:
    say(page, "hey")
    replied(page, 1)
    with page.expect_download() as download:
        page.click(f"#save-{kind}")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "reply 1.0" in text
    if kind == "jsonl":
        assert [json.loads(line)["is_ai"] for line in text.splitlines()] == [False, True]
    else:
        assert "[AI] The lines of **twin** were written by a language model" in text


def test_everything_is_reached_by_tab(page: Any) -> None:
    say(page, "hey")
    replied(page, 1)
    page.focus("#contact")
    reached = []
    for _ in range(14):
        reached.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert [name for name in reached if name][:12] == [
        *("contact", "settings-button", "theme", "log", "retry", "pick", "undo", "new", "save-md", "save-jsonl"),
        *("text", "send"),
    ]


def test_it_fits_a_phone_in_light_and_dark(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    say(
        page,
        "hey, this is a rather long line that has to be broken on a narrow screen, and one_very_long_word_" + "x" * 60,
    )
    replied(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("#text").bounding_box()
    assert box["y"] + box["height"] <= 640

    def ground() -> tuple[int, ...]:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(map(int, re.findall(r"\d+", colour)[:3]))

    light = ground()
    page.keyboard.press("Alt+d")
    assert sum(ground()) < 150 < sum(light)


def test_what_is_said_is_text_and_never_markup(page: Any) -> None:
    say(page, "<img src=x onerror=alert(1)>")
    replied(page, 1)
    assert bubbles(page, "me") == ["<img src=x onerror=alert(1)>"]
    assert page.locator("main img").count() == 0


def test_the_panel_shows_what_the_recipe_says_and_is_emptied_again(page: Any, voice: Scripted) -> None:
    page.keyboard.press("Alt+s")
    assert page.get_attribute("input[name=temperature]", "placeholder") == "1"
    assert page.get_attribute("input[name=top_k]", "placeholder") == "off"
    page.fill("input[name=temperature]", "0.3")
    page.click("#reset")
    say(page, "hey")
    replied(page, 1)
    assert voice.sampling.temperature == 1.0


def test_a_conversation_that_was_put_aside_comes_back(page: Any, voice: Scripted) -> None:
    say(page, "hey")
    replied(page, 1)
    page.select_option("#contact", label="Anna Berg")
    assert bubbles(page) == []
    page.click("#undo")
    assert bubbles(page) == ["reply 1.0", "hey"]
    say(page, "and?")
    replied(page, 2)
    assert voice.asked_as == ["", ""]


def test_who_reads_further_up_is_left_there(page: Any) -> None:
    say(page, "talk on")
    until(page, "document.getElementById('log').scrollHeight > document.getElementById('log').clientHeight + 200")
    page.evaluate("document.getElementById('log').scrollTop = 0")
    page.wait_for_timeout(300)
    assert page.evaluate("document.getElementById('log').scrollTop") == 0
    page.keyboard.press("Escape")
    page.wait_for_selector(".cut")
    assert page.evaluate("document.getElementById('log').scrollTop") == 0


def test_a_reader_of_the_screen_hears_each_reply_once(page: Any) -> None:
    say(page, "hey")
    replied(page, 1)
    assert page.get_attribute("#announce", "role") == "status"
    assert page.text_content("#announce") == "The twin, an AI: reply 1.0. hey"


def test_a_key_is_asked_for_and_the_label_is_shown_but_never_sent_back(browser: Any, voice: Scripted) -> None:
    with serving(create_app(voice, Contacts(("amber",)), Sampling(), api_key="s3cret", is_public=True)) as address:
        page = browser.new_page()
        page.goto(address)
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=That key was not right.")
        page.keyboard.press("Escape")
        page.click("text=Try again")
        page.fill("#key", "s3cret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#contact option >> nth=1", state="attached")
        say(page, "hey")
        replied(page, 1)
        assert page.text_content(".label") == "[AI] written by a language model"
        assert bubbles(page) == ["reply 1.0", "hey"]
        say(page, "and?")
        replied(page, 2)
        assert voice.heard[1][1].bubbles == ("reply 1.0", "hey")
        page.close()


def test_a_server_that_is_gone_can_be_tried_again(browser: Any, voice: Scripted) -> None:
    with serving(create_app(voice, Contacts(("amber",)), Sampling())) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#contact option >> nth=1", state="attached")
        page.route("**/v1/chat/completions", lambda route: route.abort())
        say(page, "hey")
        page.wait_for_selector("text=The twin cannot be reached. Is clone serve still running?")
        page.unroute("**/v1/chat/completions")
        page.click("text=Try again")
        replied(page, 1)
        assert bubbles(page) == ["reply 1.0", "hey"]
        assert page.locator(".error").count() == 0
        page.close()


def test_an_error_of_the_server_is_shown(page: Any) -> None:
    page.keyboard.press("Alt+s")
    page.evaluate("document.querySelector('input[name=max_tokens]').max = 1e12")
    page.fill("input[name=max_tokens]", "99999999999")
    say(page, "hey")
    page.wait_for_selector(".error")
    assert "max_tokens" in page.locator(".error").text_content()
    page.errors.clear()  # the browser notes the 400 in its console
