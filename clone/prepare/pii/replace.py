"""What stands in the place of a finding: a typed tag for a secret, a stable surrogate for an identity.

A surrogate is drawn by HMAC-SHA-256 under the workspace's key, so that one person is one pseudonym everywhere and the
mapping cannot be recomputed without the key. Same script and gender; Russian and Ukrainian names keep their case.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from clone.prepare.pii.names import NameForm, decline, describe, fold
from clone.prepare.pii.types import ContactChoice, Entity, Finding, KnownPerson
from clone.prepare.pii.words import name_lines

_MEMORY = 20_000  # surrogates that are remembered
_LANGUAGES = ("ru", "uk", "en", "es", "fr", "de", "pt", "it", "pl", "tr", "vi", "zh")
_STREETS = {
    "cyrillic": (
        "Садовая",
        "Луговая",
        "Полевая",
        "Лесная",
        "Озёрная",
        "Речная",
        "Школьная",
        "Заречная",
        "Вишнёвая",
        "Цветочная",
    ),
    "latin": ("Elm", "Maple", "Cedar", "Willow", "Orchard", "Meadow", "Juniper", "Aspen", "Linden", "Hazel"),
    "cjk": ("松林", "清泉", "梅园", "竹溪", "桃源", "柳湖", "枫林", "银杏"),
}
_NICKS = (
    "fox",
    "otter",
    "heron",
    "maple",
    "comet",
    "pixel",
    "ember",
    "lark",
    "birch",
    "raven",
    "cobalt",
    "quartz",
    "finch",
    "tundra",
    "delta",
    "mango",
)


@cache
def _families(language: str, gender: str) -> tuple[tuple[str, ...], ...]:
    """Return the names a surrogate is drawn from: (full, short, ...) each, in a fixed order."""
    out: list[tuple[str, ...]] = []
    for of, kind, names in name_lines():
        if of != language or kind != gender:
            continue
        if len(names) <= 12:
            if len(names) > 1:
                out.append(tuple(n for n in names if n.isalpha()))
        else:
            out.extend((n,) for n in names[:400] if n.isalpha() and len(n) > 2)
    return tuple(sorted(set(out))) or (("Alex",),)


@cache
def _surnames(language: str) -> tuple[str, ...]:
    for of, kind, names in name_lines():
        if of == language and kind == "last":
            return tuple(n for n in names if n.isalpha())
    return (
        "Miller",
        "Carter",
        "Weber",
        "Moreno",
        "Laurent",
        "Rossi",
        "Novak",
        "Silva",
        "Hansen",
        "Fischer",
        "Morgan",
        "Bennett",
        "Costa",
        "Marin",
        "Keller",
        "Dubois",
    )


def script_of(text: str) -> str:
    """Return "cyrillic", "cjk" or "latin" by the first letter that tells."""
    for char in text:
        if "\u0400" <= char <= "\u052f":
            return "cyrillic"
        if "\u3400" <= char <= "\u9fff":
            return "cjk"
        if char.isalpha():
            return "latin"
    return "latin"


_CASE_ENDINGS = (
    # (ending, gender, case) of Russian surnames, longest first
    ("скому", "m", "dat"), ("ского", "m", "gen"), ("ским", "m", "ins"), ("ском", "m", "pre"), ("ской", "f", "gen"), ("скую", "f", "acc"), ("ская", "f", "nom"), ("ский", "m", "nom"),
    ("овой", "f", "gen"), ("евой", "f", "gen"), ("иной", "f", "gen"), ("овым", "m", "ins"), ("евым", "m", "ins"), ("иным", "m", "ins"),
    ("ова", "f", "nom"), ("ева", "f", "nom"), ("ина", "f", "nom"), ("ову", "m", "dat"), ("еву", "m", "dat"), ("ину", "m", "dat"), ("ове", "m", "pre"), ("еве", "m", "pre"), ("ов", "m", "nom"), ("ев", "m", "nom"), ("ин", "m", "nom"),
)  # fmt: skip


class Replacer:
    """Draws what takes a finding's place."""

    def __init__(self, key: bytes, people: Sequence[KnownPerson] = (), forms: Mapping[str, str] | None = None) -> None:
        self._key = key
        self._forms = dict(forms or {})
        self._drawn: dict[tuple[Entity, str], str] = {}
        self._people: dict[str, tuple[str, ...]] = {}
        self._genders: dict[str, str] = {}
        self._with_first_name: set[str] = set()
        taken: set[str] = set()
        for person in sorted(
            (p for p in people if p.choice is not ContactChoice.ALLOW), key=lambda p: self._digest("order", p.person_id)
        ):
            words = [w for name in person.names for w in re.findall(r"[^\W\d_]+", name)]
            known = next((f for f in map(describe, words) if f), None)
            language = (
                known.language if known else {"cyrillic": "ru", "cjk": "zh"}.get(script_of(" ".join(words)), "en")
            )
            gender = (
                known.gender
                if known and known.gender in "mf"
                else "mf"[self._digest("gender", person.person_id)[0] % 2]
            )
            families = _families(language, gender)
            start = self._number("person", person.person_id) % len(families)
            family = next(
                (
                    families[(start + i) % len(families)]
                    for i in range(len(families))
                    if families[(start + i) % len(families)][0] not in taken
                ),
                families[start],
            )
            taken.add(family[0])
            self._people[person.person_id] = family
            self._genders[person.person_id] = gender
            if known:
                self._with_first_name.add(person.person_id)
        self._used = taken

    def _digest(self, *parts: str) -> bytes:
        return hmac.new(self._key, "\x1f".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    def _number(self, *parts: str) -> int:
        return int.from_bytes(self._digest(*parts)[:8], "big")

    def pseudonym(self, person_id: str) -> str:
        """Return the one name a known person has everywhere; for strangers, one drawn from their id."""
        family = self._people.get(person_id)
        if family is None:
            families = _families("en", "mf"[self._digest("gender", person_id)[0] % 2])
            return families[self._number("person", person_id) % len(families)][0]
        return family[0]

    def replace(self, text: str, findings: Iterable[Finding]) -> str:
        """Return `text` with every finding replaced. Findings are sorted and do not overlap."""
        out: list[str] = []
        at = 0
        for finding in findings:
            out.append(text[at : finding.start])
            out.append(self.surrogate(finding.entity, text[finding.start : finding.end]))
            at = finding.end
        out.append(text[at:])
        return "".join(out)

    def surrogate(self, entity: Entity, value: str) -> str:
        """Return what stands for one value."""
        known = self._drawn.get((entity, value))  # names come again and again
        if known is None:
            if len(self._drawn) >= _MEMORY:
                self._drawn.clear()
            known = self._drawn[entity, value] = self._draw(entity, value)
        return known

    def _draw(self, entity: Entity, value: str) -> str:
        if entity is Entity.PERSON:
            return self._person(value)
        if entity is Entity.PHONE_NUMBER:
            return self._phone(value)
        if entity is Entity.EMAIL_ADDRESS:
            canonical = re.sub(r"\s", "", value.lower())
            return f"{self._nick('email', canonical)}@example.org"
        if entity is Entity.USERNAME:
            return self._nick("username", value.lower())
        if entity is Entity.ADDRESS:
            return self._address(value)
        if entity is Entity.DATE_OF_BIRTH:
            return self._date(value)
        return f"[{entity.value}]"

    def _nick(self, kind: str, value: str) -> str:
        digest = self._digest(kind, value)
        return f"{_NICKS[digest[0] % len(_NICKS)]}_{digest[1:4].hex()}"

    # -- people ----------------------------------------------------------------------------------------------------

    def _person(self, value: str) -> str:
        if script_of(value) == "cjk":
            return self._chinese(value)
        first: NameForm | None = None
        gender = ""
        for word in re.findall(r"[^\W\d_]+", value):
            first = first or describe(word)
        gender = first.gender if first else ""
        return re.sub(r"[^\W\d_]+(?:['’][^\W\d_]+)?", lambda m: self._name_word(m[0], gender), value)

    def _name_word(self, word: str, gender: str) -> str:
        key = fold(word)
        if len(key) == 1:
            return chr(ord("A" if key < "\u0400" else "А") + self._digest("initial", key)[0] % 20)
        form = describe(word)
        owner = self._forms.get(key)
        if owner in self._people and (form is not None or owner not in self._with_first_name):
            drawn = self._people[owner]
            return self._shape(word, drawn, form, self._genders[owner])
        if form is not None and form.language != "vi":
            of = form.gender if form.gender in "mf" else (gender or "m")
            families = _families(form.language, of)
            drawn = families[self._number("name", form.full) % len(families)]
            if len(drawn) > 1 and drawn[0] in self._used:
                drawn = families[(self._number("name", form.full) + 1) % len(families)]
            return self._shape(word, drawn, form, of)
        return self._surname(word, key, gender)

    def _shape(self, word: str, drawn: tuple[str, ...], form: NameForm | None, gender: str) -> str:
        """Return the drawn name, short where the original was, in its case and capitals."""
        name = drawn[0]
        if form is not None and form.base != form.full and len(drawn) > 1:
            name = drawn[1 + self._number("short", form.base) % (len(drawn) - 1)]
        if (
            form is not None
            and form.language in ("ru", "uk")
            and form.case not in ("nom", "voc")
            and script_of(name) == "cyrillic"
        ):
            name = decline(name.lower(), gender, form.language)[form.case]
        return _like(word, name)

    def _surname(self, word: str, key: str, gender: str) -> str:
        if script_of(word) != "cyrillic":
            pool = _surnames("en")
            return _like(word, pool[self._number("surname", key) % len(pool)])
        patronymic = re.fullmatch(r"(\w+?)(ович|евич|ич|ыч|овна|евна|инична)(\w*)", key)
        if patronymic and not key.endswith(("вичем", "ыча")):
            stems = ("борис", "роман", "степан", "федор", "марк", "тимур", "артур", "давид", "захар", "глеб")
            stem = stems[self._number("patronymic", patronymic[1]) % len(stems)]
            ending = {"ич": "ович", "ыч": "ыч", "евич": "ович", "евна": "овна", "инична": "овна"}.get(
                patronymic[2], patronymic[2]
            )
            return _like(word, stem + ending + patronymic[3])
        case, of = "nom", gender or "m"
        stem = key
        for ending, ending_gender, ending_case in _CASE_ENDINGS:
            if key.endswith(ending):
                case, of, stem = ending_case, ending_gender, key[: -len(ending)]
                break
        if gender == "m" and key.endswith(("ова", "ева", "ина")):
            case, of = "gen", "m"
        pool = tuple(n for n in _surnames("ru") if n.endswith(("ов", "ев", "ин")) and len(n) > 4)
        name = pool[self._number("surname", stem) % len(pool)].lower()
        if of == "f":
            name += "а"
        return _like(word, name if case == "nom" else decline(name, of, is_surname=True)[case])

    def _chinese(self, value: str) -> str:
        surnames = "林周吴徐孙胡朱高何郭罗梁宋郑谢韩唐冯董萧"
        given = "安宁乐文博晨睿思远嘉佳子欣怡宇浩然明朗"
        digest = self._digest("name", value)
        if value[0] in "小老阿":
            return value[0] + surnames[digest[0] % len(surnames)]
        return surnames[digest[0] % len(surnames)] + "".join(given[d % len(given)] for d in digest[1 : len(value)])

    # -- numbers ---------------------------------------------------------------------------------------------------

    def _phone(self, value: str) -> str:
        """Return a number of the same writing, country and length, from a range nobody has.

        Ranges: 555-01xx (NANPA), 07700 900xxx (Ofcom), 06 39 98 xx xx (Arcep), 0171 39200xx (BNetzA); elsewhere the
        national part begins 000, which no plan assigns.
        """
        digits = re.sub(r"\D", "", value)
        has_plus = value.strip().startswith("+") or digits.startswith("00")
        if digits.startswith("00"):
            prefix, national = "00", digits[2:]
        else:
            prefix, national = "", digits
        country = ""
        if has_plus:
            for code in ("1", "7", "44", "33", "49"):
                if national.startswith(code):
                    country = code
                    break
            else:
                country = national[:2] if national[:2] in _TWO_DIGIT else national[:3]
        elif len(digits) == 11 and digits[0] in "178":
            country = digits[0]
        rest = national[len(country) :]
        drawn = "".join(str(b % 10) for b in self._digest("phone", digits[-9:]))
        trunk = "0" if rest.startswith("0") else ""
        body = rest[len(trunk) :]
        fixed = "000"
        if (country == "1" and len(body) == 10) or (
            not country and len(digits) == 10 and not trunk and digits[0] in "23456789"
        ):
            fixed = body[:3] + "55501"
        elif (country == "44" or trunk) and body.startswith("7") and len(body) == 10:
            fixed = "7700900"
        elif (country == "33" or trunk) and len(body) == 9 and body[0] in "67":
            fixed = "63998"
        elif country == "49" and body.startswith("1") and len(body) >= 10:
            fixed = "17139200"
        fresh = (fixed + drawn)[: len(body)]
        stream = iter(prefix + country + trunk + fresh)
        return "".join(next(stream) if c.isdecimal() else c for c in value)

    def _date(self, value: str) -> str:
        """Return another date in the same writing: the year stays within three, day and month are drawn."""
        digest = self._digest("birth", re.sub(r"\W", "", value))
        day, month, shift = 1 + digest[0] % 28, 1 + digest[1] % 12, digest[2] % 7 - 3

        def number(match: re.Match[str]) -> str:
            text = match[0]
            if len(text) == 4:
                return str(int(text) + shift)
            if len(text) == 8:
                return (
                    f"{day:02}{month:02}{text[4:]}" if text[:2] not in ("19", "20") else f"{text[:4]}{month:02}{day:02}"
                )
            if match.start() == 0 or len(re.findall(r"\d+", value)) <= 2:
                return f"{day:0{len(text)}}"
            return f"{month:0{len(text)}}"

        return re.sub(r"\d+", number, value)

    def _address(self, value: str) -> str:
        digest = self._digest("address", re.sub(r"\W", "", value.lower()))
        script = script_of(value)
        streets = _STREETS[script]
        street, house, flat = streets[digest[0] % len(streets)], 1 + digest[1] % 60, 1 + digest[2] % 90
        has_flat = len(re.findall(r"\d+", value)) > 1
        if script == "cyrillic":
            return f"ул. {street}, {house}" + (f", кв. {flat}" if has_flat else "")
        if script == "cjk":
            return f"{street}路{house}号" + (f"{flat}室" if has_flat else "")
        return f"{house} {street} Street" + (f", Apt {flat}" if has_flat else "")


_TWO_DIGIT = frozenset(
    [
        "20",
        "27",
        "30",
        "31",
        "32",
        "34",
        "36",
        "39",
        "40",
        "41",
        "43",
        "45",
        "46",
        "47",
        "48",
        "51",
        "52",
        "53",
        "54",
        "55",
        "56",
        "57",
        "58",
        "60",
        "61",
        "62",
        "63",
        "64",
        "65",
        "66",
        "81",
        "82",
        "84",
        "86",
        "90",
        "91",
        "92",
        "93",
        "94",
        "95",
        "98",
    ]
)


def _like(model: str, name: str) -> str:
    """Return `name` with the capitals of `model`."""
    if model.isupper() and len(model) > 1:
        return name.upper()
    return name[:1].upper() + name[1:].lower() if model[:1].isupper() else name.lower()
