"""Names of people: the export's own people first, then first names from word lists, in every case and short form.

Words that are also names (Rose, Mark, Вера, Света) need more: a capital in mid-sentence, a title, a surname beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.types import ContactChoice, Entity, KnownPerson
from clone.prepare.pii.view import View, lower, unaccent
from clone.prepare.pii.words import Wake, name_lines, read_words

CASES = ("nom", "gen", "dat", "acc", "ins", "pre", "voc")


@dataclass(frozen=True, slots=True)
class NameForm:
    """What a written first name is: whose short or full form, gender ("m", "f", "u"), case, language."""

    base: str  # the name in the nominative, lower case
    full: str  # the full name that it belongs to, lower case: саша -> александр
    gender: str
    case: str
    language: str


def fold(word: str) -> str:
    """Return `word` as the lists have it: lower case, ё as е."""
    return lower(word).replace("ё", "е").replace("'", "").replace("’", "")


_VELAR = "гкхжшчщ"


def decline(name: str, gender: str, language: str = "ru", *, is_surname: bool = False) -> dict[str, str]:
    """Return the singular cases of a Russian or Ukrainian first name, surname or patronymic, lower case in and out.

    Names that do not decline (foreign female names in a consonant, names in о, у, и, э) keep one form.
    """
    n, last = name, name[-1]
    uk = language == "uk"
    forms = dict.fromkeys(CASES, n)
    if (
        is_surname
        and n.endswith(("ский", "цкий", "ской", "ый", "ий"))
        and n.endswith(("ский", "цкий", "ской", "ный", "лый", "рый", "дый", "тый"))
    ):
        stem = n[:-2]
        ending = ("ого", "ому", "ого", "ым" if n.endswith("ый") else "им", "ом")
        forms.update(zip(CASES[1:6], (stem + e for e in ending), strict=True))
        return forms
    if is_surname and n.endswith("ський"):
        stem = n[:-2]
        forms.update(zip(CASES[1:6], (stem + e for e in ("ого", "ому", "ого", "им", "ому")), strict=True))
        return forms
    if is_surname and n.endswith(("ская", "цкая", "ная", "лая", "рая")):
        stem = n[:-2]
        forms.update(zip(CASES[1:6], (stem + e for e in ("ой", "ой", "ую", "ой", "ой")), strict=True))
        return forms
    if is_surname and gender == "f" and n.endswith(("ова", "ева", "ина", "ына")):
        stem = n[:-1]
        forms.update(zip(CASES[1:6], (stem + e for e in ("ой", "ой", "у", "ой", "ой")), strict=True))
        return forms
    if last == "а":
        stem = n[:-1]
        gen = "и" if uk or stem[-1:] in _VELAR else "ы"
        if uk:
            dative = {"г": "з", "к": "ц", "х": "с"}.get(stem[-1:], stem[-1:])
            forms.update(
                gen=stem + "и",
                dat=stem[:-1] + dative + "і",
                acc=stem + "у",
                ins=stem + "ою",
                pre=stem[:-1] + dative + "і",
                voc=stem + "о",
            )
        else:
            ins = "ей" if stem[-1:] in "жшчщц" else "ой"
            forms.update(gen=stem + gen, dat=stem + "е", acc=stem + "у", ins=stem + ins, pre=stem + "е", voc=stem)
    elif last == "я":
        stem = n[:-1]
        soft = "и" if n.endswith("ия") else "е"
        if uk:
            i = "ї" if stem[-1:] in "іїєаоу'" else "і"
            forms.update(gen=stem + i, dat=stem + i, acc=stem + "ю", ins=stem + "ею", pre=stem + i, voc=stem + "ю")
        else:
            voc = stem + ("ь" if stem[-1:] not in "аеиоуыьюэ" else "й")
            forms.update(gen=stem + "и", dat=stem + soft, acc=stem + "ю", ins=stem + "ей", pre=stem + soft, voc=voc)
    elif gender == "f":
        if last == "ь":
            stem = n[:-1]
            forms.update(gen=stem + "и", dat=stem + "и", ins=n + "ю", pre=stem + "и")
    elif last == "й":
        stem = n[:-1]
        pre = "и" if n.endswith("ий") else "е"
        forms.update(
            gen=stem + "я",
            dat=stem + "ю",
            acc=stem + "я",
            ins=stem + ("єм" if uk else "ем"),
            pre=stem + ("ї" if uk else pre),
            voc=stem + "ю" if uk else n,
        )
    elif last == "ь":
        stem = n[:-1]
        if n == "лев":
            stem = "льв"
        forms.update(
            gen=stem + "я",
            dat=stem + "ю",
            acc=stem + "я",
            ins=stem + "ем",
            pre=stem + ("і" if uk else "е"),
            voc=stem + "ю" if uk else n,
        )
    elif last == "о" and uk:
        stem = n[:-1]
        forms.update(
            gen=stem + "а", dat=stem + "ові", acc=stem + "а", ins=stem + "ом", pre=stem + "ові", voc=stem + "е"
        )
    elif last not in "оуиэюеыі":
        stem = _FLEETING.get(n, n)
        if n.endswith(("ек", "ок")) and n not in _FLEETING and len(n) > 3 and n not in ("марек",):
            stem = n[:-2] + ("ьк" if n[-2] == "е" and n[-3] in "рнл" else "к")
        is_adjectival = is_surname and n.endswith(("ов", "ев", "ин", "ын"))
        ins = "ым" if is_adjectival else "ем" if stem[-1:] in "жшчщц" else "ом"
        forms.update(
            gen=stem + "а",
            dat=stem + ("ові" if uk else "у"),
            acc=stem + "а",
            ins=stem + ins,
            pre=stem + ("ові" if uk else "е"),
            voc=stem + "е" if uk else n,
        )
    return forms


_FLEETING = {"павел": "павл", "лев": "льв", "петр": "петр", "василек": "васильк"}

# Words first: these are names only where something says so.
AMBIGUOUS = read_words("ambiguous_names.txt")

_LATIN_TITLES = r"mr|mrs|ms|miss|mister|sir|dr|prof|aunt|auntie|uncle|cousin|señor|señora|sr|sra|don|doña|tío|tía|monsieur|madame|mme|mlle|m|tonton|tata|tante|oncle|herr|herrn|frau|onkel|senhor|senhora|seu|dona|tio|tia|signor|signora|sig|zio|zia|pan|pani|pana|panu|panem|panią|ciocia|wujek|bay|bayan|nonna|nonno|oma|opa|grandma|grandpa|abuela|abuelo|papy|mamie|avó|vovó|babcia|dziadek|dona|profe|doctor|docteur|doktor|dra"
_CUE_BEFORE = re.compile(
    rf"(?<!\w)(?:{_LATIN_TITLES}|hi|hey|hello|yo|dear|ask|asked|asking|tell|told|call|called|calling|text|texted|message|meet|met|meeting|with|for|from|to|and|see|saw|seen|invite|invited|thank|thanks|thx|miss|love|hug|kiss|by|is|named|name is|name's|i'm|im|this is|it's|its|brother|sister|mum|mom|dad|friend|friends|husband|wife|son|daughter|girlfriend|boyfriend|bf|gf|boss|colleague|neighbou?r|roommate|teacher|cousin|uncle|aunt|partner|fiancée?|ex|buddy|mate|dating|married|"
    r"hola|con|para|de|a|y|llama|llamé|dile|preguntale|pregúntale|a ver si|hermano|hermana|amigo|amiga|novio|novia|prima|primo|soy|es|vi a|quedé con|"
    r"salut|coucou|avec|chez|pour|et|à|appelle|demande à|c'est|mon frère|ma soeur|ma sœur|copain|copine|mari|femme|dis à|voir|vu|"
    r"hallo|mit|von|für|bei|und|frag|ruf|bruder|schwester|freund|freundin|kollege|kollegin|mein|meine|der|die|"
    r"oi|com|pra|pro|da|do|e|liga|avisa|irmão|irmã|namorado|namorada|falei com|"
    r"ciao|per|da|di|chiama|fratello|sorella|amico|amica|ragazzo|ragazza|"
    r"cześć|czesc|z|dla|od|do|i|zadzwoń do|powiedz|brat|siostra|kolega|koleżanka|spotkałem|spotkałam|"
    r"selam|ile|ve|için|abim|ablam|kardeşim|arkadaşım|kuzenim)[ ,:]{1,2}$",
    re.IGNORECASE,
)
_KIN_CUE = re.compile(
    r"(?<!\w)(?:[Mm]r|[Mm]rs|[Mm]s|[Mm]iss|[Dd]r|[Pp]rof|name is|name's|named|my (?:brother|sister|friend|husband|wife|son|daughter|girlfriend|boyfriend|bf|gf|boss|colleague|neighbou?r|roommate|flatmate|cousin|uncle|aunt|ex|mate|partner|dad|mum|mom|nephew|niece)|(?:[Aa]unt|[Aa]untie|[Uu]ncle|[Cc]ousin|[Gg]randma|[Gg]randpa))[ ,:]{1,2}$"
)
_CAREFUL_CUE = re.compile(
    _KIN_CUE.pattern[:-1]
    + r"$|(?<!\w)(?:met|meet|ask|asked|tell|told|with|invite|invited|miss|[Ss]aw|seen|dating|married|marry|[Tt]his is|(?:^|[.?!] )(?:[Ii]s|[Ww]as|[Ww]here is|[Ww]here's|[Dd]id|[Dd]oes|[Hh]as|[Hh]ow'?s|[Hh]ow is)|brother|sister|friend|husband|wife|son|daughter|girlfriend|boyfriend|boss|neighbou?r|roommate|flatmate|and|called|from) $"
)
_LOWER_CUE = re.compile(
    r"(?<!\w)(?:name is|name's|named|my (?:brother|sister|friend|husband|wife|son|daughter|girlfriend|boyfriend|bf|gf|boss|colleague|neighbou?r|roommate|flatmate|cousin|uncle|aunt|ex|partner)|met|ask|told|tell) $"
)
_HARD_WORDS = read_words("names_that_are_words.txt")
_FOREIGN_WORDS = read_words("foreign_words.txt")


_WEAKLY_FOREIGN = read_words("weakly_foreign_words.txt")


def is_english_or_unknown(view: View) -> bool:
    """Return whether a message in Latin script is English, or gives no sign of another language."""
    if view.lang and view.lang != "en":
        return False
    if not view.low.isascii() and re.search(
        r"\w\w[à-öø-ÿąćęłńśźżğışőűčřšžů]|[à-öø-ÿąćęłńśźżğışőűčřšžů]\w\w|\w[à-öø-ÿąćęłńśźżğışőűčřšžů]\w", view.low
    ):
        return False
    foreign = _FOREIGN_WORDS.intersection(view.words)
    return len(foreign) < 2 and foreign <= _WEAKLY_FOREIGN


_STRONG_CUE = re.compile(
    rf"(?<!\w)(?:{_LATIN_TITLES}|name is|name's|my name|i am|named|called|brother|sister|friend|husband|wife|son|daughter|girlfriend|boyfriend|bf|gf|boss|colleague|neighbou?r|roommate|cousin|uncle|aunt|hermano|hermana|amigo|amiga|novio|novia|primo|prima|frère|soeur|sœur|copain|copine|bruder|schwester|freund|freundin|irmão|irmã|namorado|namorada|fratello|sorella|amico|amica|brat|siostra|kolega|koleżanka|abim|ablam|kardeşim|arkadaşım|llama|llamo|appelle|heiße|heisse|chamo|chiamo|nazywam się|adım)[ ,:]{{1,2}}$",
    re.IGNORECASE,
)
_CYR_CUE = re.compile(
    r"(?<!\w)(?:привет|с|со|у|к|ко|от|про|для|за|и|а|это|позвони|позвонил[аи]?|звонил[аи]?|звони|спроси|спросил[аи]?|скажи|сказал[аи]?|передай|напиши|написал[аи]?|видел[аи]?|встретил[аи]?|зовут|брат\w*|сестр\w*|друг\w*|подруг\w*|муж\w*|жен[аеуы]|сын\w*|доч\w+|тет[яеию]|дяд[яеию]|тёт[яеию]|баб[аеуы]|господин\w*|ну|слушай|эй|да|нет|ок|спасибо|люблю|мой|моя|наш|наша|днюхой|рождения|директор\w*|учител\w*|врач\w*|мама|папа|пан\w?|привіт|з|із|від|до|та|й)[ ,:]{1,2}$",
    re.IGNORECASE,
)
_SENTENCE_START = re.compile(r"(?:^|[.!?…\n]\s*|^\W+)$")
_SENTENCE_END = re.compile(r"[.!?…\n]\W*$")
_PARTICLES = frozenset(
    [
        "de",
        "da",
        "do",
        "dos",
        "das",
        "del",
        "della",
        "di",
        "du",
        "van",
        "von",
        "der",
        "den",
        "le",
        "la",
        "los",
        "el",
        "al",
        "bin",
        "ibn",
        "mac",
        "ben",
        "san",
        "st",
        "o",
        "y",
        "e",
        "i",
    ]
)
_CYR_SURNAME = re.compile(
    r"[а-яіїєґ]{2,}(?:ов|ев|ин|ын|ова|ева|ина|ына|ской|ский|цкий|ская|цкая|ской|ского|скому|ским|ском|скую|ых|их|ко|енко|чук|юк|ук|як|ян|янц|дзе|швили|ук|ець|ич|ович|евич|ский|ого|ову|еву|ину|овым|евым|иным|овой|евой|иной|ове|еве|ине|ські?й|ськ[аоу]\w{0,3}|цьк\w{1,4}|оглы|беков|баев|яка|чука|юка|янa|яну|ук[ау]|ена|ец|ко)"
)
_CYR_PATRONYMIC = re.compile(
    r"[а-яіїєґ]{2,}(?:ович|евич|йович|ич|ыч|овна|евна|инична|ична|івна|ївна)(?:а|у|ем|ом|е|ы|ой|и|і|ою)?|[а-яіїєґ]{2,}(?:овны|евны|овне|евне|овну|евну|овной|евной|івни|івні|івну|івною)"
)
_PATRONYMIC_STEMS = [
    "александр",
    "алексе",
    "анатоль",
    "андре",
    "аркадь",
    "борис",
    "васильь",
    "василь",
    "виктор",
    "виталь",
    "владимир",
    "геннадь",
    "георг",
    "григорь",
    "дмитри",
    "евгень",
    "иван",
    "игор",
    "константин",
    "леонид",
    "макар",
    "максим",
    "михал",
    "михайл",
    "никола",
    "олег",
    "павл",
    "петр",
    "роман",
    "серге",
    "степан",
    "тимофе",
    "федор",
    "юрь",
    "яковл",
    "ильин",
    "кузьм",
    "валерь",
    "вячеслав",
    "станислав",
    "сан",
    "пал",
    "семен",
    "никит",
    "иль",
    "арка",
    "вад",
    "руслан",
    "тимур",
    "ренат",
    "рустам",
    "магомед",
    "ахмед",
]


@cache
def patronymics() -> frozenset[str]:
    """Return patronymics in all cases, the worn-down ones too (михалыч)."""
    endings = [e + c for e in ("ович", "евич", "ич", "ыч") for c in ("", "а", "у", "ем", "е")]
    endings += [e + c for e in ("овн", "евн", "иничн") for c in ("а", "ы", "е", "у", "ой")]
    return frozenset(stem + ending for stem in _PATRONYMIC_STEMS for ending in endings)


_NOT_SURNAME = read_words("not_surnames.txt")
_CYR_NOT_SURNAME = read_words("not_surnames_cyrillic.txt")
_FAMOUS_AFTER = frozenset(
    ["street", "avenue", "road", "university", "stadium", "airport", "hospital", "prize", "award", "park", "square"]
)
_FAMOUS = re.compile(
    r"(?:elon musk|donald trump|joe biden|barack obama|taylor swift|harry potter|steve jobs|bill gates|mark zuckerberg|jeff bezos|michael jackson|thomas edison|henry ford|theodore roosevelt|abraham lincol?n|jesus christ|christ jesus|martin luther(?: king)?|nelson mandela|dr\.? seuss|noah's ark|cristiano ronaldo|lionel messi|albert einstein|james bond|tom cruise|brad pitt|johnny depp|justin bieber|lady gaga|ed sheeran|kanye west|tom hardy|tom hanks|jack daniels?|johnnie walker|jim beam|ben & jerry|calvin klein|marc jacobs|hugo boss|louis vuitton|coco chanel|yves saint laurent|mercedes.benz|papa john|wendys|trader joe|uncle ben|don juan|santa claus|san francisco|san diego|santa (?:monica|barbara|cruz)|st\.? ?(?:john|peter|paul|patrick)|"
    r"alexander platz|alexanderplatz|илон маск|дяд\w ф[её]дор\w*|владимир путин|пушкин\w*|толст\w+|достоевск\w+|чехов\w*|ленин\w*|сталин\w*|гарри поттер\w*|иван грозн\w+|анна каренин\w+|евгени\w+ онегин\w*|мария кюри|лионел\w* месси|криштиан\w+|майкл\w* джексон\w*|стив\w* джобс\w*|наташ\w+ ростов\w*|василис\w+ премудр\w+|иван[- ]чай|иван[- ]царевич\w*)",
)
_STREET_BEFORE = re.compile(
    r"(?:ул\.?|улиц\w+|проспект\w*|пр-т|пер\.|площад\w+|метро|станци\w+|бульвар\w*|переул\w+|наб\w*|м\.|calle|rue|avenida|via|rua|plaza|plac|ulica|ul\.|đường|phố|street|avenue|avenue|boulevard|piazza|praça|station|metro|santa|san|saint|são|sankt|st\.|hotel|café|bar)\s+$",
    re.IGNORECASE,
)


@cache
def lexicon() -> dict[str, NameForm]:
    """Return every written form of the listed first names, folded, with what it is. Nominatives win over oblique cases."""
    nominative: dict[str, NameForm] = {}
    oblique: dict[str, NameForm] = {}
    for language, gender, names in name_lines():
        if gender not in ("m", "f"):
            continue
        if language in ("ru", "uk"):
            full = fold(names[0])
            is_family = len(names) <= 12  # a full name and its short forms; longer lines are plain lists
            for name in names:
                base = fold(name)
                of = full if is_family else base
                for case, form in decline(base, gender, language).items():
                    entry = NameForm(base, of, gender, case, language)
                    (nominative if case == "nom" else oblique).setdefault(form, entry)
        else:
            for name in names:
                base = fold(name)
                if len(base) >= 2:
                    nominative.setdefault(base, NameForm(base, base, gender, "nom", language))
                    if language == "pl":
                        for case, form in _polish(base).items():
                            oblique.setdefault(form, NameForm(base, base, gender, case, language))
                    if language == "tr":
                        continue
    for form, entry in oblique.items():
        nominative.setdefault(form, entry)
    return nominative


def _polish(name: str) -> dict[str, str]:
    """Return the common oblique forms of a Polish first name."""
    if name.endswith("a"):
        stem = name[:-1]
        soft = stem[-1:] in "ijl" or stem.endswith(("si", "zi", "ci", "ni"))
        return {
            "gen": stem
            + ("i" if not stem.endswith("i") and (soft or stem[-1:] in "kg") else "" if stem.endswith("i") else "y"),
            "acc": stem + "ę",
            "ins": stem + "ą",
            "voc": stem + "o",
            "dat": (stem[:-1] + "ce" if stem.endswith("k") else stem + "ie"),
        }
    if name.endswith("ek"):
        stem = name[:-4] + "śk" if name.endswith("siek") else name[:-2] + "k"
        return {"gen": stem + "a", "dat": stem + "owi", "ins": stem + "iem", "voc": stem + "u"}
    if name.endswith(("y", "i", "o", "e")):
        return {}
    return {"gen": name + "a", "dat": name + "owi", "ins": name + "em"}


@cache
def surnames() -> frozenset[str]:
    """Return Russian and Ukrainian surnames in all cases, folded."""
    out: set[str] = set()
    for language, kind, names in name_lines():
        if kind == "last" and language in ("ru", "uk"):
            for name in names:
                base = fold(name)
                out.update(decline(base, "f" if base.endswith(("а", "я")) else "m", language, is_surname=True).values())
    return frozenset(out)


_CJK_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚张劉陳楊趙黃吳孫馬羅鄭謝韓馮蕭許鄧蘇盧蔣賈葉閻鐘譚鄒陸顧萬錢湯喬賀賴龔"
_CJK_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国文辉宇浩然子轩涵梓欣怡雨佳俊豪思琪晓东海燕婷雪琳璐倩颖莹萍鹏飞鑫凯博晨阳睿哲志远天乐诗韵嘉慧美玲淑珍志强国庆春秋冬夏月星云峰波斌林森龙虎家豪振兴立德才福荣昌盛小大新一心如意安康宁瑞祥"
_CJK_NAME = re.compile(
    rf"(?P<full>(?:[{_CJK_SURNAMES}]|欧阳|司马|上官|诸葛)[{_CJK_GIVEN}]{{1,2}})(?=$|[^\u4e00-\u9fff]|的|一|起|们|说|是|在|和|跟|给|把|去|来|让|叫|找|说|问|也|都|会|要|有|了|今|明|昨|你|我|他|她|老师|先生|女士|小姐|阿姨|叔叔|医生|同学|经理|电话|手机|生日|家|吗|吧|呢|啊|打|请|收|到|,|，)"
    rf"|(?P<three>[王李张刘陈杨赵周吴徐孙胡朱郭罗梁宋郑谢韩唐冯董程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴钟汪姜范姚谭廖邹熊陆郝崔邱秦顾侯邵孟段钱汤尹黎贺赖龚][{_CJK_GIVEN}]{{2}})(?![路街市区县省镇大道店厂校院])"
    rf"|(?P<short>(?:小|老|阿)[{_CJK_SURNAMES}{_CJK_GIVEN}])(?=$|[^\u4e00-\u9fff]|的|说|在|和|跟|给|去|来|让|找|问|也|会|要|今|明|昨|你|我|他|她|吗|吧|呢|啊|打|请|电话|生日)"
    rf"|(?P<titled>[{_CJK_SURNAMES}][\u4e00-\u9fff]{{0,2}})(?=老师|先生|女士|小姐|阿姨|叔叔|医生|同学|经理|总(?![是共结的会])|师傅|大爷|大妈)"
    rf"|(?:叫|我是|找|姓名[:：]?|联系人[:：]?|收件人[:：]?|名字是)(?P<called>[{_CJK_SURNAMES}][\u4e00-\u9fff]{{1,2}})(?=$|[^\u4e00-\u9fff]|的|吗|吧|啊|呢|说|在)"
)
_CJK_STOP = read_words("not_names_chinese.txt")
_VI_HONORIFIC = re.compile(
    r"(?<!\w)(?:anh|chị|em|cô|chú|bác|ông|bà|bạn|thầy|cậu|dì|mợ|thím|bé|con|thằng|nhỏ|đứa|sếp|chồng|vợ|tên là|tên|mẹ|bố|ba|má|a|c|e)\s+(?P<n>[A-ZĐÁÀẢÃẠÂĂÊÔƠƯÍÌÝÚÙỦỨỪỬỮỰÓÒỎÕỌỐỒỔỖỘỚỜỞỠỢÉÈẺẼẸẾỀỂỄỆ][a-zà-ỹđ]+(?: [A-ZĐÁÀẢÃẠÂĂÊÔƠƯÍÌÝÚÙỦ][a-zà-ỹđ]+){0,3})(?!\w)"
)
_VI_GIVEN = "Anh|An|Bảo|Bình|Châu|Chi|Cường|Đạt|Đức|Dung|Dũng|Duy|Duyên|Dương|Giang|Hà|Hải|Hân|Hạnh|Hằng|Hậu|Hiền|Hiếu|Hoa|Hòa|Hoàng|Hồng|Huệ|Hùng|Hưng|Hương|Hường|Huy|Huyền|Khang|Khánh|Khoa|Khôi|Kiên|Kiệt|Lan|Lâm|Liên|Linh|Loan|Lộc|Long|Ly|Mai|Minh|My|Mỹ|Nam|Nga|Ngân|Nghĩa|Ngọc|Nguyên|Nhân|Nhi|Như|Nhung|Oanh|Phát|Phong|Phú|Phúc|Phước|Phương|Quân|Quang|Quốc|Quỳnh|Sơn|Tài|Tâm|Tân|Thái|Thắng|Thành|Thanh|Thảo|Thi|Thịnh|Thơ|Thu|Thư|Thủy|Thúy|Thùy|Tiên|Tiến|Toàn|Trâm|Trang|Trí|Trinh|Trọng|Trung|Trúc|Tú|Tuấn|Tùng|Tuyết|Uyên|Vân|Việt|Vinh|Vũ|Vy|Xuân|Yến|Ý"
_VI_FULL = re.compile(
    r"(?<!\w)(?:Nguyễn|Trần|Lê|Phạm|Huỳnh|Hoàng|Phan|Vũ|Võ|Đặng|Bùi|Đỗ|Hồ|Ngô|Dương|Lý|Đinh|Trịnh|Mai|Đào|Đoàn|Lương|Nguyen|Tran|Pham|Huynh|Hoang|Dang|Bui)(?: (?:Thị|Văn|Đức|Hữu|Minh|Ngọc|Thanh|Quang|Xuân|Thi|Van))?(?: [A-ZĐÁÀẢÃẠÂĂÊÔƠƯÍÌÝÚÙỦỲ][a-zà-ỹđ]+){1,3}(?!\w)"
)
_VI_LONE = re.compile(
    rf"(?<![\w])(?P<n>{_VI_GIVEN})(?![\w])(?=\s+(?:ơi|nè|nhé|nha|à|ạ|đi|ra|về|có|đang|bảo|nói|gọi|hỏi|nhắn|cho|với|rồi|chưa|bị|sẽ|làm|học|ở|mới|vừa|sinh|ăn|thích|mua|gửi)|[,!?.]|$)"
)
_VI_CUE = re.compile(
    r"(?:với|cho|của|gặp|gọi|hỏi|nhắn|thấy|là|và|rủ|bảo|nhờ|từ|hộ|giúp|mời|mừng|sinh nhật|tên)\s+$", re.IGNORECASE
)
_VI_STREET = re.compile(
    r"(?:đường|phố|quận|phường|q\.|p\.|tp\.?|ngõ|hẻm|chợ|cầu|hồ|trường|công viên|bệnh viện|ga|số \d+|\d)\s*$",
    re.IGNORECASE,
)


_AND = frozenset(
    ["and", "&", "и", "y", "e", "et", "und", "i", "ve", "и", "та", "й", "con", "с", "with", "und", "avec", "mit"]
)


def _is_of_many(view: View, start: int, end: int) -> bool:
    """Return whether a name is part of one that everybody knows, or stands in a street's."""
    if start and view.norm[start - 1].isspace() and _STREET_BEFORE.search(view.norm, max(0, start - 16), start):
        return True
    return any(m.start() <= start < m.end() for m in _FAMOUS.finditer(view.low, max(0, start - 20), end + 20))


