"""Passwords, codes, keys, seed phrases and links that open something.

Passwords and codes have no shape of their own: a keyword says that one is near, and the value is the token in reach that
looks most like one. Keys have shapes (after the keyword-gated rules of gitleaks, MIT; the patterns are ours).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

from clone.prepare.pii import plain
from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.told import invented, told
from clone.prepare.pii.types import Entity, Finding
from clone.prepare.pii.values import is_code, is_latin, likeness
from clone.prepare.pii.view import View
from clone.prepare.pii.words import BIP39, Wake, read_words

_B, _E = r"(?<![^\W_])(?:", r")(?![^\W_])"

PASSWORD_KEYWORD = re.compile(
    _B
    + r"пар(?:оь?л|л)[ьяюе]|пароь|парло\w|p(?:s{1,2}|as)wr?r?o?r?d|passowrd|passwoed|psswo?rd|pssword|paswd|contase[nñ]a|contrasenia|mot de pass|pas+wort|kenwort|парол(?:[ьъяюеиі]\w{0,5})?|порол[ьяюе]|parol(?:i|ya|em|e|yu)?|пасс?в[оа]рд\w{0,2}|пасс?|пасы|пасскей|(?:кодов|контрольн|секретн|ключев|таємн)\w+ (?:слов\w+|фраз\w+)|ключ\w? (?:от )?(?:сети|мережі)"
    r"|passwords?|passw0rd|passwrd|pasword|passcode|passphrase|passkey|pass|pwd?|psw|passwd?|pswd|paswword|creds|credentials|(?:secret|memorable|safe|alarm|magic) words?|(?:network|encryption|security) key|decrypt(?: it)? with"
    r"|contrase[nñ]as?|contrs?e?[nñ]a|contra|claves?|frases? secretas?|palabras? (?:clave|secreta)|mot de passe|mots de passe|mdp|motdepasse|mot secret|phrase secr[eè]te|cl[eé]f? r[eé]seau"
    r"|(?:(?:netflix|spotify|disney|amazon|google|apple|instagram|facebook|insta|paypal|steam|haus|firmen|büro|schul|master|haupt|admin|wlan|wifi|router|einmal|standard|start|benutzer|system|netzwerk|login|e?mail|handy|windows|pc|konto|g[aä]ste?|app|neue[sr]?|alte[sr]?|zip|archiv)-?)?(?:passw[oö]r[td]e?[rsn]?|kennw[oö]rt(?:er)?)|(?:zugangs|losungs|geheim|code)wort|zugangscode|pw|(?:zugangs|log-?in|anmelde)daten|(?:netzwerk|wlan-?)schl[üu]ssel|bildschirmsperre|entsperrcode"
    r"|senhas?|palavra[- ](?:passe|secreta)|chave (?:da rede|do wi-?fi)|chiave (?:di accesso|di rete|del wi-?fi)|parola(?: d'ordine| segreta| chiave|m|n[ıi]z|s[ıi])?|[sş]ifre\w{0,7}|gizli kelime|ağ anahtarı"
    r"|has[łl](?:o|a|em|e|u)|hasełk\w+|hasełem|klucz sieci|tajne słowo|mật khẩu|mat khau|matkhau|mk|mkhau|pas|pass(?:word)? là|гасло"
    + _E
    + "|密码|密碼|口令|暗号|提取码",
)
_WEAK_PASSWORD = re.compile(
    r"pas|pass|contra|пасс?|пасы|claves?|mk|parola\w*|pw|şifre\w*|sifre\w*|has[łl]\w+|暗号|提取码", re.IGNORECASE
)
_NETWORK_KEYWORD = re.compile(
    _B
    + r"wi-?fi|вай-?фа[йяюе]\w?|вафля|роутер\w{0,2}|router|wlan|wpa2?|ssid|hotspot|вай фай|wi fi|netflix|disney\+?|spotify|hulu|hbo|нетфликс\w*|кинопоиск\w*|спотифа\w*|icloud|okko|all lowercase|all caps|capital \w|lowercase|с (?:больш|заглавн|маленьк)\w+(?: букв\w+)?"
    + _E
    + "|无线",
)
_NETWORK_CODE = re.compile(
    r"(?<![^\W_])(?:codes?|kodu?|c[oó]digo|codice|mã|код)(?: (?:du|de la|del|de|do|da|di|for|of|the|for the|vom|fürs?|od|от|до|від|của))? (?:wi-?fi|wlan|вай-?фа[яюй]|netflix|box|hotspot)(?![^\W_])"
)


def _code_of_network(low: str) -> list[re.Match[str]]:
    """Return where a password is called a code, `le code du wifi`."""
    return list(_NETWORK_CODE.finditer(low)) if "cod" in low or "kod" in low or "код" in low else []


_WIFI_KEY = re.compile(  # what is printed under a router
    r"(?<![^\W_])(?:schl[üu]ssel|key|clave|clé|cle|chiave|chave|klucz|ключ|anahtar\w*|密钥)\W{1,3}(?:ist |is |es |è |é |to |это |це )?(\d{4}(?:[ -]?\d{4}){3,4})(?!\d)"
)
_LOGIN_KEYWORD = re.compile(
    _B
    + r"(?:за|ло)?логин\w*|log ?-?in|logon|sign ?-?in|log into|зайди|заходи|войди|prova|prueba|essaie|spróbuj|dene|thử|спробуй|entrare|entre|accedere|użyj|вход|входи|учетк\w+|учётк\w+|логпас\w*|unlock|credentials|creds"
    r"|anmeld\w+|einlogg\w+|zugang|identifiants?|acceso|accedes?|entra|entrar|giriş|dane do logowania|zaloguj\w*|accesso|credenziali|credenciales|credenciais|connexion|đăng nhập|роутер\w*|router|админк\w+|вхід|увійди|логінься|accedi|acceder|ingresa|inicia sesi[oó]n|connecte\w*|logg|einloggen|gir|доступ\w*|попробуй|try|vpn|впн|госуслуг\w*|changed (?:it )?to|set (?:it )?to|new one|(?:get|got|getting|let(?:s)? (?:me|you)|gets you) in with|don'?t share|mets|metti|tape[sz]?|digita|wpisz|wpisujesz|nhập|inserisci|escribe|вбей|вбивай|mach (?:einfach )?mal|nimm(?: einfach)?(?: mal)?|versuch(?: es| mal)*|probier(?: es| mal)*|поменял[аи]? (?:его )?на|сменил[аи]? (?:его )?на|cambi[ée] a|changé en|geändert auf|acc|акк|аккаунт\w*"
    + _E
    + "|登录|登陆|账号",
    re.IGNORECASE,
)
_DELIMITER = re.compile(
    r"""[\s"'«“(`*]*(?:(?:[:=→>]|->|=>|-|—|–|\bis\b|\bэто\b|\bes\b|\best\b|\bist\b|\blautet\b|\bé\b|\bè\b|\bto\b|\blà\b|\bla\b|是|为|：|"|«|`)[\s"'«“(`*:]*)+"""
)
_TOKEN = re.compile(r"[^\s«»“”<>]+")
_STRIP_LEFT = "\"'`«“(*[{:;,=-—–>→."
_STRIP_RIGHT = "\"'`»”,;:)]}.…"
_FILLER = read_words("password_fillers.txt")
_NOT_A_VALUE = read_words("not_passwords.txt")


def _clean(token: str, start: int) -> tuple[str, int]:
    """Return `token` without what punctuation hangs on it, and where it starts now."""
    left = len(token) - len(token.lstrip(_STRIP_LEFT))
    token = token[left:].rstrip(_STRIP_RIGHT)
    if token and token[-1] in "!?" and not (len(token) > 2 and token[-1] == "!" and likeness(token[:-1]) >= 3):
        token = token.rstrip("!?")
    return token, start + left


class ChatPasswordRecognizer(ChatRecognizer):
    """Passwords near the words that announce them."""

    wake = Wake.PASSWORD | Wake.AT
    entities = (Entity.PASSWORD, Entity.USERNAME)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (PASSWORD_KEYWORD, _NETWORK_KEYWORD, _NETWORK_KEY, _LOGIN_KEYWORD, plain.NETWORK)

    def scan(self, view: View) -> Iterator[Hit]:
        for hit in self._passwords(view):
            yield hit
            if hit.entity == Entity.PASSWORD:
                yield from self._variants(view.norm, hit)
                named = _NAMED_USER.search(view.norm, max(0, hit.start - 80), hit.start)
                if named is None and not _NETWORK_KEYWORD.search(view.low, max(0, hit.start - 60), hit.start):
                    named = _USER_BEFORE.search(view.norm, max(0, hit.start - 50), hit.start)
                if named and named["user"].lower() not in _NOT_A_VALUE | _FILLER and not named["user"].isdigit():
                    yield Hit(*named.span("user"), Entity.USERNAME, 0.55, "username.pair")
                user = _SLASHED.search(view.norm, max(0, hit.start - 40), hit.start)
                if user and "@" not in user[1] and user[1].lower() not in _NOT_A_VALUE and not user[1].isdigit():
                    yield Hit(user.start(1), user.end(1), Entity.USERNAME, 0.55, "username.pair")

    @staticmethod
    def _variants(norm: str, hit: Hit) -> Iterator[Hit]:
        """Yield the same word without its digits and capitals: `prova gattonero o GattoNero13`."""
        word = norm[hit.start : hit.end].rstrip("0123456789!#$*_")
        if hit.end - hit.start == len(word) or len(word) < 6 or not word.isalpha():
            return
        for match in re.finditer(rf"(?<!\w){word}(?!\w)", norm, re.IGNORECASE):
            yield Hit(match.start(), match.end(), Entity.PASSWORD, 0.6, "password.variant")

    def _passwords(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        keywords = [
            k
            for k in (*view.matches(PASSWORD_KEYWORD), *(_code_of_network(view.low)))
            if not norm.startswith(("[", ".", "/"), k.start() - 1)
            and not _TAG.match(norm, k.end())  # scrubbed before
            and not _COMPOUND.match(norm, k.end())
            and not (k[0].lower() == "pass" and _TO_PASS.search(norm, max(0, k.start() - 12), k.start()))
        ]
        found = shaped = False  # shaped: found by how it looks, so that nothing need be told
        for i, keyword in enumerate(keywords):
            stop = keywords[i + 1].start() if i + 1 < len(keywords) else len(norm)
            hit = self._after(norm, keyword, stop)
            if hit is None:
                hit = self._before(norm, keywords[i - 1].end() if i else 0, keyword)
            if hit is None and not _WEAK_PASSWORD.fullmatch(keyword[0]):
                hit = self._foreign(norm, keywords[i - 1].end() if i else 0, keyword, stop)
            if hit is not None:
                found = True
                shaped = shaped or not norm[hit.start : hit.end].isalpha()
                yield hit
                for match in _TOKEN.finditer(norm, hit.end, stop):
                    token, start = _clean(match[0], match.start())
                    if likeness(token) == 3 and len(token) >= 7 and re.fullmatch(r"[A-Z]?[a-z]+[\W_]?\d+[!#$]?", token):
                        yield Hit(start, start + len(token), Entity.PASSWORD, 0.6, "password.another")
                pair = _PAIR.match(norm, hit.end, stop)
                if pair and likeness(_clean(pair[1], 0)[0]) >= 2:
                    # user / password
                    token, start = _clean(pair[1], pair.start(1))
                    yield Hit(start, start + len(token), Entity.PASSWORD, 0.7, "password.pair")
        if not found:
            key = view.search(_NETWORK_KEY)
            if key and any(map(str.isdigit, key[1])):
                found = True
                yield Hit(key.start(1), key.end(1), Entity.PASSWORD, 0.7, "password.network-key")
        if not found and keywords:
            for pattern in (_ANNOUNCED_AFTER, _CASED):
                word = pattern.search(norm)
                if word and self._is_chosen(word[1]):
                    found = True
                    yield Hit(word.start(1), word.end(1), Entity.PASSWORD, 0.6, "password.plain")
                    break
        if not found:
            for hit in self._plain(view, keywords):
                found = True
                yield hit
        if keywords and not shaped:
            for span in told(norm, keywords):
                found = True
                yield Hit(*span, Entity.PASSWORD, 0.6, "password.told-word")
        if not found:
            network = _NETWORK_KEYWORD.search(view.low) if view.may_hold(_NETWORK_KEYWORD) else None
            key = _WIFI_KEY.search(view.low, network.end()) if network else None
            if key:
                found = True
                yield Hit(key.start(1), key.end(1), Entity.PASSWORD, 0.7, "password.wifi-key")
            if network or keywords:
                first = _FIRST_LINE.match(norm)
                if first and likeness(first[1]) == 3 and not is_code(first[1]):
                    found = True
                    yield Hit(first.start(1), first.end(1), Entity.PASSWORD, 0.6, "password.first-line")
            if network and not found:
                hit = self._after(norm, network, len(norm), is_network=True)
                if hit is not None:
                    found = True
                    yield hit
        if not found and not keywords:
            for span in invented(norm):
                found = True
                yield Hit(*span, Entity.PASSWORD, 0.55, "password.invented")
        if not found:
            login = view.search(_LOGIN_KEYWORD)
            if login:
                for hit in self._strong(norm, login.end()):
                    found = True
                    yield hit
        if not found:
            new = _THE_NEW.search(norm)
            if (
                new
                and (likeness(new["value"]) == 3 or re.search(r"[A-Z].*_|_.*[A-Z]", new["value"]))
                and not is_code(new["value"])
            ):
                found = True
                yield Hit(*new.span("value"), Entity.PASSWORD, 0.6, "password.new")
        if not found:
            for match in _PAIR_ALONE.finditer(norm) if "/" in norm or "|" in norm else ():
                if likeness(match[2]) == 3:
                    found = True
                    if "@" not in match[1]:
                        yield Hit(match.start(1), match.end(1), Entity.USERNAME, 0.6, "username.pair")
                    yield Hit(match.start(2), match.end(2), Entity.PASSWORD, 0.7, "password.pair")
        if not found and "[PASSWORD]" not in norm:  # nor was one found and taken out before
            for match in _TOKEN.finditer(norm) if view.n_digits else ():
                if len(match[0]) < 7 or match[0].isalpha():
                    continue
                token, start = _clean(match[0], match.start())
                if not (7 <= len(token) <= 24 and _SHAPED.fullmatch(token) and likeness(token) == 3):
                    continue
                is_called = norm.startswith((":", ","), start + len(token)) and not norm[:start].strip()
                if not is_called and not is_code(token):
                    yield Hit(start, start + len(token), Entity.PASSWORD, 0.6, "password.shape")

    @staticmethod
    def _plain(view: View, keywords: list[re.Match[str]]) -> Iterator[Hit]:
        """Passwords that are plain words, where the sentence tells them."""
        norm = view.norm
        told = plain.pair(norm) if "/" in norm or "|" in norm else None
        if told:
            name, value = told
            if "@" not in norm[slice(*name)]:
                yield Hit(*name, Entity.USERNAME, 0.6, "username.pair")
            yield Hit(*value, Entity.PASSWORD, 0.6, "password.pair")
            return
        for i, keyword in enumerate(keywords):
            stop = keywords[i + 1].start() if i + 1 < len(keywords) else len(norm)
            span = plain.after(norm, keyword, stop) or plain.before(norm, keyword)
            if span:
                yield Hit(*span, Entity.PASSWORD, 0.6, "password.told-plain")
                user = plain.user_before(norm, keyword)
                if user and "@" not in norm[slice(*user)]:
                    yield Hit(*user, Entity.USERNAME, 0.6, "username.pair")
                return
        is_network = view.may_hold(plain.NETWORK)
        use = plain.in_use(norm) if is_network else None
        if use:
            yield Hit(*use, Entity.PASSWORD, 0.6, "password.in-use")
            return
        typed = list(plain.FOR_NETWORK.finditer(norm)) if is_network else []
        for match in (*typed, *plain.TYPED.finditer(norm)):
            if likeness(match["value"]) == 3 and len(match["value"]) >= 7 and not is_code(match["value"]):
                yield Hit(*match.span("value"), Entity.PASSWORD, 0.6, "password.for-network")
        words = plain.network(norm) if is_network else None
        if words:
            yield Hit(*words, Entity.PASSWORD, 0.6, "password.network-words")

    def _after(self, norm: str, keyword: re.Match[str], stop: int, is_network: bool = False) -> Hit | None:
        is_weak = is_network or _WEAK_PASSWORD.fullmatch(keyword[0]) is not None
        delimiter = _DELIMITER.match(norm, keyword.end())
        has_delimiter = delimiter is not None and bool(delimiter[0].strip(" \n"))
        is_colon = delimiter is not None and any(c in delimiter[0] for c in ':=→>："«`')
        at = delimiter.end() if delimiter else keyword.end()
        if _SECRET_WORD.match(keyword[0]):
            word = _WORD_LAST.match(norm, keyword.end(), stop)
            if word and word[1].lower() not in _NOT_A_VALUE:
                return Hit(word.start(1), word.end(1), Entity.PASSWORD, 0.7, "password.secret-word")
        if keyword[0].lower() == "passphrase":
            words = _WORDS.match(norm, at)
            if words:
                return Hit(words.start(1), words.end(1), Entity.PASSWORD, 0.8, "password.words")
        if has_delimiter and not is_network:
            quoted = _QUOTED.match(norm, keyword.end())
            if quoted and (" " in quoted[1] or likeness(quoted[1])):
                return Hit(quoted.start(1), quoted.end(1), Entity.PASSWORD, 0.8, "password.quoted")
        tokens = []
        for match in _TOKEN.finditer(norm, at, stop):
            token, start = _clean(match[0], match.start())
            if token:
                tokens.append((token, start))
            if len(tokens) == 12:
                break
        best: tuple[float, str, int] | None = None
        n_content = 0
        for i, (token, start) in enumerate(tokens):
            low = token.lower()
            like = likeness(token)
            near = n_content
            if low not in _FILLER:
                n_content += 1
            if low in _PRODUCTS:
                continue
            value = 0.0
            if keyword[0].lower() in ("pass", "pwd") and not is_colon and like >= 2 and is_code(token):
                continue
            if like == 3:
                value = 3.0 - near * 0.15
            elif like == 2:
                if (
                    (near <= 1 or (near <= 3 and len(token) >= 6 and not is_weak))
                    and (not is_weak or has_delimiter or near == 0)
                    and not _is_counted(norm, start + len(token))
                ):
                    value = 2.0 - near * 0.4 + (0.5 if has_delimiter else 0)
            elif like == 1 and i < 3 and len(token) >= 6 and is_gibberish(low) and view_is_cyrillic(norm):
                value = 1.1
            elif (
                like == 1
                and n_content == 1
                and low not in _FILLER
                and low not in _NOT_A_VALUE
                and (i == 0 or is_network)
            ):
                rest = norm[start + len(token) : stop].lstrip(" \"'`»”)").lstrip()
                is_last = (not rest or rest[0] in ",.;\n!(:") and not rest.startswith("..")
                is_odd = is_latin(token) and view_is_cyrillic(norm)
                if low in _FILLER:
                    pass
                elif is_colon and (is_last or is_odd):
                    value = 1.2
                elif has_delimiter and is_last and len(token) >= 5 and not plain.is_talk(low):
                    value = 1.0 if not is_network else 0.0
                elif is_odd and not is_network and len(token) >= 5:
                    value = 1.0
                elif (
                    _NEW_LINE.search(norm, keyword.end(), start)
                    and is_last
                    and len(token) >= 7
                    and low not in _PLAIN_ANSWERS
                    and i < 3
                ):
                    value = 1.0  # asked in one line, answered in the next
            if value and (best is None or value > best[0]):
                best = (value, token, start)
        if best is None or (is_weak and best[0] < 1):
            told = _TOLD_LAST.match(norm, keyword.end(), stop)
            if told and stop == len(norm) and self._is_told(told, is_weak=is_weak and not is_network):
                return Hit(told.start(2), told.end(2), Entity.PASSWORD, 0.6, "password.told")
            return None
        value, token, start = best
        return Hit(start, start + len(token), Entity.PASSWORD, min(0.95, 0.5 + value * 0.15), "password.keyword")

    def _foreign(self, norm: str, floor: int, keyword: re.Match[str], stop: int) -> Hit | None:
        """Return the Latin word beside the keyword of a message in another script: no service, no device."""
        if not _OTHER_SCRIPT.search(norm):
            return None
        after = [(m[0], m.start()) for m in _LATIN_WORD.finditer(norm, keyword.end(), min(stop, keyword.end() + 40))]
        before = [
            (m[0], m.start()) for m in _LATIN_WORD.finditer(norm, max(floor, keyword.start() - 30), keyword.start())
        ]
        for word, start in (*after, *reversed(before)):
            if self._is_chosen(word):
                return Hit(start, start + len(word), Entity.PASSWORD, 0.6, "password.foreign")
        return None

    @staticmethod
    def _is_chosen(word: str) -> bool:
        low = word.lower()
        return not (
            low in _NOT_A_VALUE or low in _FILLER or low in _PLAIN_ANSWERS or low in _PRODUCTS or _TALK.match(low)
        )

    @staticmethod
    def _is_told(told: re.Match[str], *, is_weak: bool) -> bool:
        """Return whether the one word after a colon or a question mark is the value, not talk about it."""
        low = told[2].lower()
        if low in _NOT_A_VALUE or low in _FILLER or low in _PLAIN_ANSWERS or low in _PRODUCTS or _TALK.match(low):
            return False
        return len(low) >= (6 if told[1] == ":" else 9) and not is_weak

    def _before(self, norm: str, floor: int, keyword: re.Match[str]) -> Hit | None:
        """`Rexy2015 is the password`."""
        tokens = [_clean(m[0], m.start()) for m in _TOKEN.finditer(norm, floor, keyword.start())]
        is_weak = _WEAK_PASSWORD.fullmatch(keyword[0]) is not None
        for token, start in reversed(tokens[-5 if is_weak else -8 :]):
            is_called = norm.startswith((":", ","), start + len(token)) and not norm[:start].strip()  # a nick
            if likeness(token) >= 3 and not is_code(token) and not is_called:
                if _ANNOUNCES_USER.search(norm, max(0, start - 24), start):
                    break
                return Hit(start, start + len(token), Entity.PASSWORD, 0.7, "password.before")
        return None

    def _strong(self, norm: str, at: int) -> Iterator[Hit]:
        """A login without the word password: what mixes letters and digits, the last of such tokens."""
        last = None
        for n, match in enumerate(_TOKEN.finditer(norm, at)):
            token, start = _clean(match[0], match.start())
            if n == 10:
                break
            if is_code(token):
                continue
            if (likeness(token) >= 3 and not re.fullmatch(r"[\w.]+", token.rstrip("!"))) or (
                likeness(token) >= 3
                and re.search(r"\d", token)
                and re.search(r"[A-Za-zА-я]", token)
                and len(token) >= 7
            ):
                last = (token, start)
        if last is not None:
            before = _PAIR_BEFORE.search(norm, at, last[1])
            if before and (
                likeness(before[1]) >= 2
                or (before[1] != before[0].rstrip() and likeness(before[1]) and before[1].lower() not in _FILLER)
            ):
                yield Hit(before.start(1), before.end(1), Entity.USERNAME, 0.6, "username.pair")
            yield Hit(last[1], last[1] + len(last[0]), Entity.PASSWORD, 0.6, "password.login")


_ANNOUNCES_USER = re.compile(
    r"(?:(?<![^\W_])(?:login|log-?in|user(?:name)?|usuario|usuário|utente|identifiant|benutzer(?:name)?|nutzer(?:name)?|użytkownik|kullanıcı adı|kullanıcı|tài khoản|tk|acc|account|логин|логін|юзер|акк|ssid|network(?: is| name)?|netz hei(?:ß|ss)t|heißt|called|red|rete|réseau|rede|ağ adı|wi-?fi adı|wi-?fi name|називається|называется|сеть|мережа)|账号|用户名|wi-?fi ?叫|叫)\W{0,3}(?:is |ist |es |è |é |est |là |to |это |是 ?)?$",
    re.IGNORECASE,
)
_NAMED_USER = re.compile(  # "user pi, pw ...", "tài khoản hieu.tran mật khẩu ..."
    r"(?:(?<![^\W_])(?:login|log-?in|user(?:name)?|usuario|usuário|utente|identifiant|benutzer(?:name)?|nutzer(?:name)?|użytkownik|kullanıcı(?: adı)?|(?:tên )?tài khoản|tên đăng nhập|tk|acc|логин|логін|юзер|акк|вход|вхід|(?:entra|entre|accedi|log ?in|sign in|zaloguj się) (?:com|con|as|with|avec|mit|jako))|账号|用户名)[\s:=]{1,3}(?:is |ist |es |è |é |est |là |to |это |是 ?)?"
    r"(?P<user>(?!\w+@)[A-Za-z][\w.\-]{1,31})[\s,;/|]{1,3}(?:(?:and|und|y|e|et|i|ve|и|та|và|with|con|the|la|de|of) ){0,2}(?:pass|pw|pwd|psw|mk|mdp|kenn|mật|contra|clave|senha|has[łl]|[şs]ifre|п[ао]рол|пасс?|密码)",
    re.IGNORECASE,
)
_THE_NEW = re.compile(  # "la nueva es ...", with no word of what is new
    r"(?:^|[\n,.;!] ?)(?:(?:ok|ahora|so|also|jetzt|ora|agora|теперь) )?(?:the new one(?: is|'s)?|new one(?: is|'s|:)|neues(?: ist|:)|das neue ist|la nueva(?: es|:)|la nuova(?: è|:)|le nouveau(?:,? c'est|:| est)|a nova(?: é|:)|nowe(?: to| jest|:)|yenisi|yeni:|новый(?: это| -|:)|новий(?: це| -|:)|mới là) ?[\"«]?(?P<value>[^\W\d_][\w.!@#$%&*-]{7,31})(?=[\s\"»,]|[.!]|$)",
    re.IGNORECASE,
)
_USER_BEFORE = re.compile(  # "librus 4418203u hasło ...": letters and digits or signs right before the word
    r"(?<![\w.@/+-])(?P<user>(?=[\w.-]*[A-Za-z])(?=[\w.-]*[\d_.])[A-Za-z0-9][\w.-]{2,30}\w)[\s,;/|]{1,3}(?:passwor[td]|pass|pw|mk|mdp|kennwort|mật khẩu|contraseña|clave|senha|hasło|şifresi|şifre|parolası|parola|пароль|пасс?)[\s:=–-]{1,3}$",
    re.IGNORECASE,
)
_SLASHED = re.compile(r"(?<![\w.@+-])([A-Za-z][\w.@+-]{2,31})\s+/\s+$")
_TO_PASS = re.compile(  # to pass something on
    r"(?<!\w)(?:to|can|could|should|must|will|would|you|we|i|they|and|or|just|not|n't|then|i'll|we'll|does|did|do|don't|cannot|compiler|always|also|only|test|tests|it|which|llvm|optimization|the \w+) $",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\s:=\-–—]{0,4}(?:(?:is|это|es|est|ist|é|è|to|là)\s)?[\"«“]([^\"»”\n]{3,60})[\"»”]")
_WORDS = re.compile(r"[\s:=\-–\"'«]*((?:[a-z]{3,12}[ \-]){2,6}[a-z]{3,12})[\"'»]?(?=\s*(?:$|[\n.,;!]))")
_PAIR_ALONE = re.compile(r"(?<!\S)([\w.@\-]{3,40})\s*[/|]\s*(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)([^\s/|]{6,32})(?!\S)")
_SECRET_WORD = re.compile(r"(?:кодов|контрольн|секретн|таємн)\w+", re.IGNORECASE)
_WORD_LAST = re.compile(r"(?: (?:в|для|у|від|от) [^\W\d_]+)?\s*[:\-–—«\"]?\s*([^\W\d_]{6,24})[»\"]?\s*$")
_NETWORK_KEY = re.compile(
    r"(?<!\w)(?:(?:wlan|wifi|wpa2?|netzwerk)-?\s?(?:schl[üu]ssel|key|kl[iu]cz|kod)|network key|ключ (?:сети|мережі|wifi|wi-fi|вай-?фая)|cl[ée]f? (?:wi-?fi|r[ée]seau)|klucz sieci|chiave (?:wi-?fi|di rete)|clave wpa)[\s:=\-–]{1,4}([A-Za-z0-9\-]{8,63})(?!\w)",
    re.IGNORECASE,
)
_OTHER_SCRIPT = re.compile(r"[\u0400-\u052f\u3400-\u9fff]")
_LATIN_WORD = re.compile(r"(?<![\w@./:+\-])[A-Za-z]{6,24}(?![\w@/+\-]|\.\w)")
_ANNOUNCED_AFTER = re.compile(  # "the word alone" and, in the next line, "that's the password"
    r"^\s*([a-z]{6,24})\s*\n\W*(?:that'?s|this is|its|it's|das is|это|вот|це|ось|es[ao]? es|c['’]est|è|é|to|bu|là|là là|是)\b"
)
_CASED = re.compile(r"(?<!\w)([a-z]{6,24})[,.]? (?:all|in) (?:lower ?case|caps|small)", re.IGNORECASE)
_PRODUCTS = read_words("products.txt")
_FIRST_LINE = re.compile(r"\s*([^\s«»“”<>]{6,24})\s*\n")
_TOLD_LAST = re.compile(r"[^\n:?]{0,28}([:?])[ \n]+([a-z]{6,24})\s*$")
_TALK = re.compile(
    r"zapomn|dimentic|verges|forg|oubli|olvid|esquec|unut|cambi|chang|expir|requir|not|never|nothing|what"
)
_NEW_LINE = re.compile(r"\n\W*(?:it'?s|its|это|es|c'est|é|ist|to|là|è|це)?\W*$", re.IGNORECASE)
_COMPOUND = re.compile(r"-[^\W\d_]{3,}(?![\w!@#$%&*-])")  # a password-shirt
_TAG = re.compile(r"[\s:=\-]*\[[A-Z_]{3,}\]")
_PAIR = re.compile(r"\s*[/|:]\s*([^\s«»“”<>]+)")
_PAIR_BEFORE = re.compile(r"([\w.\-]{3,32})(?:\s*[/|:]\s*|\s+)$")
_SHAPED = re.compile(
    r"(?=.*[A-Za-z]{2})(?=.*\d)(?:[A-Za-z0-9]+[!#$%^&*][A-Za-z0-9!#$%^&*]*[A-Za-z0-9][!#$%^&*]*"
    r"|(?!(?i:img|dsc|vid|photo|file|test|var|col|id|log|screenshot|doc|user|item|key|page|ch|ep|part|pxl|mvi|rec|utf|tmp|data|model|layer|sha|x86|ram)_?\d*[_.])[A-Za-z]{3,}[A-Za-z0-9]*_[A-Za-z0-9]+[!#$*]*|[A-Z][a-z]{2,}[A-Z][a-z]{2,}\d{1,4}[!#$*]*|[A-Z][a-z]{2,}\d{4}[!#$*]+)"
)


def is_gibberish(word: str) -> bool:
    """Return whether a Latin word has too few vowels to be one: Russian typed on the other layout."""
    return word.isascii() and word.isalpha() and sum(c in "aeiouy" for c in word) < 0.22 * len(word)


def view_is_cyrillic(norm: str) -> bool:
    return any("\u0400" <= c <= "\u04ff" for c in norm)


_COUNTED = re.compile(
    r"\s*(?:[$€£¥₽%]|руб|р\b|к\b|k\b|тыс|грн|usd|eur|dollar|euro|zł|tl\b|lei|чел|людей|шт|раз|мин|час|сек|дн|год|лет|км|кг|мл|гб|мб|times|people|min|hours?|days?|years?|users|миллион|млн|reais|元|块|次|人|сообщен|символ|цифр|знак|строк|рядк|lines?\b|zeilen?|lignes?\b|líneas?|righe|riga|linhas?|wiersz|linii|linij|satır|dòng|digits|chars|characters|letters|букв)",
    re.IGNORECASE,
)


def _is_counted(norm: str, end: int) -> bool:
    """Return whether the number that ends here counts something: roubles, people, digits."""
    return _COUNTED.match(norm, end) is not None


_CODE_KEYWORD = re.compile(
    _B
    + r"(?:пин|pin|пін)(?:i|im|in|imi|ini|ы|а|ом)?[- ]?(?:код\w{0,2}|codes?)?|код\w{0,3}|code|codes|codice|codici|cod(?=[. ]{1,2}(?:di|otp|sms|verific|conferm|allarm|cancell|port|pin|puk))|c[oó]digos?|kod\w{0,5}|mã(?: xác (?:nhận|minh|thực))?|ma xac nhan|otp|tan|puk[12]?|пук|2fa|(?:door|gate|alarm|safe|garage|entry|access|unlock|security|lock|keypad|sim|voicemail|verification|login|sms)codes?|tfa|mfa|cv[cv]2?|цвв|свв|cvv/cvc"
    r"|домофон\w*|сигнал(?:изаци\w+|к\w+)|сейф\w*|alarm\w*|alarme|digicode|verification|geheimzahl|zahlencode|t[üu]rcode|clave|(?:best[äa]tigungs|t[üu]r|zugangs|sicherheits|haus|alarm|tor|garagen|einmal|freischalt|entsperr|verifizierungs|authentifizierungs)-?(?:code|kode|pin|tan)|keypad|safe combo|lockbox|szyfr|passcode|şifre\w*|sifre\w*|onay kodu"
    r"|one[- ]time|одноразов\w+|смс-?к\w*|смск\w+|три цифры(?: сзади)?|комбинац\w+|combination|combo|combinaci[oó]n|combinaison|combina[cç][aã]o|combinazione|kombinac?(?:ja|tion)|[sş]ifre\w*|blik"
    r"|(?:haust[üu]r|eingangs?|keller|b[üu]ro|garten|hof|tresor|sperr|handy|bildschirm|karten|anmelde|login|aktivierungs|authentifizierungs|authentisierungs|schloss|koffer|spind|schlie(?:ß|ss)fach|briefkasten|tiefgaragen|fahrrad|t[üu]r[öo]ffner|zahlen|geheim|pr[üu]f|sms|ger[äa]te|app|wiederherstellungs|pincode|smart|abhol|paket|pickup|packstation|g[aä]ste|schranken|box|keybox|safe|auto|radio|kinder|tablet|iphone|liefer|r[uü]ckruf|anruf|freigabe|verifikations|validierungs|transaktions|zugriffs)-?(?:code|kode|pin)|pincode|(?:sms|push|m|i|chip|photo)-?tan|(?:handy|sim|karten|ec|giro\w*|kredit\w*|bank)-?pin|zahlenschloss|(?:fahrrad)?schloss|schl[üu]ssel(?:box|tresor)"
    r"|domofon\w*|interfon\w*|citofon\w+|interphone|telefonillo|mật mã|mã khóa|mã khoá|doğrulama|цифры (?:из|на|от|в|з)"
    + _E
    + r"|验证码|驗證碼|校验码|动态码|门禁码?|门锁码?|(?:大|房|室|楼)?门码|保险箱密码|安全码|取件码|(?:开机|解锁|锁屏)(?:密?码)?(?:是|为)?|(?:短信|激活|确认|收到的|发来的|登录|授权)码(?:是|为)?",
)
_CODE_VERB = re.compile(
    _B
    + r"(?:мне |тебе |вам |щас |сейчас )?(?:пришл[оаи]|пришёл|пришел|прислал\w*|надіслал\w*|прийшов|прийшло|прийшла)|введи\w*|вводи|вбей|вбивай|продиктуй|підтверд\w+|подтвер\w+|enter|type in|verify|got sent|texted me|(?:a )?(?:text|message) (?:with|saying)|sms|смс\w*|эсэмэск\w+|введіть|gir|wpisz|bestätig\w+|arrivat[oa]|lleg[oó]|llegado|reçu|recu|chegou|recebi|kam|bekommen|przysłał\w?|przyszedł|przyszedl|geldi|gelen|tippe|tape|digita|introduce|ввел|ввёл|вводил\w?|nhập|nhận|przyszło|надіслали|пуш\w{0,2}|(?:цифры|код) из пуша|authenticator|token(?: del banco| do banco)?"
    + _E,
    re.IGNORECASE,
)
_NOT_A_CODE = re.compile(
    r"ошибк|помилк|fehler|błęd|errore|erreur|hata kod|lỗi|错误|error|err\b|promo|промо|скидк|discount|coupon|купон|voucher|zip|postal|postcode|post ?code|почтов|индекс|стран|country|област|город|area|товар|barras|kreskow|barre|barkod|strich|checkout|касс|оформлени|сумм|amount|dress|source|исходн|регион|подразделен|qr|bar ?code|штрих|vs ?code|code review|"
    r"morse|морзе|окпо|оквэд|бик|status|http|exit|ответ|response|postleit|(?<!code )plz|mã (?:môn|đơn|sản|vận|lớp|sinh viên)|código postal|codigo postal|code postal|kod poczt|posta kodu|cap\b|邮编|区号|линии|line|lines|строк|"
    r"build(?!ing)|сборк|culture|genetic|генетич|descuento|réduction|remise|sconto|rabatt|rabat|indirim|giảm giá|khuyến mãi|优惠码|desconto|vùng|bưu chính|treasury|penal|уголовн|civil|commune|da vinci|versand|product|produkt|producto|"
    r"notation|рейс|flight|sort code|swift|hex|color|colou?r|цвет|reserva|booking|брон|заказ|order|tracking|трек|версии|dialling",
)
_CODE_VALUE = re.compile(
    r"(?<![\w.,:/+\-])[*#]?(?:\d[ -]?){2,8}\d[*#]?(?![\w])|(?<![\w.,:/+\-])[*#]*(?=\w*\d\w*\d)[A-Za-zА-Яа-яЁё]{0,2}\d{1,6}[A-Za-zА-Яа-яЁё*#]{1,2}\d{0,6}[*#]*(?![\w.,:]\w)|(?<![\w])[A-Z]{1,3}-\d{4,8}(?!\w)|(?<!\w)(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{5,8}(?!\w)"
)
_CODE_CLOSE = re.compile(r"[*#]?(?:\d{4,8}|\d{3}[ -]\d{3})[*#]?(?![\w:/\-]|\.\d)")
_CVV = re.compile(
    r"(?<![^\W_])(?:c[cv][cv]2?|csc|cid|csv|cvv/cvc|[цс]в[вц]|сvv|cvn|kpn|код безопасности|код безпеки|security code|安全码|código de seguridad|code de sécurité|crypto(?:gramme(?: visuel)?)?|(?:karten)?prüf(?:ziffer|nummer)|sicherheitscode|codice di sicurezza|código de segurança|kod (?:zabezpieczający|z tyłu)|güvenlik kodu|mã bảo mật"
    r"|(?:3|three|tri|tr[eè]s|trois|tre|drei|trzy|üç|ba|три)[ -](?:last )?(?:digits?|numbers?|n[uú]meros|d[ií]gitos|cifras|chiffres|cifre|zahlen|ziffern|cyfry|rakam|hane|số|цифр[иы])(?: [^\W\d_]+){0,4}|(?:numer|kod|code|codice|código|码|code|код|číslo)(?: [^\W\d_]+)? (?:z tyłu|au dos|dietro|atrás|on the back|hinten|сзади|ззаду|на обороте|на звороті|mặt sau)|(?:卡?[背后]面?后?|后)[三3]位数?)\D{0,15}(\d{3,4})(?!\d)",
    re.IGNORECASE,
)


class ChatCodeRecognizer(ChatRecognizer):
    """PINs, CVVs, door and alarm codes, one-time codes."""

    wake = Wake.CODE | Wake.BANK | Wake.PASSWORD
    entities = (Entity.PIN, Entity.OTP)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_CVV, _CODE_KEYWORD, _COMBINATION, _UNLOCK, _LOCK, _ENTRANCE, _GATE, _CODE_VERB)

    def scan(self, view: View) -> Iterator[Hit]:
        if view.n_digits < 2:
            return
        norm = view.norm
        for match in view.finditer(_CVV):
            yield Hit(match.start(1), match.end(1), Entity.PIN, 0.9, "pin.cvv")
        if not view.wake & (Wake.CODE | Wake.PASSWORD):
            return
        for keyword in view.matches(_CODE_KEYWORD):
            around = view.low[max(0, keyword.start() - 14) : keyword.end() + 18]
            if _NOT_A_CODE.search(around):
                continue
            value = self._value(norm, keyword.end(), min(len(norm), keyword.end() + 48))
            if value and _STATUS.fullmatch(norm, *value) and len(keyword[0]) <= 5 and not _PIN_LIKE.search(norm):
                continue  # HTTP says 404
            value = value or self._value_before(norm, keyword.start())
            if value is None:
                continue
            entity = Entity.OTP if _OTP_LIKE.search(norm) and not _PIN_LIKE.search(keyword[0]) else Entity.PIN
            yield Hit(*value, entity, 0.8, "code.keyword")
            if entity is Entity.OTP:  # `095713 now, no wait, 446280`
                for match in _SIX.finditer(norm, value[1]):
                    yield Hit(match.start(), match.end(), entity, 0.6, "otp.another")
            another = _OR_ANOTHER.match(norm, value[1])
            if another:
                yield Hit(another.start(1), another.end(1), entity, 0.7, "code.or")
        for match in _TO_LOG_IN.finditer(norm) if view.n_digits >= 4 else ():
            yield Hit(match.start(), match.end(), Entity.OTP, 0.7, "otp.to-log-in")
        for match in view.finditer(_COMBINATION):
            yield Hit(match.start(1), match.end(1), Entity.PIN, 0.7, "code.combination")
        for match in view.finditer(_UNLOCK):
            yield Hit(match.start(1), match.end(1), Entity.PIN, 0.7, "code.unlock")
        for lock in view.finditer(_LOCK):
            yield Hit(lock.start(1), lock.end(1), Entity.PIN, 0.7, "code.lock")
        for match in _OPENS.finditer(view.low) if view.n_digits > 2 else ():
            if not _is_counted(norm, match.end()) and not _COSTS.search(view.low):
                yield Hit(*match.span("code"), Entity.PIN, 0.7, "code.opens")
        for match in _SENT_ME.finditer(norm) if view.n_digits >= 6 else ():
            if not _is_counted(norm, match.end()) and not _NOT_A_CODE.search(view.low):
                yield Hit(*match.span(match.lastindex or 1), Entity.OTP, 0.6, "otp.sent")
        for match in _SENT_SIX.finditer(norm) if view.n_digits >= 4 else ():
            group = match.lastindex or 1
            yield Hit(*match.span(group), Entity.OTP if group < 4 else Entity.PIN, 0.6, "code.told")
        for match in _HASHED.finditer(norm) if "#" in norm else ():
            yield Hit(match.start(), match.end(), Entity.PIN, 0.7, "code.hash")
        for match in view.finditer(_ENTRANCE):
            yield Hit(match.start(1), match.end(1), Entity.PIN, 0.7, "code.entrance")
        for match in _SENT_CODE.finditer(norm) if "G-" in norm else ():
            yield Hit(match.start(), match.end(), Entity.OTP, 0.8, "otp.shape")
        for gate in view.finditer(_GATE):
            yield Hit(gate.start(1), gate.end(1), Entity.PIN, 0.7, "code.gate")
        for verb in view.finditer(_CODE_VERB):
            value = self._value(norm, verb.end(), min(len(norm), verb.end() + 30), is_verb=True)
            if value is not None and not _NOT_A_CODE.search(view.low):
                yield Hit(*value, Entity.OTP, 0.6, "otp.verb")

    def _value(self, norm: str, start: int, stop: int, is_verb: bool = False) -> tuple[int, int] | None:
        if norm.startswith(":", start):  # "code:7731"
            close = _CODE_CLOSE.match(norm, start + 1)
            if close and not is_verb:
                return close.span()
        for match in _CODE_VALUE.finditer(norm, start, len(norm)):
            if match.start() >= stop:
                return None
            digits = sum(c.isdigit() for c in match[0])
            value_start, value_end = match.span()
            raw = match[0]
            if raw[:2] == "0x" or _NUMBERED.search(norm, max(0, value_start - 10), value_start):
                continue
            if re.fullmatch(r"[A-Z]{3,}\d{1,3}", raw):
                continue  # SUMMER20 is a voucher
            if not 3 <= digits <= 9 and not (digits == 2 and len(raw) > 4):
                continue
            is_written = (
                raw.isdigit()
                or re.fullmatch(r"\d{3}[ -]\d{3}|\d\d \d\d \d\d", raw)
                or _CODE_KEYWORD.search(norm.lower())
            )
            if is_verb and not (
                4 <= digits <= 7 and is_written and not re.fullmatch(r"[1-9]\d?0{2,}|(?:19|20)\d\d", raw)
            ):
                continue
            if (
                _is_counted(norm, value_end)
                or _PRICED.search(norm, max(0, value_start - 14), value_start)
                or _NEAR_DATE.match(norm, max(0, value_start))
            ):
                continue
            if _YEAR.fullmatch(raw) and _IN_YEAR.search(norm, max(0, value_start - 8), value_start):
                continue
            if is_verb and re.match(r"\s*(?:на карт|за |to |bonus|points|балл)", norm[value_end:]):
                continue
            return value_start, value_end
        return None

    def _value_before(self, norm: str, stop: int) -> tuple[int, int] | None:
        last = None
        for match in re.finditer(
            r"(?<![\w.,:/+\-])(?:\d{4,8}|\d{3}[ -]\d{3}|\d\d \d\d \d\d)(?=[\s,.\-–—:;!?()]{1,4}(?:(?:is|es|est|ist|é|è|to|là|это|є|是|为|jest) ?(?:[^\W\d_]+ ){0,3}$|onay $|doğrulama $|giriş $|güvenlik $|短信|)(?:это |is |es |est |- |твой |ваш |мой |the |your |my |un |el |le |ist |il |la |o |seu |twój |là |смс |sms |пин|новый |новий |als |como |come |comme |как |як |jako |as |gate |door |одноразовый |a |dein |der |votre |ton |tu |tuo |ваш |это )*$)",
            norm[max(0, stop - 30) : stop],
        ):
            last = match
        if last is None:
            leading = _LEADING.match(norm, 0, stop)
            return leading.span(1) if leading else None
        base = max(0, stop - 30)
        return base + last.start(), base + last.end()


_LEADING = re.compile(
    r"\W{0,2}(\d{5,8}|\d{3}[ -]\d{3})(?![\w.:/]) ?[,:–—-]?(?: [^\W\d_]+){0,3} $"
)  # before "code", at the start
_NUMBERED = re.compile(
    r"(?:\bsatır|\bстрок\w|\blines?|\bzeile|\bligne|\blínea|\briga|\blinha|\blinia|\bdòng|\bbug|\bissues?|\bpr|\bpull|\brfc|\bticket|\bciting|\bport|\\) ?#?$",
    re.IGNORECASE,
)
_PRICED = re.compile(
    r"(?:стоит|стоил\w?|цен\w+|купил\w? за|за|costs?|worth|for only|price|kostet|cuesta|coûte|custa|costa|kosztuje) $",
    re.IGNORECASE,
)
_GATE = re.compile(
    r"(?<![^\W_])(?:ворот\w*|калитк\w*|шлагбаум\w*|чемодан\w*|шкафчик\w*|зам(?:ок|ке|ка)|двер\w+|gate|door|lock(?:er|box)?|suitcase|garage|подъезд\w*|porta|puerta|porte|tür|drzwi|brama|kapı)(?![^\W_])"
    r"[^\d\n]{0,30}?(?:наб[еи]р\w+|открыва\w+ (?:на|по)|жми|нажми|dial|press|punch in|opens with|combo|комбинаци\w+)[^\d\n*#]{0,12}([*#]?\d{3,8}#?)(?!\w)",
    re.IGNORECASE,
)
_TO_LOG_IN = re.compile(
    r"(?<![\w.,:/+\-])(\d{4,8})(?= (?:is your|ist (?:dein|ihr)|es (?:tu|su)|est (?:votre|ton)|è il (?:tuo|suo)|é (?:o )?seu|to twój|là mã|onay)(?!\w))|(?<![\w.,:/+\-])(\d{4,8})(?= (?:to|for|um|para|per|pour|чтобы|для) (?:log|sign|verify|confirm|connect|iniciar|entrar|accedere|вход|войти|подтв|enter|access))"
)
_COMBINATION = re.compile(
    r"(?<![^\W_])(?:(?:lock|safe|bike|locker|suitcase)\b[^\d\n]{0,24}|(?:atm|bankomat|банкомат)\s*[:=]\s*)(\d(?:-\d){2,5}|\d\d-\d\d-\d\d|(?<=[:=] )\d{4,6})(?![\w\-])",
    re.IGNORECASE,
)
_LOCK = re.compile(  # what takes a code, with nothing but the code after it
    r"(?<![^\W_])(?:(?:package|mail|laundry|storage|bike|trash) ?room|(?:front |back |garage |side )?door|gate|garage|lock(?:er|box)?|(?:bike|combination) lock|phone(?: unlock)?|buzzer|safe|alarm|entrance"
    r"|(?:keller|fahrrad|zahlen|vorh[äa]nge|b[üu]gel|koffer|garten)-?schloss|tresor|safe|schlie(?:ß|ss)fach|alarm(?:anlage)?|(?:haus|keller|hof|garten|einfahrts?|garagen|wohnungs|hinter)-?(?:t[üu]r|tor)|garage|tor|coffre|cadenas|interphone|portail|portillon|alarme|cofre|interfone|cadeado|fechadura|port[aã]o|celular"
    r"|cancello|cassaforte|lucchetto|citofono|allarme|portone|brama|bramka|domofon|furtka|sejf|k[łl]ódka|klatka|portal|port[oó]n|caja fuerte|candado|alarma|garaje"
    r"|asma kilit|kilit|kapı(?:sı)?|kasa|két|cổng|cửa|điện thoại|шлагбаум|калитк\w|хвіртк\w|ворота|сейф|сигнал[иі]зац[иі]я|чемодан|валіза|замок|кладовка)(?![^\W_])"
    r"(?: (?:du|de la|de|del|della|do|da|vom|am|an der|of the|on the|от|на|у|в|од|w|z|do) [^\W\d_]+){0,2}(?: (?:is|it's|now|opens with|ist|hat(?: die)?|mit|war|geht (?:mit|auf)|è|é|es|est|c'est|to|jest|ma|là|это|на|це)(?: (?:now|jetzt|ora|ahora|agora|maintenant|teraz))?|'s)?[ :=\-–]{1,3}(?!20[12]\d(?!\d))([*#]?\d{4,6}[*#]?|\d\d(?:-\d\d){2}|\d(?:-\d){3,5})(?=\s*(?:$|[\n,;.!?)]|(?:y|e|et|und|and|then|dann|i|и|та|i|luego|poi|puis|potem|потом|but|only|aber|nur|pero|solo|mais|ma|но|только|але|ale|ama)\s))",
    re.IGNORECASE,
)
_OPENS = re.compile(  # what takes a code, what it is of, and the code: "boîte à clés 2609 à droite du volet"
    r"(?<![^\W_])(?:(?:schl[üu]ssel(?:box|tresor|kasten)|paket(?:box|fach)|tiefgarage|briefkasten|tresor|fahrradschloss|zahlenschloss|hoftor|garagentor|haust[üu]r|kellert[üu]r|alarmanlage|koffer|spind|schlie(?:ß|ss)fach"
    r"|bo[iî]te à cl[eé][fs]?s?|cadenas|coffre|portail|portillon|interphone|digicode|valise|casier|puerta|portal|garaje|caja fuerte|candado|alarma|maleta|taquilla|caja de llaves|trastero"
    r"|port[aã]o|cofre|cadeado|fechadura|arm[aá]rio|mala|cassaforte|cancello|portone|lucchetto|valigia|armadietto|cassetta|citofono|k[łl][óo]dka|brama|furtka|sejf|walizka|domofon|skrytka|szafka"
    r"|kilidi?|kasa|valiz|bavul|garaj|dolap|kho[áa]|khóa|két|cổng|vali|замок|сейф|чемодан|домофон|калитка|ворота|шлагбаум|сигнализация|кладовка|ячейка|шкафчик|ключница|валіза|хвіртка|сигналізація|комірка|комора"
    r"|cajero|multibanco|bancomat|bankomat|geldautomat|банкомат|safe(?= (?:is )?\d\d?-)|cantina|lockbox|key ?box|padlock|suitcase|keypad)(?![^\W_])|行李箱|门锁|保险柜|储物柜|车库)"
    r"(?:[ ,](?:du|de|del|della|des|do|da|la|el|il|le|vom|am|an|der|im|of|the|on|for|is|ist|от|на|у|в|od|w|z|số|mã|è|é|es|est|to|là|это|це|c'est|code|код|geht|mit|hat|öffnet|opens|with|am|hintereingang|открывается)){0,5}"
    r"(?: (?!kost|cuest|coût|cout|cost|koszt|стои|prei|price|um |at |seit|since|desde|dal |от |ab )[^\W\d_]{3,}){0,2}[ :=,-]{1,3}"
    r"(?!(?:19|20)\d\d(?!\d)|\d{1,3}000(?!\d))(?P<code>[*#]?\d{3,8}[*#]|\d{4,6}|\d(?:-\d){2,5}|\d{1,2}(?:-\d{1,2}){2}|\d{3}(?=\W*$)|(?:(?<=cadenas )|(?<=candado )|(?<=cadeado )|(?<=lucchetto )|(?<=kłódka )|(?<=замок ))\d{3})(?![\w:/-]|[.,]\d| ?[€$£%])"
)
_UNLOCK = re.compile(  # "handy entsperren mit 258014"
    r"(?<![^\W_])(?:entsperr(?:en|t|st)|unlocks?|разблокир\w+|розблок\w+|desbloque\w+|débloqu\w+|déverrouill\w+|sblocca(?:re|si)?|odblok\w+)(?: [^\W\d_]+){0,2}"
    r" (?:mit|with|using|con|avec|com|by|z|через|кодом|code)(?: (?:code|dem code|код))?[ :]{1,2}(\d{4,8})(?![\w.:/])",
    re.IGNORECASE,
)
_OR_ANOTHER = re.compile(r" ?(?:oder|or|или|або|o|ou|lub|albo|veya|hoặc|或者?) ?(\d{4,8})(?![\w.:/])", re.IGNORECASE)
_HASHED = re.compile(r"(?<![\w#*.,/])[*#]?\d{4,8}#(?![\w#])")  # typed on a keypad
_ENTRANCE = re.compile(
    r"(?<![^\W_])(?i:immeuble|entr[ée]e|porte|hall|portail|portone|cancello|puerta|portal|port[aã]o|building|entrance|haust[üu]r|tür|brama|drzwi|kapı|domofon\w*|klatk\w*|furtk\w*|interphone|interfone?|citofono|telefonillo|videoportero|portier|подъезд\w*|під'їзд\w*|домофон\w*|калитк\w*|хвіртк\w*)(?![^\W_])"
    r"[^\d\n]{0,16}?(?<!\w)(\d{2,4}[A-ZА-ЯІЇЄ]\d{1,4}|[A-ZА-Я]\d{4}|\d{4}[A-ZА-ЯІЇЄ])(?!\w)"
)
_SENT_ME = re.compile(
    r"(?<!\w)(?:(?:sent|texted|emailed|messaged|gave) me (?:a |the |this )?|(?:6|six|sechs|seis|sei|sześć|шесть|шість|altı)[ \-](?:ziffern|digits?|d[ií]gitos|chiffres|cifre|cyfr|цифр|haneli)\W{1,3})(\d{6}|\d{3}[ \-]\d{3})(?![\w.,:/\-])"
    r"|(?<![\w.,:/+\-])(\d{6}|\d{3}[ \-]\d{3})(?= (?:per|por|par|via|by|по|через|aus der|from the|w) (?:sms|смс|text|whatsapp)(?!\w))",
    re.IGNORECASE,
)
_SENT_CODE = re.compile(r"(?<![\w\-])G-\d{6}(?![\w\-])")  # Google's
_YEAR = re.compile(r"(?:19|20)\d\d")
_IN_YEAR = re.compile(
    r"(?<![^\W_])(?:in|en|im|em|nel|dal|del|de|ab|seit|since|by|until|till|depuis|desde|bis|od|do|w|в|у|с|до|з|năm|jahr|year|año|anno|ano|yıl) $",
    re.IGNORECASE,
)
_SIX = re.compile(r"(?<![\w.,:/+\-])(?!\d+0{2,}(?!\d))\d{6}(?![\w:/\-]|\.\d)")
_SENT_SIX = re.compile(  # "paypal hat 208844 geschickt"
    r"(?<![\w.,:/+\-$€£])(?!\d+0{2,}(?!\d))(\d{6})(?: mir)? (?:geschickt|gesendet|zugeschickt|sent me|прислал\w?|пришл[аои]|пришёл|inviato|mandato|enviado|envoyé|wysłał\w?|przyszło|geldi|gönderdi|надісла\w+|прийшло)(?![^\W_])"
    r"|(?:(?<![^\W_])(?:txt(?:ed)?|texted|gửi|надісла\w+|прислал\w?|przysłał\w?|envió|mandó|enviou|mandou|inviato|schickt|gönderdi|confirma con(?: el)?|confirm with)|发了|发来)(?: (?:me|us|mir|мне|mi|me|за|код))? (\d\d \d\d \d\d|\d{3} \d{3}|\d(?: \d){3,5})(?![\w.,:/\-]| \d)"
    r"|(?:mine|meine[rs]?|mío|mien|мне|у меня|в смс|sms|text) (?:says|said|sagt|steht|dice|dit|diz|mówi|написано|говорит) (\d{4,8})(?![\w.,:/\-])"
    r"|(?<![^\W_])(?:цифр[ыиа]|digits|numbers|ziffern|cifre|cifras|chiffres|cyfry)(?: (?:вроде|такие|там|кажется|были|это|тоже|наче|це|are|were|sind|sono|son|sont|to)){0,2}:? (\d{4,8})(?![\w.,:/\-])"
    r"|(?<![^\W_])(?:the same|same|gleiche\w?|тот же|такой же|такой самий|той самий|to samo|mism[oa]|même|stess[oa]|mesm[oa]|aynı) (?:[^\W\d_]+ ){1,5}?[^\W\d_]*(?:ipad|iphone|phone|tablet|handy|laptop\w*|ноут\w*|телефон\w*|планшет\w*|móvil|téléphone|telefon\w*|telefono|celular)\W{1,3}(\d{4}|\d{6})(?=\W*$)",
    re.IGNORECASE,
)
_COSTS = re.compile(
    r"kost|cuest|coût|costa|cost |costs|koszt|стои|price|preis|precio|prezzo|prix|цена|ціна|uhr|bestell|order|заказ"
)
_STATUS = re.compile(r"[1-5]0\d|418|429")
_NEAR_DATE = re.compile(r"\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d\d")
_OTP_LIKE = re.compile(
    r"пришл|прислал|смс|sms|эсэмэс|otp|одноразов|one[- ]time|verif|подтвержд|підтвердж|2fa|login code|authent|code is|вход|验证|驗證|xác|onay|doğrul|bestätig|vérif|potwierdz|weryf|conferma|confirma|whatsapp|telegram|google|введи",
    re.IGNORECASE,
)
_PIN_LIKE = re.compile(
    r"пин|pin|пін|домоф|сигнал|сейф|alarm|digicode|cv|puk|gate|door|safe|keypad|lockbox", re.IGNORECASE
)


_KEYS: tuple[tuple[str, Entity, str], ...] = (
    (
        "pem",
        Entity.PRIVATE_KEY,
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S])*(?:-----END [A-Z0-9 ]*-----)?",
    ),
    ("putty", Entity.PRIVATE_KEY, r"PuTTY-User-Key-File-\d[\s\S]*"),
    ("age", Entity.PRIVATE_KEY, r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    ("jwt", Entity.API_KEY, r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    ("openai", Entity.API_KEY, r"(?<![\w-])(?:sk|pk|rk)[-_](?:[A-Za-z0-9]{2,12}[-_])*[A-Za-z0-9_-]{16,}"),
    ("github", Entity.API_KEY, r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
    ("gitlab", Entity.API_KEY, r"(?<!\w)gl(?:pat|dt|rt|ptt|soat|cbt|ft|oas)-[\w-]{16,}"),
    ("slack", Entity.API_KEY, r"(?<!\w)(?:xox[abeoprs]-[\w-]{10,}|xapp-\d-[\w-]{10,})"),
    ("aws", Entity.API_KEY, r"(?<!\w)(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{12,20}(?!\w)"),
    ("google", Entity.API_KEY, r"(?<!\w)(?:AIza[\w-]{30,40}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{20,}|1//0[\w-]{30,})"),
    (
        "vendor",
        Entity.API_KEY,
        r"(?<!\w)(?:hf_|npm_|pypi-|dop_v1_|doo_v1_|shpat_|shpss_|shpca_|whsec_|gsk_|xai-|r8_|tvly-|pplx-|dckr_pat_|sntrys_|sntryu_|lin_api_|figd_|PMAK-|NRAK-|glc_|glsa_|ATATT3|SK|AC|key-|y0_|t1\.|AQVN|ntn_|secret_|rnd_|fo1_|nvapi-|sq0[a-z]{3}-|EAA[A-Z]|vk1\.a\.|SG\.|lsv2_|phc_|pul-|hvs\.|ops_|dp\.pt\.|tskey-|CFPAT-|atlasv1\.|rdme_|patq?[A-Za-z0-9]{14}\.)[\w.\-]{16,}(?!\w)",
    ),
    ("telegram", Entity.API_KEY, r"(?<![\w:])\d{7,11}:[A-Za-z0-9_-]{30,40}(?!\w)"),
    ("discord", Entity.API_KEY, r"(?<!\w)[A-Za-z0-9_-]{20,30}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{25,40}(?!\w)"),
    ("bearer", Entity.API_KEY, r"(?<= )(?i:(?<=bearer )|(?<=authorization: )|(?<=basic ))[\w.\-+/=]{16,}"),
)


def _key_pattern() -> re.Pattern[str]:
    """Return all of `_KEYS` in their order, those that begin a word behind one look at what stands before."""
    out: list[str] = []
    for is_word, keys in groupby(_KEYS, key=lambda key: key[2].startswith((r"(?<!\w)", r"(?<![\w"))):
        part = "|".join(f"(?P<{name}>{pattern})" for name, _, pattern in keys)
        out.append(rf"(?<!\w)(?=[\w.:/\-]{{12}})(?:{part})" if is_word else part)  # none is shorter
    return re.compile("|".join(out))


_KEY = _key_pattern()
_KEY_ENTITY = {name: entity for name, entity, _ in _KEYS}
_KEYWORD_KEY = re.compile(
    r"(?:api|апи|secret|token|токен\w*|access|auth|private|приватн\w+|секрет\w*|license|лиценз\w+|clé|clave|llave|chave|chiave|klucz|anahtar\w*|密钥|schlüssel|khóa|ключ\w*|key|jeton)"
    r"[\w\s:=\-'\"()]{0,24}?[\s:=\"'(]+([A-Za-z0-9][A-Za-z0-9_\-+/=.]{11,}[A-Za-z0-9=])",
    re.IGNORECASE,
)
_ENV = re.compile(r"\b[A-Z][A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASS|PWD)\s*[=:]\s*[\"']?([^\s\"']{6,})")
_ENV_NAMES = ("KEY", "TOKEN", "SECRET", "PASS", "PWD")
_HEX_KEY = re.compile(r"(?<![\w/])(?:0x)?[0-9a-fA-F]{64}(?![\w/])")  # of a wallet; a SHA-256 looks the same
_OF_WALLET = re.compile(
    r"приват|privat|metamask|метамаск|кошел|гаман|wallet|ledger|trezor|clé priv|clave priv|chave priv|chiave priv|私钥"
)
_RANDOM = re.compile(r"(?<![\w/@.\-+=%])[A-Za-z0-9_\-+]{24,}={0,2}(?![\w/@])")


def looks_random(token: str) -> bool:
    """Return whether a long token looks drawn, not written: cases and digits mixed throughout."""
    has_lower = any(c.islower() for c in token)
    has_upper = any(c.isupper() for c in token)
    n_digits = sum(c.isdigit() for c in token)
    changes = sum(_kind(a) != _kind(b) for a, b in pairwise(token))
    return has_lower and has_upper and n_digits >= 2 and changes >= len(token) // 4


def _kind(char: str) -> int:
    return 0 if char.islower() else 1 if char.isupper() else 2 if char.isdigit() else 3


class ChatKeyRecognizer(ChatRecognizer):
    """API keys, tokens, private keys."""

    wake = Wake.KEY | Wake.LONG
    entities = (Entity.API_KEY, Entity.PRIVATE_KEY, Entity.PASSWORD)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        for match in _KEY.finditer(norm):
            name = match.lastgroup or ""
            yield Hit(match.start(), match.end(), _KEY_ENTITY[name], 0.95, f"key.{name}")
        for match in _ENV.finditer(norm) if any(map(norm.__contains__, _ENV_NAMES)) else ():
            yield Hit(match.start(1), match.end(1), Entity.API_KEY, 0.8, "key.env")
        if view.wake & Wake.KEY:
            for match in _KEYWORD_KEY.finditer(norm):
                value = match[1]
                if sum(c.isdigit() for c in value) >= 2 and re.search(r"[A-Za-z]", value):
                    yield Hit(match.start(1), match.end(1), Entity.API_KEY, 0.75, "key.keyword")
        if view.wake & Wake.LONG:
            for match in _HEX_KEY.finditer(norm) if _OF_WALLET.search(view.low) else ():
                yield Hit(match.start(), match.end(), Entity.PRIVATE_KEY, 0.8, "key.hex")
            for match in _RANDOM.finditer(norm):
                if looks_random(match[0]):
                    yield Hit(match.start(), match.end(), Entity.API_KEY, 0.6, "key.random")


_SEED_WORD = re.compile(r"[a-z]{3,8}")
_SEED_GAP = re.compile(r"[\s,;|\-]*(?:\d{1,2}[.):\-]?)?[\s,;|\-]*(?:and )?")
_SEED_KEYWORD = re.compile(
    r"(?:seed|сид|recovery|mnemonic|мнемо\w+|semilla|recup\w+|récup\w+|wiederherst\w+|odzysk\w+|kurtarma|wallet|助记词|助記詞)[\w\s-]{0,24}?(?:phrase|фраз\w+|words|слова|frase|phrase|wörter|słowa|kelime\w*|mots)?[\s:\-–—=]+",
    re.IGNORECASE,
)


class ChatSeedRecognizer(ChatRecognizer):
    """Wallet seed phrases: runs of BIP-39 words (bitcoin/bips, bip-0039), numbered or not."""

    wake = Wake.SEED
    entities = (Entity.SEED_PHRASE,)

    def scan(self, view: View) -> Iterator[Hit]:
        low = view.low
        is_named = bool(_SEED_KEYWORD.search(low))
        run: list[tuple[int, int]] = []
        n_strange = 0
        for match in re.finditer(r"[^\W\d_]+", low):
            is_next = not run or _SEED_GAP.fullmatch(low, run[-1][1], match.start())
            if match[0] in BIP39 and is_next:
                run.append(match.span())
                continue
            # one mistyped word does not end a long run
            if run and is_next and n_strange < 1 and _SEED_WORD.fullmatch(match[0]) and (is_named or len(run) > 4):
                n_strange += 1
                run.append(match.span())
                continue
            yield from self._yield(run, is_named, n_strange)
            run, n_strange = ([match.span()], 0) if match[0] in BIP39 else ([], 0)
        yield from self._yield(run, is_named, n_strange)

    def _yield(self, run: list[tuple[int, int]], is_named: bool, n_strange: int) -> Iterator[Hit]:
        if len(run) - n_strange >= (6 if is_named else 11):
            yield Hit(run[0][0], run[-1][1], Entity.SEED_PHRASE, 0.9, "seed.words")


_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'»)]+|(?<![\w@./])(?:t\.me|telegram\.me|discord\.gg|chat\.whatsapp\.com|vk\.me|zoom\.us|meet\.google\.com|bit\.ly|(?:[\w-]+\.)+(?:com|ru|org|net|io|me|gg|us|co|app|dev|link|uk|de|fr|es|it|pl|pt|br|tr|vn|ua|cn|eu|info))/[^\s<>\"'»)]+",
    re.IGNORECASE,
)
_SERVICE = re.compile(
    r"(?<!\w)(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|amqp|ftp|sftp|ssh|smtp|ss|vless|vmess|trojan|socks5?|otpauth|tg)://[^\s<>\"']+"
)
_SECRET_PARAM = re.compile(
    r"[?&#;](?:[\w\-]*(?:token|auth_?key|apikey|api_key|secret|passw\w*|signature|session|credential|jwt|invite\w*|otp|reset\w*|confirm\w*|verif\w*|magic\w*|share_?key|resourcekey|access\w*)|key|auth|sig|sid|pwd|pass|code|hash|ticket|invitation|sv|tk|t|k|s|h|p|sign|h_hash|igsh)=([^&\s#]{4,})",
    re.IGNORECASE,
)
_ALWAYS_PARAM = re.compile(
    r"[?&#;](?:[\w\-]*(?:token|auth_?key|apikey|api_key|secret|passw\w*|signature|session_?id|credential|jwt|invite\w*|otp|resourcekey|access_\w+)|key|auth|sig|pwd|pass|invitation)=[^&\s#]{4,}",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^\s/@:]+:[^\s/@]+@")
_INVITE = re.compile(
    r"(?:t\.me/(?:joinchat/|\+)|telegram\.me/(?:joinchat/|\+)|discord(?:app)?\.(?:gg|com/invite)/|chat\.whatsapp\.com/|/(?:invite|invites|invitation|join|joinchat|reset|magic|confirm|verify|activate|share|s|unsubscribe|password-reset|reset-password|set-password|login|einladung|shared)/|zoom\.us/j/[^\s?]+\?pwd=|vk\.me/join/|viber\.com/|signal\.group/|line\.me/ti/g/|teams\.microsoft\.com/l/meetup-join|webhooks/|hooks\.slack\.com/services/)[\w\-+=%/.#]{5,}",
)
_FILE = re.compile(
    r"\.(?:cpp|cc|c|h|hpp|js|jsm|json|ts|tsx|py|rs|go|zig|java|kt|xul|xml|idl|mm|md|txt|html?|css|apk|exe|tar|gz|zip|png|jpe?g|gif|svg|pdf)$",
    re.IGNORECASE,
)
_ALWAYS_INVITE = re.compile(r"joinchat|/\+|discord|whatsapp|signal|hook|pwd=|vk\.me", re.IGNORECASE)
_PLAIN_SLUG = re.compile(r"[a-z]+(?:[-_][a-z]+)*|\d+", re.IGNORECASE)


class ChatSecretUrlRecognizer(ChatRecognizer):
    """Links that carry a token, a credential or an invite."""

    wake = Wake.URL
    entities = (Entity.URL_SECRET,)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_SERVICE,)

    def scan(self, view: View) -> Iterator[Hit]:
        for match in view.finditer(_SERVICE):
            if "@" in match[0] or re.match(r"(?:ss|vless|vmess|trojan|otpauth)://", match[0]) or "secret=" in match[0]:
                yield Hit(match.start(), match.end(), Entity.URL_SECRET, 0.9, "url.credential")
        for match in _URL.finditer(view.norm):
            url = match[0].rstrip(".,;:!?…")
            rule = self._rule(url, view.low[match.start() : match.start() + len(url)])
            if rule:
                yield Hit(match.start(), match.start() + len(url), Entity.URL_SECRET, 0.9, rule)

    def _rule(self, url: str, low: str) -> str:
        if _USERINFO.search(url):
            return "url.credential"
        if _ALWAYS_PARAM.search(url):
            return "url.parameter"
        for param in _SECRET_PARAM.finditer(url):
            value = param[1]
            if (
                len(value) >= 8
                and any(c.isdigit() for c in value)
                and not value.isdigit()
                and not re.search(r"youtu", url)
            ):
                return "url.parameter"
        found = _INVITE.search(low)
        if found:
            invite = url[slice(*found.span())]
            slug = invite.rstrip("/").rsplit("/", 1)[-1]
            is_drawn = len(slug) >= 6 and not _PLAIN_SLUG.fullmatch(slug) and re.search(r"\d|[a-z][A-Z]", slug)
            if is_drawn or _ALWAYS_INVITE.search(invite):
                return "url.invite"
        path = url.split("?", 1)[0].split("#", 1)[0]
        for part in path.split("/")[3:]:
            if "%20" in part or _FILE.search(part):
                continue
            if len(part) >= 20 and looks_random(part):
                return "url.random"
            if re.fullmatch(r"(?:private-|token-|key-)?[0-9a-f]{32,}", part):
                return "url.random"
        return ""


# -- neighbours -------------------------------------------------------------------------------------------------------

ASKS_PASSWORD, ASKS_CODE = 1, 2


def asks_for(view: View, found: set[Entity]) -> int:
    """Return what a message speaks of without giving it: ASKS_PASSWORD, ASKS_CODE, both or 0."""
    asks = 0
    if Entity.PASSWORD not in found and (view.matches(PASSWORD_KEYWORD) or view.matches(_NETWORK_KEYWORD)):
        asks |= ASKS_PASSWORD
    if not found & {Entity.PIN, Entity.OTP} and view.matches(_CODE_KEYWORD) and not _NOT_A_CODE.search(view.low):
        asks |= ASKS_CODE
    return asks


def answers(text: str, asks: int, step: int) -> list[Finding]:
    """Return the values in a neighbour of a message that speaks of one. `step` is how far after it the neighbour stands."""
    tokens = []
    for match in _TOKEN.finditer(text):
        token, start = _clean(match[0], match.start())
        if token:
            tokens.append((token, start))
        if len(tokens) > 6:
            return []
    content = [(t, s) for t, s in tokens if t.lower() not in _FILLER]
    out = []
    for token, start in content:
        like = likeness(token)
        is_alone = len(content) == 1
        entity = None
        if asks & ASKS_PASSWORD and (
            like == 3
            or (is_alone and like == 2 and len(token) >= 6)
            or (
                is_alone
                and like == 1
                and step == 1
                and len(token) >= 6
                and token.lower() not in _NOT_A_VALUE
                and token.isascii()
                and len(tokens) == 1
                and re.fullmatch(r"[a-z]+", token)
                and any("\u0400" <= c <= "\u04ff" for c in text) is False
                and token not in _PLAIN_ANSWERS
            )
        ):
            entity = Entity.PASSWORD
        elif (
            asks & ASKS_CODE
            and re.fullmatch(r"[*#]?\d{3,8}[*#]?|\d{2,6}[A-Za-zА-Яа-я]\d{0,4}", token)
            and (is_alone or step == 1)
            and not _is_counted(text, start + len(token))
        ):
            entity = Entity.PIN
        if entity is not None:
            out.append(Finding(start, start + len(token), entity, 0.6, "neighbour"))
    return out


_PLAIN_ANSWERS = read_words("plain_answers.txt")
