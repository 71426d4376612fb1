"""Talk, from the files it comes in to rows of token ids: read, split, filtered, rendered as chats, encoded."""

from __future__ import annotations

import functools
import json
import lzma
import math
import os
import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from clone.lm.template import LearnedTurn, conversation_segments
from clone.records import Role, Turn
from tools.embedded_base.recipe import Preset

CONTROLS = ["<|doc|>", "<|them|>", "<|me|>", "<|bubble|>", "<|end|>", "<|pad|>"]
CONTROLS += [f"<|reserved_{i}|>" for i in range(len(CONTROLS), 16)]
DOC_ID = 0
N_SHARDS = 12  # of a rendering; each has its own chance, so the number is part of the recipe

Talk = list[str]  # the turns of one conversation, in order; who speaks alternates


# Stems of crude, sexual and hateful Russian, as they stand in jokes. It filters what the weights are trained on, never
# what they are graded on. Wide on purpose: losing a harmless joke costs nothing.
_CRUDE_RU = re.compile(
    r"[а-я]{0,5}(?:ху[йеяю]|пизд|муда|муди|мудоз|залуп|дроч|минет|жоп|г[ао]вн|насра|обосра|усра|засра|гондон|гандон"
    r"|пид[оа]р|шлюх|проститу|траха|трахн|педерас|педик|лесби|сперм|вагин|клитор|оргазм|сиськ|сисек|порно|онани|мастурб"
    r"|презерватив|изнасил|импотен|эрекц|пенис|анальн|сперд|пердит|пернул|бляд|блят|интим|любовни|эроти|венерич|сифилис"
    r"|гонор|триппер|виагр|секс)"
    r"|(?:за|на|по|у|об|объ|вы|от|отъ|до|съ|вз|разъ|подъ|при|пере|про|долбо)?еб(?:а[лнтш]|л[аои]|н[уи]|у[тчн]|е[тнш]|и)"
    r"|(?:бля\b|сука\b|суки\b|суку\b|сучк|срать|срал|ссать|ссыт|поссать|жид|чурк|хач[иау]?\b|хачик|нигер|негр|узкоглаз"
    r"|черномаз|хохл|хохо?л\b|москал|кацап|чукч|пидр|ге[йи]\b|геев|геям|голубы[ех]\b|член|кончил|кончить|голая|голую|трусы"
    r"|трусики|лифчик|стриптиз|переспа|девственн|изврат|некрофил|педофил|зоофил|гитлер|фашист|террорист)"
)
_CRUDE_EN = ("fuck", "shit", "bitch", "asshole", "cunt", "nigg", "faggot", "porn")


@functools.cache
def _is_crude_word(word: str) -> bool:
    return _CRUDE_RU.match(word) is not None


def is_crude(text: str) -> bool:
    """Return whether a text holds a word that the shipped weights should not have read."""
    low = text.lower().replace("ё", "е")
    return any(stem in low for stem in _CRUDE_EN) or any(map(_is_crude_word, re.findall("[а-я]+", low)))


@dataclass(frozen=True)
class Corpus:
    """Talks to learn from, and the held-out ones as they came. Jokes are whole as they are."""

    talks: list[Talk]
    plays: list[Talk]
    jokes: list[Talk]
    val_talks: list[Talk]
    val_jokes: list[Talk]
    n_crude: int
    n_repeated: int


