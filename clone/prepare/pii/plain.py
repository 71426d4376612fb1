"""Passwords that are plain words, told in so many words: "passwort war hasenpfote", "пароль от вайфая одуванчик".

Such a value has no shape at all. What gives it away is the sentence: the name of the thing, a word of telling (`is`,
`war`, `это`) or nothing at all between, and one word that ends the clause and is not talk about passwords ("wrong",
"vergessen", "сменили"). Pure functions over normalised text and the keyword found in it.
"""

from __future__ import annotations

import re

from clone.prepare.pii.words import read_words

Span = tuple[int, int]

_VALUE = r"(?P<value>[^\W\d_]+(?:-[^\W\d_]+)*)"
_SPELLING = (  # how it is to be written, told after it
    r"mit (?:gro(?:ß|ss)em|kleinem) \w\b|alles (?:klein|gro(?:ß|ss))|(?:klein|gro(?:ß|ss)|zusammen) ?geschrieben|with (?:a )?(?:capital|big|small) \w\b|all (?:lower ?case|caps|small)|in caps|no spaces"
    r"|с (?:большой|маленькой|заглавной)|(?:з|із) великої|маленькими|en minúsculas|con (?:la )?(?:mayúscula|maiuscola)|en minuscules|avec (?:une )?majuscule|tutto minuscolo|(?:tudo|todo) minúscul|com maiúscula|z dużej|małymi|küçük harf|büyük harf|viết (?:thường|hoa|liền)"
)
_END = rf"[\"'»”`)]*(?=\s*(?:$|[\n.;!,(]|\s[-–—]\s|(?:{_SPELLING})))"
_TOLD = (
    r"(?:is|was|used to be|ist|war|lautet|lautete|hei(?:ß|ss)t|hie(?:ß|ss)|es|era|será|est|était|etait|c['’ ]?est|c['’]était|è|era|é|foi|to|był[oa]?|brzmi"
    r"|là|là chữ|resta|rimane|reste|bleibt|blieb|queda|quedó|fica|ficou|zostaje|остается|остаётся|остался|лишається|stays|became|wurde|kaldı|это|был[аои]?|такой|будет|стоит|це|був|була|було|такий|idi|olan|是|为)"
)
_ADVERB = r"(?:(?:now|still|just|currently|jetzt|nun|noch|immer noch|einfach|ahora|todavía|sigue siendo|maintenant|toujours|juste|ora|adesso|ancora|sempre|agora|ainda|só|teraz|nadal|po prostu|şimdi|hala|vẫn|vẫn là|giờ|теперь|сейчас|просто|все еще|всё ещё|тепер|зараз|досі|doch|wohl|vermutlich|glaub(?:e)?(?: ich)?|i think|i guess|maybe|probably|credo|creo(?: que)?|je crois|acho(?: que)?|chyba|galiba|sanırım|кажется|вроде|здається|also|auch|ja,|klar,|yes,|yeah,|sure,|sí,|oui,|si,|да,|так,|tak,|evet,|the word|das wort|la palabra|le mot|слово) ){0,2}"
_SIGN = r"(?:->|=>|[:=→>–—-])"

