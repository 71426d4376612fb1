"""What is found in single messages. Every value is invented."""

from __future__ import annotations

import pytest

from clone.prepare.pii import ContactChoice, Entity, KnownPerson, Names, PiiSettings, Scrubber

KEY = b"a key for tests"


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber(PiiSettings(), key=KEY)


def found(scrubber: Scrubber, text: str, lang: str | None = None) -> list[tuple[str, str]]:
    return [(f.entity.value, text[f.start : f.end]) for f in scrubber.find(text, lang=lang)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("пароль от вайфая Korzhik_77 запиши", "Korzhik_77"),
        ("пасс qw3rtyUi если чо", "qw3rtyUi"),
        ("the wifi password's sunflower1987", "sunflower1987"),
        ("password hint is dog, actual one Rexy2015", "Rexy2015"),
        ("Zx9-Kq2-Lm is the password", "Zx9-Kq2-Lm"),
        ("contraseña nueva Toledo#77 no la pierdas", "Toledo#77"),
        ("mdp : papillon77", "papillon77"),
        ("kennwort Apfel!Baum", "Apfel!Baum"),
        ("mật khẩu wifi là nhacuaem99", "nhacuaem99"),
        ("гасло Slava1991", "Slava1991"),
        ("senha do wifi: praia2022", "praia2022"),
        ("la password è Carbonara!3", "Carbonara!3"),
        ("hasło do wifi: kotek1234", "kotek1234"),
        ("wifi şifresi kedi1905", "kedi1905"),
        ("wifi密码:dongfang2020", "dongfang2020"),
    ],
)
def test_a_password_is_found_by_its_keyword_in_every_language(scrubber: Scrubber, text: str, value: str) -> None:
    assert found(scrubber, text) == [("PASSWORD", value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("passwort war hasenpfote", "hasenpfote"),
        ("пароль от вайфая одуванчик", "одуванчик"),
        ("the wifi's sunflower lane", "sunflower lane"),
        ("password for the tablet: locomotive", "locomotive"),
        ("le mot de passe du wifi, c'est papillon", "papillon"),
        ("ho cambiato la password in girandola", "girandola"),
        ("marmelade ist das passwort", "marmelade"),
        ("hasło? parasolka", "parasolka"),
        ("şifre hala havuç", "havuç"),
        ("en casa el wifi tiene clave mariposas", "mariposas"),
        ("passwort? Regenbogen mit großem R", "Regenbogen"),
        ("password is sunflower with a capital S", "sunflower"),
        ("wlan heißt FritzBox 7590, schlüssel 48291038475610293847", "48291038475610293847"),
    ],
)
def test_a_plain_word_is_a_password_where_the_sentence_says_so(scrubber: Scrubber, text: str, value: str) -> None:
    assert found(scrubber, text) == [("PASSWORD", value)]


@pytest.mark.parametrize(
    "text",
    [
        "passwort vergessen",
        "das passwort steht im kalender",
        "пароль знает только мама",
        "пароль от вайфая сменили",
        "the password is probably expired",
        "wifi's acting up again",
        "la password è quella di sempre",
        "le mot de passe a expiré hier",
        "la contraseña está en la nevera",
        "hasło jest na lodówce",
        "şifremi unuttum",
    ],
)
def test_talk_about_passwords_stays(scrubber: Scrubber, text: str) -> None:
    assert found(scrubber, text) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("the old one was mountain, new password is valley all lowercase", ["mountain", "valley"]),
        ("I changed my password from butterfly to dragonfly", ["butterfly", "dragonfly"]),
        ("did you say the pw was honeybee or bumblebee?", ["honeybee", "bumblebee"]),
        ("moonlight should still work as the password", ["moonlight"]),
        ("tell him the password, it's kingfisher", ["kingfisher"]),
        ("use hedgehog for the shared drive password", ["hedgehog"]),
        ("Pass: correct horse battery staple", ["correct horse battery staple"]),
        ("gib bei passwort einfach mondlicht ein", ["mondlicht"]),
        ('PW lautet "blaue Stunde" mit leerzeichen', ["blaue Stunde"]),
        ("wie war noch mal das passwort?\nkirschkern glaub ich", ["kirschkern"]),
        ("ich hab das passwort vom nas auf tintenfisch geändert", ["tintenfisch"]),
        ("если спросит пароль, пиши облако", ["облако"]),
        ("пароль сменили, вместо василёк теперь подснежник", ["василёк", "подснежник"]),
        ("пароль это фамилия препода колмогоров", ["колмогоров"]),
        ("пароль той самий що й був, черешня", ["черешня"]),
        ("cambié la clave, ahora es tormenta", ["tormenta"]),
        ("ponle de contraseña girasol y ya", ["girasol"]),
        ("contraseña del wifi del pueblo: la casa de la abuela", ["la casa de la abuela"]),
        ("j'ai mis papillon comme mot de passe", ["papillon"]),
        ("le code du wifi c'est jaimelesfrites sans majuscule", ["jaimelesfrites"]),
        ("prova con ciliegia, era quella la password", ["ciliegia"]),
        ("coloca jabuticaba como senha", ["jabuticaba"]),
        ("hasło do wifi kotekpsotek małymi", ["kotekpsotek"]),
        ("şifremiz köpeğin adı, pamuk", ["pamuk"]),
        ("mật khẩu cũ là trasua, mới là banhmi", ["trasua", "banhmi"]),
        ("to samo co na laptopie, zlotarybka", ["zlotarybka"]),
        ("modemin altında yazıyo, zeytinlipogaca", ["zeytinlipogaca"]),
    ],
)
def test_a_plain_word_is_a_password_by_its_place(scrubber: Scrubber, text: str, values: list[str]) -> None:
    assert found(scrubber, text) == [("PASSWORD", value) for value in values]


