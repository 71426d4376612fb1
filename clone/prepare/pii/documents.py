"""Numbers of documents: identity, tax, health, licences, passports, plates; and birth dates.

What has a shape or a check digit of its own is found by it; the rest needs the document's name within reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.types import Entity
from clone.prepare.pii.values import chinese_id_ok, cpf_ok, inn_ok, pesel_ok, tckn_ok
from clone.prepare.pii.view import View
from clone.prepare.pii.words import Wake

_N, _E = r"(?<![\w+])(?<!\d[.\-/])", r"(?![\w])(?![.\-/]\d)"
_SHAPES: tuple[tuple[str, Entity, str], ...] = (
    ("ru_snils", Entity.NATIONAL_ID, r"\d{3}[- ]\d{3}[- ]\d{3}[- ]\d{2}"),
    ("us_ssn", Entity.NATIONAL_ID, r"(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}"),
    ("gb_licence", Entity.DRIVER_LICENSE, r"[A-Z]{2,5}9{0,3}\d[0156]\d[0-3]\d\d[A-Z9]{2}\d[A-Z]{2}"),
    ("gb_nino", Entity.NATIONAL_ID, r"(?:[ABCEGHJ-PRSTW-Z][A-CEGHJ-NPRSTW-Z]) ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),
    ("es_dni", Entity.NATIONAL_ID, r"(?:[XYZxyz][- ]?\d{7}|\d{2}\.?\d{3}\.?\d{3})[- ]?[A-HJ-NP-TV-Za-hj-np-tv-z]"),
    (
        "fr_nir",
        Entity.NATIONAL_ID,
        r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3}(?: ?\d{2})?",
    ),
    ("it_cf", Entity.TAX_ID, r"[A-Za-z]{3} ?[A-Za-z]{3} ?\d{2}[A-Za-z]\d{2} ?[A-Za-z]\d{3}[A-Za-z]"),
    ("br_cpf", Entity.TAX_ID, r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    ("br_cnpj", Entity.TAX_ID, r"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}"),
    ("pl_nip", Entity.TAX_ID, r"\d{3}-\d{3}-\d{2}-\d{2}|\d{3}-\d{2}-\d{2}-\d{3}"),
    ("pl_dowod", Entity.NATIONAL_ID, r"[A-Z]{3} ?\d{6}"),
    ("cn_id", Entity.NATIONAL_ID, r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx]"),
    ("es_nss", Entity.HEALTH_ID, r"\d{2}[/ ]\d{8}[/ ]\d{2}"),
    ("ua_unzr", Entity.NATIONAL_ID, r"(?:19|20)\d{6}-\d{5}"),
    ("de_sv", Entity.HEALTH_ID, r"\d{2} ?\d{6} ?[A-Z] ?\d{3}"),
    ("mx_curp", Entity.NATIONAL_ID, r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d"),
    ("mx_rfc", Entity.TAX_ID, r"[A-Z]{3,4}\d{6}[A-Z0-9]{3}"),
    (
        "us_mbi",
        Entity.HEALTH_ID,
        r"[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}",
    ),
    ("br_rg", Entity.NATIONAL_ID, r"\d{1,2}\.\d{3}\.\d{3}-[\dXx]"),
    ("ru_passport", Entity.PASSPORT, r"\d{2} ?\d{2} \d{6}|\d{4} №? ?\d{6}"),
    ("ru_birth", Entity.NATIONAL_ID, r"[IVXІХ]{1,4}-[А-Я]{2} ?№? ?\d{6}"),
    ("it_cie", Entity.NATIONAL_ID, r"C[A-Z] ?\d{5} ?[A-Z]{2}"),
    ("vn_bhyt", Entity.HEALTH_ID, r"[A-Z]{2} ?\d ?\d{2} ?\d{10}"),
)
# What must not stand before any of them is asked once a place, not once a shape: most places are inside a word.
# So is that five digits follow, close to each other and to it.
_SHAPE = re.compile(
    rf"{_N}(?=\D{{0,10}}\d(?:\D{{0,3}}\d){{4}})(?:{'|'.join(f'(?P<{name}>(?:{pattern}){_E})' for name, _, pattern in _SHAPES)})"
)
_SHAPE_ENTITY = {name: entity for name, entity, _ in _SHAPES}
_CHECKED_11 = re.compile(rf"{_N}\d{{11}}{_E}")
_CHECKED_12 = re.compile(rf"{_N}\d{{12}}{_E}")

_DOCUMENTS: tuple[tuple[Entity, str], ...] = (
    (
        Entity.PASSPORT,
        r"загран\w*|закордонн\w*|паспорт\w*|серия(?: и номер)?|passport\w*|pasaport[eu]?\w*|passeport\w*|reisepass\w*|passnummer|passaporto?\w*|passaporte|paszport\w*|hộ chiếu|ho chieu|护照号?码?(?:是)?|свидетельств\w+|pass-?(?:nr|no)\b\.?|travel document|通行证号?|回乡证号?|ідент?-?картк\w+|(?:id|ід|айді)[- ]картк\w+",
    ),
    (
        Entity.DRIVER_LICENSE,
        r"(?:водительск\w+|вод\.?|в/у|ву)(?: удостоверен\w+| права?\w*)?|права(?: номер)?|driver'?s? ?licen[cs]e|driving licen[cs]e|licen[cs]e (?:no|number|num|#)|dl(?: no| number|#)?|permis(?: de conduire)?|carnet de conducir|licencia(?: de conducir)?|"
        r"führerschein\w*|fuehrerschein\w*|carta de condução|cnh|habilitação|patente(?: di guida)?|prawo jazdy|prawa jazdy|ehliyet\w*|bằng lái|gplx|giấy phép lái|驾驶证号?|驾照号?|посвідчення водія|водійськ\w+|номер прав|fahrerlaubnis|lappen|fs[- ]?n(?:umme)?r|sürücü belgesi(?: no)?|licen[cs]e(?= (?:is )?[A-Z]?\d{3})",
    ),
    (
        Entity.HEALTH_ID,
        r"омс|енп|полис\w*|дмс|медполис\w*|medical id|kv[- ]?n(?:umme)?r|kk[- ]?nummer|versicherungsnummer|egk|sns|tessera|ts|bảo hiểm|nhs(?: number| no)?|medicare|medicaid|health (?:card|id|insurance)(?: number| no)?|insurance (?:id|number|no|member)|member id|mrn|tarjeta sanitaria|cip|nuss|número de la seguridad social|seguridad social|"
        r"carte vitale|sécurité sociale|securite sociale|num(?:éro)? (?:de )?sécu\w*|sécu|secu|versicherten(?:nummer|nr)?|krankenkasse\w*|krankenversicher\w*|kvnr|gesundheitskarte|sozialversicherungs\w*|rentenversicherung\w*|cns|cartão sus|sus|utente|nº de utente|tessera sanitaria|"
        r"sgk(?: no)?|bhyt|bảo hiểm y tế|bhxh|bảo hiểm xã hội|医保卡?号?|社保卡?号?",
    ),
    (
        Entity.TAX_ID,
        r"инн|огрн(?:ип)?|кпп|ein|itin|tin|tax (?:id|number|no|file number)|tfn|utr|vat(?: no| number| id)?|cif|rfc|(?:num[eé]ro )?fiscal|spi|siret|siren|steuer-?(?:id|nr|nummer|identifikationsnummer)\w*|idnr|ust-?id\w*|cpf|cnpj|nif|contribuinte|codice fiscale|cod\.? fisc\w*|c\.?f\.?|partita iva|p\.? ?iva|"
        r"nip|regon|vergi(?: kimlik)?(?: no| numara\w*)?|vkn|mst|mã số thuế|税号|纳税人?识别号|steuer[ -]?(?:id|nr|nummer)\w*|st\.? ?-?nr\.?|imp[oô]ts|fein|employer id|рнокпп|іпн|ідентифікаційн\w+(?: код| номер)?|єдрпоу|податков\w+",
    ),
    (
        Entity.NATIONAL_ID,
        r"снилс|ss#|soc sec|ssn|social(?: security)?(?: number| no)?|soc sec|nino?|ni number|national insurance(?: number| no)?|national id|id (?:card|number|no)|sin(?: number)?|nric|aadhaar|pan|dni|nie|nif|curp|carte d'identité|cni|pièce d'identité|nir|insee|personal-?ausweis\w*|ausweis\w*|pers?o?\.?-?(?:nr|nummer)|perso|id[- ]nummer|c[eé]dula|rut|ci(?= ?\d)|"
        r"rg|t[ií]tulo de eleitor|pis|pasep|ctps|titre de séjour|carte de séjour|residence permit|brp|green card|permesso di soggiorno|tessera elettorale|aufenthaltstitel|aufenthaltserlaubnis|schwerbehinderten\w+|karta pobytu|legitymacj\w|ikamet\w*|внж|рвп|居住证号?|identidade|bilhete de identidade|cart[aã]o de cidad[aã]o|niss|carta d'identit[aà]|c\.?i\.?e?|documento(?: d'identità| de identidad)?|pesel\w{0,3}|dow[oó]d(?:u|em)?(?: osobist\w+)?|(?:tc|t\.c\.)(?: ?kimlik)?(?: ?no| numara\w*)?|kimlik(?: no| numara\w*)?|tckn|cccd|cmnd|cmt|căn cước(?: công dân)?|(?:số |mã )?định danh|chứng minh(?: nhân dân| thư)?|dow\. ?os\.?|carta identit[aà]|tcm|"
        r"身份证号?码?|身份證|证件号?|ід-картк\w+|id-картк\w+|посвідк\w+|удостоверен\w+|военник|военн\w+ билет\w*|унзр|свид\w+ о рожден\w+",
    ),
)
_DOC_KEYWORD = re.compile(
    r"(?<![^\W_\u3400-\u9fff])(?:"
    + "|".join(rf"(?P<d{i}>(?:{pattern})(?![^\W_]))" for i, (_, pattern) in enumerate(_DOCUMENTS))
    + ")",
    re.IGNORECASE,
)
_DOC_VALUE = re.compile(
    r"(?<![\w+])(?:[A-Za-zА-ЯІЇЄҐа-яіїєґ]{1,5}[ \-.]{0,2}(?:№ ?)?)?\d(?:[ \-./]{0,2}(?:\d|[А-ЯІЇЄҐA-Z]{2} ?(?=\d{4})|(?:№ ?|номер |number )?(?=\d)|[A-Za-zА-Я](?=[\d \-]|[A-Za-zА-Я]?\d|\b)|[A-Z]{1,3}(?=\d|\b))){4,28}(?![\w])|(?<![\w])(?=(?:[A-Z0-9]*\d){3})[A-Z0-9]{7,20}(?![\w])"
)
_IS_MY = re.compile(  # between a number and the name of its document
    r"[\s,\-–—:]*(?:(?:is|'s|это|це|es|est|c'est|ist|é|è|to|là|questo è|to jest|bu|是|这是)\s+)?(?:(?:my|his|her|the|mum's|мой|моя|мамин\w*|мій|моя|mi|mon|ma|sa|mein[e]?|il|il mio|mio|o meu|meu|mój|moja|của \w+|我的?)\s*)?",
    re.IGNORECASE,
)
_MIXED = re.compile(r"(?<![\w.\-/])(?=[A-Z]*\d)(?=[0-9]*[A-Z])[A-Z0-9]{9,12}(?![\w])")
_SOMEONES = re.compile(  # "mine X41882073, hers 129840557"
    r"(?<![^\W_])(?:hers|his|mine|yours|theirs|ihr\w?|ihre|seine?r?|meine?r?|её|ее|его|мой|моя|жены|мужа|сына|дочки|дочери|её|suy[oa]|el suyo|mí[oa]|su[oa]|mi[oa]|le sien|la sienne|le mien|dela|dele|meu|minha|jej|jego|mój|onun|benim|її|його|мій)\W{1,3}([A-Z]{0,3} ?\d{6,10}[A-Z]?)(?![\w.])",
    re.IGNORECASE,
)
_DOC_STOP = re.compile(
    r"\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})|\d{1,2}:\d{2}|\+\d|\d{4} ?(?:руб|р\b|₽|год|г\b)", re.IGNORECASE
)


class ChatDocumentRecognizer(ChatRecognizer):
    """Identity, tax, health and licence numbers."""

    wake = Wake.DIGITS | Wake.DOCUMENT
    entities = (Entity.NATIONAL_ID, Entity.TAX_ID, Entity.HEALTH_ID, Entity.PASSPORT, Entity.DRIVER_LICENSE)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_DOC_KEYWORD,)

    def scan(self, view: View) -> Iterator[Hit]:
        if not view.n_digits:
            return
        norm = view.norm
        if view.n_digits < 5:
            if view.wake & (Wake.DOCUMENT | Wake.CJK):
                yield from self._mixed(view)
            return
        for match in _SHAPE.finditer(norm):
            name = match.lastgroup or ""
            if self._shape_holds(name, match[0], norm, match.start(), view):
                yield Hit(match.start(), match.end(), _SHAPE_ENTITY[name], 0.75, f"document.{name}")
        for match in _CHECKED_11.finditer(norm) if view.n_digits >= 11 else ():
            digits = match[0]
            is_named = bool(view.wake & Wake.DOCUMENT)
            if (is_named or digits[0] not in "78") and (
                (pesel_ok(digits) and _is_pesel_date(digits)) or (tckn_ok(digits) and not norm.isascii())
            ):
                yield Hit(match.start(), match.end(), Entity.NATIONAL_ID, 0.6, "document.checked")
            elif cpf_ok(digits) and len(set(digits)) > 2 and digits[0] not in "78":
                yield Hit(match.start(), match.end(), Entity.TAX_ID, 0.55, "document.checked")
        if view.has_cyrillic:
            for match in _CHECKED_12.finditer(norm):
                if inn_ok(match[0]):
                    yield Hit(match.start(), match.end(), Entity.TAX_ID, 0.6, "document.checked")
        if not view.wake & (Wake.DOCUMENT | Wake.CJK | Wake.PLATE) and "в/у" not in view.low:
            return
        yield from self._mixed(view)
        keywords = view.matches(_DOC_KEYWORD)
        for i, keyword in enumerate(keywords):
            stop = (
                keywords[i + 1].start()
                if i + 1 < len(keywords) and keywords[i + 1].start() - keyword.end() > 12
                else len(norm)
            )
            entity = _DOCUMENTS[int((keyword.lastgroup or "d0")[1:])][0]
            for match in _DOC_VALUE.finditer(norm, max(0, keyword.start() - 40), keyword.start()):
                n_digits = sum(c.isdigit() for c in match[0])
                if n_digits >= 6 and _IS_MY.fullmatch(norm, match.end(), keyword.start()):
                    yield Hit(match.start(), match.end(), entity, 0.75, "document.before")
            for match in _DOC_VALUE.finditer(norm, keyword.end(), stop):
                if match.start() > keyword.end() + 45:
                    break
                raw = match[0].rstrip(" -./")
                n_digits = sum(c.isdigit() for c in raw)
                if n_digits < 5 or _DOC_STOP.match(raw) or re.search(r"\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d$", raw):
                    continue
                if re.match(r"\s*(?:руб|₽|р\b|\$|€|zł|tl\b|usd|eur|元|đ\b)", norm[match.start() + len(raw) :]):
                    continue
                yield Hit(match.start(), match.start() + len(raw), entity, 0.8, "document.keyword")
                for other in _SOMEONES.finditer(norm, match.end()):
                    yield Hit(other.start(1), other.end(1), entity, 0.7, "document.another")
                if entity not in (Entity.PASSPORT, Entity.DRIVER_LICENSE):
                    break
                if n_digits >= 8:
                    break

    @staticmethod
    def _mixed(view: View) -> Iterator[Hit]:
        """Yield the numbers that are letters for the most part, as German and French cards have them."""
        for keyword in view.matches(_DOC_KEYWORD):
            entity = _DOCUMENTS[int((keyword.lastgroup or "d0")[1:])][0]
            if entity in (Entity.NATIONAL_ID, Entity.PASSPORT, Entity.DRIVER_LICENSE):
                match = _MIXED.search(view.norm, keyword.end(), keyword.end() + 36)
                if match:
                    yield Hit(match.start(), match.end(), entity, 0.8, "document.mixed")

    @staticmethod
    def _shape_holds(name: str, raw: str, norm: str, start: int, view: View) -> bool:
        is_woken = bool(view.wake & (Wake.DOCUMENT | Wake.CJK))
        before = norm[max(0, start - 30) : start].lower()
        if re.search(
            r"order|заказ|track|трек|快递|单号|运单|invoice|isbn|flight|рейс|pedido|commande|bestell|version|верси|zamówien",
            before,
        ):
            return False
        if name in ("es_dni",):
            number = re.sub(r"[^0-9XYZ]", "", raw.upper()[:-1]).translate(str.maketrans("XYZ", "012"))
            return is_woken or (len(number) == 8 and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == raw[-1].upper())
        if name == "cn_id":
            return True if is_woken else chinese_id_ok(raw) or view.wake & Wake.CJK != 0
        if name == "fr_nir":
            digits = re.sub(r"\D", "", raw)
            return is_woken or (len(digits) >= 14 and (" " in raw or 1 <= int(digits[3:5]) <= 12) and digits[0] in "12")
        if name in ("pl_dowod", "br_rg", "mx_rfc", "vn_bhyt", "es_nss", "pl_nip", "de_sv", "gb_nino"):
            return is_woken or (name in ("gb_nino", "br_rg", "de_sv") and " " not in raw)
        if name == "ru_passport":
            return is_woken or (view.has_cyrillic and re.search(r"\d{4} №? ?\d{6}", raw) is not None and raw[0] != "0")
        return True


def _is_pesel_date(digits: str) -> bool:
    month = int(digits[2:4]) % 20
    return 1 <= month <= 12 and 1 <= int(digits[4:6]) <= 31


_RU = "АВЕКМНОРСТУХавекмнорстухABEKMHOPCTYXabekmhopctyx"
_PLATE_SHAPES: tuple[tuple[str, str, bool], ...] = (
    # name, pattern, whether the shape is plain enough to need no word
    ("ru", rf"[{_RU}] ?\d{{3}} ?[{_RU}]{{2}} ?\d{{2,3}}(?: ?rus)?", True),
    ("ru_short", rf"[{_RU}]\d{{3}}[{_RU}]{{2}}", True),
    ("ru_taxi", rf"[{_RU}]{{2}} ?\d{{3}} ?\d{{2,3}}", False),
    ("ua", r"[АВЕІКМНОРСТХавеікмнорстхABEIKMHOPCTX]{2} ?-?\d{4} ?-?[АВЕІКМНОРСТХавеікмнорстхABEIKMHOPCTX]{2}", True),
    ("de_moped", r"\d{3} ?[A-Z]{3}", False),
    ("by", r"\d{4} ?[ABEIKMHOPCTXАВЕІКМНОРСТХ]{2}-\d", True),
    ("fr", r"[A-HJ-NP-TV-Z]{2}-\d{3}-[A-HJ-NP-TV-Z]{2}", True),
    ("fr_it", r"[A-Za-z]{2} ?\d{3} ?[A-Za-z]{2}", False),
    ("gb", r"[A-Za-z]{2}\d{2} ?[A-Za-z]{3}", False),
    ("es", r"\d{4}[ \-]?[BCDFGHJ-NPR-TV-Zbcdfghj-npr-tv-z]{3}", False),
    ("de", r"[A-ZÄÖÜ]{1,3}[ \-][A-Z]{1,2}[ \-]?\d{1,4}[EH]?", False),
    ("pt", r"\d{2}[- ][A-Z]{2}[- ]\d{2}|[A-Z]{2}[- ]\d{2}[- ][A-Z]{2}|\d{2}[- ]\d{2}[- ][A-Z]{2}", False),
    ("br", r"[A-Za-z]{3}[- ]?\d[A-Za-z0-9]\d{2}", False),
    ("tr", r"(?:0[1-9]|[1-7]\d|8[01]) ?[A-Za-z]{1,3} ?\d{2,5}", False),
    ("pl", r"[A-Z]{2,3} ?[A-Z0-9]{4,5}", False),
    ("vn", r"\d{2}[A-Za-zĐđ][A-Za-z0-9]?[- ]?\d{3}\.?\d{2}|\d{2}[A-Z]\d?[- ]\d{4}", True),
    ("us", r"(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{2,4}[ \-]?[A-Za-z0-9]{2,5}", False),
    ("mx", r"[A-Za-z]{3}-\d{2}-\d{2}|[A-Za-z]{3}-\d{3}-[A-Za-z]", False),
    ("cn", r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼] ?[A-Za-z][ ·.]?[A-Za-z0-9]{5,6}", True),
)
_CARS = (
    r"moto|moped|mofa|roller|scooter|furgon\w+|cami[oó]n\w*|мотик\w?|мотоцикл\w*|polo|passat|golf|škoda|skoda|octavia|opel|corsa|renault|clio|m[eé]gane|peugeot|citro[eë]n|fiat|panda|punto|nissan|mazda|hyundai|mercedes|corolla|camry|civic|dacia|duster|volvo|lexus|tesla|subaru|mitsubishi|suzuki|volkswagen|vw|chevrolet|jeep|prius"
    r"|ниссан\w?|ніссан\w?|камри|королла|солярис|рено|опель|мазд\w|хонд\w|шкод\w|мерс\w?|бмв|ауди|ауді|форд\w?|пежо|хюндай|ланос|мицубиси|фольксваген"
)
# lower-case and compact shapes, only beside a word for a car
_CAR_WORD = re.compile(
    r"(?<![^\W_])(?:auto|wagen|macchina|voiture|coche|carro|samoch[oó]d\w*|araba\w*|araç\w*|car|van|truck|suv|машин\w+|тачк\w+|авто|xe|bmw|audi|toyota|honda|ford|kia|"
    + _CARS
    + r")(?![^\W_])",
    re.IGNORECASE,
)
_CAR_PLATE = re.compile(
    r"(?<![\w.\-/#@$])(?:[a-z]{2}[ \-]?\d{3}[ \-]?[a-z]{2}|\d{4}[ \-]?(?!bmw|gtx|kmh|mhz|rpm|psc)[bcdfghj-npr-tv-z]{3}"
    r"|(?:0[1-9]|[1-7]\d|8[01]) ?(?!km|kg|kw|ps|hp|mm|cm|am|pm|gb|tl|k |l |h |m |x |d )[a-z]{1,3} ?\d{3,4}"
    r"|(?!(?:in|im|am|um|ist|bis|von|vom|es|er|so|zu|der|die|das|mit|und|auf|vor|ab|ca|nur|the|for|at|is|or|of|to|my) )[a-zäöü]{1,3}[ \-](?!(?:um|am|im|zu|so|ca) )[a-z]{1,2}[ \-]?\d{2,4}"
    r"|(?!(?:za|na|do|od|po|we|to|ma|ok|co|km) \d{4})[a-z]{2,3} ?(?:\d{5}|\d{4}[a-z]|\d{3}[a-z]{2}|\d[a-z]\d{3}|\d{2}[a-z]\d{2})"
    r"|[a-z]{3}(?! ?(?:19|20)\d\d)[ \-]?\d[a-z0-9]\d{2}|[a-z]{2}\d{2} ?[a-z]{3}|\d[a-z]{3} ?\d{3})(?![\w]|-\d|[.,:]\d)",
    re.IGNORECASE,
)
_CLOSE_PLATE = re.compile(  # any shape right after the word for a plate
    r"(?<![^\W_])(?:(?:licen[cs]e |number )?plate|kennzeichen|nummernschild|targa|plaque|immat\w*|matr[ií]cula|placas?|chapa|plaka|rejestracja|tablice|rego|biển số|госномер|держномер)(?: number| no\.?| nr\.?)?(?: is| ist| es| est| è| é| to| là|:|=)* "
    r"(?P<value>(?=[a-z0-9 \-]*\d)(?=[\d \-]*[a-z])[a-z0-9]{1,4}[ \-]?[a-z0-9]{2,5})(?![\w\-])",
    re.IGNORECASE,
)
_PLATE_WORD = re.compile(
    r"(?<![^\W_])(?:blach\w+|kfz|araç\w*|caisse|chapa|targat\w|tags|госномер\w*|гос\.? ?номер\w*|номер\w{0,2}(?: машины| авто)?|машин\w+|тачк\w+|авто\w*|номерок|номерн\w+|(?:licen[cs]e |number |new |car )?plates?|tag|rego|reg(?:istration)?|car|matr[ií]cula|placas?|patente|coche|carro|plaque(?: d'immatriculation)?|immat\w*|voiture|"
    r"kennzeichen|nummernschild|auto|wagen|matricola|targa|macchina|rejestracj\w+|rejestracyjn\w+|tablic\w+|samoch\w+|plaka\w*|araba\w*|biển số(?: xe)?|biển|xe|车牌号?|номерн\w+ знак\w*|parked|parkt|geparkt|gehört mir|припаркован\w*|van|truck|bmw|audi|toyota|honda|ford|kia|лада|киа|тойот\w+|"
    + _CARS
    + r")(?![^\W_])",
    re.IGNORECASE,
)
_STRONG_PLATE_WORD = re.compile(
    r"госномер|гос\.? ?номер|plate|rego\b|reg\b|registration|matr[ií]cula|placas?\b|patente|plaque|immat|kennzeichen|nummernschild|targa|rejestrac|tablic|blach|chapa|license tags?|car tags?|tags? is|my tags?|plaka|biển|车牌|номерн|номер маш|номер авто|license tag|номера? (?:тачки|машины|авто)",
    re.IGNORECASE,
)


_PLATE_BEFORE, _PLATE_AFTER = r"(?<![\w.\-/#@$])", r"(?![\w]|-\d|[.,:]\d)"


def _plain_plate() -> re.Pattern[str]:
    """Return all shapes that need no word, behind one look at what stands before."""
    plain = {name: pattern for name, pattern, is_plain in _PLATE_SHAPES if is_plain}
    chinese = plain.pop("cn")  # may follow anything
    return re.compile(f"(?:{_PLATE_BEFORE}(?:{'|'.join(plain.values())})|{chinese}){_PLATE_AFTER}")


_PLAIN_PLATE = _plain_plate()


class ChatPlateRecognizer(ChatRecognizer):
    """Vehicle plates by country; shapes that other things share need a word about a car."""

    wake = Wake.DIGITS | Wake.PLATE
    entities = (Entity.LICENSE_PLATE,)

    _patterns = tuple(
        (name, re.compile(("" if name == "cn" else _PLATE_BEFORE) + f"(?:{pattern}){_PLATE_AFTER}"), is_plain)
        for name, pattern, is_plain in _PLATE_SHAPES
    )

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_PLATE_WORD, _CLOSE_PLATE, _CAR_WORD)

    def scan(self, view: View) -> Iterator[Hit]:
        if view.n_digits < 2:
            return
        norm = view.norm
        has_word = bool(view.wake & Wake.PLATE or view.wake & Wake.CJK) and view.search(_PLATE_WORD)
        if not has_word and not _PLAIN_PLATE.search(norm):
            return
        if has_word:
            close = view.search(_CLOSE_PLATE)
            if (
                close
                and sum(map(str.isdigit, close["value"])) >= 2
                and re.search(r"\d[^\W\d_]|[^\W\d_][ \-]?\d", close["value"])
            ):
                yield Hit(*close.span("value"), Entity.LICENSE_PLATE, 0.7, "plate.beside-word")
            if len(view.words) <= 9 and view.search(_CAR_WORD):
                for match in _CAR_PLATE.finditer(norm):
                    yield Hit(match.start(), match.end(), Entity.LICENSE_PLATE, 0.6, "plate.beside-car")
        is_strong = bool(has_word and _STRONG_PLATE_WORD.search(norm))
        for name, pattern, is_plain in self._patterns:
            if (not is_plain and not has_word) or (name == "us" and not is_strong) or (name == "pl" and not is_strong):
                continue
            for match in pattern.finditer(norm):
                raw = match[0]
                if sum(c.isdigit() for c in raw) < 2 or not re.search(r"[^\W\d_]", raw):
                    continue
                if name == "us" and (
                    not re.search(r"\d", raw)
                    or raw.islower()
                    or len(raw) < 5
                    or re.fullmatch(r"\d+\W?[a-z]+|[A-Z]?[a-z]+\W?\d+", raw)
                ):
                    continue
                if name in ("tr", "br", "fr_it", "gb", "es", "de") and raw.islower() and not is_strong:
                    continue
                if name == "tr" and not is_strong and re.search(r"[a-z]", raw):
                    continue
                if name in ("ru_short",) and not has_word and raw.isascii():
                    continue
                yield Hit(match.start(), match.end(), Entity.LICENSE_PLATE, 0.7, f"plate.{name}")


_MONTH = (
    r"(?:янв\w*|фев\w*|мар(?:т\w*)?|апр\w*|ма[йяе]|июн\w*|июл\w*|авг\w*|сен\w*|окт\w*|ноя\w*|дек\w*|січ\w*|лют\w*|берез\w*|квіт\w*|трав\w*|черв\w*|лип\w*|серп\w*|верес\w*|жовт\w*|листоп\w*|груд\w*|"
    r"jan\w*|feb\w*|mar\w*|apr\w*|may(?:o|[ıi]s)?|jun\w*|jul\w*|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*|ene\w*|abr\w*|ago\w*|dic\w*|janv\w*|févr?\w*|fevr\w*|avr\w*|mai\w*|juin|juil\w*|août|aout|déc\w*|jän\w*|mär\w*|okt\w*|dez\w*|fev\w*|maio|junho|julho|set\w*|out\w*|"
    r"gen\w*|mag\w*|giu\w*|lug\w*|ott\w*|sty\w*|lut\w*|marca|kwi\w*|maja|cze\w*|lip\w*|sie\w*|wrz\w*|paź\w*|paz\w*|lis\w*|gru\w*|oca\w*|şub\w*|sub\w*|nis\w*|haz\w*|tem\w*|ağu\w*|agu\w*|eyl\w*|eki\w*|kas\w*|ara\w*|tháng \d{1,2})"
)
_YEAR = r"(?:19[0-9]{2}|20[0-2][0-9])"
_DATE = re.compile(
    rf"(?<![\w.,:/\-])(?:"
    rf"\d{{1,2}}[./\- ]{{1,2}}\d{{1,2}}[./\- ]{{1,2}}(?:{_YEAR}|\d\d)(?!\d)"
    rf"|{_YEAR}[./\-]\d{{1,2}}[./\-]\d{{1,2}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|º|\.|го|-го|-е)?[ \-](?:de |of |di |d')?{_MONTH}\.?,?(?:[ \-](?:de |del |năm |of )?(?:{_YEAR}|'?\d\d(?!\d)))?(?: ?(?:года|г\.|року|р\.))?"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,?(?: (?:of )?{_YEAR})?"
    rf"|\d{{1,2}}[./]\d{{1,2}}(?![./]?\d)"
    rf"|{_YEAR} ?年 ?\d{{1,2}} ?月 ?\d{{1,2}} ?[日号]?|\d{{1,2}} ?月 ?\d{{1,2}} ?[日号]"
    rf"|{_YEAR} ?(?:г\.? ?р\.?|года рожд\w*|р\.? ?н\.?|року народж\w*)"
    rf"|\d{{8}}(?!\d)"
    rf"|ngày \d{{1,2}} tháng \d{{1,2}}(?: năm \d{{4}})?"
    rf")(?![\w])",
    re.IGNORECASE,
)
_BARE_YEAR = re.compile(rf"(?<![\w.,:/\-]){_YEAR}(?![\w]|[.,:/\-]\d)")
_BIRTH = re.compile(
    r"(?<![^\W_])(?:нар\.|роди(?:л[аись]*|лся|лась|вш\w+)|рожд[её]н\w*|рожденье|рождени[яе]|дата рожд(?:ения|\.)?|день варенья|р\. ?н\.|день рождени\w|дне рождени\w|днюх\w+|др|д\.р\.?|д/р|г\.?р\.?|г\. ?р\.|года рождения|народи\w+|дата народження|день народження|народжен\w+|дн|"
    r"born|b-?day|birth ?days?|birth ?date|date of birth|dob|d\.o\.b\.?|birth|"
    r"nac[ií]|naci[oó]|nacid[oa]|nacimiento|cumple\w*|cumpl[oí]|f\.?nac\.?|fecha de nacimiento|f\. ?nac\.?|née? le|née?|naissance|ddn|anniv\w*|anniversaire|geboren|geb\.?|geburts\w+|geb(?:urts)?-?(?:dat|tag)\w*|"
    r"nasc[ie]\w*|nasc\.?|nascimento|data nasc\.?|faço anos|dn|anivers[aá]rio|niver|data de nascimento|nato|nata|nascita|compleanno|compio|urodz\w+|ur\.|data ur\.?|rocznik|data urodzenia|urodziny|doğum(?: tarihi\w*| gün\w*)?|dogum\w*|doğdu\w*|doğumlu\w*|dt|d\.t\.|d\.? ?tarihi|sinh(?: ngày| nhật| năm)?|sn|ngày sinh|生日|出生\w*|生于)(?![^\W_])|生日|出生|生于|年生",
)
_NAMED_DATE = re.compile(r"[А-ЯЁІЇ][а-яёії]+(?:вич|вна|чна)[ауеы]?,? ?(\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d)(?!\d)")
_NOT_BIRTH = re.compile(
    r"отмеча|празднова|праздну|celebrat|party|вечеринк|приходи|fiesta|fête|feier|festa\b|imprez|поздрав|скидк|discount|in \d+ days",
    re.IGNORECASE,
)


class ChatBirthDateRecognizer(ChatRecognizer):
    """Dates that a word makes a birth date."""

    wake = Wake.BIRTH | Wake.CJK | Wake.DIGITS
    entities = (Entity.DATE_OF_BIRTH,)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_BIRTH,)

    def scan(self, view: View) -> Iterator[Hit]:
        if not view.n_digits:
            return
        norm = view.norm
        for match in _NAMED_DATE.finditer(norm) if view.has_cyrillic else ():
            yield Hit(match.start(1), match.end(1), Entity.DATE_OF_BIRTH, 0.6, "birth.after-name")
        births = [m.span() for m in view.matches(_BIRTH)]
        if not births:
            return
        found = False
        for match in _DATE.finditer(norm):
            raw = match[0]
            near = any(match.start() - end <= 40 and start - match.end() <= 25 for start, end in births)
            if not near:
                continue
            has_year = re.search(r"\d{4}|\d{1,2}[./\- ]\d{1,2}[./\- ]\d\d$|'\d\d$", raw) is not None
            if not has_year and _NOT_BIRTH.search(norm):
                continue
            if raw.isdigit() and not re.fullmatch(r"(?:[0-3]\d[01]\d(?:19|20)\d\d|(?:19|20)\d\d[01]\d[0-3]\d)", raw):
                continue
            found = True
            yield Hit(match.start(), match.end(), Entity.DATE_OF_BIRTH, 0.8, "birth.date")
        if not found:
            for match in _BARE_YEAR.finditer(norm):
                if any(-30 <= match.start() - end <= 12 for _, end in births) and re.search(
                    r"роди|рожд|г\.?р|born|nac|né|gebor|nasc|nat[oa]|urodz|doğ|sinh|народ|sn", norm, re.IGNORECASE
                ):
                    yield Hit(match.start(), match.end(), Entity.DATE_OF_BIRTH, 0.6, "birth.year")