_COPULA = re.compile(
    rf"(?P<of>(?:\s+(?!{_TOLD}\s)[^\s:=→>\n,.;!?]+){{0,5}}?)(?:\s*\?(?=[^\n?]*$)|)[\"'»”]?(?:'s|’s|,|\?)?\s*"
    rf"(?:{_SIGN}|(?<=\?)|(?<=\? )|(?<=[\s,?]){_TOLD}(?=\s)|(?<='s)|(?<=’s))\s*{_ADVERB}[\"'«“`(]*{_VALUE}{_END}",
    re.IGNORECASE,
)
_CHANGED = re.compile(
    r"(?<![^\W_])(?:(?:changed|set|reset|switched|updated)(?: (?:it|the \w+|my \w+|our \w+))? to|(?:geändert|gesetzt|umgestellt) (?:auf|in|zu)|auf(?= [^\W\d_]+ (?:geändert|gesetzt|umgestellt))"
    r"|cambi(?:é|ado|amos|aron|ato|ata|ai)\b[^\n,.]{0,24}?\b(?:a|por|in|con)|(?:chang|modifi)\w{1,3}\b[^\n,.]{0,24}?\b(?:pour|en|par)|(?:mud|troqu|alter)\w{1,3}\b[^\n,.]{0,24}?\b(?:para|pra|por)"
    r"|zmieni\w+\b[^\n,.]{0,20}?\bna|(?:по|с)меня\w+[^\n,.]{0,24}? на|зміни\w+[^\n,.]{0,24}? на|đổi[^\n,.]{0,16}? (?:thành|sang)|поставил\w? )"
    rf"[\s:]+[\"'«“`(]*{_VALUE}{_END}",
    re.IGNORECASE,
)
_STILL = re.compile(
    r"[^\n.;!?]{0,40}?(?<![^\W_])(?:still|immer noch|noch immer|jetzt|ancora|sempre|ora|hal[aâ]|şimdi|теперь|тепер|досі|всё ещё|все еще|сейчас|зараз|toujours|encore|maintenant|sigue siendo|todavía|ahora|continua(?: sendo)?|ainda|agora|nadal|teraz|vẫn|giờ"
    r"|вс[её] тот же|тот же|такой же|той самий|як і був|как и был|как был|the usual|the same|wie immer|il solito|la solita|la misma|le même|o mesmo|a mesma|ten sam|to samo|aynı)(?: (?:is|ist|es|é|è|to|là))?[,:–—-]?\s+"
    rf"[\"'«“`(]*{_VALUE}{_END}",
    re.IGNORECASE,
)
NETWORK = re.compile(  # one of these words stands in all that is said of a network below
    r"(?<![^\W_])(?:wi-?fi|wlan|network|hotspot|netflix|hulu|spotify|disney|вай-?фа|нетфликс)", re.IGNORECASE
)
FOR_NETWORK = re.compile(
    r"(?<!\S)(?P<value>[^\W_][\w!#$%&*@-]{6,23})[\"'»”]?,? (?:(?:das ist|that'?s|it'?s|è|это|це|c['’]est|es|to|é) für|das ist|that'?s|это|c['’]est|for|für|fürs|per|para|pour|для|от|на|від|do|dla|cho|içi?n)\s(?:(?:the|das|el|il|le|la|o|our|guest|home) )*(?:wi-?fi|wlan|hotspot|вай-?фа\w+|netflix|hulu|spotify|disney|нетфликса?)(?![^\W_])",
    re.IGNORECASE,
)
_USE_ON = re.compile(  # `for the guest network use raincloud`
    rf"(?<![^\W_])(?:wi-?fi|wlan|network|hotspot|netflix|hulu|spotify|вай-?фа\w+|нетфликс\w*)(?![^\W_])[^\n.;?]{{0,16}}?[ ,](?:use|type|enter|put in|nimm|gib|usa|pon|metti|mets|tape|wpisz|вводи|введи|вбей|пиши)\s+[\"'«“`(]*{_VALUE}[\"'»”`)]*(?: ein)?\s*[.!]?\s*$",
    re.IGNORECASE,
)
_SEVERAL = re.compile(  # `my pw is three blind mice`
    r"(?:\s*[:=]\s*|\s+(?:is|ist|war|was|es|è|era|est|это|це)\s+)(?P<value>[^\W\d_]{3,14}(?: [^\W\d_]{3,14}){1,3})\s*[.!]?\s*$",
    re.IGNORECASE,
)
# nothing between: the whole line is the thing, what it is of, and the word
_OF = (
    r"(?:\s+(?:(?:от|к|для|на|до|від|з|у|в|of|for|on|vom|von|der|des|für|fürs|zum|de|del|della|dello|dell'|du|des|da|do|das|dos|pour|per|para|od|do|na|cho|của|nhà)\s+)?"
    r"(?:the |la |le |el |il |das |dem |den |l['’])?(?:máy tính bảng|máy tính|điện thoại|[^\W\d_-]+(?:-[^\W\d_]+)?))"
)
_BARE = re.compile(
    rf"(?P<new>\s+(?:einfach|halt|mal|just|simplemente|semplicemente|просто|nuova|nueva|nouveau|nova|nuevo|neu|new|yeni|mới))?(?P<of>{_OF}??)\s+[\"'«“`(]*{_VALUE}[\"'»”`)]*(?: ein| idi| olsun| oldu| yaptım| nha| nhé| btw)?\s*[.!]?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_OPENING = re.compile(
    r"(?:^|\n)\W*(?:(?:login|user(?:name)?|usuario|usuário|utente|identifiant|benutzer(?:name)?|kullanıcı(?: adı)?|użytkownik|tk|acc|tài khoản|логин|логін|акк|账号)\W+(?P<user>[\w.@+-]{3,32})[\s,;/]+)?"
    r"(?:(?:das|der|the|my|our|la|le|el|il|mon|ma|o|a|mi|mein|unser|nowe|stare|nuova|nouveau|neues|новый|новий|мой|мій|наш|yeni|eski|mới|new|old|wi-?fi|wlan|вай-?фай\w?|netflix|hulu|spotify|disney\+?|hbo|icloud|нетфликс|hotspot|fritz\.?box|ebay|paypal|allegro|g[aä]ste?(?:-?wlan|-?wifi)?|router|drucker|laptop|handy|pc|facebook|insta\w*|facebook|gmail|apple|amazon|steam|роутер|инста|почта|пошта|запиши|запомни|запамʼятай|merk dir|notier\w*|schreib auf|note|segna\w*|apunta|anota|zapisz|ghi lại|лови|держи|ось|вот)\W+){0,3}$",
    re.IGNORECASE,
)
_TIGHT = re.compile(
    r"passwords?|passcode|pass|claves?|contra|pas|mk|login|log-?in", re.IGNORECASE
)  # compounds of these abound
_LOOSE = re.compile(r"pass|claves?|contra|pas|mk", re.IGNORECASE)  # words with other meanings
_NAMED_SERVICE = re.compile(r"(?:wi-?fi|wlan|netflix|hulu|spotify|disney\+?|hbo|icloud)\W+$", re.IGNORECASE)
_BEFORE = re.compile(
    rf"(?:^|\n)\W*{_VALUE}[\"'»”`]*(?:[ ,\n:–—-]+)(?:is|was|works as|that'?s|that is|it'?s|ist|war|das ist|so hei(?:ß|ss)t|era|était|był[oa]?|był to|був|був це|был[ао]?|была|idi|làm|è|é|es|es la|est|c['’]est|to|là|это|вот|це|ось|bu|idi)\s+(?:(?:still|the|our|my|new|wifi|wi-fi|wlan|netflix|hulu|spotify|gmail|вайфая|вайфаю|das|neue|dein|mein|unser|la|mi|el|tu|le|mon|notre|il|a|o|minha|twoje|nasze|новый|мой|наш|твой|новий|мій)\s+){{0,3}}$",
    re.IGNORECASE,
)
_AS = re.compile(
    rf"(?<![^\W_])(?:try|use|put|type|enter|nimm|probier\w*|gib|prueba|pon|usa|essaie|mets|tape|prova|metti|usa|tenta|põe|spróbuj|wpisz|попробуй|введи|вводи|спробуй|thử|nhập|dùng|dene|mit|with|con|avec|com|с|з|với|bei|versuch(?: mal| es mit)?)\s+[\"'«“`(]*{_VALUE}[\"'»”`)]*\s+(?:as|als|come|como|comme|jako|de|как|як|làm|olarak)\s+(?:(?:the|das|la|el|le|a|o|il)\s+)?$",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?:^|\n)\W*(?:[^\W\d_]+\W+){0,4}?(?:log-?in|creds|credentials|(?:zugangs|anmelde|login)daten|credenziali|accesso|credenciales|credenciais|acceso|identifiants|dane (?:do )?logowania|логпас\w*|доступ\w*|вход|вхід|tk|tài khoản|acc|акк)(?:\s(?:is|ist|es|è|é|est|to|là))?\s*[:=–—-]*\s*"
    r"(?P<user>[\w.@+-]{3,32})\s*[/|]\s*(?P<value>[^\s/|]{5,32})\s*$",
    re.IGNORECASE,
)
TYPED = re.compile(  # `mets Tigre2018`
    r"(?:^|\n)\W*(?:also |ok |so |dann |alors |allora |pues )?(?:versuch(?:e|s)?(?: mal| es mal| es)?(?: mit)?|probier(?:e|s)?(?: mal)?(?: mit)?|mets|metti|pon|põe|tape|digita|gib|tippe|nimm|wpisz|nhập|type|enter|use|вводи|введи|вбей|вбивай|пиши|вводь|dene|yaz|usa|prova|prueba|essaie|tenta|spróbuj|попробуй|спробуй|输入)\s(?P<value>[^\W_][\w!#$%&*@-]{6,23})(?! (?:for|to|with))(?:[ ,.!][^\d\n]{0,24})?$",
    re.IGNORECASE,
)
_WIFI_NAME = re.compile(
    r"(?:^|\n)\W*(?:the |our |my |unser |mein |il nostro |el |le |notre |nosso |nasze |наш |у нас )?(?:wi-?fi|wlan|вай-?фа[йи])(?: is| ist| è| es| é| là| это| це|:)?\s(?P<value>[a-zа-яіїєґ]{3,14}[-_][a-zа-яіїєґ]{3,14})\s*[.!]?\s*$",
    re.IGNORECASE,
)
_WIFI = re.compile(
    r"(?:^|\n)\W*(?:(?:the|our|my) )?(?:wi-?fi|wlan|hotspot)(?:'s|’s|: | is now) ?[\"“]?(?P<value>[a-z]{4,14} [a-z]{3,14})[\"”]?\s*[.!]?\s*$",
    re.IGNORECASE,
)