class ChatNameRecognizer(ChatRecognizer):
    """People's names."""

    wake = Wake.NAME | Wake.TITLE | Wake.CJK
    entities = (Entity.PERSON,)

    def __init__(self, people: Sequence[KnownPerson] = (), *, has_lists: bool = True, is_careful: bool = True) -> None:
        super().__init__()
        self._is_careful = is_careful
        self._known = known_forms(p for p in people if p.choice is not ContactChoice.ALLOW)
        self._asked = self._known.keys() | lexicon().keys() if has_lists else self._known.keys()
        self._allowed = known_forms(p for p in people if p.choice is ContactChoice.ALLOW)
        self._has_lists = has_lists

    def scan(self, view: View) -> Iterator[Hit]:
        norm, words = view.norm, view.words
        if view.wake & Wake.CJK:
            yield from self._chinese(norm)
        if view.is_vietnamese and self._has_lists:
            yield from self._vietnamese(norm)
        names = lexicon()
        spans: list[tuple[int, int]] | None = None
        done = -9
        is_loud = norm.isupper()
        is_careful = self._is_careful and is_english_or_unknown(view)
        asked = self._asked
        for i, word in enumerate(words):
            if word not in asked and word.isascii():
                continue
            key = word.replace("ё", "е") if "ё" in word else word
            person = self._known.get(key)
            form = names.get(key) if self._has_lists and person is None else None
            if form is None and person is None and self._has_lists and not key.isascii() and key[0] < "\u0400":
                form = names.get(unaccent(key))
            if (person is None and form is None) or i <= done or key in self._allowed:
                continue
            if spans is None:
                spans = view.tokens_at
                if len(spans) != len(words):
                    return
            start, end = spans[i]
            is_capital = norm[start].isupper() and not is_loud
            if (
                person is None
                and not is_capital
                and key[0] < "\u0400"
                and (is_loud or (is_careful and key not in _COMMONLY_NAMES))
            ):
                continue
            rule = ""
            if person is not None:
                if (
                    (key not in AMBIGUOUS and key not in TRIGGERS_BUT_NAMES)
                    or is_capital
                    or self._is_cued(norm, start, end)
                ):
                    rule = "name.contact"
            elif form is not None:
                rule = self._rule(norm, start, end, key, form, is_capital, view, words, spans, i, is_careful)
                if rule and _is_of_many(view, start, end):
                    rule = ""
            if not rule and form is not None and is_capital and i == done + 2 and words[i - 1] in _AND:
                rule = "name.and"
            if rule:
                first, last = self._extend(norm, words, spans, i, is_cyrillic=key[0] >= "\u0400")
                done = last
                yield Hit(spans[first][0], spans[last][1], Entity.PERSON, 0.8 if person else 0.65, rule)
        if self._has_lists:
            yield from self._alone(view, names)

    def _rule(
        self,
        norm: str,
        start: int,
        end: int,
        key: str,
        form: NameForm,
        is_capital: bool,
        view: View,
        words: list[str],
        spans: list[tuple[int, int]],
        i: int,
        is_careful: bool,
    ) -> str:
        if (
            (start and norm[start - 1] in "@#/_.-" and norm[start - 1 : start] != "-")
            or (end < len(norm) and norm[end] in "@_/")
            or (norm[end : end + 1] == "." and norm[end + 1 : end + 2].isalpha() and norm[end + 1 : end + 2].islower())
        ):
            return ""
        is_start = _SENTENCE_START.search(norm[max(0, start - 12) : start]) is not None and (
            start <= 12 or _SENTENCE_END.search(norm[:start]) is not None
        )
        if key[0] >= "\u0400":
            if form.case == "voc":
                is_called = bool(
                    re.match(r"[,!]", norm[end:])
                    or (re.search(r",\s*$", norm[:start]) and re.match(r"[\s,!?.]*$|[,!?]", norm[end:]))
                )
                return (
                    "name.called"
                    if (is_called and (is_capital or len(key) > 3) and key not in ("ром", "рай", "пол", "том"))
                    or (is_capital and not is_start)
                    else ""
                )
            if key not in AMBIGUOUS:
                return "name.list"
            if is_capital and (
                not is_start
                or self._has_neighbour(norm, words, spans, i)
                or norm[end : end + 1] == ","
                or len(words) == 1
            ):
                return "name.list"
            if (
                not is_capital
                and form.case in ("nom", "gen", "dat", "ins", "acc")
                and (
                    (_CYR_CUE.search(norm[max(0, start - 24) : start]) and form.base == key and key not in _NEVER_LOWER)
                    or self._has_neighbour(norm, words, spans, i)
                )
            ):
                return "name.cued"
            if is_capital and is_start and key not in _NEVER_LOWER and len(key) > 2 and form.case == "nom":
                return "name.list"
            return ""
        if form.language == "vi":
            return ""
        before, after = norm[max(0, start - 32) : start], norm[end:]
        if after[:2] in ("'t", "'m"):
            return ""
        is_ambiguous = key in AMBIGUOUS
        if not is_capital:
            if norm.isupper():
                return ""
            if is_ambiguous or len(key) < 4 or (view.lang in ("pl", "tr") and form.language not in ("pl", "tr")):
                return "name.cued" if key in _COMMONLY_NAMES and not is_careful and _STRONG_CUE.search(before) else ""
            if is_careful:
                return "name.cued" if key in _COMMONLY_NAMES and _LOWER_CUE.search(before) else ""
            if _STRONG_CUE.search(before) or (
                _CUE_BEFORE.search(before) and (key in _COMMONLY_NAMES or not norm.isascii())
            ):
                return "name.cued"
            return ""
        if len(key) <= 2 and key.isascii():
            return ""
        has_neighbour = self._has_neighbour(norm, words, spans, i)
        if is_careful:
            if is_ambiguous:
                if (
                    has_neighbour and not is_start and key in _COMMONLY_NAMES and key not in _PLACES
                ) or _KIN_CUE.search(before):
                    return "name.cued"
                return ""
            if (_is_title_case(words, spans, norm) and not has_neighbour) or norm[start:end].isupper():
                return ""
            if has_neighbour or _CAREFUL_CUE.search(before):
                return "name.list"
            if re.match(r"'s (?!gonna|going|not|a\b|in\b|coming|here|so\b|on\b|at\b)\w|'s$", after) or (
                re.match(r"and [A-Z]", after.lstrip()) and words[i + 2 : i + 3] and words[i + 2] in lexicon()
            ):
                return "name.list"
            if is_start and re.match(
                r" (?:is|was) (?:my|our|coming|getting|moving|pregnant|sick|leaving|late)\b| (?:just )?(?:called|texted|broke|told|moved|invited|lives|works|married|dumped)\b",
                after,
            ):
                return "name.list"
            return ""
        if not is_ambiguous:
            return "name.list"
        if has_neighbour and (not is_start or key in _COMMONLY_NAMES):
            return "name.list"
        if _STRONG_CUE.search(before) or (
            not is_start
            and _CUE_BEFORE.search(before)
            and not _is_title_case(words, spans, norm)
            and key not in _PLACES
            and view.lang != "de"
        ):
            return "name.cued"
        if (
            is_start
            and re.match(
                r",|'|’| (?:said|says|told|called|asked|is|was|wants|will|dice|viene|quiere|llamó|no viene|dit|vient|a dit|a appelé|sagt|kommt|hat|disse|vem|ligou|dice|arriva|ha|mówi|przyjdzie|dzwoni\w*|nie|dedi|geldi|aradı|geliyor|arıyor|hasta|teyze|abla|abi|bey|hanım)(?!\w)",
                after,
            )
            and len(key) > 2
            and key not in _PLACES
            and key not in _HARD_WORDS
        ):
            return "name.list"
        return ""

    @staticmethod
    def _is_cued(norm: str, start: int, end: int) -> bool:
        return bool(
            _CUE_BEFORE.search(norm[max(0, start - 24) : start])
            or _CYR_CUE.search(norm[max(0, start - 24) : start])
            or re.match(r"[,!]|'s\b", norm[end:])
        )

    @staticmethod
    def _has_neighbour(norm: str, words: list[str], spans: list[tuple[int, int]], i: int) -> bool:
        """Return whether a surname, a patronymic or another first name stands beside word `i`."""
        for j in (i + 1, i - 1):
            if not 0 <= j < len(words):
                continue
            gap = norm[spans[min(i, j)][1] : spans[max(i, j)][0]]
            word = words[j]
            if gap != " " or not norm[spans[j][0]].isupper() or word in _NOT_SURNAME or word in _CYR_NOT_SURNAME:
                continue
            if j < i and _SENTENCE_START.search(norm[: spans[j][0]]) and word not in lexicon():
                continue
            if word[0] >= "\u0400" and not (
                _CYR_SURNAME.fullmatch(word) or _CYR_PATRONYMIC.fullmatch(word) or fold(word) in lexicon()
            ):
                continue
            return word.isalpha()
        return False

    def _extend(
        self, norm: str, words: list[str], spans: list[tuple[int, int]], i: int, *, is_cyrillic: bool
    ) -> tuple[int, int]:
        """Return the first and last word of the name around word `i`: surnames, patronymics, particles, initials."""
        last = i
        stop = _CYR_NOT_SURNAME if is_cyrillic else _NOT_SURNAME
        while last + 1 < len(words) and last - i < 3:
            nxt = last + 1
            gap = norm[spans[last][1] : spans[nxt][0]]
            word = words[nxt]
            if gap not in (" ", "-", ". ", "'", "’") or (gap == ". " and len(words[last]) > 1):
                break
            is_capital = norm[spans[nxt][0]].isupper()
            if gap in ("-", "'", "’"):
                if (is_capital and word.isalpha() and len(word) > 1) or (gap == "-" and word in lexicon()):
                    last = nxt
                    continue
                break
            is_particle = (
                not is_cyrillic
                and word in _PARTICLES
                and word not in ("y", "e", "i", "o")
                and nxt + 1 < len(words)
                and norm[spans[nxt + 1][0]].isupper()
                and norm[spans[nxt][1] : spans[nxt + 1][0]] == " "
                and norm[spans[i][0]].isupper()
                and words[nxt + 1] not in _NOT_SURNAME
            )
            if is_particle:
                last = nxt + 1
                continue
            if len(word) == 1 and is_capital and norm.startswith(".", spans[nxt][1]):
                last = nxt  # "Светлана К."
                break
            if word in stop or not word.isalpha():
                break
            if is_cyrillic:
                folded = fold(word)
                if (
                    (_CYR_PATRONYMIC.fullmatch(word) and len(word) > 5)
                    or (folded in surnames() and (is_capital or folded not in AMBIGUOUS))
                    or (is_capital and (_CYR_SURNAME.fullmatch(word) or folded in lexicon() or len(word) == 1))
                ):
                    last = nxt
                    continue
                break
            if is_capital and word not in _FAMOUS_AFTER:
                last = nxt
                continue
            if word in self._known:
                last = nxt
                continue
            break
        first = i
        if is_cyrillic and i and norm[spans[i - 1][1] : spans[i][0]] == " ":
            word = words[i - 1]
            is_surname = fold(word) in surnames() or (
                bool(_CYR_SURNAME.fullmatch(word))
                and len(word) > 4
                and norm[spans[i][0]].isupper()
                and word not in _CYR_NOT_SURNAME
            )
            if is_surname and norm[spans[i - 1][0]].isupper():
                first = i - 1
        elif i and norm[spans[i - 1][1] : spans[i][0]] == " " and words[i - 1] in self._known:
            first = i - 1
        return first, last

    def _alone(self, view: View, names: dict[str, NameForm]) -> Iterator[Hit]:
        """Surnames and patronymics without a first name; and what follows a title."""
        norm = view.norm
        if view.has_cyrillic:
            for word, (start, end) in zip(view.words, view.tokens_at, strict=True):
                if word[0] < "\u0400" or len(word) < 5:
                    continue
                if word in patronymics():
                    yield Hit(start, end, Entity.PERSON, 0.6, "name.patronymic")
                elif (
                    norm[start].isupper()
                    and not norm.isupper()
                    and (fold(word) in surnames() or (_CYR_SURNAME.fullmatch(word) and is_surname_form(word)))
                    and not _STREET_BEFORE.search(norm[:start][-16:])
                    and not _FAMOUS.fullmatch(word)
                    and fold(word) not in _CYR_NOT_ALONE
                ):
                    yield Hit(start, end, Entity.PERSON, 0.6, "name.surname")
        if view.lang == "pl":
            for match in _POLISH_SURNAME.finditer(norm):
                yield Hit(match.start(), match.end(), Entity.PERSON, 0.55, "name.surname")
        if not view.wake & Wake.TITLE:
            return
        for match in _TITLED.finditer(norm):
            if match["name"].split()[0].lower() not in _NOT_SURNAME:
                yield Hit(match.start("name"), match.end("name"), Entity.PERSON, 0.6, "name.titled")

    @staticmethod
    def _vietnamese(norm: str) -> Iterator[Hit]:
        for pattern, group, rule in ((_VI_HONORIFIC, "n", "name.vi-titled"), (_VI_FULL, 0, "name.vi-full")):
            for match in pattern.finditer(norm):
                if not _VI_STREET.search(norm[: match.start()]):
                    yield Hit(match.start(group), match.end(group), Entity.PERSON, 0.65, rule)
        for match in _VI_LONE.finditer(norm):
            before = norm[: match.start()]
            if (not before.strip() or _VI_CUE.search(before)) and not _VI_STREET.search(before):
                yield Hit(match.start("n"), match.end("n"), Entity.PERSON, 0.6, "name.vi")

    @staticmethod
    def _chinese(norm: str) -> Iterator[Hit]:
        for match in _CJK_NAME.finditer(norm):
            group = match.lastgroup or "full"
            if match[group] not in _CJK_STOP and not (group == "titled" and len(match[group]) > 3):
                yield Hit(match.start(group), match.end(group), Entity.PERSON, 0.6, "name.zh")


