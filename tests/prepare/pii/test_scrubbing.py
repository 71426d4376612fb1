"""What takes the place of findings, and the passes over whole chats."""

from __future__ import annotations

import logging
import pickle
import re
import socket
from pathlib import Path

import pytest

from clone.errors import MissingExtra
from clone.prepare.pii import (
    FAILED_TEXT,
    KnownPerson,
    LiteralIndex,
    Literals,
    Names,
    Ner,
    PiiSettings,
    Scrubber,
    ScrubCounts,
    require_model,
)

KEY = b"a key for tests"


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    people = [KnownPerson("u1", ("Алёна Игоревна",), ("alena_ig",)), KnownPerson("u2", ("Callum Doyle",))]
    return Scrubber(PiiSettings(), key=KEY, people=people)


def scrub(scrubber: Scrubber, *texts: str) -> list[str]:
    return [s.text for s in scrubber.scrub_chat(texts)]


def test_secrets_become_typed_tags(scrubber: Scrubber) -> None:
    assert scrub(scrubber, "пароль Korzhik_77, карта 2200 3814 5567 8019") == ["пароль [PASSWORD], карта [CREDIT_CARD]"]


def test_an_answer_is_masked_by_the_question_before_it(scrubber: Scrubber) -> None:
    assert scrub(scrubber, "какой пароль от вайфая?", "сейчас", "Popcorn4ever") == [
        "какой пароль от вайфая?",
        "сейчас",
        "[PASSWORD]",
    ]
    assert scrub(scrubber, "what's the door code?", "4521#")[1] == "[PIN]"
    assert scrub(scrubber, "what's the plan?", "4521") == ["what's the plan?", "4521"]


def test_a_value_is_masked_by_the_word_that_follows_it(scrubber: Scrubber) -> None:
    assert scrub(scrubber, "Rexy2015x", "это пароль если что")[0] == "[PASSWORD]"


def test_a_value_found_once_is_masked_in_every_chat(scrubber: Scrubber) -> None:
    literals = Literals()
    texts = ["пароль Korzhik_77"]
    for text, item in zip(texts, scrubber.scrub_chat(texts), strict=True):
        literals.collect(text, item)
    other = ["ну korzhik_77 же", "коржик"]
    after = scrubber.second_pass(other, scrubber.scrub_chat(other), LiteralIndex(literals))
    assert [s.text for s in after] == ["ну [PASSWORD] же", "коржик"]


def test_one_person_is_one_pseudonym_in_the_right_case(scrubber: Scrubber) -> None:
    nominative, dative, short = scrub(scrubber, "это Алёна", "скажи Алёне", "Callum's brother")
    name = nominative.removeprefix("это ")
    assert name == scrubber.pseudonym("u1")
    assert name not in ("Алёна", "Callum")
    assert dative.removeprefix("скажи ")[:-1] == name[:-1]
    assert dative != f"скажи {name}"
    assert short == f"{scrubber.pseudonym('u2')}'s brother"


def test_another_key_draws_other_surrogates() -> None:
    text = ["mail me at r.holt@outlook.com, 917.555.0144, ask Priya Raman"]
    one, same, other = (Scrubber(PiiSettings(), key=k).scrub_chat(text)[0].text for k in (b"1", b"1", b"2"))
    assert one == same
    assert one != other
    assert "@example.org" in one


def test_phones_keep_writing_country_and_length(scrubber: Scrubber) -> None:
    (text,) = scrub(scrubber, "+7 926 118-22-04")
    assert re.fullmatch(r"\+7 000 \d{3}-\d\d-\d\d", text)
    (text,) = scrub(scrubber, "call (415) 555-0132")
    assert re.fullmatch(r"call \(415\) 555-01\d\d", text)
    (text,) = scrub(scrubber, "ring 07911 123456")
    assert re.fullmatch(r"ring 07700 900\d{3}", text)


def test_dates_and_addresses_keep_their_kind(scrubber: Scrubber) -> None:
    date, address = scrub(scrubber, "я родился 21.11.1988", "адрес: ул. Гоголя, д. 14, кв. 52")
    assert re.fullmatch(r"я родился \d\d\.\d\d\.19\d\d", date)
    assert date != "я родился 21.11.1988"
    assert re.fullmatch(r"адрес: ул\. \w+, \d+, кв\. \d+", address)
    assert "Гоголя" not in address


def test_what_cannot_be_read_is_replaced_whole_and_counted(scrubber: Scrubber) -> None:
    long = Scrubber(PiiSettings(max_message_chars=50), key=KEY)
    items = [*scrubber.scrub_chat(["\ud800 Korzhik_77"]), *long.scrub_chat(["x" * 51, "ok"])]
    counts = ScrubCounts()
    for item in items:
        counts.add(item)
    assert [i.text for i in items] == [FAILED_TEXT, FAILED_TEXT, "ok"]
    assert (counts.n_messages, counts.n_failed) == (3, 2)


