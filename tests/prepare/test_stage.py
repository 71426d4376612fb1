"""The stage from an archive to files; each defect that is common among tools of this kind is a test here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from clone.cli.standing import standings
from clone.errors import DataError, GateFailed, RecipeError, StageMissing
from clone.lm.template import read_bubbles, read_context
from clone.prepare.lock import holding
from clone.prepare.stage import PrepareReport
from clone.recipe import Recipe
from clone.records import ChatKind, Kind, Role
from tests.prepare.conftest import START, Chats, message

Steps = Callable[[PrepareReport, str], dict[str, int]]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is tested where a person types the command; drawing it forty times takes half a minute."""
    monkeypatch.setattr("clone.prepare.stage.render_page", lambda *_: "")


def test_a_reply_is_an_example_with_what_came_before(chats: Chats) -> None:
    chats.say(
        "ann",
        """
        < hi
        < you there?
        > yes
        < good
        > what's up
        > tell me""",
    )
    chats.prepare()
    examples = chats.read()
    name = examples[0]["contact"]
    assert [(e["context"], e["instruction"], e["response"]) for e in examples] == [
        ("", "hi\nyou there?", "yes"),
        (f"{name}: hi\n{name}: you there?\nme: yes", "good", "what's up\ntell me"),
    ]


@pytest.mark.parametrize("delay", [6 * MINUTE, 20 * HOUR, DAY])
def test_a_slow_reply_is_a_reply(chats: Chats, delay: timedelta) -> None:
    chats.add("ann", [message("coming?"), message("yes", mine=True, at=START + delay)])
    chats.prepare()
    assert [(e["instruction"], e["response"]) for e in chats.read()] == [("coming?", "yes")]


def test_what_is_said_after_more_than_a_day_opens_a_conversation(chats: Chats) -> None:
    later = START + MINUTE + DAY + timedelta(seconds=1)
    chats.add(
        "ann",
        [
            message("coming?"),
            message("hello?", at=START + MINUTE),
            message("sorry, was away", mine=True, at=later),
            message("np", at=later + MINUTE),
        ],
    )
    chats.prepare()
    assert [(e["instruction"], e["context"], e["response"]) for e in chats.read()] == [("", "", "sorry, was away")]


def test_a_prompt_holds_only_what_came_before(chats: Chats) -> None:
    chats.say("ann", "\n".join(f"{'<>'[i % 2]} w{i:02}" for i in range(40)))
    chats.prepare()
    for example in chats.read():
        heard = [int(n) for n in re.findall(r"w(\d\d)", example["context"] + "\n" + example["instruction"])]
        said = int(example["response"][1:])
        assert heard == list(range(said))


def test_there_are_walls_between_chats_adjacent_in_time(chats: Chats) -> None:
    for i, chat in enumerate(("AAAA", "BBBB", "CCCC")):
        chats.say(
            chat, f"< {chat} one\n> to {chat}\n< {chat} two\n> again {chat}", start=START + i * timedelta(seconds=5)
        )
    chats.prepare()
    examples = chats.read()
    assert len(examples) == 6
    assert len({e["contact"] for e in examples}) == 3
    for example in examples:
        assert len({chat for chat in ("AAAA", "BBBB", "CCCC") if chat in json.dumps(example)}) == 1


def test_every_kind_of_message_survives_and_is_counted(chats: Chats, steps: Steps) -> None:
    kinds = [kind for kind in Kind if kind is not Kind.TEXT]
    chats.add("ann", [message("", kind=kind, at=START + i * MINUTE) for i, kind in enumerate(kinds)])
    chats.add("ann", [message("what a lot", mine=True, at=START + HOUR)])
    report = chats.prepare()
    assert [e["response"] for e in chats.read()] == ["what a lot"]
    assert "[voice message]\n" in chats.read()[0]["instruction"]
    assert steps(report, "cleaning") == {"service": 1}
    assert steps(report, "words") == {kind.value: 1 for kind in kinds if kind is not Kind.SERVICE}