_CYR_NOT_ALONE = frozenset(
    ["королева", "князева", "быков", "волков", "медведев", "новиков", "попова", "попов", "белов", "чернов", "зайцев"]
) & frozenset(("королева",))
_NEVER_LOWER = read_words("names_never_lower.txt")
_PLACES = read_words("places.txt")
_COMMONLY_NAMES = read_words("commonly_names.txt")
TRIGGERS_BUT_NAMES: frozenset[str] = frozenset(
    [
        "mum",
        "mom",
        "dad",
        "mama",
        "papa",
        "мама",
        "папа",
        "мам",
        "пап",
        "брат",
        "сестра",
        "дом",
        "home",
        "boss",
        "work",
        "chef",
        "mamá",
        "papá",
        "maman",
    ]
)
_POLISH_SURNAME = re.compile(
    r"(?<!\w)[A-ZŁŚŻŹĆ][a-ząćęłńóśźż]{2,}(?:ski|cki|dzki|ska|cka|dzka|skiego|ckiego|skiej|ckiej|skiemu|skim|wicz|wicza|czyk|czyka|czak)(?!\w)(?! (?:ul|aleja|plac))"
)
_TITLED = re.compile(
    r"(?<![\w])(?:[Mm]r|[Mm]rs|[Mm]s|[Mm]iss|[Dd]r|[Pp]rof|Señor|Señora|[Ss]eñor|[Ss]eñora|[Ss]ra?|[Dd]on|[Dd]oña|[Mm]onsieur|[Mm]adame|[Mm]me|[Mm]lle|[Hh]err[n]?|[Ff]rau|[Ss]enhora?|[Ss]ignora?|[Ss]ig\.?ra|[Pp]an[ia]?|[Pp]anem|[Pp]anią|[Aa]unt(?:ie)?|[Uu]ncle|[Tt][ií]o|[Tt][ií]a|[Oo]nkel|[Tt]ante|[Zz]i[oa]|[Cc]iocia|[Ww]ujek)\.? (?P<name>[A-ZÀ-ÖØ-ÞŁŚŻŹĆČŠĐİŞÇĞ][\w'’]+(?:[ \-][A-ZÀ-ÖØ-ÞŁŚŻŹĆČŠĐİŞÇĞ][\w'’]+){0,2})"
)


