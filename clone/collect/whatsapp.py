"""WhatsApp's exported chats: a .txt, or the .zip around it, of Android or iOS, in any language.

    [31/12/2019, 2:14:40 a.m.] Name: text       iOS
    12/31/19, 2:14 PM - Name: text              Android

The file names no zone and no ids, writes dates as the telephone's region does, and mixes the application's own words
(in the telephone's language) into the messages. Whether the day or the month comes first is worked out from the dates
themselves, and asked where they do not tell.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath

from clone.collect.contract import Asked, Item, Source, Tally, clean, local_time
from clone.collect.files import READ_ERRORS, Part, damaged
from clone.collect.named import Line, Talk, read_talks
from clone.errors import SourceError
from clone.records import Kind

NAME = "whatsapp"

_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2068\u2069\ufeff"  # direction marks; no person types them
_BEFORE_NOON = r"a\.?\s?m\.?|上午|午前|오전|凌晨|早上|ص|fm|πμ|π\.μ\.|dop\.|de\.|öö|पूर्वाह्न|sa|pg"
_AFTER_NOON = r"p\.?\s?m\.?|下午|午後|오후|中午|晚上|م|em|μμ|μ\.μ\.|odp\.|du\.|ös|अपराह्न|ch|ptg"
_HEAD = re.compile(
    rf"""[{_MARKS}]* (?P<bracket>\[)?
    (?P<a>\d{{1,4}}) (?P<separator>[./\-]|\.\s|년\s|年) (?P<b>\d{{1,2}})
    (?:[./\-]|\.\s|월\s|月) (?P<c>\d{{1,4}}) [.일日]?
    [,،]? \s{{1,2}} (?:(?P<half_before>{_BEFORE_NOON}|{_AFTER_NOON})\s?)?
    (?P<hour>\d{{1,2}}) [:.] (?P<minute>\d{{2}}) (?:[:.](?P<second>\d{{2}}))?
    (?:\s?(?P<half>{_BEFORE_NOON}|{_AFTER_NOON}))?
    (?(bracket)\]\s?|\s[-–—]\s) (?P<rest>.*)""",
    re.X | re.I | re.S,
)
_IS_AFTER_NOON = re.compile(_AFTER_NOON, re.I)

# What the application writes in place of something, in the languages that were seen.
_OMITTED = re.compile(
    r"<(?:media omitted|без медиафайлов|медиафайл пропущен|файл пропущен|multimedia omitido|archivo omitido|"
    r"medien ausgeschlossen|médias omis|media omessi|media omesso|mídia oculta|arquivo de mídia oculto|"
    r"media weggelaten|medya dahil edilmedi|pominięto multimedia|медіа пропущено|без медіафайлів|"
    r"media uteslöts|mediefil utelämnad|media utelatt|medier udeladt|media dihilangkan|"
    r"省略多媒体文件|略過多媒體檔|メディアは含まれていません|미디어 파일을 제외한|vynechaná média|média kihagyva)>",
    re.I,
)
_ATTACHED = re.compile(
    r"(?P<name>[^\n]+\.\w{2,5}) \((?:file attached|файл добавлен|прикреплён файл|файл прикреплен|archivo adjunto|"
    r"datei angehängt|fichier joint|arquivo anexado|ficheiro anexado|file allegato|bestand bijgevoegd|"
    r"dosya ekli|załączono plik|plik w załączniku|файл додано|bifogad fil|文件附件|添付ファイル|파일 첨부됨)\)",
    re.I,
)
_ATTACHED_IOS = re.compile(rf"<[^<>:]{{3,30}}: (?P<name>[^<>]+\.\w{{2,5}})>[{_MARKS}]*$", re.S)
_DELETED = re.compile(
    r"(?:you deleted this message|this message was deleted|данное сообщение удалено|вы удалили данное сообщение|"
    r"это сообщение удалено|вы удалили это сообщение|se eliminó este mensaje|eliminaste este mensaje|"
    r"diese nachricht wurde gelöscht|du hast diese nachricht gelöscht|ce message a été supprimé|"
    r"vous avez supprimé ce message|mensagem apagada|esta mensagem foi apagada|você apagou esta mensagem|"
    r"questo messaggio è stato eliminato|hai eliminato questo messaggio|dit bericht is verwijderd|"
    r"je hebt dit bericht verwijderd|bu mesaj silindi|bu mesajı sildiniz|ta wiadomość została usunięta|"
    r"usunięto tę wiadomość|це повідомлення видалено|ви видалили це повідомлення)\.?",
    re.I,
)
_EDITED = re.compile(
    rf"\s*[{_MARKS}]*<[^<>\n]{{0,30}}(?:edited|изменено|отредактировано|bearbeitet|editó|editado|modifié|modificato|"
    r"editada|bewerkt|düzenlendi|edytowan\w+|відредаговано)[^<>\n]{0,20}>$",
    re.I,
)
_PLACE = re.compile(
    r"[^\n:]{0,40}: https://(?:maps\.google\.com/\?q=|foursquare\.com/v/)\S+|live location shared", re.I
)
_PLACE_LONG = re.compile(r".{0,300}https://(?:maps\.google\.com/\?q=|foursquare\.com/v/)\S+", re.S)
_CALL = re.compile(
    r"(?:missed (?:group )?(?:voice|video) call|(?:voice|video) call|пропущенный (?:аудио|видео)?звонок|"
    r"пропущен (?:аудио|видео)звонок|llamada (?:de voz|de vídeo|de video)?\s?perdida|videollamada perdida|"
    r"verpasster (?:sprach|video)anruf|appel (?:vocal|vidéo) manqué|chamada de (?:voz|vídeo) perdida|"
    r"chiamata (?:vocale|video) persa|videochiamata persa|gemiste (?:spraak|video)?oproep)\b.{0,60}",
    re.I,
)
_KIND_WORDS = (
    (Kind.STICKER, "sticker стикер çıkartma figurinha autocollant naklejka"),
    (Kind.VIDEO_NOTE, "видеосообщ videonachricht"),
    (Kind.ANIMATION, "gif"),
    (Kind.PHOTO, "image изображение imagen bild imagem immagine afbeelding görüntü obraz зображення photo foto"),
    (Kind.VIDEO, "video видео vídeo vidéo відео wideo"),
    (Kind.VOICE, "audio аудио áudio sprachnachricht ses аудіо голосов"),
    (Kind.CONTACT, "contact контакт kontakt contato contatto"),
    (Kind.FILE, "document документ documento dokument belge"),
)
_ABSENT = re.compile(
    r"\b(?:omitted|отсутствует|не добавлен|omitid[oa]|weggelassen|ausgelassen|absente?|omis|retiré|manquante?|"
    r"ocult[oa]|omess[oa]|weggelaten|dahil edilmedi|pominięt[oay]|вилучено|пропущено)\b\.?$",
    re.I,
)
_BY_PREFIX = {"IMG": Kind.PHOTO, "VID": Kind.VIDEO, "PTT": Kind.VOICE, "AUD": Kind.AUDIO, "STK": Kind.STICKER}
_BY_ENDING = {
    "jpg": Kind.PHOTO, "jpeg": Kind.PHOTO, "png": Kind.PHOTO, "heic": Kind.PHOTO, "mp4": Kind.VIDEO, "mov": Kind.VIDEO,
    "3gp": Kind.VIDEO, "opus": Kind.VOICE, "ogg": Kind.VOICE, "m4a": Kind.AUDIO, "mp3": Kind.AUDIO, "aac": Kind.AUDIO,
    "webp": Kind.STICKER, "gif": Kind.ANIMATION, "vcf": Kind.CONTACT,
}  # fmt: skip

_HEADS_LOOKED_AT = 30
LONGEST_LINE = 1 << 20  # bytes


def claims(part: Part, head: str) -> bool:
    """Whether the text that begins with `head` is a chat exported by WhatsApp."""
    if not part.file_name.lower().endswith(".txt"):
        return False
    lines = head.splitlines()[:_HEADS_LOOKED_AT]
    return any(_HEAD.match(line) and not _SIGNAL.match(line) for line in lines)


_SIGNAL = re.compile(r"\[\d{4}-\d\d-\d\d, \d\d:\d\d\] ")  # signal-export wrote its texts like this


def read(parts: Sequence[Part], asked: Asked, tally: Tally) -> Iterator[Item]:
    """Yield what the chats hold. Raises SourceError where day and month cannot be told apart, and UnknownMe."""
    talks = [_read_part(part, asked, tally) for part in parts]
    yield from read_talks(NAME, talks, asked, tally)


@dataclass(slots=True)
class _Entry:
    """One dated entry: the numbers of its date as written, and what follows."""

    first: int
    second: int
    third: int
    clock: tuple[int, int, int]
    rest: str
    raw: str
    line: int
    is_bracketed: bool
    is_dotted: bool


def _read_part(part: Part, asked: Asked, tally: Tally) -> Talk:
    try:
        entries = list(_entries(part, tally))
    except READ_ERRORS as error:
        raise damaged(part.name) from error
    is_day_first = _day_first(entries, asked, part)
    names = _names(entries)
    lines: list[Line] = []
    places: Counter[int] = Counter()
    for entry in entries:
        tally.n_read += 1
        moment = _moment(entry, is_day_first)
        sent_at = local_time(moment.isoformat(), asked.timezone) if moment else None
        if moment is None or sent_at is None:
            tally.add_bad(f"{part.file_name}:{entry.line}", "no such date")
            continue
        stamp_ms = timegm(moment.timetuple()) * 1000
        place = places[stamp_ms]  # counted for all that stands there: what is deleted later must not shift the rest
        places[stamp_ms] += 1
        name, text = _split(entry.rest.rstrip("\n"), names)
        if not name:
            tally.skipped["notices of WhatsApp"] += 1
            continue
        kind, text = _content(text, entry.is_bracketed)
        if kind is None:
            tally.skipped["deleted before the export"] += 1
            continue
        lines.append(Line(name, sent_at, stamp_ms, text, kind, entry.raw.encode("utf-8", "replace"), place))
    if lines:
        tally.note(_zone_note(asked))
    people = {line.sender for line in lines}
    path = PurePosixPath(part.place)
    written = clean(f"{path.parent.name} {path.stem}").casefold()  # the .zip, or the .txt, is named after the contact
    named = [name for name in people if name.casefold() in written]
    return Talk("", "", part.file_name, lines, contact=named[0] if len(named) == 1 else "")


def _zone_note(asked: Asked) -> str:
    if asked.timezone is not None:
        return f"WhatsApp writes no time zone; times were read as {asked.timezone}."
    return "WhatsApp writes no time zone; times were read in this machine's, --timezone says another."


def _entries(part: Part, tally: Tally) -> Iterator[_Entry]:
    """Yield the dated entries; lines without a date belong to the entry before them."""
    entry: _Entry | None = None
    n_before = 0
    with part.open() as stream:
        number = 0
        while line_bytes := stream.readline(LONGEST_LINE):
            number += 1
            line = line_bytes.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            head = _HEAD.match(line)
            if head is None:
                if entry is None:
                    n_before += bool(line.strip(_MARKS + " \t"))
                else:
                    entry.rest += "\n" + line
                    entry.raw += "\n" + line
                continue
            if entry is not None:
                yield entry
            entry = _Entry(
                int(head["a"]),
                int(head["b"]),
                int(head["c"]),
                _clock(head),
                head["rest"],
                line,
                number,
                head["bracket"] is not None,
                head["separator"].startswith("."),
            )
    if entry is not None:
        yield entry
    for _ in range(n_before):
        tally.n_read += 1
        tally.add_bad(f"{part.file_name}:1", "text before the first dated line")


def _clock(head: re.Match[str]) -> tuple[int, int, int]:
    hour, half = int(head["hour"]), head["half"] or head["half_before"]
    if half:
        hour = hour % 12 + 12 * bool(_IS_AFTER_NOON.fullmatch(half)) if hour <= 12 else hour
    return hour, int(head["minute"]), int(head["second"] or 0)


# -- the date -------------------------------------------------------------------------------------------------------


def _day_first(entries: Sequence[_Entry], asked: Asked, part: Part) -> bool:
    """Return whether the day stands before the month.

    A number over 12 tells it; else that time goes forward; else a dot between the numbers, which no region writes with
    the month first.
    """
    two = [entry for entry in entries if entry.first <= 31]
    if not two:
        return True
    if any(entry.first > 12 for entry in two) != any(entry.second > 12 for entry in two):
        return any(entry.first > 12 for entry in two)
    falls = {}
    for is_day_first in (True, False):
        moments = [moment for entry in two if (moment := _moment(entry, is_day_first))]
        falls[is_day_first] = sum(b < a for a, b in pairwise(moments))
    if falls[True] != falls[False]:
        return falls[True] < falls[False]
    if asked.is_day_first is not None:
        return asked.is_day_first
    if all(entry.is_dotted for entry in two) or all(entry.first == entry.second for entry in two):
        return True
    example = f"{two[0].first}/{two[0].second}"
    raise SourceError(
        f"{part.file_name} does not tell whether {example} is a day and a month or a month and a day.",
        "Say it with --dates day-first or --dates month-first.",
    )


def _moment(entry: _Entry, is_day_first: bool) -> datetime | None:
    """Return the entry's time on the clock that it was written by."""
    a, b, c = entry.first, entry.second, entry.third
    if a > 31:
        year, month, day = a, b, c
    else:
        year = c if c > 99 else 2000 + c
        day, month = (a, b) if is_day_first else (b, a)
    try:
        return datetime(year, month, day, *entry.clock)  # noqa: DTZ001  # no zone is known here
    except ValueError:
        return None