def test_short_replies_stay_however_often_they_are_said(chats: Chats) -> None:
    chats.say("ann", "\n".join(["< so?", "> ok"] * 50))
    assert chats.prepare().n_train + chats.prepare().n_validation == 50


def test_only_the_persons_own_turns_are_responses(chats: Chats) -> None:
    chats.say("ann", "< THEIRS a\n> MINE b\n< THEIRS c\n< THEIRS d\n> MINE e\n> MINE f\n< THEIRS g")
    chats.prepare()
    for example in chats.read():
        assert all(bubble.startswith("MINE") for bubble in read_bubbles(example["response"]))
        for turn in read_context(example["context"], example["contact"]):
            assert all(b.startswith("MINE" if turn.role is Role.ME else "THEIRS") for b in turn.bubbles)


def test_a_secret_is_never_a_target_and_stays_masked_in_later_contexts(chats: Chats, steps: Steps) -> None:
    chats.say(
        "ann",
        """
        < password?
        > hunter2
        > don't tell
        < thanks
        > sure""",
    )
    report = chats.prepare()
    examples = chats.read()
    assert [e["response"] for e in examples] == ["sure"]
    assert "me: [PASSWORD]\nme: don't tell" in examples[0]["context"]
    assert steps(report, "replies") == {"secret": 1}


def test_a_personal_word_is_masked_in_place_and_the_dialogue_goes_on(chats: Chats) -> None:
    chats.say("ann", "< my password is hunter2, ok?\n> got it")
    chats.prepare()
    assert [e["instruction"] for e in chats.read()] == ["my password is [PASSWORD], ok?"]


def test_a_forward_is_never_a_target(chats: Chats, steps: Steps) -> None:
    chats.add(
        "ann",
        [
            message("news?"),
            message("FORWARDED", mine=True, is_forwarded=True, at=START + MINUTE),
            message("wow", at=START + 2 * MINUTE),
            message("FORWARDED TOO", mine=True, is_forwarded=True, at=START + 3 * MINUTE),
            message("look at that", mine=True, at=START + 4 * MINUTE),
        ],
    )
    report = chats.prepare()
    assert [e["response"] for e in chats.read()] == ["look at that"]
    assert "me: FORWARDED" in chats.read()[0]["context"]
    assert steps(report, "replies") == {"not own words": 1}


def test_an_edit_and_a_reply_stand_where_the_message_was_sent(chats: Chats) -> None:
    chats.add(
        "ann",
        [
            message("first"),
            message("corrected", mine=True, at=START + MINUTE, edited_at=START + DAY),
            message("second", at=START + 2 * MINUTE),
            message("to the first", mine=True, at=START + 3 * MINUTE, reply_to=1),
        ],
    )
    chats.prepare()
    assert [(e["instruction"], e["response"]) for e in chats.read()] == [
        ("first", "corrected"),
        ("second", "to the first"),
    ]


LONG = (
    "Did you know that the old lighthouse on the northern cape was moved eleven metres inland, on rails, "
    "in a single summer, and that nobody in the village believed it would ever stand upright again?"
)


def test_long_texts_count_once_and_near_copies_too(chats: Chats, steps: Steps) -> None:
    chats.say("ann", f"< hi\n> {LONG}\n< wow")
    chats.say("bob", f"< hey\n> {LONG.replace('eleven', 'twelve')}\n< what?\n> read it", start=START + DAY)
    chats.say("cid", f"< {LONG.upper()}\n> seen it", start=START + 2 * DAY)
    report = chats.prepare(validation_share=0.01)
    text = json.dumps(chats.read()).lower()
    assert text.count("old lighthouse") == 1
    assert steps(report, "words") == {"repeated": 2}
    assert steps(report, "replies") == {"not own words": 1}


