"""Phones, e-mails, usernames, network addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.plain import is_talk
from clone.prepare.pii.types import Entity
from clone.prepare.pii.values import is_code, likeness
from clone.prepare.pii.view import View
from clone.prepare.pii.words import Wake, read_words

_PHONE = re.compile(r"(?<![\w.,:/=#@$€£¥₽+\-])(?:\+|00)?[ ]?\(?\d(?:[ \t().\-/_–]{0,3}\d){5,16}(?![\w])(?![.,:]\d)")
_PHONE_WORD = re.compile(
    r"тел|номер|мобил|моб\b|n[uú]mero|\bn[r°º]\b|mobil|festnetz|erreichbar|durchwahl|kontakt|meld|\bkom\b|fijo|wh?as+ap|\bwp{1,2}\b|\bwsp\b|\bcel\b|tfno|fono|marca|звон|набер|набир|позвон|вац?ап|вотс|whats|wa\b|viber|вайбер|сотов|phone|cell|mobile|call|text me|sms|number|num\b|tel\b|tlf|móvil|movil|celular|ll[aá]m|portable|appelle|numéro|numero|handy|nummer|ruf|"
    r"sdt|sđt|đt|gọi|zalo|điện thoại|số|whatsapp|telefon|komórk|dzwoń|zadzwoń|numer|cellulare|chiama|telefone|liga|ligar|telemóvel|zap|ara\b|tel|电话|手机|号码|联系|打|дзвон|телефон|контакт|contact|ring|reach me|hotline|mon 0[67]|fon\b|cep|numara",
    re.IGNORECASE,
)
_SHORT_PHONE = re.compile(
    r"(?:тел(?:ефон\w*)?|номер|домашн\w+|городск\w+|звони|набери|phone|call|tel)[^\d\n]{1,16}(\d{1,2}-\d\d-\d\d)(?![\d\-])",
    re.IGNORECASE,
)
_DASHED = re.compile(r"\d-\d\d-\d\d")
_PHONE_BEFORE = re.compile(
    r"(?:тел|phone|номер|cell|call|mobile|telefon|handy|tel|móvil|звони|набери)\w*[ :.\-]{1,3}$", re.IGNORECASE
)
_STRAY = re.compile(r" +\d$")
_NOT_PHONE = re.compile(
    r"(?:order|заказ\w*|track\w*|трек\w*|invoice|parcel|ticket|билет\w*|pedido|commande|bestell\w*|isbn|imei|артикул\w*|serial|s/n|flight|рейс\w*|zamówien\w*|sipariş\w*|đơn hàng|订单\w*|快递|накладн\w*|id|№ ?заказа|ref|reference|номер заказа|замовлення|посилк\w*|inn|инн|огрн|кпп|бик|версия|version|v|build|commit|issue|pr|ean|sku|case|referencia|encomenda|spedizione|ordine|счет|сумм\w+|итого|total|price|цена)[\s:#№.\-]{0,4}(?:no\.?|nr\.?|number|номер|№|#|num|nr)?[\s:#№.]{0,3}$",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:\d{1,2}[./\-]\d{1,2}[./\-](?:\d{4}|\d{2})|\d{4}[./\-]\d{1,2}[./\-]\d{1,2})(?:\s.*)?")
_MONEY_AFTER = re.compile(
    r"\s*(?:руб|р\b|р\.|₽|\$|€|£|¥|元|грн|zł|pln|tl\b|vnd|đ\b|usd|eur|dollar|euro|тыс|млн|kg|кг|км|km|шт|сум|тенге|mb|gb|мб|bytes|байт|ms|мс)",
    re.IGNORECASE,
)
_REGIONS = (
    "RU",
    "US",
    "GB",
    "ES",
    "FR",
    "DE",
    "VN",
    "UA",
    "BR",
    "PT",
    "IT",
    "PL",
    "TR",
    "CN",
    "KZ",
    "BY",
    "MX",
    "AR",
    "SG",
    "CH",
    "AT",
    "BE",
    "CA",
    "AU",
    "IN",
)


@lru_cache(maxsize=4096)
def national_regions(digits: str) -> tuple[str, ...]:
    """Return the regions in whose numbering plan `digits` is a valid national number (libphonenumber's metadata)."""
    out = []
    for region in _REGIONS:
        try:
            number = phonenumbers.parse(digits, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            out.append(region)
    return tuple(out)


class ChatPhoneRecognizer(ChatRecognizer):
    """Phone numbers: international ones by shape, national ones by numbering plan and writing."""

    wake = Wake.DIGITS
    entities = (Entity.PHONE_NUMBER,)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        if view.n_digits < 5:
            return
        for match in _PHONE.finditer(norm) if view.n_digits >= 6 else ():
            start, end = match.span()
            while norm[start] in " ":
                start += 1
            if _STRAY.search(norm, start, end) and sum(c.isdigit() for c in norm[start:end]) > 10:
                end = norm.rindex(" ", start, end)  # "8 926 118-22-04 5 times"
            rule = self._rule(norm, norm[start:end], start, end)
            if rule:
                yield Hit(start, end, Entity.PHONE_NUMBER, 0.8 if rule != "phone.context" else 0.65, rule)
        for match in _SHORT_PHONE.finditer(norm) if _DASHED.search(norm) else ():
            yield Hit(match.start(1), match.end(1), Entity.PHONE_NUMBER, 0.6, "phone.short")

    def _rule(self, norm: str, raw: str, start: int, end: int) -> str:
        digits = re.sub(r"\D", "", raw)
        n = len(digits)
        if raw[0] == "+" or (raw[:2] == "00" and n >= 11):
            return "phone.international" if 8 <= n <= 15 or (raw[0] == "+" and 7 <= n <= 16) else ""
        if n > 15 or len(set(digits)) < 3 or _DATE.fullmatch(raw.strip()) or _MONEY_AFTER.match(norm, end):
            return ""
        before = norm[max(0, start - 28) : start]
        if n <= 8 and raw.isdigit() and not _PHONE_BEFORE.search(before):
            return ""  # most numbers end here: what follows costs more
        if _NOT_PHONE.search(before):
            return ""
        if re.fullmatch(r"\d(?: \d){6,}", raw) and ("123" in digits or "321" in digits):
            return ""
        if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", raw) or (
            re.fullmatch(r"\d{1,3}(?: \d{3}){1,3}", raw) and not self._grouped(raw, digits)
        ):
            return ""
        if n == 11 and digits[0] in "78" and digits[1] in "3489":
            return "phone.ru"
        has_word = bool(_PHONE_WORD.search(norm[max(0, start - 40) : end + 40]))
        if (
            n == 10
            and digits[0] == "9"
            and (has_word or not raw.isdigit() or not re.search(r"[a-z]", norm[:start] + norm[end:]))
        ):
            return "phone.ru"
        is_written = self._grouped(raw, digits)
        if 9 <= n <= 13:
            if is_written or has_word:
                if national_regions(digits) or (has_word and n <= 12):
                    return "phone.national"
            elif n in (9, 10, 11) and (digits[0] == "0" or (n == 11 and digits[0] == "1")) and national_regions(digits):
                return "phone.national"
            elif (
                n in (9, 10, 11, 12)
                and raw.isdigit()
                and national_regions(digits)
                and (raw == norm.strip() or (n >= 10 and digits[0] in "1346789"))
            ):
                return "phone.plain"
        if (
            6 <= n <= 8
            and has_word
            and (
                re.fullmatch(r"\d{2,4}-\d{2,4}(?:-\d{2,4})*", raw)
                or re.fullmatch(r"\d{3} \d{4}|\d{3} \d\d \d\d|\d\d \d\d \d\d|\d{4} \d{4}", raw)
                or _PHONE_BEFORE.search(before)
            )
        ):
            return "phone.context"
        if n == 7 and re.fullmatch(r"\d{3}-\d{2}-\d{2}", raw):
            return "phone.context"
        return ""

    @staticmethod
    def _grouped(raw: str, digits: str) -> bool:
        """Return whether separators stand as people put them into numbers."""
        if "(" in raw:
            return True
        groups = re.split(r"\D+", raw.strip())
        if len(groups) < 2 or len(groups) > 7:
            return False
        if any(len(g) > 8 for g in groups):
            return False
        return digits[0] == "0" or digits[0] in "6789" or (len(groups) in (3, 4, 5) and len(digits) in (9, 10, 11))


_EMAIL = re.compile(
    r"(?<![\w.+\-])[\w.+\-%']*\w[\w.+\-%']*@(?:[^\W_](?:[\w\-]*[^\W_])?\.)+[^\W\d_](?:[\w\-]*\w)?(?![\w])"
)
_EMAIL_BARE = re.compile(
    r"(?<![\w.+\-])[\w.+\-]{2,}@(?:gmail|mail|yandex|ya|yahoo|hotmail|outlook|icloud|proton|protonmail|rambler|bk|inbox|list|gmx|web|ukr|live|qq|163|wp|onet|o2|libero|orange|wanadoo|uol|bol|terra|naver|tutanota)(?:[.,] ?(?:ru|com|net|de|fr|es|it|pl|br|pt|ua|me|cn|uk))?(?![\w])",
    re.IGNORECASE,
)
_AT = r"(?:\s*[\(\[{<]\s*(?:at|@|а т|эт|ет|arroba|собака|собачка|arobase|aroba|klammeraffe|chiocciola|małpa|malpa|et|kuyruklu a|равлик|песик|艾特|a)\s*[\)\]}>]\s*|\s+(?:at|собака|собачка|собакa|эт|ет|arroba|arobase|aroba|klammeraffe|klammer affe|affenschwanz|chiocciola|małpa|malpa|kuyruklu a|kuyruklu|равлик|песик|a còng|a cong|a móc|@|et)\s+|\s*(?:艾特|圈a|＠)\s*|\s+@\s*|\s*@\s+)"
_DOT = r"(?:\s*[\(\[{<]\s*(?:dot|точка|\.|punto|point|punkt|kropka|ponto|nokta|chấm|cham|крапка|тчк)\s*[\)\]}>]\s*|\s+(?:dot|точка|тчк|punto|point|punkt|kropka|ponto|nokta|chấm|cham|крапка)\s+|\s*\.\s*|\s*(?:点|點)\s*)"
_TLD = r"(?:com|ru|рф|org|net|de|fr|es|it|pl|pt|br|ua|uk|vn|cn|tr|io|me|edu|gov|info|co|eu|ру|ком|нет|орг|us|ca|au|in|dev|app|internal|local|by|kz|ch|at|be|nl|юа)"
_HOST = r"(?:gmail|g ?mail|mail|yandex|яндекс|гмейл|гмайл|джимейл|жмейл|мейл|майл|почта|yahoo|hotmail|outlook|icloud|proton|protonmail|rambler|рамблер|bk|inbox|list|gmx|web|ukr|live|qq|163|wp|onet|libero|orange|uol|bol|ya|аутлук|айклауд|хотмейл|тут|t-online|free|laposte|interia|sapo|terra|naver|me|mac)"
_SPELLED = re.compile(
    rf"(?<![\w])(?:[\w\-]+{_DOT}|[\w]+\s(?:underscore|нижнее подчеркивание|подчеркивание|dash|тире|дефис|guion bajo|tiret|minus|unterstrich|trattino|podkreślnik|_)\s)*[\w.+\-]+{_AT}"
    rf"(?:(?:[\w\-]+{_DOT})+{_TLD}|{_HOST}\s+{_TLD}|{_HOST})(?![\w])",
    re.IGNORECASE,
)


class ChatEmailRecognizer(ChatRecognizer):
    """E-mail addresses, also of private networks, and spelled out (`ivan собака mail точка ru`)."""

    wake = Wake.AT | Wake.MAIL | Wake.CJK
    entities = (Entity.EMAIL_ADDRESS,)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        found = False
        for pattern in (_EMAIL, _EMAIL_BARE):
            for match in pattern.finditer(norm):
                if norm[max(0, match.start() - 3) : match.start()] == "://":
                    continue
                found = True
                yield Hit(match.start(), match.end(), Entity.EMAIL_ADDRESS, 0.9, "email.written")
        if not found and view.wake & (Wake.MAIL | Wake.AT | Wake.CJK):
            for match in _SPELLED.finditer(norm):
                if self._is_mail(match[0]):
                    start = match.start()
                    yield Hit(start, match.end(), Entity.EMAIL_ADDRESS, 0.75, "email.spelled")

    @staticmethod
    def _is_mail(raw: str) -> bool:
        """`look at mail` and `meet at home. it` are sentences."""
        is_host = re.search(_HOST + r"(?:\W|$)", raw, re.IGNORECASE) is not None
        dots = re.search(
            r"\b(?:dot|точка|тчк|punto|point|punkt|kropka|ponto|nokta|chấm|крапка)\b|[点點(\[]", raw, re.IGNORECASE
        )
        local = re.split(_AT, raw, maxsplit=1, flags=re.IGNORECASE)[0]
        plain_at = re.search(r"\s(?:at|et|ет|эт)\s", raw, re.IGNORECASE) is not None
        if dots:
            return True
        if plain_at:
            tail = re.split(_AT, raw, maxsplit=1, flags=re.IGNORECASE)[-1]
            return is_host and bool(re.search(r"\.\s?\w+$", tail) or re.search(r"[\d._]", local)) and len(local) > 2
        return is_host or bool(re.search(r"\.\s*\w{2,}$", raw))


_HANDLE = re.compile(r"(?<![\w@./&=+\-])@([A-Za-z_][A-Za-z0-9_.]{2,31}(?:-[A-Za-z0-9]+)*)(?<![.])(?![\w@(])(?!\.\w)")
_HANDLE_STOP = read_words("not_handles.txt")
_PROFILES = [
    "t.me",
    "telegram.me",
    "instagram.com",
    "instagr.am",
    "vk.com",
    "vk.ru",
    "facebook.com",
    "fb.com",
    "fb.me",
    "twitter.com",
    "x.com",
    "tiktok.com",
    "linkedin.com/in",
    "github.com",
    "youtube.com",
    "twitch.tv",
    "ok.ru",
    "threads.net",
    "steamcommunity.com/id",
    "reddit.com/u",
    "reddit.com/user",
    "snapchat.com/add",
    "soundcloud.com",
    "behance.net",
    "last.fm/user",
    "wa.me",
    "pinterest.com",
    "gitlab.com",
    "zalo.me",
    "weibo.com",
    "medium.com",
    "m.me",
    "onlyfans.com",
    "patreon.com",
    "paypal.me",
    "cash.app",
    "venmo.com",
]
_PROFILE = re.compile(
    rf"(?:{'|'.join(map(re.escape, _PROFILES))})/(?:u/)?[@$]?([A-Za-z0-9_.\-]{{3,40}})(?![\w+])", re.IGNORECASE
)
_PROFILE_STOP = read_words("not_profiles.txt")
_USER_WORD = re.compile(
    r"(?:微信号?|微博|用户名|抖音号?|小红书|昵称|账号|(?<![^\W_])(?:ник\w{0,4}|никнейм\w*|логин\w*|юзер\w*|інст\w{0,6}|тікток\w?|стім\w?|твіч\w?|діскорд\w?|fb|tk|acc|venmo|cash ?app|screen ?name|ign|(?:benutzer)?kennung|nik|profil|konto|compte|takma ad\w?|rumuz|follow(?: me)?|userid|инст[аеуы]?\w{0,6}|тг\w?|телег[аеуи]\w*|телеграм\w?|дискорд\w?|скайп\w?|стим\w?|тви[чт]\w*|тикток\w?|аккаунт\w?|акк|вк|нік\w*|логін\w*|профил\w+|"
    r"nick(?:name)?|user ?name|user(?:id)?|handle|ig|insta(?:gram)?(?:[ıi]m)?|tg|telegram(?:[ıi]m)?|discord(?:um)?|snap(?:chat)?|skype|steam|twitch|tik ?tok|twitter|reddit|gamertag|psn|xbox(?: live)?|login|log in|logs in|kik|wechat|qq|gamer tag|account|epic|riot(?: id)?|roblox|"
    r"usuario|utilisateur|pseudo|identifiant|benutzer(?:name)?|nutzername|utente|nome utente|usu[aá]rio|utilizador|użytkownik\w*|nazwa użytkownika|kullan[ıi]c[ıi](?: ad[ıi]\w*)?|tên đăng nhập|tên tài khoản|tên người dùng|zalo|ID)(?![^\W_])"
    r")(?:\s*(?:id|name|tag|号))?(?P<gap>[\s:=\-–—'\"«“(>是：]{1,4}(?:(?:у меня|мой|моя|есть|под|это|is|as|my|me|its|it's|called|mi|es|mon|c'est|est|mein|ist|meu|minha|é|mio|è|mój|to|là|của|mình|tôi|benim|add|on|в инсте|в тг|в телеге|=|:)[\s:]{1,3}){0,3})@?(?P<value>[A-Za-z][A-Za-z0-9]*(?:[._\-#]?[A-Za-z0-9_]+)*)",
    re.IGNORECASE,
)
_USER_UNDER = re.compile(
    r"(?<![^\W_])(?:под(?: ником| именем| логином)?|as|user|als|como|en tant que|z|with|avec|con|com|jako|với|olarak|use|nick|ник|kick|log(?:ge)? (?:dich )?ein mit|entra con|zaloguj si[ęe]|giriş|đăng nhập|connecte[- ]toi avec|usa|utilise|как|як)\s+@?(?P<value>[A-Za-z][A-Za-z0-9]*(?:[._][A-Za-z0-9]+)+|[A-Za-z]{3,}\d{1,4}|[A-Za-z0-9]*_[A-Za-z0-9_]*)(?![\w@])",
    re.IGNORECASE,
)
_CAMEL_NAME = re.compile(  # a made-up name, no brand
    r"(?!(?:TikTok|YouTube|PayPal|WhatsApp|LinkedIn|FaceTime|OnlyFans|CashApp|JavaScript|TypeScript|PlayStation|GitHub|GitLab|MacBook|AirPods)$)(?:[A-Z][a-z]{2,}){2,4}"
)
_REDDIT = re.compile(r"(?<![\w/])/?u/([A-Za-z0-9_\-]{3,20})(?!\w)")
_PLATFORM = re.compile(
    r"(?<![^\W_])(?:insta\w{0,5}|ig|snap(?:chat)?|twitter|tweet\w*|git(?:hub|lab)|reddit|discord(?:zie|da)?|steam(?:ie|de)?|psn|xbox|twitch(?:u|te|ta)?|kick|tik ?tok|telegram(?:ie)?|tg|kik|threads|handle|username|nick(?:name)?|gamertag|инст\w{0,5}|тг|телег\w*|телеграм\w*|дискорд\w*|стим\w?|тикток\w?|твиттер\w?|ник\w{0,3}|никнейм|нік\w{0,3}|інст\w{0,6}|тікток\w?|стім\w?|твіч\w?|діскорд\w?|логин\w{0,2}|логін|юзер\w*|facebook|fb|zalo|skype|скайп\w?)(?![^\W_])",
    re.IGNORECASE,
)
_ODD_NAME = re.compile(r"(?<![\w@./:\-])(?=[\w.\-]*[A-Za-z])(?:[A-Za-z0-9]+(?:[_.\-]+[A-Za-z0-9]+)*_?)(?![\w@/]|\.\w)")
_NAMED_PLAIN = re.compile(
    r"(?:benutzername|usuario|usu[aá]rio|utente|utilisateur|pseudo|użytkownik|handle|username|user name|nick(?:name)?|gamertag|tag|insta(?:gram)?|ig|snap(?:chat)?|twitter|tiktok|github|ник\w{0,2}|никнейм|нік|логин|логін|инста|тг)(?: name| id)?(?: (?:de|di|do|on|in|for|в|на|en|sur|auf|w) (?:twitch|insta\w*|steam|discord|tiktok|telegram|psn|xbox|стиме|тг|инсте|дискорде))?(?:'s| is| es| est| ist| é| è| ist| to| -|:| =|(?<=twitch)|(?<=steam)|(?<=discord)|(?<=tiktok)|(?<=стиме)) ?@?([A-Za-z][A-Za-z0-9]{4,24})\s*(?:[.,!;)]|$)",
    re.IGNORECASE,
)
_NAMED_ALONE = re.compile(  # a line of nothing but the word and the name
    r"(?:^|\n)\W*(?:(?:my|mein|mi|mio|mon|meu|mój|мой|мій|benim|il mio|o meu|new|neuer|nuovo|nuevo|nouveau) )?"
    r"(?:user ?name|user|zockername|gamer ?name|benutzer(?:name)?|nutzername|anmeldename|(?:nome )?utente|nome usuario|(?:nombre de )?usuario|(?:nome de )?usu[aá]rio|(?:nom d')?utilisateur|identifiant|pseudo|(?:nazwa )?użytkownika?|kullanıcı(?: adı[mn]?)?|tên đăng nhập|tên tài khoản"
    r"|login|логин|логін|ник(?:нейм)?|нік(?:нейм)?|nick(?:name)?|юзер(?:нейм)?|користувач|пользователь|handle|gamertag|takma ad|用户名|账号)"
    r"(?: id| name| mình| của mình| em| tôi)?(?:'s| is| ist| lautet| hei(?:ß|ss)t| war| es| era| est| è| era| é| to| là| это| це)?\s*[:=–—-]?\s*@?(?P<value>[A-Za-z][A-Za-z0-9]*(?:[._-][A-Za-z0-9]+)*)[.!]?\s*(?=$|\n)",
    re.IGNORECASE,
)
_CALLED_ON = re.compile(  # `auf steam heiß ich dosenbier`, `mi chiamo lupo_grigio su discord`
    r"(?<![^\W_])(?:(?:hei(?:ß|ss)e? ich|ich hei(?:ß|ss)e?|nenn(?:t)? mich|call me|chiamami|llámame|appelle[- ]moi|adım|ad[ıi] |mình là|tên mình là|мене звуть|叫|mi chiamo|me llamo|me chamo|je m['’]appelle|nazywam się|i go by|i'?m called|меня зовут|мене звати|я записан[аы]?|подписан[аы]?)\s+@?(?P<value>[A-Za-z][\w.]{3,24}))(?![\w@])"
    r"|(?<![^\W_])(?:(?:find|add|follow|dm|msg|message|hit|search|look) (?:me|us)(?: up)?|búscame|sígueme|agrégame|trovami|seguimi|cercami|trouve[- ]moi|suis[- ]moi|ajoute[- ]moi|such mich|find mich|folg mir|adde mich|me (?:segue|acha|adiciona)|znajdź mnie|dodaj mnie|obserwuj mnie|beni (?:ekle|bul)|добавь меня|найди меня|ищи меня|подпишись|знайди мене|додай мене|kết bạn|add mình)"
    r"[ ,]+(?:on|in|at|en|su|sur|auf|no|na|w|в|у|trên|по)? ?(?:insta\w*|ig|tg|telegram\w?|discord|snap(?:chat)?|steam|twitter|tik ?tok|twitch|инст\w+|тг|телег\w*|стим\w?|дискорд\w?|інст\w+|zalo|fb|facebook)[ :,–—-]+@?(?P<other>[A-Za-z][\w.]{3,24})\s*(?=$|[\n.,!])",
    re.IGNORECASE,
)
_QQ = re.compile(r"(?<![^\W_])qq(?:号码?)?\s*(?:是|[:=])?\s*(?P<value>[1-9]\d{4,10})(?!\d)", re.IGNORECASE)
_URLISH_NAME = re.compile(
    r"\.(?:com|ru|org|net|io|me|txt|pdf|docx?|png|jpe?g|py|js|html|exe|zip|apk|gg|tv)$", re.IGNORECASE
)
_USER_STOP = read_words("not_usernames.txt")


class ChatUsernameRecognizer(ChatRecognizer):
    """Handles, profile links and names a word announces. The span is the name alone, without `@` or `t.me/`."""

    wake = Wake.AT | Wake.USER | Wake.URL | Wake.CJK | Wake.PASSWORD

    @staticmethod
    def _is_odd(token: str) -> bool:
        """Return whether a word beside a platform's name looks made up: joined by _ or ., or ending in digits."""
        if len(token) < 4 or _URLISH_NAME.search(token) or likeness(token) == 0:
            return False
        return "_" in token or re.search(r"[a-z]\.[a-z0-9]|-\d+$|[a-z]{3}\d{2,}$", token, re.IGNORECASE) is not None

    entities = (Entity.USERNAME,)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_USER_WORD, _QQ, _PLATFORM, _CALLED_ON, _USER_UNDER)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        is_announced = bool(view.wake & Wake.USER)
        if view.wake & Wake.AT:
            for match in _HANDLE.finditer(norm):
                name = match[1]
                is_odd = bool(re.search(r"[\d_.]|[a-z][A-Z]", name)) and len(name) >= 4
                if name.lower() in _HANDLE_STOP or re.fullmatch(r"[a-z]{0,3}\d{1,3}[ap]?m?", name):
                    continue
                if (
                    is_odd
                    or is_announced
                    or (name.islower() and len(name) >= 5 and (match.start() == 0 or norm[match.start() - 1] == " "))
                ):
                    yield Hit(match.start(1), match.end(1), Entity.USERNAME, 0.8, "username.handle")
        for match in _PROFILE.finditer(norm) if any(map(view.low.__contains__, _PROFILES)) else ():
            is_repository = "git" in match[0] and norm.startswith("/", match.end(1))
            if match[1].lower() not in _PROFILE_STOP and not is_repository:
                end = match.end(1) - (len(match[1]) - len(match[1].rstrip(".-")))
                yield Hit(match.start(1), end, Entity.USERNAME, 0.85, "username.profile")
        if is_announced or view.wake & (Wake.PASSWORD | Wake.CJK):
            for match in view.finditer(_USER_WORD):
                value = match["value"]
                if value.lower() in _USER_STOP or norm.startswith(("@", "://", "/"), match.end()) or len(value) < 3:
                    continue
                is_odd = bool(re.search(r"[\d_.#]|[a-z][A-Z]", value)) or ("-" in value and len(view.words) <= 6)
                is_foreign = not value.isupper() and view.has_cyrillic
                is_colon = any(c in match["gap"] for c in ":=：")
                has_password = re.match(
                    r"[\s,;/]+(?:and |и |y )?(?:pass|pw|pwd|пасс|парол|contra|clave|mdp|mot de passe|şifre|parola|hasło|senha|kennwort|mk|mật khẩu)",
                    norm[match.end() :],
                    re.IGNORECASE,
                )
                if (
                    is_odd
                    or has_password
                    or (is_foreign and len(value) >= 4)
                    or (is_colon and len(value) >= 4)
                    or (view.wake & Wake.CJK and len(value) >= 5)
                ):
                    yield Hit(match.start("value"), match.end("value"), Entity.USERNAME, 0.7, "username.announced")
            for match in _NAMED_ALONE.finditer(norm):
                low = match["value"].lower()
                if low not in _USER_STOP and low not in _PLAIN_AFTER and not is_talk(low, shortest=4):
                    yield Hit(match.start("value"), match.end("value"), Entity.USERNAME, 0.6, "username.alone")
            for match in view.finditer(_QQ):
                yield Hit(match.start("value"), match.end("value"), Entity.USERNAME, 0.7, "username.number")
            platform = view.search(_PLATFORM)
            if platform:
                for match in view.finditer(_CALLED_ON):
                    if not is_talk(match[match.lastgroup or 0], shortest=4):
                        yield Hit(*match.span(match.lastgroup or 0), Entity.USERNAME, 0.6, "username.called")
                for match in _ODD_NAME.finditer(norm):
                    is_near = match.start() - platform.end() <= 30 and platform.start() - match.end() <= 30
                    is_camel = len(view.words) <= 8 and _CAMEL_NAME.fullmatch(match[0])
                    if (
                        (self._is_odd(match[0]) or is_camel)
                        and (is_near or not is_code(match[0]))
                        and not re.fullmatch(r"[A-Z\d_]+", match[0])
                        and ("." not in match[0] or len(view.words) <= 8)
                        and match[0].lower() not in _USER_STOP
                        and not _PLATFORM.fullmatch(match[0])
                    ):
                        yield Hit(match.start(), match.end(), Entity.USERNAME, 0.6, "username.platform")
                for match in _NAMED_PLAIN.finditer(norm):
                    if match[1].lower() not in _USER_STOP and match[1].lower() not in _PLAIN_AFTER:
                        yield Hit(match.start(1), match.end(1), Entity.USERNAME, 0.6, "username.named")
            for match in _REDDIT.finditer(norm) if "u/" in norm else ():
                yield Hit(match.start(1), match.end(1), Entity.USERNAME, 0.8, "username.reddit")
            for match in view.finditer(_USER_UNDER):
                value = match["value"]
                if value.lower() not in _USER_STOP and (is_announced or re.search(r"_|\d\d|^.{6,}\d", value)):
                    yield Hit(match.start("value"), match.end("value"), Entity.USERNAME, 0.6, "username.under")