@pytest.mark.parametrize(
    "text",
    [
        "the password is... drumroll... i dont know either",
        "my password is ridiculous, change it",
        "use a password with ten characters",
        "the password for my work laptop",
        "der typ mit dem passwort-shirt",
        "mein kennwort ist abgelaufen, muss mir ein neues ausdenken",
        "passwort ist bei mir im kalender notiert",
        "пароль знает только админ",
        "пароль на столе под клавиатурой",
        "скинь пароль, дружище",
        "faut un mdp de 12 caractères avec un chiffre",
        "la contraseña es la de siempre",
        "hasło jest za krótkie",
        "netflix? the new documentary about volcanoes",
        "忘记密码了 重置半天收不到邮件",
    ],
)
def test_words_in_other_places_stay(scrubber: Scrubber, text: str) -> None:
    assert found(scrubber, text) == []


@pytest.mark.parametrize(
    ("text", "found_there"),
    [
        ("user pi, pw vesna_2024", [("USERNAME", "pi"), ("PASSWORD", "vesna_2024")]),
        ("login kasia.w87 hasło zupapomidorowa", [("USERNAME", "kasia.w87"), ("PASSWORD", "zupapomidorowa")]),
        ("tài khoản hieu.trann mật khẩu anhyeuem123", [("USERNAME", "hieu.trann"), ("PASSWORD", "anhyeuem123")]),
        (
            "amex 3484 359810 83552 04/29 4082",
            [("CREDIT_CARD", "3484 359810 83552"), ("CARD_EXPIRY", "04/29"), ("PIN", "4082")],
        ),
        ("the 2fa thing says 095713 now, no wait it refreshed 446280", [("OTP", "095713"), ("OTP", "446280")]),
        ("librus: 4418203u hasło Pszczola_7", [("USERNAME", "4418203u"), ("PASSWORD", "Pszczola_7")]),
        ("wifi adı Kaya_Ev şifre cayvarmi", [("PASSWORD", "cayvarmi")]),
        ("prova gattonero o in alternativa GattoNero13", [("PASSWORD", "gattonero"), ("PASSWORD", "GattoNero13")]),
        ("la nueva es Quesadilla.2023 avisad al resto", [("PASSWORD", "Quesadilla.2023")]),
        ("psswrd for the drive changed again, q4-is-cancelled", [("PASSWORD", "q4-is-cancelled")]),
        ("the vault opens w/ correct-donkey-battery", [("PASSWORD", "correct-donkey-battery")]),
        ("đổi mật khẩu thành bà nội đẹp lão có dấu cách nha", [("PASSWORD", "bà nội đẹp lão")]),
        ("boîte à clés 2609 à droite du volet", [("PIN", "2609")]),
        ("lucchetto 735, cantina 8814", [("PIN", "735"), ("PIN", "8814")]),
        ("der schlüsselkasten am hintereingang geht mit 8251 auf", [("PIN", "8251")]),
        ("bank przysłał 71 40 92", [("OTP", "71 40 92")]),
        ("passport no so mine X41882073, hers 129840557", [("PASSPORT", "X41882073"), ("PASSPORT", "129840557")]),
        ("título de eleitor 018442090191", [("NATIONAL_ID", "018442090191")]),
        ("cassaforte nuova costa 1200", []),
        ("the exam password gets announced at 9:05 by the proctor", []),
        ("mã môn học INT3307", []),
        ("a state-of-the-art router", []),
        ("the client.mk file sits there", []),
        ("portal 2580 y luego el 4ºA", [("PIN", "2580")]),
        ("le cadenas du vélo 8304", [("PIN", "8304")]),
        ("paypal hat 208844 geschickt", [("OTP", "208844")]),
        ("KV-Nr steht auf der karte: A123456780", [("HEALTH_ID", "A123456780")]),
        ("fs-nr. J430A05XW21", [("DRIVER_LICENSE", "J430A05XW21")]),
        ("приватник от метамаска " + "4b3b6aa4afc572d5" * 4, [("PRIVATE_KEY", "4b3b6aa4afc572d5" * 4)]),
        ("TAN-Verfahren wird umgestellt ab 2026", []),
        ("me piden el pin y no me acuerdo si lo cambié en 2022", []),
        ("код в прод не выкатили, тесты упали на 1432 строке", []),
        ("commit " + "4b3b6aa4afc572d5" * 4, []),
    ],
)
def test_what_stands_beside_names_a_value(scrubber: Scrubber, text: str, found_there: list[tuple[str, str]]) -> None:
    assert found(scrubber, text) == found_there


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("мир 2200 3814 5567 8019", "CREDIT_CARD", "2200 3814 5567 8019"),
        ("mastercard 2223 0000 4821 9932", "CREDIT_CARD", "2223 0000 4821 9932"),
        ("card ending mistyped 4539 1488 0343 6468", "CREDIT_CARD", "4539 1488 0343 6468"),
        ("iban GB29 NWBK 6016 1331 9268 19", "IBAN_CODE", "GB29 NWBK 6016 1331 9268 19"),
        (
            "eth 0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
            "CRYPTO_WALLET",
            "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
        ),
        ("снилс 112-233-445 95", "NATIONAL_ID", "112-233-445 95"),
        ("cpf 529.982.247-25", "TAX_ID", "529.982.247-25"),
        ("nhs number 943 476 5919", "HEALTH_ID", "943 476 5919"),
        ("загран 75 1234567", "PASSPORT", "75 1234567"),
        ("dl F255-921-50-094-0", "DRIVER_LICENSE", "F255-921-50-094-0"),
        ("код от подъезда 2580В", "PIN", "2580В"),
        ("пришло 59302", "OTP", "59302"),
        ("машина о777оо199 стоит", "LICENSE_PLATE", "о777оо199"),
        ("звони +7(903)555-12-34", "PHONE_NUMBER", "+7(903)555-12-34"),
        ("пиши на n.petrova@corp.internal", "EMAIL_ADDRESS", "n.petrova@corp.internal"),
        ("мыло zayka собака бк точка ру", "EMAIL_ADDRESS", "zayka собака бк точка ру"),
        ("discord @mothman_irl", "USERNAME", "mothman_irl"),
        ("t.me/kuhnya_marina", "USERNAME", "kuhnya_marina"),
        ("https://t.me/joinchat/AbCdEf123456", "URL_SECRET", "https://t.me/joinchat/AbCdEf123456"),
        ("я родился 21.11.1988", "DATE_OF_BIRTH", "21.11.1988"),
        ("адрес: ул. Гоголя, д. 14, кв. 52", "ADDRESS", "ул. Гоголя, д. 14, кв. 52"),
        ("we live at 77 Birch Hollow Road, Apt 12", "ADDRESS", "77 Birch Hollow Road, Apt 12"),
        ("livraison au 8 avenue Jean Jaurès, 69007 Lyon", "ADDRESS", "8 avenue Jean Jaurès, 69007 Lyon"),
        ("server 203.0.113.77", "IP_ADDRESS", "203.0.113.77"),
    ],
)
def test_each_type_is_found_whole(scrubber: Scrubber, text: str, entity: str, value: str) -> None:
    assert found(scrubber, text) == [(entity, value)]