def _is_title_case(words: list[str], spans: list[tuple[int, int]], norm: str) -> bool:
    """Return whether most words are capitalised, so that a capital says nothing."""
    n = sum(norm[s].isupper() for s, _ in spans)
    return len(words) > 3 and n * 2 > len(words)


def known_forms(people: Iterable[KnownPerson]) -> dict[str, str]:
    """Return each written form of the people's names, folded, with whose it is.

    Full names bring their short forms and the reverse; Cyrillic names come in all cases.
    """
    out: dict[str, str] = {}
    by_full: dict[str, list[NameForm]] = {}
    for entry in lexicon().values():
        if entry.case == "nom":
            by_full.setdefault(entry.full, []).append(entry)
    for person in people:
        for name in person.names:
            for part in re.findall(r"[^\W\d_]+", name):
                base = fold(part)
                if len(base) < 2 or base in _NOT_SURNAME or base in _CYR_NOT_SURNAME or base in _PARTICLES:
                    continue
                form = lexicon().get(base)
                out.setdefault(base, person.person_id)
                if base[0] < "\u0400":
                    if base not in AMBIGUOUS and len(base) > 3 and form is not None:
                        for other in by_full.get(form.full, ()):
                            out.setdefault(other.base, person.person_id)
                    continue
                gender = form.gender if form else "f" if base.endswith(("а", "я")) else "m"
                language = form.language if form else "ru"
                bases = {base, *(e.base for e in by_full.get(form.full, ()))} if form else {base}
                for each in bases:
                    for case, written in decline(each, gender, language, is_surname=form is None).items():
                        if case != "voc" and len(written) > 2:
                            out.setdefault(written, person.person_id)
    return out


