"""How much personal data is found in labelled chat lines, beside stock Presidio, and how fast.

    python benchmarks/pii.py FILE [FILE ...] [--speed-on FILE] [--misses]

A labelled line is one JSON object: text, lang, spans[{start, end, type}]; files may be .xz. Lines without spans are
clean. A span counts as scrubbed when at least 90 % of its letters and digits are masked; a finding counts as right when
it touches a labelled span. Stock is Presidio as it comes, every built-in recognizer loaded for each language,
pattern-only, threshold 0. Each line is a chat of its own, in the language of its label, with an empty contact list.

Speed is messages per CPU-second of one core over small talk in English and Russian with one labelled line in twenty
mixed in, or over the lines of `--speed-on`. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CRITICAL = frozenset(
    [
        "PASSWORD",
        "CREDIT_CARD",
        "CARD_NUMBER",
        "API_KEY",
        "PRIVATE_KEY",
        "SECRET_KEY",
        "TOKEN",
        "SEED_PHRASE",
        "SEED",
        "IBAN",
        "IBAN_CODE",
        "PIN",
        "OTP",
        "NATIONAL_ID",
        "TAX_ID",
        "HEALTH_ID",
        "PASSPORT",
        "DRIVER_LICENSE",
        "DRIVERS_LICENSE",
        "DRIVING_LICENSE",
        "LICENCE",
        "ID_NUMBER",
        "SSN",
    ]
)
Span = tuple[int, int]


def read_lines(paths: Iterable[Path]) -> list[dict[str, Any]]:
    out = []
    for path in paths:
        opener = lzma.open if path.suffix == ".xz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            out.extend(json.loads(line) for line in file if line.strip())
    return out


def read_plain(path: Path) -> list[str]:
    """Return the messages of a file: texts of JSON lines, or plain lines."""
    opener = lzma.open if path.suffix == ".xz" else open
    out = []
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            out.append(json.loads(line)["text"] if line.startswith("{") else line)
    return [line for line in out if line]


def is_scrubbed(text: str, span: dict[str, Any], found: list[Span]) -> bool:
    telling = [i for i in range(span["start"], span["end"]) if text[i].isalnum()]
    masked = sum(any(s <= i < e for s, e in found) for i in telling)
    return masked >= 0.9 * len(telling)


def score(lines: list[dict[str, Any]], find: Callable[[dict[str, Any]], list[Span]]) -> dict[str, Any]:
    """Return recall, precision and clean hits of `find` over labelled lines."""
    by_type: dict[str, list[bool]] = defaultdict(list)
    by_lang: dict[str, list[bool]] = defaultdict(list)
    critical_by_lang: dict[str, list[bool]] = defaultdict(list)
    n_right = n_found = n_clean = n_clean_hit = 0
    for line in lines:
        found = find(line)
        spans = line["spans"]
        n_found += len(found)
        n_right += sum(any(s < x["end"] and x["start"] < e for x in spans) for s, e in found)
        if not spans:
            n_clean += 1
            n_clean_hit += bool(found)
        for span in spans:
            is_hit = is_scrubbed(line["text"], span, found)
            by_type[span["type"]].append(is_hit)
            by_lang[line.get("lang", "?")].append(is_hit)
            if span["type"] in CRITICAL:
                critical_by_lang[line.get("lang", "?")].append(is_hit)
    mean = _mean
    return {
        "critical_recall": mean([h for hits in critical_by_lang.values() for h in hits]),
        "password_recall": mean(by_type.get("PASSWORD", [])),
        "recall": mean([h for hits in by_type.values() for h in hits]),
        "precision": round(n_right / n_found, 4) if n_found else None,
        "clean_hit_rate": round(n_clean_hit / n_clean, 4) if n_clean else None,
        "n_lines": len(lines),
        "n_spans": sum(map(len, by_type.values())),
        "by_type": {t: {"recall": mean(h), "n": len(h)} for t, h in sorted(by_type.items())},
        "by_lang": {
            lang: {"recall": mean(h), "critical_recall": mean(critical_by_lang.get(lang, [])), "n": len(h)}
            for lang, h in sorted(by_lang.items())
        },
    }


def _mean(hits: list[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None


def make_stock(languages: list[str]) -> Any:
    """Return stock Presidio: all built-in recognizers for each language, over blank spaCy pipelines, no network."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    offline = tldextract.TLDExtract(suffix_list_urls=())
    tldextract.extract = offline  # stock asks for the public-suffix list over HTTP at the first e-mail

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": lang, "model_name": "blank"} for lang in languages])

        def load(self) -> None:
            self.nlp = {lang: spacy.blank(lang if lang not in ("vi", "zh") else "xx") for lang in languages}

    engine = Blank()
    engine.load()
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=engine)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)


def speed_sample(lines: list[dict[str, Any]], seed: int = 0) -> list[str]:
    """Return 6,000 messages: small talk, one labelled line in twenty."""
    talk = read_plain(Path(__file__).parent / "data" / "small_talk.txt")
    rng = random.Random(seed)
    labelled = [line["text"] for line in lines]
    return [rng.choice(labelled) if i % 20 == 0 else rng.choice(talk) for i in range(6000)]