def read_corpus(data: Path, preset: Preset) -> Corpus:
    """Return the three sources, split as the trial split them: seed 0, whole episodes and whole dialogues held out."""

    def rows(name: str) -> Iterator[list[Any]]:
        with lzma.open(data / name, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    episodes: dict[tuple[str, str], Talk] = {}
    for show, episode, _, _, text in rows("changelog_dev.jsonl.xz"):
        episodes.setdefault((show, episode), []).append(text)
    keys = sorted(episodes)
    random.Random(0).shuffle(keys)
    held_out, kept = keys[: preset.n_val_talks], keys[preset.n_val_talks :]

    plays: dict[str, Talk] = {}
    for author, play, _, _, text in rows("rusdracor_ostrovsky_bulgakov.jsonl.xz"):
        plays.setdefault(author + play, []).append(text)

    with tarfile.open(data / "koziev_anekdots_dialogues.tar.xz") as archive:
        member = archive.next()
        opened = archive.extractfile(member) if member else None
        if opened is None:
            raise SystemExit("koziev_anekdots_dialogues.tar.xz holds no text.")
        texts = [t.strip() for t in opened.read().decode("utf-8", "replace").split("\n\n\n") if t.strip()]
    random.Random(0).shuffle(texts)
    jokes = [[x.lstrip("- ").strip() for x in text.split("\n") if x.strip()] for text in texts]

    seen: set[str] = set()
    clean: list[Talk] = []
    n_crude = n_repeated = 0
    for joke in jokes[preset.n_val_jokes :]:
        key = bare(" ".join(joke))
        if is_crude(" ".join(joke)):
            n_crude += 1
        elif key in seen:
            n_repeated += 1
        else:
            seen.add(key)
            clean.append([plain(x) for x in joke if x])
    return Corpus(
        talks=[[plain(t) for t in episodes[k] if t and not is_crude(t)] for k in kept],
        plays=[[plain(t) for t in talk if t] for talk in plays.values()],
        jokes=clean,
        val_talks=[episodes[k] for k in held_out],
        val_jokes=jokes[: preset.n_val_jokes],
        n_crude=n_crude,
        n_repeated=n_repeated,
    )


def bare(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def plain(text: str) -> str:
    """Return text that cannot be read as a control token."""
    return text.replace("<|", "< |")


# -- talk as chats ----------------------------------------------------------------------------------------------------

_SENTENCES = re.compile(r"(?<=[.!?…])[\"”»)]?\s+(?=[\"“«(A-ZА-ЯЁ0-9])|\n+")
_STAGE = re.compile(r"\\?\[[^\]]{0,40}\\?\]")
_NAMES = """
Alex Sam Kim Robin Jo Max Nina Leo Mia Tom Ben Eva Ida Lou Ray Ash Kit Pat Dana Noa Uma Zoe Finn Hugo Iris
Jude Lena Mark Nick Olga Paul Rita Sara Vera Will Anna Dina Erik Fred Gina river maple cedar robin sparrow
otter amber coral hazel willow falcon heron Саша Маша Женя Катя Дима Лена Коля Оля Петя Вера Миша Таня Юра
Нина Игорь Света Рома Аня Паша Даша клён рябина синица ольха берёза
""".split()  # noqa: SIM905  a page of quotes otherwise
# What a chat puts after such words. The sources have next to no emoji; without these their tokens would stay unlearned.
_FEELINGS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), tuple(signs.split()))
    for pattern, signs in (
        (r"\b(?:funny|laugh|joke|hilarious|kidding|ха-ха|хе-хе|смешн|шутк|шучу)", "😂 🤣 😄 😅 😁"),
        (r"\b(?:love|loved|lovely|люблю|любим|обожаю)", "❤️ 😍 🥰 😘 💕"),
        (r"\b(?:thanks|thank you|appreciate|спасибо|благодар)", "🙏 😊 🙂 🤗"),
        (r"\b(?:awesome|amazing|great|cool|excellent|отлично|здорово|класс|круто)", "👍 🔥 🎉 😎 💪 👏 ✨"),
        (r"\b(?:sad|sorry|unfortunately|жаль|увы|грустно|прости|извини)", "😢 😔 😞 🥺 💔"),
        (r"\b(?:wow|whoa|really\?|crazy|ого|неужели|правда\?)", "😮 😱 🤯 👀 😳"),
        (r"\b(?:think|wonder|maybe|hmm|думаю|может быть|наверно)", "🤔 🤷 🙃 😏"),
        (r"\b(?:hate|angry|terrible|ненавижу|ужас|кошмар)", "😡 😤 🙄 🤦"),
        (r"\b(?:hello|hi|hey|привет|здравствуй)", "👋 🙂 😊"),
        (r"\b(?:coffee|beer|eat|food|кофе|пиво|водк|обед|есть хоч)", "☕ 🍺 🍕 😋 🍷"),
        (r"\b(?:sleep|tired|спать|устал|сон)", "😴 🥱 💤"),
        (r"\b(?:yes|exactly|right|absolutely|да|точно|конечно)", "👍 ✅ 👌 💯"),
    )
)
EMOJI = tuple(dict.fromkeys(sign for _, signs in _FEELINGS for sign in signs))


