"""Cards, accounts, wallets.

A card with one mistyped digit is still a card, so the Luhn check decides only where the shape alone does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.types import Entity
from clone.prepare.pii.values import iban_ok, luhn
from clone.prepare.pii.view import View
from clone.prepare.pii.words import Wake

_SEP = r"[ \-._/,·|*\n]{0,3}"
_CARD = re.compile(rf"(?<![\w+])(?<!\d[.\-/])\d(?:{_SEP}\d){{11,18}}(?![\w]|[\-/.]\d)")
_GROUPED = re.compile(
    r"\d{4}(?:[^\d]{1,3}\d{4}){2}[^\d]{1,3}\d{3,7}|\d{4}[^\d]{1,3}\d{6}[^\d]{1,3}\d{4,5}|\d{6}[^\d]{1,3}\d{6,10}|\d{8}[^\d]{1,3}\d{8}|(?:\d\d[^\d]{1,2}){7}\d\d|(?:\d[^\d]{1,3}){15}\d|\d{4}[^\d]{1,3}\d{4}[^\d]{1,3}\d{8}|\d{8}[^\d]{1,3}\d{4}[^\d]{1,3}\d{4}|\d{4}[^\d]{1,3}\d{4}[^\d]{1,3}\d{4}"
)
_CARD_WORD = re.compile(
    r"карт|card|visa|виза|мастер|master|amex|maestro|мир\b|mir\b|сбер|тиньк|тинек|альф|втб|тбанк|т-банк|моно|приват|tarjeta|carte|karte|cart[aã]o|carta|kart|thẻ|卡|[农工建招中交邮]行|转到|bank|банк|перевед|скинь|переведи|кидай|скидывай|закинь|cvv|cvc|цвв|свв|exp\b|debit|credit|кредит|дебет|revolut|monzo|n26|bizum|pix",
    re.IGNORECASE,
)
_ORDER_WORD = re.compile(
    r"order|заказ|track|трек|накладн|invoice|parcel|посылк|pedido|commande|bestell|isbn|imei|barcode|штрих|артикул|serial|sn\b|s/n|ticket|билет|id ?чека|чек\b|order|zamówien|sipariş|đơn|订单|快递|运单|spedizione|encomenda",
    re.IGNORECASE,
)
_EXPIRY = re.compile(r"(?<![\d/.])(0[1-9]|1[0-2])\s?[/\-.]\s?(2[0-9]|3[0-9]|20[2-3]\d)(?![\d/]|[.]\d)")
_EXPIRY_BY_CARD = re.compile(
    r"(?<![\d/.])(?:0?[1-9]|1[0-2])\s?[/\-.]\s?(?:2[0-9]|3[0-9]|20[2-3]\d)(?![\d/]|[.]\d)"
    r"|(?<=expires )(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* 20\d\d",
    re.IGNORECASE,
)
_EXPIRY_WORD = re.compile(
    r"exp|срок|годн|действ|valid|caduc|venc|scad|ważn|gültig|ablauf|son kullanma|skt|hết hạn|有效期|термін|дійсн|вал\b|до\s|дата",
    re.IGNORECASE,
)
_EXPIRY_NAMED = re.compile(
    r"(?:exp(?:iry|ires|iration)?(?: date)?|срок(?: действия)?|годн\w+(?: до)?|valid (?:thru|until|to|till)|caduca?(?:cidad)?|venc\w*|scad\w*|ważn\w*(?: do)?|gültig bis|expire|son kullanma(?: tarihi)?|skt|hết hạn|有效期(?:至|到)?|термін(?: дії)?|validade|validité)\D{0,12}?((?:0?[1-9]|1[0-2])\s?[/\-. ]\s?(?:20)?\d\d)(?!\d)",
    re.IGNORECASE,
)
_CVV_WORD = re.compile(r"(?<!\w)(?:cv[cv]2?|цвв|свв|cvn)(?!\w)", re.IGNORECASE)
_TO_CVV = re.compile(  # what may stand between a card and its code
    r"[\s,;/|()\-–.]*(?:(?:cv[cv]2?|cid|csc|сзади|ззаду|back|on the back|hinten|dietro|atrás|au dos|dos|verso|z tyłu|arkada|sau|code|код|цвв|свв|cvn|c[oó]d(?:igo)?|sec|и|and|y|et|e|и код)\.?[\s:=\-]*)*",
    re.IGNORECASE,
)
_SHORT_PIN = re.compile(r"(?<!\d)(\d{3})(?!\d)")
_AMEX = re.compile(r"3[47]\d\d[ -]?\d{6}[ -]?\d{5}(?=\D+\d\d?/\d)")  # an expiry after it is none of its digits
_AMEX_PIN = re.compile(r"(?<!\d)(\d{4})(?!\d)")

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28,
    "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GR": 27,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MT": 31, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "XK": 20,
}  # fmt: skip
_IBAN = re.compile(r"(?<![^\W_])([A-Za-z]{2})[ \-]?(\d[ \-.]?\d)((?:[ \-.]{0,2}[A-Za-z0-9]){10,30})(?![^\W_])")
_ACCOUNT = re.compile(
    r"(?:р/?с[чч]?(?:[её]т)?|рсч|(?:расч[её]тный |лицевой |номер )?сч[её]т\w{0,2}|рахун\w+|account(?: number| no\.?| num)?|acct|acc(?: no)?|a/c|routing(?: number)?|sort code|aba|cuenta(?: corriente)?|compte|rib|konto(?:nummer)?|kto\.?(?:-?nr\.?)?|conta(?: corrente)?|conto|numer konta|rachun\w+|nr konta|hesap(?: no)?|hesab\w*|stk|số tk|số tài khoản|tài khoản|tk|账号|账户|帐号|帐户|kontonr\.?|iban|bsb|clabe|cbu|blz|bankleitzahl|карточк\w+|лицевой|л/с|к/с|ag[eê]ncia)"
    r"[^\d\n]{0,24}?((?:[A-Z]{2})?\d(?:[ \-./]{0,2}\d){5,27}(?:-?[\dxX])?)(?![\w])",
    re.IGNORECASE,
)
_PLAIN_RU_ACCOUNT = re.compile(
    r"(?<!\d)(?:40[58]\d{2}|407\d\d|30[12]\d\d|423\d\d|455\d\d)[ ]?(?:\d[ ]?){14}\d(?!\d)|(?<![\d+])\d\d(?: \d{4}){6}(?![ ]?\d)"
)
_NRB = re.compile(r"(?<![\w+])\d{2} ?(?:\d{4} ?){5}\d{4}(?![ ]?\w)")  # a Polish account without its country
_AT_BANK = re.compile(  # Vietnamese: the number, then the bank
    r"(?<!\d)(\d{8,19})(?= (?:vietcombank|vcb|techcombank|tcb|vietinbank|ctg|bidv|mb ?bank|mb|acb|agribank|vpbank|tpbank|sacombank|vib|shb|msb|hdbank|ocb|scb)(?!\w))",
    re.IGNORECASE,
)
_SORT_CODE = re.compile(r"(?:sort(?: ?code)?)\D{0,6}(\d\d[- ]?\d\d[- ]?\d\d)(?!\d)", re.IGNORECASE)
_ACC_DIGITS = re.compile(r"(?<!\d)(\d{8}|\d{10,20})(?!\d)")

_B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WALLET = re.compile(
    rf"""(?<![\w/=])(?=[\w:-]{{25}})(?:
        (?P<eth>0x[0-9a-fA-F]{{38,64}})
      | (?P<segwit>(?:bc|tb|ltc)1[a-z0-9]{{25,87}})
      | (?P<tron>T[{_B58}]{{32,34}})
      | (?P<ton>(?:EQ|UQ|kQ|0Q|Ef|Uf)[A-Za-z0-9_-]{{46}})
      | (?P<btc>[13][{_B58}]{{25,34}})
      | (?P<xmr>[48][{_B58}]{{94,105}})
      | (?P<ltc>[LM][{_B58}]{{26,33}})
      | (?P<doge>D[{_B58}]{{33}})
      | (?P<xrp>r[{_B58}]{{24,34}})
      | (?P<ada>addr1[a-z0-9]{{50,110}})
      | (?P<cosmos>(?:cosmos|osmo|terra|inj|erd|near|bnb)1[a-z0-9]{{38,58}})
      | (?P<xlm>G[A-Z2-7]{{55}})
      | (?P<sol>[{_B58}]{{43,44}})
      | (?P<bch>(?:bitcoincash:)?[qp][a-z0-9]{{41}})
      | (?P<zec>t1[{_B58}]{{33}})
    )(?![\w])""",
    re.VERBOSE,
)


def is_card_prefix(digits: str) -> bool:
    """Return whether an issuer could begin so: MIR 2200-2204, Mastercard 2-series, Amex, Diners, Visa, 5x, UnionPay, Maestro."""
    if digits[0] == "2":
        return "2200" <= digits[:4] <= "2205" or "2221" <= digits[:4] <= "2720"
    if digits[0] == "3":
        return digits[:2] in ("30", "34", "35", "36", "37", "38", "39")
    return digits[0] in "4569"


class ChatCardRecognizer(ChatRecognizer):
    """Payment cards, with their expiry and the code that stands beside it."""

    wake = Wake.DIGITS
    entities = (Entity.CREDIT_CARD, Entity.CARD_EXPIRY, Entity.PIN)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        last_end, short = -1, _SHORT_PIN
        for match in _CARD.finditer(norm) if view.n_digits >= 12 else ():
            if self._is_card(norm, match):
                amex = _AMEX.match(norm, match.start(), match.end())
                last_end = amex.end() if amex else match.end()
                short = _AMEX_PIN if match[0].startswith(("34", "37")) else _SHORT_PIN
                yield Hit(match.start(), last_end, Entity.CREDIT_CARD, 0.9, "card.number")
        if last_end >= 0:
            at = last_end
            expiry = _EXPIRY_BY_CARD.search(norm, last_end, last_end + 60)
            if expiry:
                yield Hit(expiry.start(), expiry.end(), Entity.CARD_EXPIRY, 0.85, "card.expiry")
                at = expiry.end()
            for start in {last_end, at}:
                code = short.search(norm, start, start + 14)
                if code and _TO_CVV.fullmatch(norm, start, code.start(1)):
                    yield Hit(code.start(1), code.end(1), Entity.PIN, 0.8, "card.cvv")
        if view.wake & (Wake.BANK | Wake.CJK | Wake.CODE):
            if last_end < 0 and _CVV_WORD.search(norm):
                expiry = _EXPIRY.search(norm)
                if expiry:
                    yield Hit(expiry.start(), expiry.end(), Entity.CARD_EXPIRY, 0.7, "card.expiry")
            for named in _EXPIRY_NAMED.finditer(norm):
                if _CARD_WORD.search(norm) or last_end >= 0:
                    yield Hit(named.start(1), named.end(1), Entity.CARD_EXPIRY, 0.7, "card.expiry-named")

    def _is_card(self, norm: str, match: re.Match[str]) -> bool:
        raw = match[0]
        digits = re.sub(r"\D", "", raw)
        if not is_card_prefix(digits) or len(set(digits)) < 3:
            return False
        before = norm[max(0, match.start() - 24) : match.start()]
        if re.search(r"\d{4}-\d\d-\d\d|\d:\d\d", raw):
            return False
        has_word = bool(_CARD_WORD.search(norm))
        if len(digits) == 16 and _GROUPED.fullmatch(raw):
            return True
        if len(digits) == 15 and digits[:2] in ("34", "37"):
            return True
        if _ORDER_WORD.search(before):
            return False
        if raw.isdigit():
            if len(digits) == 16:
                return luhn(digits) or has_word or digits[0] in "245"
            return 13 <= len(digits) <= 19 and ((luhn(digits) and has_word) or (has_word and len(digits) >= 15))
        if _GROUPED.fullmatch(raw):
            return has_word or len(digits) >= 15 or luhn(digits)
        return len(digits) in (15, 16, 17, 18, 19) and (has_word or luhn(digits))


class ChatBankRecognizer(ChatRecognizer):
    """IBANs (ISO 13616) and account numbers that a word announces."""

    wake = Wake.DIGITS
    entities = (Entity.IBAN_CODE, Entity.BANK_ACCOUNT)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        if view.n_digits < 6:
            return
        for match in _IBAN.finditer(norm) if view.n_digits >= 8 else ():
            yield from self._iban(norm, match)
        for match in _PLAIN_RU_ACCOUNT.finditer(norm) if view.n_digits >= 20 else ():
            yield Hit(match.start(), match.end(), Entity.BANK_ACCOUNT, 0.85, "account.ru")
        for match in _NRB.finditer(norm) if view.n_digits >= 26 else ():
            if iban_ok("PL" + match[0].replace(" ", "")):
                yield Hit(match.start(), match.end(), Entity.IBAN_CODE, 0.85, "iban.nrb")
        for match in _AT_BANK.finditer(norm) if view.n_digits >= 8 else ():
            yield Hit(match.start(1), match.end(1), Entity.BANK_ACCOUNT, 0.75, "account.at-bank")
        if view.wake & (Wake.BANK | Wake.CJK | Wake.DOCUMENT):
            for match in _SORT_CODE.finditer(norm):
                yield Hit(match.start(1), match.end(1), Entity.BANK_ACCOUNT, 0.8, "account.sort-code")
                other = _ACC_DIGITS.search(norm, match.end(1), match.end(1) + 30)
                if other:
                    yield Hit(other.start(1), other.end(1), Entity.BANK_ACCOUNT, 0.8, "account.named")
            for match in _ACCOUNT.finditer(norm):
                n_digits = sum(c.isdigit() for c in match[1])
                if (
                    n_digits >= 6
                    and not re.fullmatch(r"\d{1,3}(?: \d{3})+", match[1])
                    and not re.match(r"\s*(?:руб|₽|р\b|\$|€|zł|tl|usd|eur)", norm[match.end(1) :])
                ):
                    yield Hit(match.start(1), match.end(1), Entity.BANK_ACCOUNT, 0.85, "account.named")

    def _iban(self, norm: str, match: re.Match[str]) -> Iterator[Hit]:
        country = match[1].upper()
        length = _IBAN_LENGTHS.get(country)
        if length is None:
            return
        n = 0
        for i in range(match.start(), match.end()):
            if norm[i].isalnum():
                n += 1
            if n == length:
                if i + 1 < len(norm) and norm[i + 1].isalnum() and not norm[i + 1].isspace():
                    break
                compact = re.sub(r"[^A-Za-z0-9]", "", norm[match.start() : i + 1]).upper()
                n_digits = sum(c.isdigit() for c in compact)
                if n_digits >= 8 and (iban_ok(compact) or match[1].isupper() or re.search("iban", norm, re.IGNORECASE)):
                    yield Hit(match.start(), i + 1, Entity.IBAN_CODE, 0.9, "iban.length")
                return
        # one character lost or doubled: the country's length is off by one
        compact = re.sub(r"[^A-Za-z0-9]", "", match[0])
        if abs(len(compact) - length) <= 2 and sum(c.isdigit() for c in compact) >= 12 and match[1].isupper():
            yield Hit(match.start(), match.end(), Entity.IBAN_CODE, 0.7, "iban.mistyped")


class ChatWalletRecognizer(ChatRecognizer):
    """Addresses of cryptocurrency wallets, by shape."""

    wake = Wake.LONG
    entities = (Entity.CRYPTO_WALLET,)

    def scan(self, view: View) -> Iterator[Hit]:
        for match in _WALLET.finditer(view.norm):
            kind = match.lastgroup or ""
            value = match[0]
            is_mixed = re.search(r"\d", value[1:]) and re.search("[A-Z]", value) and re.search("[a-z]", value)
            if kind in ("btc", "ltc", "xrp", "sol", "doge", "zec", "tron") and not is_mixed:
                continue
            if kind == "bch" and sum(c.isdigit() for c in value) < 4:
                continue
            yield Hit(match.start(), match.end(), Entity.CRYPTO_WALLET, 0.97, f"wallet.{kind}")