def test_a_long_text_of_somebody_else_is_not_learned_as_ones_own(chats: Chats, steps: Steps) -> None:
    chats.say("ann", f"< {LONG}\n> nice")
    chats.say("bob", f"< hey\n> {LONG}", start=START + DAY)
    report = chats.prepare()
    assert [e["response"] for e in chats.read()] == ["nice"]
    assert steps(report, "words") == {"copied": 1}


def test_what_is_no_conversation_is_counted_out_by_reason(chats: Chats, steps: Steps) -> None:
    chats.say("ann", "< /start\n< https://example.org/x\n> lol\n< \u00a0\n< so?\n> ok")
    chats.say("ann", "> alone here", start=START + 9 * DAY)
    chats.say("bob", "< only I write\n< here")
    chats.add("team", [message("standup?")] * 1, kind=ChatKind.GROUP)
    chats.add("helper", [message("hi", mine=True)], kind=ChatKind.BOT)
    chats.add("notes", [message("milk", mine=True)], kind=ChatKind.SAVED)
    report = chats.prepare()
    assert steps(report, "chats") == {"group": 1, "bot": 1, "saved": 1, "you never wrote": 2}
    assert steps(report, "cleaning") == {"command": 1, "empty": 1}
    assert steps(report, "sessions") == {"too short": 1}
    assert steps(report, "words") == {"link only": 1}
    assert [e["instruction"] for e in chats.read()] == ["[link]", "so?"]
    for step in report.steps:
        assert step.dropped == sum(step.why.values())


def test_messages_outside_the_dates_are_left_out(chats: Chats, steps: Steps) -> None:
    for day in range(10):
        chats.say("ann", f"< q{day}\n> a{day}", start=START + 2 * day * DAY)
    report = chats.prepare(since=(START + 4 * DAY).date(), until=(START + 10 * DAY).date())
    assert sorted(e["response"] for e in chats.read()) == ["a2", "a3", "a4"]
    assert steps(report, "cleaning") == {"after until": 10, "before since": 4}


def test_the_newest_sessions_are_held_out_whole(chats: Chats) -> None:
    for day in range(20):
        chats.say("ann", "< hi\n> yo\n< so\n> so what", start=START + timedelta(days=3 * day))
    report = chats.prepare(validation_share=0.1)
    train, validation = chats.read("train"), chats.read("validation")
    assert (report.n_train, report.n_validation) == (len(train), len(validation)) == (36, 4)
    assert max(e["ended_at"] for e in train) < min(e["ended_at"] for e in validation)
    assert not {e["session_id"] for e in train} & {e["session_id"] for e in validation}


def test_one_endless_conversation_is_trained_on_and_said(chats: Chats) -> None:
    chats.say("ann", "< hi\n> yo\n< so\n> what")
    report = chats.prepare()
    assert (report.n_train, report.n_validation) == (2, 0)
    assert "prepare.session_gap_minutes" in report.notices[0]


def test_a_contact_is_brought_down_to_its_share_by_its_oldest_sessions(chats: Chats, steps: Steps) -> None:
    for day in range(18):
        chats.say("ann", f"< q\n> ann {day}", start=START + 2 * day * DAY)
    for chat in ("bob", "cid"):
        for day in range(3):
            chats.say(chat, f"< q\n> {chat} {day}", start=START + 2 * day * DAY)
    report = chats.prepare(max_contact_share=0.5)
    responses = [e["response"] for e in chats.read()]
    assert sorted(r for r in responses if r.startswith("ann")) == [f"ann {day}" for day in range(12, 18)]
    assert len(responses) == 12
    assert steps(report, "balance") == {"contact over its share": 12}