@pytest.mark.parametrize(
    "text",
    [
        "who changed the password??",
        "пароль придумаю вечером",
        "pass the exam 2024",
        "код ошибки 404",
        "use code FALL15 at checkout",
        "билеты 2 по 3500",
        "версия 5.0.2 бета",
        "order 113-4455667-889900 delayed",
        "10:30-11:45 works",
        "12.12 корпоратив в 19",
        "quedamos 17:30 en plaza mayor",
        "слава богу",
        "any rose wine? will mark be there in may",
        "flight BA2490 delayed",
        "вайфай 5ггц",
        "192.168.1.1 is the router page",
        "https://www.imdb.com/title/tt0111161/",
        "30 min way too long",
        "улица 5 минут пешком",
        "счет 5:4",
        "for i in range(10): print(i)",
    ],
)
def test_what_only_looks_personal_stays(scrubber: Scrubber, text: str) -> None:
    assert found(scrubber, text) == []


def test_a_seed_phrase_needs_no_announcement(scrubber: Scrubber) -> None:
    words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    assert found(scrubber, words) == [("SEED_PHRASE", words)]


def test_private_keys_and_tokens_are_found_by_shape(scrubber: Scrubber) -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0\n-----END RSA PRIVATE KEY-----"
    assert found(scrubber, f"here {pem} ok") == [("PRIVATE_KEY", pem)]
    token = "gh" + "p_" + "a1B2" * 9
    assert found(scrubber, f"use {token}") == [("API_KEY", token)]