_TALK_WORDS = read_words("password_talk.txt")
_TALK_SHAPE = re.compile(
    r"(?:zapomn|dimentic|verg[ae][sß]|forg|oubli|olvid|esquec|unut|cambi|chang|expir|requir|zmien|änder|geänd|değiş|подход|підход|работ|прац|забы|забу|сброс|скин|смени|поменя|зміни|восстан|віднов|прийш|приш[лё]|parametr|authent|encrypt|hash)\w*"
    # English and German participles and adverbs
    r"|[a-z]{3,}(?:ed|ing|able|ible|ably|ibly|ially|fully|less)|ge[a-zäöüß]{3,}(?:t|en)|[a-zäöüß]{4,}(?:lich|[^f]isch|iert|ierbar|bar)"
    # Romance participles of the commonest kinds, French and Spanish ends
    r"|\w{3,}(?:ée?s?|ando|iendo|mente)"
    # Russian and Ukrainian verbs and adjectives
    r"|[а-яёіїєґ]+(?:л[аои]?с[ья]|[аяиыеоуіё]л[аои]?|[аяиіеє]ть|ться|тися|[аяиуеі]ти|[ую]т|[ая]т|ешь|ишь|аешь|[ая]ет|ит|йте|ите|іть|йти|ай|яй|ый|ий|ая|яя|ое|ее|ые|ие|ого|его|ому|ему|ым|им|ых|их|ался|ен|ён|ана|ено|ены|аю|яю|ую|юю|жу|чу|шу|лю|ся)",
    re.IGNORECASE,
)
_TALK_SHAPES = {  # endings that are common words' in one language and anything in the others
    "pl": re.compile(r"\w{3,}(?:łem|łam|ł[aoy]?|liśmy|ąć|ujesz|ujemy|cie|ienie|one|any|ane)", re.IGNORECASE),
    "tr": re.compile(
        r"\w{2,}(?:yor\w*|[dt][ıiuü]m|[dt]ınız|m[ıiuü]ş|acak|ecek|ır mısın|sana|sene|eyim|ayım|lım|lim)", re.IGNORECASE
    ),
}