def test_a_context_is_cut_in_strides_so_that_examples_go_on_nesting(chats: Chats) -> None:
    chats.say("ann", "\n".join(f"{'<>'[i % 2]} {i:04} {'x' * 20}" for i in range(200)))
    chats.prepare(max_context_tokens=400, validation_share=0.01)
    examples = chats.read()
    assert len(examples) == 100
    n_cuts = 0
    for before, after in pairwise(examples):
        name = before["contact"]
        turns = read_context(after["context"], name)
        whole = [
            *read_context(before["context"], name),
            *read_context(f"{name}: {before['instruction']}\nme: {before['response']}", name),
        ]
        assert turns == whole[len(whole) - len(turns) :], "whole turns, the newest ones"
        heard = [*turns, *read_context(f"{name}: {after['instruction']}", name)]
        n_marks = 2 + sum(len(turn.bubbles) + 1 for turn in heard)
        assert n_marks + len(name) + sum(len(bubble) for turn in heard for bubble in turn.bubbles) <= 400
        if len(turns) < len(whole):
            n_cuts += 1
            assert len(turns) <= len(whole) / 2 + 1
    assert 5 < n_cuts < 40


def test_the_same_archive_recipe_and_key_give_the_same_bytes(chats: Chats) -> None:
    for day in range(8):
        chats.say("ann", f"< hi {day}\n> yo {day}", start=START + 2 * day * DAY)
        chats.say("bob", f"< oi {day}\n> hm {day}", start=START + 2 * day * DAY)
    folder = chats.workspace.processed("default")
    files = ("train.jsonl", "validation.jsonl", "report.json", "manifest.json")
    chats.prepare()
    before = {name: (folder / name).read_bytes() for name in files}
    for path in folder.iterdir():
        path.unlink()
    chats.prepare()
    assert {name: (folder / name).read_bytes() for name in files} == before