@pytest.mark.parametrize(
    "written",
    ["Алёна", "алёне", "Алёной", "Алёнка", "алена"],
)
def test_a_contacts_name_is_found_in_every_case_and_short_form(written: str) -> None:
    scrubber = Scrubber(PiiSettings(names=Names.CONTACTS), key=KEY, people=[KnownPerson("1", ("Алёна",))])
    text = f"это {written} сказала"
    assert found(scrubber, text) == [("PERSON", written)]


def test_names_with_contacts_only_leaves_strangers() -> None:
    scrubber = Scrubber(PiiSettings(names=Names.CONTACTS), key=KEY, people=[KnownPerson("1", ("Callum Doyle",))])
    assert found(scrubber, "ask callum or Siobhan") == [("PERSON", "callum")]


def test_an_allowed_contact_keeps_the_own_name() -> None:
    people = [KnownPerson("1", ("Марина",), ("marina_k",), choice=ContactChoice.ALLOW)]
    scrubber = Scrubber(PiiSettings(), key=KEY, people=people)
    assert found(scrubber, "с Мариной @marina_k и Олегом") == [("PERSON", "Олегом")]


def test_english_names_need_a_word_beside_them_unless_all_are_asked_for(scrubber: Scrubber) -> None:
    everywhere = Scrubber(PiiSettings(names=Names.ALL), key=KEY)
    assert found(scrubber, "Rachel ok see you") == []
    assert found(everywhere, "Rachel ok see you") == [("PERSON", "Rachel")]
    assert found(scrubber, "have you met Callum?") == [("PERSON", "Callum")]


def test_the_allow_list_wins_and_the_deny_list_adds() -> None:
    scrubber = Scrubber(PiiSettings(allow=("Korzhik_77",), deny=("Ромашка",)), key=KEY)
    text = "пароль Korzhik_77 в проекте ромашка"
    assert found(scrubber, text) == [("DENIED", "ромашка")]


def test_ignored_types_are_not_looked_for() -> None:
    scrubber = Scrubber(PiiSettings(ignore=(Entity.LICENSE_PLATE,)), key=KEY)
    assert found(scrubber, "машина о777оо199 стоит") == []


@pytest.mark.parametrize(
    "text",
    [
        "card 4539\u00a01488\u00a00343\u00a06467",
        "card 4539\u200b 1488 0343 6467",
        "card \uff14\uff15\uff13\uff19 1488 0343 6467",
    ],
)
def test_odd_spaces_invisible_characters_and_wide_digits_hide_nothing(scrubber: Scrubber, text: str) -> None:
    assert found(scrubber, text) == [("CREDIT_CARD", text[5:])]


def test_offsets_stand_behind_astral_characters(scrubber: Scrubber) -> None:
    text = "😀😀 звони 8-985-304-11-72 😀"
    assert found(scrubber, text) == [("PHONE_NUMBER", "8-985-304-11-72")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("handy entsperren mit 258014", [("PIN", "258014")]),
        ("разблокируй телефон кодом 4821", [("PIN", "4821")]),
        ("die sim pin war glaub 0000 oder 1234", [("PIN", "0000"), ("PIN", "1234")]),
        ("kto 4829103 blz 37050198", [("BANK_ACCOUNT", "4829103"), ("BANK_ACCOUNT", "37050198")]),
        ("закордонний: FX392817", [("PASSPORT", "FX392817")]),
        ("ŞİFRE: Deniz!Kum6", [("PASSWORD", "Deniz!Kum6")]),
        ("unlock with fingerprint", []),
        ("we unlocked 2048 achievements", []),
        ("kto tam? 100500 раз", []),
    ],
)
def test_codes_that_unlock_second_codes_and_rarer_cues(
    scrubber: Scrubber, text: str, expected: list[tuple[str, str]]
) -> None:
    assert found(scrubber, text) == expected