def is_talk(word: str, shortest: int = 5, *, language: str | None = None, shapes: bool = True) -> bool:
    """Return whether a word beside "password" speaks of one instead of being it; words under `shortest` letters do.

    `language` (ISO 639-1, "" for one without endings of its own) narrows down whose endings tell talk, `shapes` False
    asks the list alone.
    """
    low = word.lower()
    if len(low) < shortest or low in _TALK_WORDS or not shapes:
        return len(low) < shortest or low in _TALK_WORDS
    if _TALK_SHAPE.fullmatch(low):
        return True
    return any(shape.fullmatch(low) for of, shape in _TALK_SHAPES.items() if language is None or of == language)


def is_of_thing(word: str) -> bool:
    """Return whether a word names what passwords are of: a network, a device, a service."""
    return _OF_THING.fullmatch(word) is not None


def after(norm: str, keyword: re.Match[str], stop: int) -> Span | None:
    """Return the plain word that is told to be what `keyword` names, up to `stop`."""
    for pattern in (_COPULA, _STILL, _CHANGED):
        match = pattern.search(norm) if pattern is _CHANGED else pattern.match(norm, keyword.end(), stop)
        if match is None or is_talk(match["value"]) or _is_asked(norm, match.end()):
            continue
        if _LOOSE.fullmatch(keyword[0]) and (
            pattern is not _COPULA or match["of"] or norm[keyword.end() :].startswith(" to")
        ):
            continue
        return match.span("value")
    several = _SEVERAL.match(norm, keyword.end(), stop)
    if several and not any(_is_common(word) for word in several["value"].lower().split()):
        return several.span("value")
    bare = _BARE.match(norm, keyword.end(), stop)
    if bare is None or is_talk(bare["value"]) or _is_asked(norm, bare.end()):
        return None
    if bare["of"] and not (_OF_THING.search(bare["of"]) or _OF_SOMETHING.match(bare["of"])):
        return None
    opening = _OPENING.search(norm, 0, keyword.start())
    if opening is None:
        line = norm[norm.rfind("\n", 0, keyword.start()) + 1 : keyword.start()]
        is_near = _OF_THING.search(line) or _AS_BEFORE.search(line)
        return bare.span("value") if is_near and line.count(" ") <= 7 and not _WANTS.search(line) else None
    if _TIGHT.fullmatch(keyword[0]) and not (
        _NAMED_SERVICE.search(norm, 0, keyword.start()) or opening["user"] or bare["of"] or bare["new"]
    ):
        return None
    return bare.span("value")


