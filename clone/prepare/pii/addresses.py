"""Street addresses by a small grammar per language: a street with a number, and what belongs to it.

A city alone is not personal; a street-level string with its flat, postcode and city is one address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clone.prepare.pii.base import ChatRecognizer, Hit
from clone.prepare.pii.types import Entity
from clone.prepare.pii.view import View
from clone.prepare.pii.words import Wake

_W = r"[^\W\d_]"  # a letter
_NAME = rf"(?:{_W}[\w'’\-]*|{_W}{{1,4}}\.)"
_NUM = r"(?:№ ?)?\d{1,4}(?:[ \-]?[а-яa-z](?![\w]))?(?:[/\-]\d{1,4}[а-яa-z]?)?"

_RU_PART = rf"(?:[ ,]+(?:д(?:ом)?|строен\w+|стр|корп(?:ус)?|к|лит(?:ера)?|кв(?:артира)?|квартир\w+|оф(?:ис)?|подъезд|под|п|эт(?:аж)?|домофон|буд(?:инок)?|під'їзд|пов(?:ерх)?|секция|блок|вл|владение|комн(?:ата)?|ком)[. ]*{_NUM}|[ ,]+{_NUM}(?:-?(?:й|я|ой))? ?(?:кв(?:артира)?|подъезд|этаж|корпус|поверх|під'їзд)(?!\w)|[ ]?к\d+|[ ]?с(?:тр)?\.?\d+|-\d{{1,4}})"
_RU_STREET = r"(?:ул(?:иц[аеыуи]|ицей|\.|ка)?|пр(?:осп(?:ект\w*)?)?-?т?\.?|пр-к?т\.?|проспект\w*|пер(?:еулок|еулк\w+|\.)?|ш(?:оссе|\.)?|б(?:-р|ульвар\w*|ул\.?)|наб(?:ережн\w+|\.)|пл(?:ощад\w+|\.)|пр-?(?:оез)?д\w*\.?|проезд\w*|мкр\.?|микрорайон\w*|тупик\w*|лини\w|алле\w|вул(?:иц\w+|\.)?|провул\w+|пров\.|просп\.?|бульв\.?|площ\w+|кв-л|квартал|тракт|снт|днт)"
_RU = re.compile(
    rf"(?<![\w])(?:\d{{6}},? ?)?(?:(?:(?:г\.? ?|город |м\. ?|гор\. ?|пос\.? ?|дер\.? ?|с\. ?|пгт ?)?(?-i:[А-ЯІЇЄҐ])[а-яіїєґ\-]+(?: обл\w*\.?| область)?, ?|(?:г\.? |город |м\. )(?-i:[А-ЯІЇЄҐ])[а-яіїєґ\-]+ ))?(?:\d{{6}}, ?)?(?:"
    rf"{_RU_STREET}(?:(?<=\.)|(?![а-яёіїє])) ?(?:\d{{1,3}}(?:-?(?:я|й|е|го|ая|ой|лет))? )?(?!(?:в|на|и|у|с|к|до|от|за|по|о|для|из|не|это|где|не)\b){_NAME}(?: (?!д\b|дом|кв|квартира|к\b|корп|стр|подъезд|этаж|буд\b|будинок|в\b|на\b|и\b|у\b){_NAME}){{0,3}},? ?(?:д(?:ом)?\.? ?|буд(?:инок)?\.? ?|уч(?:асток)?\.? ?)?{_NUM}(?!\d|\s*(?:минут|мин\b|метр|км\b|м\b|час|руб|лет|чел|год|%))"
    rf"|(?:\d{{1,3}}(?:-?(?:я|й|е|го|ая|ой))? )?{_NAME}(?: {_NAME})? {_RU_STREET}(?![\w]),? ?(?:д(?:ом)?\.? ?|буд\.? ?)?{_NUM}"
    rf"|{_NAME}(?: {_NAME})? (?:д(?:ом)?\.? ?)?\d{{1,3}}[а-я]?(?:/\d+)?(?: ?к(?:орп)?\.? ?\d+)?,? (?:кв(?:артира)?\.? ?)\d{{1,4}}"
    rf"|{_NAME}(?: {_NAME})? \d{{1,3}}[а-я]?(?:/\d+)?(?:,? ?(?:подъезд|кв|квартира|корп|домофон|під'їзд)\.? ?\d+)+"
    rf"|{_NAME}(?: {_NAME})?,? \d{{1,3}}[а-я]?,? ?(?:стр(?:оение)?|корп(?:ус)?)\.? ?\d{{1,2}}(?!\w)"
    rf")(?:{_RU_PART}){{0,6}}(?:, ?(?:г\.? ?|м\. ?)?(?-i:[А-ЯІЇЄҐ])[а-яіїєґ\-]{{2,}}|, ?[а-яіїєґ]{{4,}}\s*$)?",
    re.IGNORECASE,
)
_RU_LIVE = re.compile(
    rf"(?<![\w])(?:жив[уёеі]\w*|живем|прописан\w*|адрес\w*:?|мешка\w+|приїжджай\w*|приїзди\w*|їду|їдь|заїжджай\w*|переехал\w*|снимаю|приезжай\w*|приходи\w*|подъезжай\w*|доставк\w+|такси|курьер\w*|заезжай\w*|едем|еду|забер\w+)(?: меня| нас| тебя| ко мне| к нам| сюда| теперь| сейчас| типа| там)?(?: на| по| с| до|:| в| к| ко| -)? (?P<a>[А-Яа-яІЇЄіїє][а-яіїє\-]{{3,}}(?: [А-Яа-я][а-я\-]{{3,}})?,? \d{{1,3}}(?:[а-я](?!\w))?(?:/\d+)?(?:{_RU_PART}){{0,6}})(?!\d|:|\s*(?:руб|мин|час|лет|год|дн|раз|чел|р\b|см|км|м\b|этаж|ма[йя]|янв|фев|мар|апр|июн|июл|авг|сен|окт|ноя|дек|₽|%|утра|вечера))",
)
_RU_CITY = re.compile(
    r"(?<!\w)(?:г\.? ?)?[А-ЯІЇЄ][а-яіїєё\-]{3,}, ?[А-ЯІЇЄ][а-яіїєё]{3,}(?: [А-ЯІЇЄ][а-яіїєё]{3,})? \d{1,3}[а-я]?(?:[/\-]\d{1,4})?(?![\w:])"
)
_RU_STREETLIKE = re.compile(
    r"(?<![\w.,:/\-])[А-ЯІЇЄ][а-яіїєё]{2,}(?:ская|ской|скую|ская|ського|ський|ська|ської|ського|ого|ная|ной|ную|вая|вой|вую) (?:\d{1,3}[а-я]?(?:/\d+)?-\d{1,4}|\d{1,3}[а-я]?(?:[/к]\d+)?)(?![\w:\-]|[.,]\d|\s*(?:руб|мин|час|лет|год|дн|раз|чел|р\b|числ|янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек|₽|%|сери|сезон|част|класс|групп|игр|из))"
)
_RU_CAPITAL = re.compile(
    r"(?:дом|встреча\w+|подъезд\w*|жду|вези\w*|привез\w*|отвез\w*|забери\w*|высади\w*|останови\w*|еду|едем|буду|стою|я|офис|квартир\w+)(?: (?:у|на|к|до|возле|около|подъезда|дома))* (?P<a>[А-ЯІЇЄ][а-яіїєё]{3,}(?: [А-ЯІЇЄ][а-яіїєё]{3,})? \d{1,3}[а-я]?(?:/\d+)?)(?![\w:]|\s*(?:руб|мин|час|лет|год|дн|раз|чел|р\b|числ|янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек|₽|%))"
)
_KNOWN_STREET = (
    r"(?:ленина|гагарина|кирова|пушкина|карла маркса|карла либкнехта|энгельса|фрунзе|чапаева|калинина|жукова|суворова|кутузова|горького|маяковского|толстого|чехова|гоголя|лермонтова|тургенева|достоевского|есенина|чайковского|свердлова|дзержинского|куйбышева|орджоникидзе|циолковского|королева|комарова|титова|невского|космонавтов|"
    r"пионерск\w{2,3}|молод[её]жн\w{2,3}|комсомольск\w{2,3}|пролетарск\w{2,3}|первомайск\w{2,3}|октябрьск\w{2,3}|арбате?|хрещатику?|шевченка|франка|бандери|грушевського|сагайдачного|лесі українки|(?-i:Победы|Мира|Труда|Свободы|Октября|Революции|Садов(?:ая|ой|ую)|Лесн(?:ая|ой|ую)|Школьн(?:ая|ой|ую)|Нов(?:ая|ой|ую)|Зел[её]н(?:ая|ой|ую)|Полев(?:ая|ой|ую)|Невск(?:ий|ом)|Ленинск(?:ий|ом)|Тверск(?:ая|ой|ую)))"
)
_RU_KNOWN = re.compile(
    rf"(?<![\w])(?:(?-i:[А-ЯІЇЄ])[а-яіїє\-]+, ?)?{_KNOWN_STREET},? (?:д\.? ?)?(?:\d{{1,3}}[а-я]?(?:[/\-]\d{{1,4}})?)(?![\w:]|[.,]\d|\s*(?:руб|мин|час|лет|год|дн|раз|чел|р\b|числ|янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек|₽|%|сери|сезон|част|том|класс|век))(?:{_RU_PART}){{0,6}}",
    re.IGNORECASE,
)
_RU_FLAT = re.compile(
    rf"(?<![\w])(?:д(?:ом)?|буд(?:инок)?)\.? ?{_NUM}(?:{_RU_PART}){{0,3}}?[ ,]+кв(?:артира)?\.? ?\d{{1,4}}(?:{_RU_PART}){{0,3}}",
    re.IGNORECASE,
)

_EN_STREET = r"(?:Street|St|Str|Road|Rd|Avenue|Ave|Av|Lane|Ln|Drive|Dr|Court|Ct|Boulevard|Blvd|Terrace|Ter|Crescent|Cres|Close|Place|Pl|Square|Sq|Way|Highway|Hwy|Parkway|Pkwy|Grove|Gardens|Gdns|Hill|Row|Mews|Circle|Cir|Trail|Trl|Ridge|Walk|Loop|Alley|Quay|Green|Broadway|Wharf|View|Rise|Park|Path|Pike|Turnpike|Plaza|Run|Vale)"
_EN_UNIT = r"(?:(?i:Apt|Apartment|Flat|Unit|Suite|Ste|Floor|Fl|Room|Rm|Bldg|Building|Block|Blk)\.?\s*#?\s*[A-Za-z]?-?\d{0,4}[A-Za-z]?(?!\w)|#\s?\w{1,5})"
_EN_TAIL = rf"(?:[,]?\s+{_EN_UNIT})?(?:,\s*(?!and\b|or\b|but\b|so\b)[A-Z][A-Za-z.'\-]+(?!\w)(?: [A-Z][A-Za-z.'\-]+(?!\w)){{0,2}}(?:,?\s+[A-Z]{{2}}(?![\w]))?)?(?:,?\s+[A-Z]{{2}}(?!\w))?(?:,?\s+(?:\d{{5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}}))?(?:,\s*(?:USA|UK|United Kingdom|London))?"
_EN = re.compile(
    rf"(?<![\w$€£.,:/])(?:(?:{_EN_UNIT}),?\s+)?\d{{1,5}}[A-Za-z]?(?:[-/]\d{{1,4}})?,? (?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.? )?(?!(?:min|mins|minutes?|hours?|am|pm|km|miles?|people|more|of|in|on|at|to|for|from|the|a|days?|times|weeks?|years?|blocks?|my|ne|your|ur|this|that|her|his|our|no|any|all|each|every|long|half|best|wrong|right|way|bless|go|get|do|see|meet|take|find|same|other|different|u|ya|one|new|lane)\b)(?!(?i:downing street))(?:(?:[A-Za-z0-9'’.\-]+ ){{1,3}}{_EN_STREET}|Broadway)(?![\w'’])\.?(?: (?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)(?!\w))?{_EN_TAIL}",
)
_EN_LOWER = re.compile(
    r"(?<![\w$€£.,:/])\d{1,5}[a-z]? (?!(?:min|mins|minutes?|hours?|am|pm|km|miles?|people|more|of|in|on|at|to|for|from|the|a|days?|times|weeks?|years?|blocks?|my|ne|your|ur|this|that|her|his|our|no|any|all|each|every|long|half|best|wrong|right|way|bless|go|get|do|see|meet|take|find|same|other|different|u|ya|one|new|lane|downing)\b)(?:[a-z'’.\-]+ ){1,2}?(?:street|st|road|rd|avenue|ave|lane|ln|drive|court|blvd|boulevard|crescent|terrace|grove|gardens|mews)(?![\w'’])(?:,?\s+(?:apt|flat|unit|suite|apartment|room)\.? ?#?\w{1,5})?(?:,? \w+)?(?:,? [a-z]{2})? ?(?:\d{5}|[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2})?",
)
_PO_BOX = re.compile(
    rf"(?<!\w)(?:P\.?\s?O\.? ?Box|PO ?box|po box|Postfach|Apartado(?: de correos)?|Casilla|BP|C\.P\.|а/я|skr(?:ytka)?\.? poczt\w*|Caixa Postal|Casella postale)\s*#?\s*\d{{2,6}}{_EN_TAIL}(?:,? \d{{4,6}}(?: [A-ZА-Я][\w\-]+)?)?(?:,? [A-ZА-Я][\w\-]+ ?\d{{0,6}})?",
    re.IGNORECASE,
)

_ROMANCE_STREET = (
    r"(?:c/|c\.|carrer|passeig|plaça|rúa|calle|cl\.|avenida|avda\.?|av\.?|plaza|pza\.?|pl\.|paseo|p[ºo]\.?|carrera|cra\.?|camino|carretera|ctra\.?|ronda|traves[ií]a|urb\.?|urbanización|pasaje|glorieta|cuesta|rambla|callejón|calz\.?|calzada|"
    r"rue|avenue|ave|boulevard|bd\.?|blvd|allée|allee|impasse|chemin|quai|place|cours|route|square|passage|faubourg|résidence|résid\.?|sentier|villa|"
    r"via|viale|v\.|v\.le|piazza|p\.zza|p\.za|corso|c\.so|vicolo|largo|strada(?: statale| provinciale)?|piazzale|p\.?zza|lungo(?:mare|tevere|arno|lago|po)|lungarno|contrada|salita|borgo|calata|"
    r"rua|r\.|travessa|tv\.|alameda|praça|praca|estrada|rodovia|beco|ladeira|quadra|"
    r"ul\.?|ulica|ulicy|ulicę|ulicą|al\.|aleja|alei|aleje|os\.|osiedle|osiedlu|pl\.|plac|placu)"
)
_ROMANCE_TAIL = r"(?:[,]?\s*(?:n[ºo°]\.?\s*)?\d{1,2}\s?[ºª°o]\.?\s?(?:[A-Z]\b|dto?\.?|esq\.?|fte\.?|frente|izq\w*|dcha?\w*|derecha|izquierda|[a-z]\b)?|[,]?\s*(?:piso|puerta|pta\.?|portal|esc(?:alera)?\.?|bajo|ático|planta|ap(?:to)?(?![a-z])\.?|apart\w*|cj|conj|sala|bl|appt?\.?|bât(?:iment)?\.?|bat\.?|étage|etage|interno|int\.?|scala|piano|bloco|andar|casa|m\.|mieszkania|lok\.?|fração|torre|depto\.?|dpto\.?|int|dir\.?|esq\.?|fte\.?|hab\.?|cod(?:e)?|\d{1,2}(?:e|ème|er|eme) étage)\.?\s*[\wº°ª]{0,4}(?!\w))"
_ROMANCE_CITY = rf"(?:(?:,|\s-)?\s*(?:C\.?P\.?\s*|CEP:?\s*|CAP\s*)?(?:\d{{5}}-?\d{{0,3}}|\d{{2}}-\d{{3}}|\d{{4}}-\d{{3}})(?:,?\s+{_W}[\w'’\-]+(?:[ \-](?:de|del|la|le|sur|di|{_W}[\w'’\-]+))?(?:\s*\(?[A-Z]{{2}}\)?(?!\w))?)?|,\s*(?!y\b|e\b|et\b|and\b|i\b|ou\b)(?-i:[A-ZÀ-ÖØ-ÞŁŚŻŹĆ])[\w'’\-]+(?: (?:de|del|da|do|di)? ?(?-i:[A-ZÀ-ÖØ-Þ])[\w'’\-]+)?(?:[ ,\-/]+(?-i:[A-Z]{{2}})(?!\w))?|,\s*{_W}+(?: {_W}+)?\s*$)"
_ROMANCE = re.compile(
    rf"(?<![\w/]){_ROMANCE_STREET}(?:\s+|(?<=[./])\s*)(?:\d{{1,2}}\s(?=[a-zA-Z]))?{_NAME}(?: (?!n[ºo°](?!\w)|num\b|nr\b|y\b|en\b|et\b|e\b){_NAME}){{0,5}}?(?:,\s*|\s+)(?:n[ºo°r]?\.?\s?|núm(?:ero)?\.?\s?|num(?:ero|éro)?\.?\s?|#\s?)?\d{{1,5}}(?:\s?(?:bis|ter)\b|[A-Za-z]?/\d{{1,4}}[A-Za-z]?|[A-Za-z](?!\w)|-\d{{1,4}}(?!\d))?(?!:\d|[€$%]|\s?(?:euros?|min|h\b|horas?|heures?|km|minut|zł|reais|de (?:ene|feb|mar|abr|may|jun|jul|ago|sep|oct|nov|dic)))(?:{_ROMANCE_TAIL}){{0,4}}(?:,?\s*(?:col(?:onia)?\.?|barrio|bairro|urb\.?)\s+{_NAME}(?: {_NAME})?)?{_ROMANCE_CITY}{{0,3}}",
    re.IGNORECASE,
)
_ENGLISH_TOO = re.compile(
    r"(?:place|route|square|passage|villa|cours|via|plaza|pl|c|r|av|ave|p|os|al|casa|road|tv|camino|impasse|avenue|boulevard)[\s.]",
    re.IGNORECASE,
)
_PROPER = re.compile(
    r"\S+\s+(?:(?:de|del|de la|des|du|la|le|les|l'|d'|do|da|dos|dei|degli|delle|della|di|of) ?)?(?:\d{1,2} (?:de )?)?[A-ZÀ-ÖØ-Þ]\w+(?: (?:de|del|la|des|du|le|do|da|dos|dei|degli|delle|della|di|of|[A-ZÀ-ÖØ-Þ][\w'’.\-]*))*[, ]"
)
_COLOMBIAN = re.compile(
    rf"(?<![\w/])(?:calle|carrera|cra|cl|kra?|transversal|diagonal|avenida|av|tv|dg)\.? ?\d{{1,3}}[A-Za-z]?(?: bis)? ?(?:#|no\.?|n[º°]|nro\.?) ?\d{{1,3}}[A-Za-z]? ?- ?\d{{1,3}}(?!\w)(?:{_ROMANCE_TAIL}){{0,3}}{_ROMANCE_CITY}{{0,2}}",
    re.IGNORECASE,
)
_FRENCH = re.compile(
    rf"(?<![\w€.,:/])\d{{1,4}}(?:\s?(?:bis|ter|quater|[A-Da-d](?= )))?,?\s+(?:rue|avenue|av\.?|boulevard|bd\.?|blvd|allée|allee|allées|impasse|chemin|quai|place|pl\.|cours|route|rte|square|passage|sentier|faubourg|fbg|villa|esplanade)\s+{_NAME}(?: (?!appt?\b|bat\b|bât\b|étage\b|et\b){_NAME}){{0,4}}(?:{_ROMANCE_TAIL}){{0,4}}{_ROMANCE_CITY}{{0,2}}",
    re.IGNORECASE,
)
_GERMAN = re.compile(
    r"(?<![\w])(?:(?:(?:Alte|Große|Kleine|Neue|Obere|Untere|Hintere|Vordere|Lange|Hohe|Breite|Innere|Äußere|Schöne|Rote|Grüne)[rsnm]? )?(?:[A-ZÄÖÜ][\wäöüß\-]+(?:straße|strasse|str\.?|weg|platz|allee|gasse|damm|ufer|ring|steig|chaussee|graben|hof|markt|berg|park|tor|zeile|pfad)|(?:Straße|Strasse|Str\.|Platz|Allee|Weg) (?:der|des|am|an der|vom|zum) (?:\d{1,2}\. )?[A-ZÄÖÜ][\wäöüß\-]+|(?:[A-ZÄÖÜ][\wäöüß\-]+ ){1,2}(?:Straße|Strasse|Str\.?|Weg|Platz|Allee|Gasse|Damm|Ufer|Ring|Chaussee|Steig)|(?:Am|An (?:der|den|dem)|Im|Zum|Zur|Auf (?:dem|der)|Unter (?:den|der)|In (?:der|den)|Hinter (?:der|dem)|Vor (?:der|dem)|Hinterm|Vorm|Überm|Beim|Bei der) (?:[A-ZÄÖÜ][\wäöüß\-]+ )?[A-ZÄÖÜ][\wäöüß\-]+)\s+\d{1,3}(?!\d)\s?[a-zA-Z]?(?![\w:]|[.,]\d|\s?(?:€|euro|uhr|min))(?:[-/]\d+)?)(?:,?\s*(?:\d\. ?(?:Stock|OG|Etage)|EG|Hinterhaus|Wohnung \d+|Whg\.? ?\d+|c/o [\w ]+))?(?:,?\s*(?:[AD]-)?\d{4,5}\s+[A-ZÄÖÜa-zäöü][\wäöüß\-]+(?: (?:am|an der|im) [A-ZÄÖÜ]\w+)?|,\s*[A-ZÄÖÜ][\wäöüß]+)?",
)
_GERMAN_LOWER = re.compile(
    r"(?<![\w])[a-zäöüß\-]{3,}(?:straße|strasse|str\.?|weg|platz|allee|gasse)\s+\d{1,4}\s?[a-z]?(?![\w:])(?:,?\s*\d{5}\s+\w+|,\s*\w+)?",
    re.IGNORECASE,
)
_TURKISH = re.compile(
    rf"(?<![\w])(?:(?:{_NAME}|\d{{1,4}}\.?) ){{1,3}}(?:mah(?:allesi|\.)?|mh\.?|sok(?:a[kğ]ı?|\.)?|sk\.?|cad(?:desi|\.)?|cd\.?|bulvar[ıi]|blv\.?|apt\.?|sitesi)(?![\w])(?:[ ,]+(?:(?:{_NAME}|\d{{1,4}}\.?) ){{0,2}}(?:mah(?:allesi|\.)?|mh\.?|sok(?:a[kğ]ı?|\.)?|sk\.?|cad(?:desi|\.)?|cd\.?|bulvar[ıi]|apt\.?|sitesi)(?![\w]))*(?:[ ,]*(?:no|kat|daire|d|k|apt|blok|numara)?[.: ]*\d{{1,4}}(?:/\d{{1,4}})?[a-zA-Z]?(?!\w))+(?:[ ,]+(?:\d{{5}} )?[A-ZÇĞİÖŞÜ][\wçğıöşü]+(?:[ /]+[A-ZÇĞİÖŞÜ][\wçğıöşü]+)?)?",
    re.IGNORECASE,
)
_TURKISH_WORD = re.compile(
    r"(?<!\w)(?:mah|mh|sok|sk|cad|cd|bulvar|blv|apt|sitesi)", re.IGNORECASE
)  # one stands in each
_VI_UNIT = r"(?:quận|q\.?|phường|p\.?|huyện|xã|thị trấn|tp\.?|thành phố|tỉnh|khu phố|kp|tổ|ấp|thôn|chung cư|tòa|toà|tầng|lầu|khu|kđt|kdt|block|căn hộ|căn|phòng)"
_VIETNAMESE = re.compile(
    rf"(?<![\w.,:/])(?:(?:chung cư|tòa nhà|toà nhà|căn hộ|cc)\s+[^,\d\n]{{2,25}},\s*(?:(?:tầng|lầu|phòng|căn|block)\s*\w+,\s*)*)?(?:(?:số(?: nhà)?|sn|nhà)\s*)?\d{{1,4}}[A-Za-z]?(?:/\d{{1,4}}[A-Za-z]?){{0,4}}\s*,?\s*(?:(?:(?:ngõ|ngách|hẻm|kiệt)\s*\d+[/\d]*[, ]*)*(?:đường|đ\.|phố|p\.|ngõ|hẻm|ấp|thôn|tổ)\s+(?:[\wÀ-ỹ]+ ?){{1,4}}|(?:ngõ|ngách|hẻm)\s*\d+[/\d]*[, ]*(?:[A-ZĐÀ-Ỹ][a-zà-ỹđ]*[ ,]*){{1,4}}|(?:[A-ZĐÁÀẢÃẠÂĂÊÔƠƯÍÌÝÚÙỦ][a-zà-ỹđ]*\s?){{2,4}})(?:,?\s*(?i:{_VI_UNIT})\s*(?:\d{{1,2}}|[A-ZĐÀ-Ỹ.][\wÀ-ỹ.]*(?: [A-ZĐÀ-Ỹ][\wÀ-ỹ]*){{0,3}})|,\s*[A-ZĐÀ-Ỹ][\wÀ-ỹ.]*(?: [A-ZĐÀ-Ỹ][\wÀ-ỹ]*){{0,3}})*",
)
_VI_ALLEY = re.compile(
    r"(?<![\w])(?:(?:số(?: nhà)?\s*)?\d{1,4}[A-Za-z]?,?\s+)?(?:ngõ|ngách|hẻm|kiệt|đường|phố)\s+[\wÀ-ỹ/]+(?:\s+[\wÀ-ỹ]+){0,3}?\s*,?\s*(?:số(?: nhà)?\s*)\d{1,4}[\w/]*(?:,?\s*(?:quận|q\.?|phường|p\.?|huyện|tp\.?)\s*[\wÀ-ỹ.]+(?: [A-ZĐÀ-Ỹ][\wÀ-ỹ]*){0,2})*",
    re.IGNORECASE,
)
_VI_BLOCK = re.compile(  # a flat in a house with a name, a hamlet
    r"(?<!\w)(?:chung cư|chcc|ktx|ký túc xá|khu đô thị|kđt|tòa nhà|toà nhà)\s+[^,\d\n]{0,25}?(?:[, ]*(?:tòa|toà|block|tháp|căn hộ|căn|phòng|tầng|lầu|khu)\s*\w{1,6}(?!\w))+"
    r"|(?<!\w)(?:hẻm|ngõ|ngách|kiệt)\s*\d+[/\d]*\s+(?-i:[A-ZĐÀ-Ỹ])\w+(?: (?-i:[A-ZĐÀ-Ỹ])\w+){0,3}"
    r"|(?<!\w)(?:thôn|ấp|xóm|tổ)\s*\w+,\s*(?:xã|phường|thị trấn)\s+[^\W\d_]+(?: (?-i:[A-ZĐÀ-Ỹ])\w+){0,2}(?:,\s*(?:huyện|quận|tp\.?|tỉnh)?\s*(?-i:[A-ZĐÀ-Ỹ])\w+(?: (?-i:[A-ZĐÀ-Ỹ])\w+){0,2})*",
    re.IGNORECASE,
)
_LIVE = re.compile(  # what people say before a street that has no word for one
    rf"(?<!\w)(?:i(?:'m| am)? liv(?:e|ing) at|(?:my |our |home )?addr?(?:ess)?(?: is|:)|vivo en|mi dirección(?: es|:)|dirección:|j'habite(?: au)?|adresse ?:|wohne(?:n)?(?: wir| ich)?(?: in der| im| am)?|moro n[ao]|endereço(?: é|:)|abito in|indirizzo(?: è|:)|mieszka\w+ (?:na|przy)|wpadnij na|przyjedź na|adres ?:|adresim)\s+"
    rf"(?P<a>(?:(?:na|przy|at|in|en) )?(?-i:[A-ZÀ-ÖØ-ÞŁŚŻŹĆÇĞİŞ])[\w'’.\-]+(?: {_NAME}){{0,3}},? \d{{1,4}}[a-z]?(?:[/\-]\d{{1,4}})?)(?![\w:]|[.,]\d|\s?(?:€|euro|uhr|min|h\b|km|years?|años|ans|anos|anni|lat|jahre))",
    re.IGNORECASE,
)
_PL_SHAPE = re.compile(
    r"(?<![\w.,])(?:na |przy )?[A-ZŁŚŻŹĆ][a-ząćęłńóśźż]{2,}(?:a|ej|ego|wicza|skiej|skiego) \d{1,3}[a-z]?/\d{1,3}(?![\w/])"
)
_CHINESE = re.compile(
    r"(?:[\u4e00-\u9fff]{2,8}(?:省|自治区))?(?:[\u4e00-\u9fff]{2,6}市)?(?:[\u4e00-\u9fff]{1,6}(?:区|县|镇|乡))?[\u4e00-\u9fff]{1,8}(?:路|街|大道|巷|弄|胡同|里|村|道|小区|花园|苑|大厦|公寓|广场|城)\s?(?:\d{1,5}|[A-Za-z](?=\s?[座栋幢])|[一二三四五六七八九十]{1,3})\s?(?:号|弄|栋|幢|座|楼|单元|室|期|层)?(?:院|楼)?(?:\s?[A-Za-z]?\d{1,4}\s?(?:号楼|号|栋|幢|座|单元|室|层|楼|-)?|\s?[A-Za-z]\s?(?:座|栋)\s?\d{0,4}室?|[东西南北]?门|[一二三四五六七八九十]{1,3}(?:单元|栋|楼|层))*"
)
_CN_CUT = re.compile(r"^.*?(?:住在|住|在|地址是|地址|寄到|送到|到|是|我家|家|去)(?=[\u4e00-\u9fff]{2,})")


_ADDRESS_WORD = re.compile(
    r"адрес|доставк|приезж|жив[уеё]|квартир|прописк|мешка|курьер|посылк|отправ|привез", re.IGNORECASE
)


class ChatAddressRecognizer(ChatRecognizer):
    """Street addresses."""

    wake = Wake.ADDRESS | Wake.CJK
    entities = (Entity.ADDRESS,)

    def openings(self) -> tuple[re.Pattern[str], ...]:
        return (_PO_BOX, _ROMANCE, _COLOMBIAN, _TURKISH_WORD, _LIVE)

    def scan(self, view: View) -> Iterator[Hit]:
        norm = view.norm
        if not view.n_digits and not view.wake & Wake.CJK:
            return
        if view.has_cyrillic:
            yield from self._plain(norm, _RU, "address.ru")
            yield from self._plain(norm, _RU_FLAT, "address.ru")
            yield from self._plain(norm, _RU_KNOWN, "address.ru-known")
            if _ADDRESS_WORD.search(norm):
                yield from self._plain(norm, _RU_CITY, "address.ru-city")
            yield from self._plain(norm, _RU_STREETLIKE, "address.ru-street")
            for match in _RU_CAPITAL.finditer(norm):
                yield Hit(match.start("a"), match.end("a"), Entity.ADDRESS, 0.6, "address.ru-capital")
            for match in _RU_LIVE.finditer(norm):
                yield Hit(match.start("a"), match.end("a"), Entity.ADDRESS, 0.6, "address.ru-live")
        if view.wake & Wake.CJK:
            for match in _CHINESE.finditer(norm):
                start = match.start()
                cut = _CN_CUT.match(match[0])
                if cut:
                    start += cut.end()
                if re.search(r"号|弄|栋|室|幢|座", match[0]):
                    yield Hit(start, match.end(), Entity.ADDRESS, 0.75, "address.zh")
        if (
            not view.wake & Wake.ADDRESS
            and not re.search(r"str\b|straße|strasse|stra|weg|platz|gasse", view.low)
            and not view.is_vietnamese
        ):
            return
        yield from self._plain(norm, _EN, "address.en")
        yield from self._plain(norm, _EN_LOWER, "address.en")
        if view.may_hold(_PO_BOX):
            yield from self._plain(norm, _PO_BOX, "address.box")
        for hit in self._plain(norm, _ROMANCE, "address.romance") if view.may_hold(_ROMANCE) else ():
            if not _ENGLISH_TOO.match(norm, hit.start) or _PROPER.match(norm, hit.start):
                yield hit
        if view.may_hold(_COLOMBIAN):
            yield from self._plain(norm, _COLOMBIAN, "address.co")
        yield from self._plain(norm, _FRENCH, "address.fr")
        yield from self._plain(norm, _GERMAN, "address.de")
        yield from self._plain(norm, _GERMAN_LOWER, "address.de")
        if view.is_vietnamese:
            yield from self._plain(norm, _VIETNAMESE, "address.vi")
            yield from self._plain(norm, _VI_ALLEY, "address.vi")
            yield from self._plain(norm, _VI_BLOCK, "address.vi")
        if view.may_hold(_TURKISH_WORD):
            yield from self._plain(norm, _TURKISH, "address.tr")
        for match in view.finditer(_LIVE):
            yield Hit(match.start("a"), match.end("a"), Entity.ADDRESS, 0.6, "address.live")
        if view.lang == "pl" or not norm.isascii():
            yield from self._plain(norm, _PL_SHAPE, "address.pl")

    @staticmethod
    def _plain(norm: str, pattern: re.Pattern[str], rule: str) -> Iterator[Hit]:
        for match in pattern.finditer(norm):
            end = match.end()
            while end > match.start() and norm[end - 1] in " ,.;":
                end -= 1
            if any(c.isdigit() for c in norm[match.start() : end]):
                yield Hit(match.start(), end, Entity.ADDRESS, 0.75, rule)
