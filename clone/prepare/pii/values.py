"""How much a word looks like a password, and what numbers look like when they are nothing private.

Pure functions over normalised tokens. Knows nothing of keywords.
"""

from __future__ import annotations

import re

_UNIT = (
    r"(?:k|к|m|м|кг|kg|g|г|гр|gb|гб|mb|мб|tb|тб|km|км|cm|см|mm|мм|ml|мл|h|ч|час\w*|min|мин\w*|sec|сек\w*|s|d|дн\w*|год\w*|лет|г\.|pm|am|"
    r"usd|eur|rub|руб\w*|р|₽|грн|zł|zl|pln|tl|vnd|đ|тыс\w*|тысяч\w*|млн|x|х|й|я|е|ый|ая|ого|го|му|м|ую|ом|st|nd|rd|th|er|e|è|º|ª|o|a|%|шт|чел|px|dpi|hz|гц|ггц|мгц|кгц|ghz|mhz|fps|"
    r"w|kw|вт|v|в|mah|мач|°c|c|f|cc|hp|лс|л|l|°|元|块|号|月|日|年|点|分|个|人|岁|k|tr|ty|triệu|nghìn|tuổi|reais|euros?|dollars?|bucks|quid|p|pts?|lbs?|oz|ft|in|yo|yrs?|mins?|hrs?|secs?|days?|mg|мг)"
)
_PLAIN = re.compile(
    rf"""(?:
      [\d.,:/x×+\-–*=()%$€£¥₽]+{_UNIT}?                  # numbers, times, dates, prices
    | [$€£¥]\d.* | \d+{_UNIT} | [a-zа-я]{{1,2}}?\d{{1,2}} | \d{{1,2}}[a-zа-я]{{1,2}}
    | v?\d+(?:\.\d+)+\w* | \d{{1,2}}[.:h]\d\d(?:[ap]m)? | [12]\d{{3}}-?[a-zа-я]{{1,3}}
    | (?:iphone|ipad|айфон|macbook|galaxy|samsung|redmi|xiaomi|pixel|poco|honor|mi|note|ps|пс|playstation|xbox|win|windows|винд\w*|office|gta|fifa|cs|dota|covid|ковид|sars|
         mp|mpeg|jpeg|h|i|m|a|s|rtx|gtx|usb|html|css|python|java|web|b2|wi-?fi|wifi|utf|sha|md|ipv|bmw|audi|q|x|z|ios|android|андроид|macos|ubuntu|debian|airpods|
         formula|f|route|terminal|gate|room|level|ch|ep|s\d+e|season|vol|part|день|day|week|group|team|класс|топ|top|no|nr|kw|k|u|b|t|g|d|c|e|r|l|n|p)-?\d{{1,4}}(?:pro|max|plus|mini|s|x|e|ти|ti|super|se|ultra|go|fe|lite)?
    | \d{{1,4}}(?:g|г|d|p|к|k|в|bit|битн\w*|fps|way|pack|zip|rar|th|password|pass|px)
    | office365|o365|7zip|4pda|2gis|2гис|1password|lastpass|bitwarden|keepass\w*|m2m|p2p|b2b|b2c|c2c|h2o|co2|3d|2d|4x4|24/7|50/50|e2e|k8s|i18n|a11y|mp3|mp4|wi-?fi(?:[_-]?5g)?
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")
_CAMEL = re.compile(r"[a-zа-яё][A-ZА-ЯЁ]")
_WORDISH = re.compile(r"[^\W\d_]+(?:['’\-–/][^\W\d_]+)*\.?")
_LATIN = re.compile(r"[A-Za-z]")
_URLISH = re.compile(
    r"(?:https?://|www\.)|^[\w.+-]+@[\w-]+\.\w|^@\w|^t\.me/|\.(?:com|ru|org|net|io|me|txt|pdf|docx?|xlsx?|png|jpe?g|py|js|html|exe|zip|apk)(?:/|$)",
    re.IGNORECASE,
)
_TIME = re.compile(r"\d{1,2}[:.h]\d{2}(?:\s*[-–]\s*\d{1,2}[:.h]\d{2})?")


def likeness(token: str) -> int:
    """Return how much `token` looks like a chosen secret: 0 not at all, 1 a plain word, 2 somewhat, 3 clearly.

    3 mixes letters with digits or inner signs; 2 is a bare number of four digits or more, or oddly cased.
    """
    if not 3 <= len(token) <= 64 or _URLISH.search(token):
        return 0
    if token.isdigit():
        return 2 if len(token) >= 4 else 0
    has_letter = bool(_LETTER.search(token))
    has_digit = any(c.isdigit() for c in token)
    if _PLAIN.fullmatch(token):
        return 0
    if has_letter and has_digit:
        if (
            len(token) < 4
            or ".." in token
            or (re.search(r"^\d+[a-z]{1,3}\.[a-z]+$|\^\^|^[a-z]+\d$", token) and len(token) < 9)
        ):
            return 0
        return 3
    if has_letter:
        if _WORDISH.fullmatch(token):
            return 2 if _CAMEL.search(token) and len(token) >= 6 else 1
        inner = re.sub(r"[^\W_]+", "", token[:-1])
        is_plain = not re.search(r"[A-ZА-Я_@#$%&*]", token)
        if (is_plain and re.search(r"[!~^]", inner)) or re.search(r"[!~^]{2,}|\.\.", token):
            return 0  # a missing space, or feelings
        if "_" in token or any(c in inner for c in "@#$%^&*!+=~|\\"):
            return 3 if len(token) >= 5 and not re.fullmatch(r"(.)\1*|\W*\w{1,2}\W*", token) else 0
        return 1
    if (
        has_digit
        and re.search(r"[#$%^&*@!_]", token)
        and len(token) >= 5
        and not re.fullmatch(r"[#№]?\d+[%!*]*", token)
    ):
        return 2
    return 0


_CODE = re.compile(
    r"""
      .*[(){}\[\];<>\\`].* | [&|/~$].* | .*(?:://|::|->|==|[?&]\w+=|\w/\w+/).*    # calls, indices, parameters, paths
    | --?\w.* | [\w.\-/]*=.* | \#[a-zA-Z]+\d*[.\d]* | (?:bug|comment|issue|pr|rev|rfc|ticket|case|\S+\.mk)\#l?\d[\w.]* | @\w+\(?.*
    | [a-z]\w*_t\** | \w+\*+ | _\w+ | [A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+ | [a-z]+(?:_[a-z]+)+  # names of a programme
    | (?:x86|arm|aarch|amd|i686|win|llvm|lld|gcc|clang|libc|stage|u?int|utf|python|py|node|ubuntu|debian|glibc)[\d_.\-]?[\w.\-]*
    | [a-z]+[\-/]v?\d+(?:[.x]\w+)* | [A-Za-z]+(?:[+\-][A-Za-z]+)*\+* | [A-Za-z]+/[\w.]+ | [0-9a-f]{7,40}
    | \w+(?:\.\w+){2,}(?:[:(].*)? | [a-z]+\d*\.[a-z]+
    """,
    re.VERBOSE,
)


def is_code(token: str) -> bool:
    """Return whether `token` reads as a piece of a programme, a path or a commit rather than as a chosen secret.

    For the weak signs only (`try`, `pass`, a shape alone): a password may look so, and beside its name it stays one.
    """
    return _CODE.fullmatch(token) is not None


def is_latin(token: str) -> bool:
    return bool(_LATIN.search(token))


def luhn(digits: str) -> bool:
    """Return whether the Luhn check digit holds (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, char in enumerate(reversed(digits)):
        n = int(char)
        if i % 2:
            n = n * 2 - 9 if n > 4 else n * 2
        total += n
    return total % 10 == 0


def iban_ok(iban: str) -> bool:
    """Return whether the two check digits hold (ISO 13616, mod 97)."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def weighted(digits: str, weights: tuple[int, ...], modulus: int) -> int:
    """Return the weighted digit sum modulo `modulus`, as national numbers use it."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False)) % modulus


def inn_ok(digits: str) -> bool:
    """Return whether a Russian tax number of 10 or 12 digits holds its check digits."""
    if len(digits) == 10:
        return weighted(digits, (2, 4, 10, 3, 5, 9, 4, 6, 8), 11) % 10 == int(digits[9])
    first = weighted(digits, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8), 11) % 10
    second = weighted(digits, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8), 11) % 10
    return len(digits) == 12 and (first, second) == (int(digits[10]), int(digits[11]))


def pesel_ok(digits: str) -> bool:
    return (weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10)) == 0


def cpf_ok(digits: str) -> bool:
    for n in (9, 10):
        check = weighted(digits, tuple(range(n + 1, 1, -1)), 11)
        if int(digits[n]) != (0 if check < 2 else 11 - check):
            return False
    return True


def tckn_ok(digits: str) -> bool:
    d = [int(c) for c in digits]
    return d[0] != 0 and (sum(d[0:9:2]) * 7 - sum(d[1:8:2])) % 10 == d[9] and sum(d[:10]) % 10 == d[10]


def chinese_id_ok(text: str) -> bool:
    check = weighted(text[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), 11)
    return "10X98765432"[check] == text[17].upper()