def messages_a_second(run: Callable[[list[str]], object], texts: list[str], n_runs: int = 3) -> float:
    """Return the median of messages per CPU-second over `n_runs`."""
    rates = []
    for _ in range(n_runs):
        start = time.process_time()
        run(texts)
        rates.append(len(texts) / (time.process_time() - start))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--speed-on", type=Path, help="messages to measure speed on: plain lines or JSON lines with a text"
    )
    parser.add_argument(
        "--clean", type=Path, help="real messages, all taken as clean: print how many of 1,000 are flagged"
    )
    parser.add_argument("--only", help="only lines with this tag")
    parser.add_argument(
        "--misses", action="store_true", help="print what was missed and what was masked wrongly, with the text"
    )
    args = parser.parse_args()

    from clone.prepare.pii import KnownPerson, PiiSettings, Scrubber
    from clone.prepare.pii.names import describe

    lines = read_lines(args.files)
    if args.only:
        lines = [line for line in lines if args.only in line.get("tags", ())]
    scrubber = Scrubber(PiiSettings(), key=b"benchmark")

    def ours(line: dict[str, Any]) -> list[Span]:
        return [(f.start, f.end) for f in scrubber.find(line["text"], lang=line.get("lang", ""))]

    # the contact list an export would bring: the labelled people, by the base form of their names
    names = {line["text"][s["start"] : s["end"]] for line in lines for s in line["spans"] if s["type"] == "PERSON"}
    people = []
    for name in sorted(names):
        bases = [(form.base if (form := describe(word)) else word) for word in name.split()]
        people.append(KnownPerson(name, (" ".join(bases),)))
    with_contacts = Scrubber(PiiSettings(), key=b"benchmark", people=people)

    languages = sorted({line.get("lang", "en") for line in lines})
    stock = make_stock(sorted({*languages, "en", "ru"}))

    def stocks(line: dict[str, Any]) -> list[Span]:
        return [(r.start, r.end) for r in stock.analyze(line["text"], language=line.get("lang", "en"))]

    result = score(lines, ours)
    contacts = score(
        lines, lambda line: [(f.start, f.end) for f in with_contacts.find(line["text"], lang=line.get("lang", ""))]
    )
    result["names_with_contacts"] = {
        "precision": contacts["precision"],
        **{
            lang: _mean(
                [
                    is_scrubbed(
                        line["text"],
                        s,
                        [(f.start, f.end) for f in with_contacts.find(line["text"], lang=line.get("lang", ""))],
                    )
                    for line in lines
                    if line.get("lang") == lang
                    for s in line["spans"]
                    if s["type"] == "PERSON"
                ]
            )
            for lang in languages
        },
    }
    result["stock"] = score(lines, stocks)

    if args.misses:
        for line in lines:
            found = scrubber.find(line["text"], lang=line.get("lang", ""))
            pairs = [(f.start, f.end) for f in found]
            missed = [s["type"] for s in line["spans"] if not is_scrubbed(line["text"], s, pairs)]
            wrong = [f.rule for f in found if not any(f.start < s["end"] and s["start"] < f.end for s in line["spans"])]
            if missed or wrong:
                print(f"{line.get('lang')}  {line['text']!r}  missed {missed}  wrong {wrong}")

    texts = read_plain(args.speed_on)[:6000] if args.speed_on else speed_sample(lines)
    is_cyrillic = [any("\u0400" <= c <= "\u04ff" for c in text) for text in texts]
    scrubber.scrub_chat(texts[:200])
    our_rate = messages_a_second(scrubber.scrub_chat, texts)
    stock_rate = messages_a_second(
        lambda batch: [stock.analyze(t, language="ru" if r else "en") for t, r in zip(batch, is_cyrillic, strict=True)],
        texts,
        n_runs=1,
    )
    result["messages_per_cpu_s"] = round(our_rate)
    result["stock"]["messages_per_cpu_s"] = round(stock_rate)
    result["speed_ratio"] = round(our_rate / stock_rate, 2)

    if args.clean:
        real = read_plain(args.clean)
        flagged = [scrubber.find(text) for text in real]
        result["real_flagged_per_1000"] = round(1000 * sum(map(bool, flagged)) / len(real), 2)
        result["real_flagged_rules"] = dict(Counter(f.rule for found in flagged for f in found).most_common())

    print_table(result)
    print(json.dumps(result, ensure_ascii=False))


def print_table(result: dict[str, Any]) -> None:
    stock = result["stock"]
    print(f"{result['n_lines']} lines, {result['n_spans']} spans\n")
    print(f"{'':28}{'ours':>10}{'stock':>10}")
    for key in ("critical_recall", "password_recall", "recall", "precision", "clean_hit_rate", "messages_per_cpu_s"):
        print(f"{key.replace('_', ' '):28}{_cell(result[key]):>10}{_cell(stock[key]):>10}")
    print(f"{'speed ratio':28}{result['speed_ratio']:>10}\n")
    for title, key in (("recall by type", "by_type"), ("recall by language", "by_lang")):
        print(title)
        for name, row in result[key].items():
            other = stock[key][name]["recall"]
            critical = f"   critical {_cell(row['critical_recall'])}" if "critical_recall" in row else ""
            print(f"  {name:26}{_cell(row['recall']):>10}{_cell(other):>10}   of {row['n']}{critical}")
        print()
    print(
        "names with the contact list: " + ", ".join(f"{k} {_cell(v)}" for k, v in result["names_with_contacts"].items())
    )
    if "real_flagged_per_1000" in result:
        print(f"real messages flagged: {result['real_flagged_per_1000']} of 1,000")
    print()


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