@dataclass(frozen=True)
class Hand:
    """How one side of a chat writes."""

    is_small: bool  # begins with a small letter
    has_stops: bool  # ends with a full stop
    is_split: bool  # a bubble a sentence
    emoji: float  # chance of one where the words call for it


def _hand(rng: random.Random) -> Hand:
    return Hand(rng.random() < 0.5, rng.random() < 0.35, rng.random() < 0.5, rng.choice((0.0, 0.0, 0.1, 0.4)))


def _sentences(text: str) -> list[str]:
    return [s for s in (part.strip() for part in _SENTENCES.split(text)) if s]


def _short(text: str, rng: random.Random) -> list[str]:
    """Return at most three sentences of a turn: of a long one its beginning, and its end where it asks."""
    parts = _sentences(re.sub(r"\s+", " ", _STAGE.sub("", text).replace("\\", "")).strip())
    n = rng.choice((1, 1, 2, 2, 3))
    if len(parts) > n:
        first, last = parts[:1], parts[-1:]
        parts = parts[: n - 1] + last if n > 1 else last if last[0].endswith("?") else first
    return [p for p in parts if len(p) <= 200]


def _written(sentence: str, hand: Hand, rng: random.Random) -> str:
    if hand.is_small and not re.match(r"I\b|[A-ZА-ЯЁ]{2}", sentence):
        sentence = sentence[:1].lower() + sentence[1:]
    if not hand.has_stops:
        sentence = re.sub(r"(?<!\.)\.$", "", sentence)
        if hand.emoji and re.search(r"[а-я]$", sentence) and rng.random() < 0.15:
            sentence += rng.choice((")", "))", ")))", " :)"))
    if hand.emoji:
        for pattern, signs in _FEELINGS:
            if pattern.search(sentence) and rng.random() < hand.emoji:
                return f"{sentence} {rng.choice(signs)}"
    return sentence


def _rendered(turns: Sequence[tuple[str, ...]], contact: str, rng: random.Random) -> str:
    roles = [Role.THEM, Role.ME] if rng.random() < 0.5 else [Role.ME, Role.THEM]
    learned = [LearnedTurn(Turn(roles[i % 2], bubbles), is_learned=False) for i, bubbles in enumerate(turns)]
    return as_text(contact, learned)


def as_text(contact: str, turns: Sequence[LearnedTurn]) -> str:
    """Return a conversation of the template with its marks written as control tokens."""
    return "".join(f"<|{s.text}|>" if s.is_control else s.text for s in conversation_segments(contact, turns))


def _contact(rng: random.Random, share: float) -> str:
    if rng.random() >= share:
        return ""
    name = rng.choice(_NAMES)
    return rng.choice((name, name, name.lower()))


def _as_chat(turns: Sequence[str], rng: random.Random) -> str:
    hands = (_hand(rng), _hand(rng))
    out: list[tuple[str, ...]] = []
    for text in turns:
        hand = hands[len(out) % 2]
        parts = _short(text, rng)
        if parts:
            bubbles = parts if hand.is_split else [" ".join(parts)]
            out.append(tuple(_written(bubble, hand, rng) for bubble in bubbles))
    return _rendered(out, _contact(rng, 0.75), rng) if out else ""


def _as_talk(turns: Sequence[str], rng: random.Random) -> str:
    is_split = rng.random() < 0.2
    whole = [tuple(_sentences(t)) if is_split else (t,) for t in turns]
    return _rendered([w for w in whole if w], _contact(rng, 0.25), rng)