def user_before(norm: str, keyword: re.Match[str]) -> Span | None:
    """Return the user of `tk admin mk conmeo`."""
    opening = _OPENING.search(norm, 0, keyword.start())
    return opening.span("user") if opening and opening["user"] else None


def before(norm: str, keyword: re.Match[str]) -> Span | None:
    """Return the plain word that the sentence calls by `keyword`: `marmelade ist das passwort`."""
    for pattern in (_BEFORE, _AS):
        match = pattern.search(norm, 0, keyword.start())
        if match and not is_talk(match["value"]) and (pattern is _AS or _ENDS.match(norm, keyword.end())):
            return match.span("value")
    return None


def pair(norm: str) -> tuple[Span, Span] | None:
    """Return user and password of `router login admin / bluebonnet`."""
    match = _PAIR.search(norm)
    if match is None or is_talk(match["value"]) or match["value"].isdigit() or "." in match["value"][:-1]:
        return None
    return match.span("user"), match.span("value")


def network(norm: str) -> Span | None:
    """Return the two plain words of `the wifi's sunflower lane`."""
    joined = _WIFI_NAME.search(norm)
    if joined and not any(
        part.lower() in _SHORT_TALK or part.lower() in _TALK_WORDS for part in re.split("[-_]", joined["value"])
    ):
        return joined.span("value")
    match = _WIFI.search(norm)
    if match is None or any(is_talk(word) and len(word) > 4 for word in match["value"].split()):
        return None
    if any(word.lower() in _SHORT_TALK for word in match["value"].split()):
        return None
    return match.span("value")


def in_use(norm: str) -> Span | None:
    """Return the word of `use raincloud for the wifi`, where nobody says password."""
    use = _USE_ON.search(norm)
    if use and not is_talk(use["value"]) and len(use["value"]) >= 6:
        return use.span("value")
    return None


def _is_common(word: str) -> bool:
    return word in _SHORT_TALK or word in _TALK_WORDS or (len(word) > 4 and is_talk(word))


