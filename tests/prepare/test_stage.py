from __future__ import annotations

from datetime import timedelta

from tests.prepare.conftest import START, Chats


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


def test_a_secret_is_never_a_target_and_stays_masked_in_later_contexts(chats: Chats, steps) -> None:
    chats.say(
        "ann",
        """
        < password?
        > hunter2
        < thanks
        > sure""",
    )
    report = chats.prepare()
    examples = chats.read()
    assert [e["response"] for e in examples] == ["sure"]
    assert "me: [PASSWORD]" in examples[0]["context"]
    assert steps(report, "replies") == {"secret": 1}


def test_the_newest_sessions_are_held_out_whole(chats: Chats) -> None:
    for day in range(20):
        chats.say("ann", "< hi\n> yo\n< so\n> so what", start=START + timedelta(days=3 * day))
    report = chats.prepare(validation_share=0.1)
    train, validation = chats.read("train"), chats.read("validation")
    assert (report.n_train, report.n_validation) == (len(train), len(validation)) == (36, 4)
    assert max(e["ended_at"] for e in train) < min(e["ended_at"] for e in validation)
    assert not {e["session_id"] for e in train} & {e["session_id"] for e in validation}