def render_talk(talk: Talk, rng: random.Random) -> Iterator[str]:
    """Yield one long talk as conversations: most of it as it was said, the rest as short turns of a chat."""
    at = 0
    while at < len(talk):
        is_chat = rng.random() < 0.3
        n_chars = math.exp(rng.uniform(math.log(400), math.log(6000 if is_chat else 10000)))
        end, size = at, 0
        while end < len(talk) and size < n_chars:
            size += len(talk[end])
            end += 1
        text = (_as_chat if is_chat else _as_talk)(talk[at:end], rng)
        if text:
            yield text
        at = end


def render_joke(joke: Talk, rng: random.Random) -> Iterator[str]:
    """Yield a short dialogue as it is, and half the time in a chat's hand too: of Russian there is little."""
    yield _as_talk(joke, rng)
    if rng.random() < 0.5:
        yield _as_chat(joke, rng)


def held_out_text(talk: Talk) -> str:
    """Return a held-out talk in the one plain form that figures are given for: no name, no bubbles, nothing changed."""
    turns = [LearnedTurn(Turn((Role.THEM, Role.ME)[i % 2], (t,)), is_learned=False) for i, t in enumerate(talk)]
    return as_text("", turns)


# Set in the parent before the workers are forked, so that the text is not sent to each.
_shared: dict[str, Any] = {}


def _render_shard(rendering: int, shard: int, n_shards: int) -> np.ndarray:
    corpus = cast(Corpus, _shared["corpus"])
    tokenizer = cast(Tokenizer, _shared["tokenizer"])
    rng = random.Random(f"{_shared['seed']}/{rendering}/{shard}")
    texts = [t for talk in (corpus.talks + corpus.plays)[shard::n_shards] for t in render_talk(talk, rng)]
    texts += [t for joke in corpus.jokes[shard::n_shards] for t in render_joke(joke, rng) if t]
    rng.shuffle(texts)
    ids: list[int] = []
    for i in range(0, len(texts), 512):
        for item in tokenizer.encode_batch(texts[i : i + 512], add_special_tokens=False):
            ids.extend(item.ids)
    return np.array(ids, dtype=np.uint16)


class Renderings:
    """The corpus, rendered `n` different ways by other processes while the GPU is busy. One is one epoch."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, work: Path, preset: Preset, n_workers: int) -> None:
        self._work = work
        self._n = preset.n_renderings
        _shared.update(corpus=corpus, tokenizer=tokenizer, seed=preset.seed)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._pool = ProcessPoolExecutor(n_workers, mp_context=get_context("fork"))
        self._parts: dict[int, list[Future[np.ndarray]]] = {
            r: [self._pool.submit(_render_shard, r, s, N_SHARDS) for s in range(N_SHARDS)]
            for r in range(self._n)
            if not self._path(r).exists()
        }

    def _path(self, rendering: int) -> Path:
        return self._work / f"rendering-{rendering}.npy"

    @functools.cache  # noqa: B019  one object a run
    def load(self, epoch: int) -> np.ndarray:
        """Return the ids of an epoch, (N,), waiting for them where need be."""
        rendering = epoch % self._n
        if rendering in self._parts:
            ids = np.concatenate([part.result() for part in self._parts.pop(rendering)])
            with replacing(self._path(rendering)) as path, path.open("wb") as file:
                np.save(file, ids)
        return cast(np.ndarray, np.load(self._path(rendering)))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class replacing:
    """A temporary path that becomes `path` when the block ends well."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(path.name + ".part")

    def __enter__(self) -> Path:
        return self._temporary

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._temporary.replace(self._path)


def train_tokenizer(corpus: Corpus, vocab: int) -> Tokenizer:
    """Return a byte-level BPE: GPT-2's split, each digit alone, every byte in it, the controls first.

    llama.cpp knows this split as the pre-tokenizer "smollm".
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=CONTROLS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(0)
    sample = [" ".join(talk)[:20000] for talk in corpus.talks]
    sample += [_as_chat(talk[:200], rng).replace("<|", "\n").replace("|>", "\n") for talk in corpus.talks]
    sample += [" ".join(talk) for talk in corpus.plays] + ["\n".join(joke) for joke in corpus.jokes]
    sample += [f"{sign} {sign}" for sign in EMOJI for _ in range(200)]
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer
