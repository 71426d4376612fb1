"""The twin says that it is an AI: when it is asked, in the asker's language, and without asking the model.

A model trained on a person's messages would answer "of course it's me". So the question is recognised by rules and the
answer is written here. It is marked with `LABEL`, stands outside the conversation that the model sees, and the same
mark goes on everything that reaches a third person. Knows nothing of models, terminals or HTTP.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

LABEL = "[AI]"

# What a draft or an exported conversation carries where a third person may read it.
THIRD_PERSON_LABEL = f"{LABEL} written by a language model"

ANSWERS = {
    "en": "Yes, I am an AI: a language model trained on messages that a person wrote. No human is typing this.",
    "ru": "Да, я ИИ: языковая модель, обученная на сообщениях одного человека. Сейчас здесь пишет не человек.",
    "uk": "Так, я ШІ: мовна модель, навчена на повідомленнях однієї людини. Зараз тут пише не людина.",
    "es": "Sí, soy una IA: un modelo de lenguaje entrenado con mensajes de una persona. No hay nadie escribiendo esto.",
    "pt": "Sim, sou uma IA: um modelo de linguagem treinado com mensagens de uma pessoa. Ninguém está escrevendo isto.",
    "fr": "Oui, je suis une IA : un modèle de langue entraîné sur les messages d'une personne. Aucun humain n'écrit ceci.",
    "de": "Ja, ich bin eine KI: ein Sprachmodell, trainiert mit Nachrichten eines Menschen. Hier schreibt kein Mensch.",
    "it": "Sì, sono un'IA: un modello linguistico addestrato sui messaggi di una persona. Qui non scrive nessun essere umano.",
    "nl": "Ja, ik ben een AI: een taalmodel dat getraind is op berichten van een mens. Hier typt geen mens.",
    "pl": "Tak, jestem SI: modelem językowym wytrenowanym na wiadomościach pewnej osoby. Nie pisze tego człowiek.",
    "cs": "Ano, jsem umělá inteligence: jazykový model vycvičený na zprávách jednoho člověka. Tohle nepíše člověk.",
    "tr": "Evet, ben bir yapay zekâyım: bir kişinin mesajlarıyla eğitilmiş bir dil modeli. Bunu bir insan yazmıyor.",
    "id": "Ya, saya AI: model bahasa yang dilatih dengan pesan seseorang. Tidak ada manusia yang mengetik ini.",
    "ar": "نعم، أنا ذكاء اصطناعي: نموذج لغوي دُرّب على رسائل شخص. لا يكتب هذا إنسان.",
    "fa": "بله، من هوش مصنوعی هستم: یک مدل زبانی که با پیام‌های یک نفر آموزش دیده است. این را انسان نمی‌نویسد.",
    "he": "כן, אני בינה מלאכותית: מודל שפה שאומן על הודעות של אדם. לא אדם כותב את זה.",
    "hi": "हाँ, मैं एक एआई हूँ: एक व्यक्ति के संदेशों पर प्रशिक्षित भाषा मॉडल। इसे कोई इंसान नहीं लिख रहा है।",
    "zh": "是的，我是人工智能：一个用某个人的消息训练的语言模型。这不是真人在打字。",
    "ja": "はい、私はAIです。ある人のメッセージで訓練された言語モデルで、人間が書いているのではありません。",
    "ko": "네, 저는 AI입니다. 한 사람의 메시지로 학습한 언어 모델이며, 사람이 쓰는 것이 아닙니다.",
}

# Rules run on text that `_plain` made: lower case, no accents, one space between words, no punctuation but "?".
_MACHINE_EN = (
    r"(?:an? )?(?:real |actual )?(?:ai|a i|artificial intelligence|bot|chat ?bot|robot|machine|computer|program|"
    r"language model|llm|gpt|chat ?gpt|clone|digital twin|neural net(?:work)?)"
)
_HUMAN_EN = (
    r"(?:(?:an? )?(?:real|actual|living)(?: (?:person|human(?: being)?|one))?|(?:an? )?(?:human|person)(?: being)?)"
)
_RULES: dict[str, str] = {
    "en": rf"\b(?:are|r) (?:you|u|ya)(?: (?:really|just|actually|even|still|secretly|like))* (?:not )?(?:{_MACHINE_EN}|{_HUMAN_EN})\b(?! (?:of|enough)\b)"
    rf"|\b(?:you re|youre|ur|you are) (?:really |just |actually |not )*(?:{_MACHINE_EN}|a real person|human),? (?:right|aren t you|arent you|are you|yes|no) ?\?"
    rf"|\bam i (?:really |actually )?(?:talking|speaking|chatting|writing|texting) (?:to|with) (?:{_MACHINE_EN}|{_HUMAN_EN})\b"
    rf"|\bis (?:this|it|that) (?:really |just |actually )?(?:{_MACHINE_EN}|(?:an? )?(?:real|actual) (?:person|human)|a human)\b"
    r"|\bis (?:this|it|that) (?:really|actually) you\b"
    r"|\b(?:human or (?:an? )?(?:ai|bot|robot|machine)|(?:ai|bot|robot|machine) or (?:an? )?(?:human|real|person))\b",
    "ru": r"\b(?:ты|вы)(?: (?:же|ведь|что|вообще|правда|реально|случайно|точно|тут|не))* (?:ии|бот|чат ?бот|робот|нейросеть|нейронка|"
    r"искусственный интеллект|языковая модель|гпт|чат ?гпт|живой человек|настоящий человек)\b"
    r"|\b(?:ты|вы)(?: (?:же|ведь|что|вообще|правда|реально|случайно|точно|тут|не))* (?:машина|программа|клон|живой|живая|настоящий|настоящая|"
    r"человек)(?: вообще)?(?: ?\?| или |$)"
    r"|\bя (?:что )?(?:сейчас )?(?:говорю|разговариваю|общаюсь|переписываюсь) с (?:ботом|роботом|ии|нейросетью|нейронкой|машиной|программой|"
    r"человеком|живым человеком|настоящим человеком)\b"
    r"|\bэто (?:бот|робот|ии|нейросеть|нейронка|чат ?бот|правда ты|точно ты|реально ты|живой человек)(?: пишет| отвечает)? ?\?"
    r"|\b(?:человек или (?:бот|робот|ии|машина|нейросеть)|(?:бот|робот|ии|машина|нейросеть) или (?:живой )?человек)\b",
    "uk": r"\b(?:ти|ви)(?: (?:ж|же|справді|взагалі|точно|не|часом))* (?:шi|ші|бот|чат ?бот|робот|нейромережа|штучний інтелект|машина|програма|"
    r"мовна модель|жива людина|справжня людина|людина|живий|справжній)\b"
    r"|\bя (?:зараз )?(?:говорю|розмовляю|спілкуюся|листуюся) з (?:ботом|роботом|ші|людиною|машиною|нейромережею)\b"
    r"|\bце (?:бот|робот|ші|справді ти) ?\?",
    "es": r"\b(?:eres|sos|es usted|seras|serias)(?: (?:de verdad|realmente|acaso|tu|vos|usted))* (?:una? )?(?:ia|inteligencia artificial|bot|chatbot|robot|maquina|"
    r"programa|modelo de lenguaje|chatgpt|humano|humana|persona|persona real|ser humano|real)\b"
    r"|\b(?:estoy )?(?:hablando|hablo|chateando) con (?:una? )?(?:ia|inteligencia artificial|bot|chatbot|robot|maquina|humano|persona(?: real)?)\b",
    "pt": r"\b(?:voce|vc|tu) (?:e|es|seria)(?: (?:mesmo|realmente))* (?:uma? )?(?:ia|inteligencia artificial|bot|chatbot|robo|maquina|programa|"
    r"modelo de linguagem|chatgpt|humano|humana|pessoa|pessoa real|ser humano|real)\b"
    r"|\b(?:estou )?(?:falando|falo|conversando) com (?:uma? )?(?:ia|inteligencia artificial|bot|chatbot|robo|maquina|humano|pessoa(?: real| de verdade)?)\b",
    "fr": r"\b(?:es tu|t es|tu es|etes vous|vous etes|est ce que tu es|est ce que vous etes)(?: (?:vraiment|bien|en fait))* (?:une? )?(?:vrai |vraie )?(?:ia|intelligence artificielle|bot|"
    r"chatbot|robot|machine|programme|modele de langue|modele de langage|chatgpt|humain|humaine|etre humain|personne|personne reelle)\b ?\??$"
    r"|\b(?:je parle|je discute|je suis en train de parler|je parle la) (?:a|avec) (?:une? )?(?:vrai |vraie )?(?:ia|bot|robot|machine|humain|personne|intelligence artificielle)\b",
    "de": r"\b(?:bist du|sind sie|biste)(?: (?:wirklich|eigentlich|etwa|echt|nur|denn|ein|eine))* (?:ki|kunstliche intelligenz|bot|chatbot|roboter|maschine|programm|computer|"
    r"sprachmodell|chatgpt|mensch|echter mensch|echte person|echt|menschlich)\b"
    r"|\b(?:rede|spreche|schreibe|chatte) ich (?:hier |gerade |wirklich )*mit (?:einem |einer )?(?:ki|bot|chatbot|roboter|maschine|computer|menschen|echten menschen|echten person)\b",
    "it": r"\b(?:sei|e lei|lei e|siete)(?: (?:davvero|veramente|per caso|mica|tu))* (?:un |una |un )?(?:ia|intelligenza artificiale|bot|chatbot|robot|macchina|programma|"
    r"modello linguistico|chatgpt|umano|umana|essere umano|persona|persona vera|persona reale|vero|vera|reale)\b"
    r"|\b(?:sto parlando|parlo|sto chattando) con (?:un |una )?(?:ia|intelligenza artificiale|bot|chatbot|robot|macchina|umano|persona(?: vera| reale)?)\b",
    "nl": r"\b(?:ben je|ben jij|bent u)(?: (?:echt|eigenlijk|nu|wel|een|gewoon|soms))* (?:ai|kunstmatige intelligentie|bot|chatbot|robot|machine|computer|programma|taalmodel|"
    r"chatgpt|mens|menselijk|echt persoon|echte persoon|echt mens|echt)\b"
    r"|\b(?:praat|spreek|chat) ik (?:nu |hier |echt )*met (?:een )?(?:ai|bot|chatbot|robot|machine|computer|mens|echt mens|echt persoon)\b",
    "pl": r"\b(?:jestes|czy jestes|czy pan jest|czy pani jest)(?: (?:ty|naprawde|moze|tylko|w ogole))* (?:si|ai|sztuczna inteligencja|bot(?:em)?|chatbot(?:em)?|robot(?:em)?|maszyna|"
    r"program(?:em)?|modelem jezykowym|czlowiek(?:iem)?|prawdziwym czlowiekiem|prawdziwa osoba|prawdziwy|prawdziwa|zywym czlowiekiem)\b"
    r"|\b(?:rozmawiam|pisze|gadam) z (?:botem|robotem|sztuczna inteligencja|ai|maszyna|czlowiekiem|prawdziwym czlowiekiem|prawdziwa osoba)\b",
    "cs": r"\b(?:jsi|jste|ty jsi|nejsi)(?: (?:opravdu|vazne|nahodou|jen|ty))* (?:ai|umela inteligence|bot|chatbot|robot|stroj|program|jazykovy model|clovek|skutecny clovek|zivy clovek|skutecny|opravdovy)\b"
    r"|\b(?:mluvim|pisu si|bavim se) s (?:botem|robotem|umelou inteligenci|ai|strojem|clovekem|skutecnym clovekem)\b",
    "tr": r"\b(?:sen |siz )?(?:gercekten |yoksa |aslinda )*(?:bir )?(?:yapay zeka|bot|chatbot|robot|makine|program|dil modeli|insan|gercek(?: bir)?(?: insan| kisi)?)"
    r" ?(?:mi|mu)(?:sin|sun|siniz|sunuz)\b"
    r"|\b(?:bir )?(?:bot|robot|yapay zeka|insan|makine|gercek bir insan)(?:la|le|yla|yle| ile) (?:mi )?(?:konusuyorum|yazisiyorum)\b",
    "id": r"\b(?:apa(?:kah)? )?(?:kamu|kau|anda|lo|lu) (?:ini |itu |sebenarnya |beneran |benar benar )*(?:ai|kecerdasan buatan|bot|chatbot|robot|mesin|program|model bahasa|manusia(?: asli)?|orang asli|asli) ?\?"
    r"|\bapakah (?:kamu|anda) (?:sebenarnya )?(?:seorang |sebuah )?(?:ai|kecerdasan buatan|bot|robot|manusia|mesin)\b"
    r"|\b(?:aku|saya|gue) (?:sedang |lagi )?(?:bicara|ngobrol|chat) (?:dengan|sama) (?:ai|bot|robot|mesin|manusia)\b",
    "ar": r"(?:هل )?(?:انت|انتي|حضرتك|انتا)(?: (?:حقا|فعلا|مجرد|بس))* (?:ذكاء اصطناعي|بوت|روبوت|الة|برنامج|نموذج لغوي|انسان|بشر|بشري|شخص حقيقي|حقيقي)"
    r"|هل (?:اتحدث|اتكلم|اكلم) (?:مع |الى )?(?:بوت|روبوت|ذكاء اصطناعي|انسان|شخص حقيقي|الة)",
    "fa": r"(?:ایا )?(?:تو|شما)(?: (?:واقعا|فقط|یه|یک))* (?:هوش مصنوعی|ربات|بات|ماشین|برنامه|مدل زبانی|ادم|ادم واقعی|انسان|انسان واقعی|واقعی) ?(?:هستی|هستید|ای|یی|ی)?(?:\b|\?)"
    r"|دارم با (?:یه |یک )?(?:ربات|بات|هوش مصنوعی|انسان|ادم) (?:واقعی )?(?:حرف|صحبت|چت)",
    "he": r"(?:האם )?(?:אתה|את)(?: (?:באמת|בכלל|בעצם|רק))* (?:בינה מלאכותית|בוט|רובוט|מכונה|תוכנה|מודל שפה|אדם|אדם אמיתי|בן אדם|בנאדם|אנושי|אמיתי|אמיתית)"
    r"|אני (?:מדבר|מדברת) עם (?:בוט|רובוט|בינה מלאכותית|אדם|בן אדם|מכונה)",
    "hi": r"(?:क्या )?(?:तुम|आप|तू)(?: (?:सच में|वाकई|सिर्फ|एक|कोई))* (?:एआई|ए आई|ai|कृत्रिम बुद्धिमत्ता|बॉट|चैटबॉट|रोबोट|रोबॉट|मशीन|इंसान|असली इंसान|मनुष्य|असली) (?:हो|हैं|है)"
    r"|क्या मैं (?:किसी |एक )?(?:बॉट|रोबोट|एआई|ai|मशीन|इंसान|असली इंसान) से बात",
    "zh": r"[你您](?:真的|其实|到底|究竟|就|不会)?(?:是不是|是)(?:一个|一个|个|一台|真的)?(?:人工智能|ai|机器人|机器|聊天机器人|程序|语言模型|chatgpt|gpt|真人|人类|活人|人吗|真的人)"
    r"|我(?:是|是不是)?(?:在|正在)?(?:和|跟|与)(?:一个|个)?(?:机器人|人工智能|ai|真人|机器)(?:聊天|说话|对话|聊)"
    r"|[你您]真的是人",
    "ja": r"(?:あなた|君|きみ|お前|おまえ|そっち)?(?:は|って)?(?:本当に|ほんとに|もしかして|実は)?(?:ai|人工知能|ボット|bot|ロボット|機械|プログラム|言語モデル|チャットgpt|chatgpt|人間|本物の人間|本物|生身の人間|中の人)"
    r"(?:なの|なん|です|でしょう|だよね|ですよね)(?:ですか|か|の)?(?: ?\?|$)"
    r"|(?:ai|人工知能|ボット|bot|ロボット|機械|人間)と(?:話して|しゃべって|チャットして)(?:いる|る)",
    "ko": r"(?:너|넌|당신은?|니가|네가|혹시|너는|너 혹시)? ?(?:진짜|정말|혹시|설마)? ?(?:ai|에이아이|인공지능|봇|챗봇|로봇|기계|프로그램|언어모델|언어 모델|사람|진짜 사람|인간) ?"
    r"(?:이야|야|이니|니|인가요|이에요|예요|에요|입니까|인가|이냐|냐|맞아|맞아요|이지|지) ?\?"
    r"|(?:ai|인공지능|봇|챗봇|로봇|기계|사람)(?:이랑|랑|과|와|하고) (?:대화|이야기|얘기|말)",
}


@cache
def _rules() -> dict[str, re.Pattern[str]]:
    """Return the rules by language; where languages share words, the first decides in which one the answer is given."""
    return {language: re.compile(rule) for language, rule in _RULES.items()}


def asked_in(bubbles: Sequence[str]) -> str | None:
    """Return the language (ISO 639-1) in which one of the bubbles asks whether an AI is talking, None if none does."""
    for bubble in bubbles:
        plain = _plain(bubble)
        if len(plain) > 300:  # a pasted article is no question
            continue
        for language, rule in _rules().items():
            if rule.search(plain):
                return language
    return None


def answer_to(bubbles: Sequence[str]) -> str | None:
    """Return the labelled answer to bubbles that ask whether an AI is talking, None where they do not."""
    language = asked_in(bubbles)
    return None if language is None else f"{LABEL} {ANSWERS[language]}"


def is_disclosure(text: str) -> bool:
    """Whether a text is one of our labelled answers; such text is kept out of what the model sees."""
    return text.lstrip().startswith(LABEL)


def label_for_third_person(text: str) -> str:
    """Return a text with the mark that tells its reader who wrote it; a marked one stays as it is."""
    return text if is_disclosure(text) else f"{THIRD_PERSON_LABEL}\n{text}"


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().replace("ı", "i").replace("ß", "ss").replace("ł", "l")
    text = text.replace("\u200c", "")  # Persian's zero-width joint
    out = []
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.category(character) == "Mn" and not _keeps_marks(character):
            continue
        is_word = character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")
        out.append(character if is_word else "?" if character == "?" or character == "؟" else " ")
    return unicodedata.normalize("NFC", " ".join("".join(out).replace("?", " ? ").split()))


def _keeps_marks(character: str) -> bool:
    # Vowel signs of Devanagari, voicing of kana and the parts of й, ї are letters there; accents elsewhere are not.
    code = ord(character)
    return 0x0900 <= code <= 0x097F or code in (0x3099, 0x309A, 0x0306, 0x0308)