def test_a_recognizer_that_breaks_lets_nothing_through_and_says_nothing(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*args: object) -> list[object]:
        raise ValueError("KORZHIK in an exception")

    broken = pickle.loads(pickle.dumps(scrubber))
    monkeypatch.setattr(broken.recognizers[-1], "scan", explode)
    monkeypatch.setattr(broken.recognizers[-1], "wake", -1)
    with caplog.at_level(logging.DEBUG):
        (item,) = broken.scrub_chat(["пароль Korzhik_77 Марине"])
    assert item.failed
    assert item.text == FAILED_TEXT
    assert "korzhik" not in caplog.text.lower()


def test_counts_name_types_and_rules_and_no_values(scrubber: Scrubber) -> None:
    counts = ScrubCounts()
    for item in scrubber.scrub_chat(["пароль Korzhik_77", "звони 8-985-304-11-72"]):
        counts.add(item)
    assert counts.as_json() == {
        "n_messages": 2,
        "n_failed": 0,
        "by_type": {"PASSWORD": 1, "PHONE_NUMBER": 1},
        "by_rule": {"password.keyword": 1, "phone.ru": 1},
    }


def test_a_scrubber_travels_to_another_process(scrubber: Scrubber) -> None:
    there = pickle.loads(pickle.dumps(scrubber))
    texts = ["это Алёна", "пароль Korzhik_77", "ничего"]
    assert there.scrub_chat(texts) == scrubber.scrub_chat(texts)


@pytest.mark.parametrize(
    "text", ["пароль Korzhik_77, звони 8-985-304-11-72", "ask Priya about it", "iban GB29 NWBK 6016 1331 9268 19"]
)
def test_presidios_own_analyzer_finds_the_same_with_these_recognizers(scrubber: Scrubber, text: str) -> None:
    by_engine = {(r.entity_type, r.start, r.end) for r in scrubber.analyzer.analyze(text, language="xx")}
    assert {(f.entity.value, f.start, f.end) for f in scrubber.find(text)} <= by_engine


def test_the_recognizers_do_not_take_the_place_of_presidios_own() -> None:
    from presidio_analyzer import RecognizerRegistry
    from presidio_analyzer.predefined_recognizers import EmailRecognizer, PhoneRecognizer

    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    kinds = {type(r) for r in registry.recognizers}
    assert {EmailRecognizer, PhoneRecognizer} <= kinds


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    scrubber = Scrubber(PiiSettings(names=Names.ALL), key=KEY)
    texts = ["r.holt@outlook.com", "https://example.co.uk/a?token=abc123def", "Шевцов звонил 8-985-304-11-72"]
    assert not any(s.failed for s in scrubber.scrub_chat(texts))
    assert all(s.findings for s in scrubber.scrub_chat(texts))


def test_a_model_that_is_asked_for_and_not_installed_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clone.prepare.pii.ner.find_spec", lambda name: None)
    require_model(PiiSettings())
    with pytest.raises(MissingExtra, match="natasha is not installed"):
        require_model(PiiSettings(ner=Ner.NATASHA))


def test_a_missing_name_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "natasha", None)
    with pytest.raises(MissingExtra, match="natasha is not installed"):
        Scrubber(PiiSettings(ner=Ner.NATASHA), key=KEY)


def test_natasha_finds_the_names_no_list_has() -> None:
    """Runs where natasha is installed (54 MB, not part of `make install`): pip install -c constraints.txt '.[ner]'"""
    pytest.importorskip("natasha")
    scrubber = Scrubber(PiiSettings(ner=Ner.NATASHA), key=KEY)
    text = "вчера Гульмира Ахметова передала бумаги Ынтымаку Жээнбекову"
    assert [text[f.start : f.end] for f in scrubber.find(text)] == ["Гульмира Ахметова", "Ынтымаку Жээнбекову"]
    assert "ner.natasha" in {f.rule for f in scrubber.find(text)}
    for clean in ("Подожди, я скоро", "привет как дела", "see you on Monday", "12:30"):
        assert not scrubber.find(clean)


def test_a_spacy_pipeline_is_loaded_from_its_folder(tmp_path: Path) -> None:
    import spacy

    pipeline = spacy.blank("xx")
    rules = pipeline.add_pipe("entity_ruler")
    rules.add_patterns([{"label": "PER", "pattern": "Quentissa Zorbly"}, {"label": "LOC", "pattern": "Zorbly Town"}])
    pipeline.to_disk(tmp_path / "names")
    scrubber = Scrubber(PiiSettings(ner=Ner.SPACY, ner_model=str(tmp_path / "names")), key=KEY)
    text = "I saw Quentissa Zorbly in Zorbly Town"
    assert [(text[f.start : f.end], f.rule) for f in scrubber.find(text)] == [("Quentissa Zorbly", "ner.spacy")]