# -- who and what ---------------------------------------------------------------------------------------------------


def _names(entries: Sequence[_Entry]) -> dict[str, str]:
    """Return who writes: what stands before the first colon -> the whole name, which may hold colons itself."""
    rests: dict[str, list[str]] = {}
    for entry in entries:
        first_line = entry.rest.partition("\n")[0]
        name, colon, text = first_line.partition(":")
        if colon and _is_name(name):
            rests.setdefault(name, []).append(text)
    names: dict[str, str] = {}
    for name, texts in rests.items():
        whole = name
        while len(texts) >= 3:
            heads = {text.partition(": ")[0] for text in texts if ": " in text}
            if len(heads) != 1 or not all(": " in text for text in texts):
                break
            more = heads.pop()
            whole, texts = f"{whole}:{more}", [" " + text.partition(": ")[2] for text in texts]
        names[name] = whole
    return names


def _is_name(name: str) -> bool:
    # WhatsApp's own lines quote what was changed: 'Anna changed the subject to "a: b"'
    return bool(name.strip(_MARKS + " ")) and not any(mark in name for mark in '"“”«»„') and len(name) <= 80


def _split(rest: str, names: dict[str, str]) -> tuple[str, str]:
    """Return who wrote an entry and what; "" for WhatsApp itself."""
    first_line = rest.partition("\n")[0]
    head, colon, _ = first_line.partition(":")
    whole = names.get(head) if colon else None
    if whole is None:
        return "", rest
    return clean(whole.strip(_MARKS + " ~\u00a0\u202f")), rest[len(whole) + 1 :].removeprefix(" ")