_PLAIN_AFTER = read_words("not_after_username.txt")

_IPV4 = re.compile(r"(?<![\w.\-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}(?::?[0-9a-fA-F]{1,4}){1,5}(?![\w:])|(?<![\w:])[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5}::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5})?(?![\w:])"
)
_MAC = re.compile(r"(?<![\w:\-])(?:[0-9A-Fa-f]{2}[:\-]){5}[0-9A-Fa-f]{2}(?![\w:\-])")
_PUBLIC_IPS = frozenset(
    {
        "8.8.8.8",
        "8.8.4.4",
        "1.1.1.1",
        "1.0.0.1",
        "9.9.9.9",
        "77.88.8.8",
        "192.168.0.1",
        "192.168.1.1",
        "192.168.0.0",
        "10.0.0.0",
    }
)
_VERSION = re.compile(
    r"(?<![^\W_])(?:верси\w*|version|versión|v|ver|вер|версію|wersja|sürüm|phiên bản|版本|release|build|сборка|обнов\w*|update\w*|chrome|firefox|driver|bios|прошивк\w*|firmware|пункт|п|раздел|section|глава)[\s.:№]*$",
    re.IGNORECASE,
)


class ChatNetworkRecognizer(ChatRecognizer):
    """IP and MAC addresses, except everybody's: loopback, public resolvers, a router's factory address."""

    wake = Wake.DIGITS | Wake.LONG
    entities = (Entity.IP_ADDRESS,)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        for match in _IPV4.finditer(norm) if norm.count(".") >= 3 else ():
            ip = match[0]
            if ip in _PUBLIC_IPS or ip.startswith(("127.", "0.", "255.")) or _VERSION.search(norm[: match.start()]):
                continue
            yield Hit(match.start(), match.end(), Entity.IP_ADDRESS, 0.8, "ip.v4")
        n_colons = norm.count(":")
        may_be_v6 = n_colons >= 3 or "::" in norm
        may_be_mac = n_colons + norm.count("-") >= 5
        for pattern, rule, may_be in ((_IPV6, "ip.v6", may_be_v6), (_MAC, "ip.mac", may_be_mac)):
            for match in pattern.finditer(norm) if may_be else ():
                if len(match[0]) > 7 and re.search(r"\d", match[0]):
                    yield Hit(match.start(), match.end(), Entity.IP_ADDRESS, 0.75, rule)
