"""How long the way from an archive to scrubbed examples takes, with what memory, and whether it stays linear.

    python benchmarks/prepare.py RESULT.json [--sizes 10000,100000,1000000] [--workers 2] [--tokenizer FILE]

RESULT.json is an export that `clone collect` reads. It is collected once; for each smaller size the first messages (or,
with --across, about as many from all over it) are copied into an archive of their own. Each size is then prepared by
`clone prepare` in a process of its own, as a person would. Memory is the largest sum of proportional set sizes over all
its processes, sampled. Beside it, what one would use instead: stock Presidio (every built-in recognizer for English)
over a sample of the same messages, and ours over the same sample, on one core. One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from clone.archive import Archive
from clone.workspace import Workspace


@dataclass
class Timing:
    """One size, prepared once."""

    n_messages: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    n_examples: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--tokenizer", type=Path, help="tokenizer.json of falcon-7b; without it the packaged one counts"
    )
    parser.add_argument(
        "--across",
        action="store_true",
        help="take the smaller sizes from all over the archive, so that only their size differs and not what is said",
    )
    parser.add_argument("--sample", type=int, default=2000, help="messages that stock Presidio reads")
    arguments = parser.parse_args()
    sizes = sorted({int(size) for size in arguments.sizes.split(",")})
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        whole.mkdir()
        began = time.perf_counter()
        _clone(whole, "collect", "--from", str(arguments.file.resolve()))
        print(f"collected in {time.perf_counter() - began:.1f} s", flush=True)
        timings = []
        for size in sizes:
            timings.append(_time_size(whole, Path(folder) / str(size), size, arguments))
            show(timings[-1])
        result = {
            "prepare": [asdict(timing) for timing in timings],
            "slope": slope(timings),
            "workers": arguments.workers,
            **beside_stock(whole, arguments.sample),
        }
    if result["slope"] is not None:
        print(f"cost grows as messages to the power of {result['slope']:.2f} (1 is linear)")
    print(
        f"one core: ours {result['ours_per_s']:,.0f} messages a second, stock Presidio {result['stock_per_s']:,.0f}: "
        f"{result['speed_ratio']:.1f} times"
    )
    print(json.dumps(result))


def show(timing: Timing) -> None:
    print(
        f"{timing.n_messages:>10,} messages  {timing.wall_s:>7.1f} s  {timing.cpu_s:>7.1f} s of CPU  "
        f"{timing.peak_mb:>6,.0f} MB  {timing.n_examples:>8,} examples",
        flush=True,
    )


def slope(timings: list[Timing]) -> float | None:
    """Return the exponent of CPU seconds in messages from the second size to the largest, start-up taken off.

    Start-up is what the line through the two smallest sizes leaves for no messages; so it takes three sizes.
    """
    if len(timings) < 3:
        return None
    a, b, last = timings[0], timings[1], timings[-1]
    start_up = max(0.0, a.cpu_s - (b.cpu_s - a.cpu_s) / (b.n_messages - a.n_messages) * a.n_messages)
    return math.log((last.cpu_s - start_up) / (b.cpu_s - start_up)) / math.log(last.n_messages / b.n_messages)


def _time_size(whole: Path, root: Path, size: int, arguments: argparse.Namespace) -> Timing:
    (root / "data").mkdir(parents=True)
    n_messages = _copy(Workspace(whole), Workspace(root), size, arguments.across)
    if arguments.tokenizer:
        base = root / "checkpoints" / "base" / "tiiuae" / "falcon-7b"
        base.mkdir(parents=True)
        shutil.copy(arguments.tokenizer, base / "tokenizer.json")
    began = time.perf_counter()
    out, use = _clone(root, "prepare", "--json", "--workers", str(arguments.workers))
    wall_s = time.perf_counter() - began
    report = json.loads(out)
    shutil.rmtree(root)
    return Timing(n_messages, wall_s, sum(use.cpu_s.values()), use.peak_mb, report["n_train"] + report["n_validation"])


def _copy(source: Workspace, target: Workspace, size: int, is_across: bool) -> int:
    """Copy `size` messages, chat by chat: the first, or about as many in runs of a thousand from all over the archive.

    Return how many there were.
    """
    n_left, run = size, 0
    with Archive.open(source.archive) as old, Archive.create(target.archive) as new:
        share = min(1.0, size / sum(item.n_messages for item in old.chats()))
        for account in old.accounts():
            with new.transaction():
                new.put_account(account)
        for item in sorted(old.chats(), key=lambda item: item.chat.chat_id):
            messages = []
            for m in islice(old.messages(item.chat), None if is_across else n_left):
                if not is_across or int((run // 1000 + 1) * share) > int(run // 1000 * share):
                    messages.append(m)
                run += 1
            n_left -= len(messages)
            if messages:
                with new.transaction():
                    new.put_chat(item.chat)
                    new.put_messages(item.chat, [(m, None) for m in messages])
    return size - n_left


@dataclass
class Use:
    """What a process and all below it took: the largest memory of all together, the CPU seconds of each."""

    peak_mb: float = 0.0
    cpu_s: dict[int, float] = field(default_factory=dict)


def _clone(root: Path, *command: str) -> tuple[str, Use]:
    """Run a command of clone in `root`; return its stdout and what it took."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "clone", *command], cwd=root, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    use = Use()
    watcher = threading.Thread(target=_watch, args=(process, use), daemon=True)
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(f"clone {command[0]} failed:\n{err}")
    return out, use


def _watch(process: subprocess.Popen[str], use: Use) -> None:
    """Sample until the process ends: its workers are a server's children, so the system's own sum lacks them."""
    while process.poll() is None:
        pids = _tree(process.pid)
        use.peak_mb = max(use.peak_mb, sum(_pss_mb(pid) for pid in pids))
        for pid in pids:
            use.cpu_s[pid] = max(use.cpu_s.get(pid, 0.0), _cpu_s(pid))
        time.sleep(0.2)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            pids += _tree(int(child))
    return pids


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def beside_stock(whole: Path, n: int) -> dict[str, float]:
    """Return messages a second of stock Presidio and of ours on one core, medians of five turns of `n` messages.

    Each turn's messages are other ones, from the beginnings of ten chats, seen once by each, after three turns to warm
    up: in a million messages what a cache takes to fill is nothing.
    """
    from pii import make_stock, messages_a_second

    from clone.prepare.pii import PiiSettings, Scrubber

    with Archive.open(Workspace(whole).archive) as archive:
        chats = archive.chats()[:: max(1, len(archive.chats()) // 10)]
        texts = [m.text for item in chats for m in islice(archive.messages(item.chat), 8 * n // len(chats))]
    stock = make_stock(["en"])
    ours = Scrubber(PiiSettings(), key=b"k" * 32)
    rates = []
    for turn in range(8):
        some = texts[turn::8]
        stock_per_s = messages_a_second(lambda them: [stock.analyze(text, "en") for text in them], some, n_runs=1)
        rates.append((stock_per_s, messages_a_second(ours.scrub_chat, some, n_runs=1)))
    stock_per_s, ours_per_s = (statistics.median(rate) for rate in zip(*rates[3:], strict=True))
    ratio = statistics.median(ours / stock for stock, ours in rates[3:])
    return {"stock_per_s": stock_per_s, "ours_per_s": ours_per_s, "speed_ratio": ratio}


if __name__ == "__main__":
    main()