def test_processes_do_what_one_does(chats: Chats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clone.prepare.stage._WORTH_A_CREW", 0)
    monkeypatch.setattr("clone.prepare.source._BATCH_MESSAGES", 4)
    for day in range(8):
        chats.say("ann", f"< hi {day}\n> {LONG} {day}\n< hunter2\n> ok", start=START + 2 * day * DAY)
    one, two = chats.prepare("one"), chats.prepare("two", n_workers=2)
    assert one == two
    assert chats.read(name="one") == chats.read(name="two")


def test_the_key_is_private_and_names_depend_on_it_alone(chats: Chats) -> None:
    chats.say("ann", "< hi\n> yo")
    chats.prepare()
    key = chats.workspace.key
    assert key.stat().st_mode & 0o777 == 0o600
    first = chats.read()[0]["contact"]
    chats.say("bob", "< hi\n> yo", start=START + 9 * DAY)
    chats.prepare()
    assert {e["contact"] for e in chats.read()} > {first}
    assert first not in ("ann", "me")
    key.write_text("ab" * 32)
    chats.prepare()
    assert first not in {e["contact"] for e in chats.read()}


def test_an_excluded_contact_is_gone_with_quotes_and_forwards(chats: Chats, steps: Steps) -> None:
    quote = "I never liked that house by the river"
    chats.say("ann", f"< {quote}\n> i know", start=START)
    chats.say("bob", f"< hi\n> she said:\n> « {quote.upper()} »\n< oh\n> well", start=START + DAY)
    chats.add("bob", [message("some words of anybody", is_forwarded=True, at=START + DAY + HOUR)])
    chats.workspace.privacy.write_text("contacts: {Ann: exclude}")
    report = chats.prepare()
    assert quote.lower() not in json.dumps(chats.read()).lower()
    assert steps(report, "chats") == {"excluded contact": 2}
    assert steps(report, "cleaning") == {
        "quotes an excluded contact": 1,
        "forward, perhaps of an excluded contact": 1,
    }


def test_a_choice_about_nobody_stops(chats: Chats) -> None:
    chats.say("ann", "< hi\n> yo")
    with pytest.raises(RecipeError) as error:
        chats.prepare(pii={"contacts": {"Anne": "exclude"}})
    assert error.value.message == "no private chat with 'Anne', is there a typo?."


def test_messages_that_cannot_be_scrubbed_are_replaced_and_drop_their_examples(chats: Chats, steps: Steps) -> None:
    chats.say("ann", "\n".join(["< so?", "> ok"] * 1000))
    chats.say("bob", "< undecodable\n> what?\n< hm\n> fine", start=START + 9 * DAY)
    report = chats.prepare()
    assert "undecodable" not in json.dumps(chats.read())
    assert steps(report, "replies") == {"scrub failed": 1}
    assert report.scrub["n_failed"] == 1


def test_more_than_one_failure_in_a_thousand_writes_nothing(chats: Chats) -> None:
    chats.say("ann", "< hi\n> yo")
    chats.prepare()
    manifest = chats.workspace.processed("default") / "manifest.json"
    before = manifest.read_bytes()
    chats.say("bob", "< undecodable\n> what?", start=START + DAY)
    with pytest.raises(GateFailed) as error:
        chats.prepare()
    assert error.value.exit_code == 3
    assert error.value.message == "1 of 4 messages could not be scrubbed (more than 0.1%): nothing was written."
    assert manifest.read_bytes() == before
    assert {path.name for path in manifest.parent.iterdir() if path.name.startswith(".")} == set()


def test_no_archive_no_chat_and_no_word_of_ones_own_are_told_apart(chats: Chats, workspace: Path) -> None:
    with pytest.raises(DataError, match="the archive holds no private chat with a person"):
        chats.prepare()
    chats.add("team", [message("standup?", mine=True)], kind=ChatKind.GROUP)
    with pytest.raises(DataError, match="the archive holds no private chat with a person"):
        chats.prepare()
    chats.say("ann", "< hi\n< there")
    with pytest.raises(DataError, match="no message in the private chats was written by you"):
        chats.prepare()
    chats.workspace.archive.unlink()
    with pytest.raises(StageMissing) as error:
        chats.prepare()
    assert error.value.exit_code == 4


def test_when_nothing_is_left_the_reasons_are_given(chats: Chats) -> None:
    chats.say("ann", "< https://a.example\n> https://b.example/c")
    with pytest.raises(DataError) as error:
        chats.prepare()
    assert error.value.message == "no example came out: nothing is left that you wrote in a conversation."
    assert error.value.hint == "Left out: link only 2, not own words 1."


def test_the_manifest_names_and_hashes_what_stands_beside_it(chats: Chats) -> None:
    import hashlib

    chats.say("ann", "< hi\n> yo")
    chats.prepare()
    folder = chats.workspace.processed("default")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) >= {"train.jsonl", "validation.jsonl", "report.json"}
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert manifest["tokenizer"]["base"] == "tiny/bytes"
    assert manifest["scrub"]["n_messages"] == 2


def test_two_processes_do_not_prepare_the_same_examples_at_once(chats: Chats, workspace: Path) -> None:
    chats.say("ann", "< hi\n> hello")
    with holding(chats.workspace, "default"):
        with pytest.raises(DataError, match=r"process \d+\) is at work on data/processed/default"):
            chats.prepare()
        assert chats.prepare("other").n_train + chats.prepare("other").n_validation == 1
    chats.prepare()


def test_a_list_of_the_person_that_changed_is_seen_by_status(chats: Chats, workspace: Path) -> None:
    def state() -> tuple[str, str]:
        recipe = Recipe(name="default")
        found = standings(chats.workspace, recipe, None)[1]
        return found.state, found.what

    chats.say("ann", "< hi\n> hello")
    chats.prepare()
    assert state()[0] == "done"
    chats.workspace.privacy.write_text("deny: [hello]\n", encoding="utf-8")
    assert state() == ("stale", "1 examples to train on, 0 held out; made with another privacy.yaml or another key")
    assert not chats.prepare().is_kept
    assert state()[0] == "done"
    chats.workspace.key.unlink()
    assert state()[0] == "stale"