def _content(text: str, is_ios: bool) -> tuple[Kind | None, str]:
    """Return what a message carries and its own words; None for one that was deleted.

    On iOS what the application itself says begins with U+200E.
    """
    is_marked = text.startswith(tuple(_MARKS))
    plain = _EDITED.sub("", text).strip(_MARKS)
    words = "".join(character for character in plain if character not in _MARKS)
    if _DELETED.fullmatch(words):
        return None, ""
    first, _, caption = words.partition("\n")
    if _OMITTED.fullmatch(first):
        return Kind.FILE, caption
    attached = _ATTACHED.fullmatch(first)
    if attached:
        return _kind_of_file(attached["name"]), caption
    attached = _ATTACHED_IOS.search(text)
    if attached and (is_marked or is_ios):
        return _kind_of_file(attached["name"]), words[: -len(attached[0].strip(_MARKS))].strip()
    if is_ios and "\u200e" in text and _ABSENT.search(words):
        last = text.rpartition("\u200e")[2]
        return _kind_in_words(last), ""
    if _PLACE.fullmatch(words) or (is_marked and _PLACE_LONG.fullmatch(words)):
        return Kind.LOCATION, ""
    if _CALL.fullmatch(words):
        return Kind.CALL, ""
    if words == "null":  # Android writes this for media that could be viewed once
        return Kind.UNSUPPORTED, ""
    if is_ios and is_marked:
        return Kind.SERVICE, ""
    return Kind.TEXT, plain


def _kind_of_file(name: str) -> Kind:
    start, ending = name.strip(_MARKS)[:3].upper(), name.rpartition(".")[2].lower()
    return _BY_PREFIX.get(start) or _BY_ENDING.get(ending) or Kind.FILE


def _kind_in_words(words: str) -> Kind:
    found = words.casefold()
    return next((kind for kind, known in _KIND_WORDS if any(word in found for word in known.split())), Kind.FILE)


SOURCE = Source(NAME, "WhatsApp (.txt or .zip)", "whatsapp-text", claims, read)
