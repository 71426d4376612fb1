"""Asked whether it is an AI, the twin says so, in the asker's language; asked anything else, it does not."""

from __future__ import annotations

import pytest

from clone.chat.disclosure import ANSWERS, LABEL, answer_to, asked_in, is_disclosure, label_for_third_person

ASKED = {
    "en": [
        "are you an AI?",
        "Are you a real person",
        "wait... r u a bot??",
        "am I talking to a machine?",
        "is this really you?",
        "is this a bot",
        "you're a bot, aren't you?",
        "human or AI?",
        "are you ChatGPT",
        "are you human?",
        "are you real?",
    ],
    "ru": [
        "ты бот?",
        "Ты вообще живой человек?",
        "ты что, нейросеть?",
        "я разговариваю с ботом?",
        "это правда ты?",
        "вы робот?",
        "ты ИИ?",
    ],
    "uk": ["ти бот?", "ти справді жива людина?", "я розмовляю з ботом?"],
    "es": ["¿eres un robot?", "¿Eres una IA?", "¿estoy hablando con una persona real?", "sos un bot?"],
    "pt": ["você é um robô?", "vc é uma IA?", "estou falando com uma pessoa de verdade?"],
    "fr": [
        "tu es un robot ?",
        "t'es une IA ?",
        "est-ce que tu es un humain ?",
        "je parle à un bot ?",
        "es-tu une vraie personne ?",
    ],
    "de": ["bist du eine KI?", "Bist du ein echter Mensch?", "rede ich hier mit einem Bot?", "sind Sie ein Roboter?"],
    "it": [
        "sei un bot?",
        "sei davvero una persona reale?",
        "sto parlando con un robot?",
        "sei un'intelligenza artificiale?",
    ],
    "nl": ["ben je een robot?", "ben jij een echt mens?", "praat ik met een bot?"],
    "pl": [
        "jesteś botem?",
        "czy jesteś prawdziwym człowiekiem?",
        "rozmawiam z botem?",
        "jesteś sztuczną inteligencją?",
    ],
    "cs": ["jsi robot?", "jsi opravdu člověk?", "mluvím s botem?"],
    "tr": ["sen bir yapay zeka mısın?", "bot musun?", "gerçek bir insan mısın?", "robotla mı konuşuyorum?"],
    "id": ["apakah kamu manusia?", "kamu bot?", "kamu ini AI?"],
    "ar": ["هل أنت إنسان؟", "أنت روبوت؟", "هل أتحدث مع بوت؟"],
    "fa": ["تو رباتی؟", "شما هوش مصنوعی هستید؟", "دارم با یه ربات حرف می‌زنم؟"],
    "he": ["אתה בוט?", "האם אתה אדם אמיתי?", "אני מדבר עם רובוט?"],
    "hi": ["क्या तुम इंसान हो?", "क्या आप एक रोबोट हैं?", "क्या मैं किसी बॉट से बात कर रहा हूँ?"],
    "zh": ["你是机器人吗？", "你是不是AI？", "你是真人吗", "我是在跟机器人聊天吗？"],
    "ja": ["AIですか？", "あなたは人間ですか？", "本物の人間なの？", "ボットと話しているの？"],
    "ko": ["너 AI야?", "혹시 로봇이에요?", "사람이야?", "봇이랑 대화하는 거야?"],
}
NOT_ASKED = [
    "my bot is broken again",
    "are you at home?",
    "are you really going to be late",
    "is this a good idea",
    "are you a friend of Anna?",
    "did you see the robot movie?",
    "the ai homework is due tomorrow",
    "are you human enough to help me move house",
    "you are a person of taste",
    "ты дома?",
    "бот опять упал",
    "ты человек слова",
    "это бот написал, не мы",
    "ты живой бы дошел",
    "¿eres de Madrid?",
    "você é incrível",
    "tu es où ?",
    "tu es une personne formidable",
    "bist du zu Hause?",
    "sei a casa?",
    "ben je thuis?",
    "jesteś w domu?",
    "jsi doma?",
    "evde misin?",
    "kamu di mana?",
    "هل أنت في البيت؟",
    "אתה בבית?",
    "क्या तुम घर पर हो?",
    "你在家吗？",
    "你是哪里人？",
    "家にいますか？",
    "집이야?",
    "저 사람 누구야?",
    "ok",
    "",
]


@pytest.mark.parametrize(("language", "text"), [(lang, text) for lang, texts in ASKED.items() for text in texts])
def test_the_question_is_recognised_and_answered_in_its_language(language: str, text: str) -> None:
    assert asked_in([text]) == language
    answer = answer_to(["hey", text])
    assert answer == f"{LABEL} {ANSWERS[language]}"
    assert is_disclosure(answer)


@pytest.mark.parametrize("text", NOT_ASKED)
def test_other_talk_is_left_to_the_twin(text: str) -> None:
    assert asked_in([text]) is None
    assert answer_to([text]) is None


def test_every_language_has_a_question_and_an_answer() -> None:
    assert ASKED.keys() == ANSWERS.keys()
    assert len(ANSWERS) >= 12


def test_what_reaches_a_third_person_is_labelled_once() -> None:
    once = label_for_third_person("see you at eight")
    assert once.startswith(LABEL)
    assert label_for_third_person(once) == once