@cache
def _morphology() -> Any:
    import pymorphy3

    return pymorphy3.MorphAnalyzer(lang="ru")


@lru_cache(maxsize=16384)
def is_surname_form(word: str) -> bool:
    """Return whether pymorphy3's dictionary knows `word` (lower case) as a surname before anything else."""
    parses = _morphology().parse(word)
    return bool(parses) and "Surn" in parses[0].tag


@lru_cache(maxsize=16384)
def is_plain_word(word: str) -> bool:
    """Return whether a Russian word is in the dictionary and never a name there."""
    analyser = _morphology()
    if not word.isalpha() or not analyser.word_is_known(word.lower()):
        return False
    return not any(tag in parse.tag for parse in analyser.parse(word.lower()) for tag in ("Name", "Surn", "Patr"))


@lru_cache(maxsize=4096)
def is_noun_in_nominative(word: str) -> bool | None:
    """Return whether a Russian word can be a noun as subject or object; None where the dictionary lacks it."""
    analyser = _morphology()
    if not analyser.word_is_known(word):
        return None
    parses = [parse for parse in analyser.parse(word) if parse.score >= 0.15]
    return parses[0].tag.POS == "NOUN" and any(
        parse.tag.POS == "NOUN" and {"nomn"} & set(parse.tag.grammemes) for parse in parses
    )


@lru_cache(maxsize=65536)
def describe(word: str) -> NameForm | None:
    """Return what the first-name lists know of a written word."""
    return lexicon().get(fold(word))