def _is_asked(norm: str, end: int) -> bool:
    return norm.startswith("?", end + len(norm[end:]) - len(norm[end:].lstrip()))


_OF_SOMETHING = re.compile(r"\s+(?:от|від|fürs)\s", re.IGNORECASE)
_WANTS = re.compile(  # asks for one, or tells that there is none
    r"(?<![^\W_])(?:need|want|forgot|forget|know|remember|what|which|who|where|how|can|could|give|send|reset|change|lost|no|not|never|n['’]t|without|brauch\w*|welch\w*|wie|wer|wo|schick\w*|sag\w*|kein\w*|nicht|ohne|vergess\w*|dame|pasa\w*|cu[aá]l|qu[eé]|necesito|sin|olvid\w*|manda\w*|dammi|qual\w*|che|serve|senza|dimentic\w*|donne|quel\w*|envoie|sans|oubli\w*|preciso|sem|esquec\w*|daj|jakie|podaj|bez|nie|zapomn\w*|ver|ne|hangi|unut\w*|cho|gì|quên|không"
    r"|дай|дайте|скинь\w*|пришли|скажи|напиши|какой|какая|нужен|надо|забыл\w*|без|не|нет|смени\w*|поменя\w*|який|потріб\w*|забу\w*|немає|нема|зміни\w*)(?![^\W_])",
    re.IGNORECASE,
)
_AS_BEFORE = re.compile(
    r"(?<![^\W_])(?:as|als|come|como|comme|jako|как|як)\s+(?:(?:the|das|la|el|le)\s+)?$", re.IGNORECASE
)
_ENDS = re.compile(
    r"[\"'»”`]*(?: (?:glaub(?:e)? ich|i think|i guess|credo|mi sa|creo|je crois|acho(?: eu)?|chyba|sanırım|galiba|кажется|вроде|по-моему|здається|мабуть|hình như|lol|btw|haha|xd|mdr))?\s*(?:$|[\n.,;!)]|(?:for|от|к|до|від|для|на|zum|vom|für|fürs|de|del|della|du|do|da|pour|per|para|nha|nhé|bu)(?!\w))",
    re.IGNORECASE,
)
_OF_THING = re.compile(
    r"\b(?:wi-?fi|wlan|вай-?фа\w+|роутер\w*|router\w*|netflix\w*|нетфли\w+|spotify|disney|hulu|почт[ыуи]|пошти?|mail\w*|e-?mail|пошту|инст\w+|інст\w+|insta\w*|facebook|fb|вк|steam|стим\w?|стім\w?|ноут\w*|laptop\w*|pc|компа?|комп'ютера|телефон\w*|phone|handy|tablet\w*|ipad|icloud|apple|google|гугла?|vpn|впн|drucker|printer|гост\w+|g[aä]ste\w*|guest|сайт\w*|аккаунт\w*|акка|облака|casa|maison|nhà|дом\w*|архив\w?|планшет\w*|розетк\w*|máy tính(?: bảng)?|điện thoại|shopee|lazada|allegro|trendyol|mac|nas|архів\w?|fritz\.?box|ebay|paypal\w*|gmail\w*|гмейл\w*|discord\w*|дискорд\w*|zoom\w*|зум\w*|twitch\w*|tiktok\w*|тикток\w*|outlook|dropbox|amazon\w*|ebay|yahoo|whatsapp\w*|telegram\w*|телег\w*|airbnb|uber|playstation|psn|xbox|server\w*|сервер\w*|linkedin|twitter\w*|youtube|ютуб\w*|hbo|prime|windows|винд\w+|mac|macbook|скайп\w*|skype|озон\w*|авито|госуслуг\w*|дия|дії|hotspot|точк\w+|кабинет\w*|compte|conto|konta?|account|cuenta|conta|hesab\w*|bilgisayar\w*|computer\w*|ordenador|ordinateur|kompa|komputera|rechner|архіву|zip|банк\w?|router\w*|сети|мережі|rete|red|réseau|rede|sieci|ağ|modem\w*|модем\w*)\b",
    re.IGNORECASE,
)
_SHORT_TALK = read_words("short_talk.txt")
