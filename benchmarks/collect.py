"""Collect: reading an export into the archive, beside a plain json.load of the same file.

    python benchmarks/collect.py import [RESULT.JSON] [--messages N]
    python benchmarks/collect.py live ...        (see benchmarks/collect_live.py)

Without a file an invented account of N messages (default 1,000,000, about 400 MB) is written to a temporary folder
first. Each side runs in a process of its own, so that its peak memory is its own; ours parses every message, checks it,
and leaves it in SQLite with its payload. The last line is JSON with the ratios.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

PLAIN = """
import json, resource, sys, time
begun = time.perf_counter()
with open(sys.argv[1], encoding="utf-8") as stream:
    export = json.load(stream)
seconds = time.perf_counter() - begun
n = sum(len(chat["messages"]) for chat in export["chats"]["list"])
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, n]))
"""

OURS = """
import json, resource, sys, time
begun = time.perf_counter()
from datetime import UTC, datetime
from pathlib import Path
from clone.archive import Archive
from clone.collect import import_file
from clone.collect.contract import Asked
with Archive.create(Path(sys.argv[2])) as archive:
    report = import_file(Path(sys.argv[1]), archive, Asked(), 0.01, datetime.now(UTC))
seconds = time.perf_counter() - begun
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, report.n_new]))
"""

READ_BACK = """
import json, resource, sys, time
from pathlib import Path
from clone.archive import Archive
begun = time.perf_counter()
with Archive.open(Path(sys.argv[2])) as archive:
    n = sum(1 for item in archive.chats() for _ in archive.messages(item.chat))
seconds = time.perf_counter() - begun
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, n]))
"""


def main() -> None:
    if sys.argv[1:2] == ["live"]:
        command = [sys.executable, str(ROOT / "benchmarks" / "collect_live.py"), *sys.argv[2:]]
        sys.exit(subprocess.run(command, check=False, cwd=ROOT).returncode)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["import", "live"])
    parser.add_argument("file", nargs="?", type=Path, help="a result.json of a whole account")
    parser.add_argument("--messages", type=int, default=1_000_000, help="messages of the invented account")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export = arguments.file or write_account(Path(folder) / "result.json", arguments.messages)
        measure(export, Path(folder) / "raw" / "archive.sqlite")


def measure(export: Path, archive: Path) -> None:
    size_mb = export.stat().st_size / 1e6
    rows = {name: run(code, export, archive) for name, code in (("json.load", PLAIN), ("clone", OURS))}
    rows["read back"] = run(READ_BACK, export, archive)
    print(f"{export.name}: {size_mb:,.0f} MB, {rows['clone'][2]:,} messages")
    print(f"{'':<12}{'seconds':>9}{'peak MB':>9}{'messages/s':>12}")
    for name, (seconds, memory_mb, n) in rows.items():
        print(f"{name:<12}{seconds:>9.1f}{memory_mb:>9,.0f}{n / seconds:>12,.0f}")
    plain, ours = rows["json.load"], rows["clone"]
    figures = {
        "benchmark": "collect.import",
        "n_messages": ours[2],
        "size_mb": round(size_mb),
        "json_load_s": round(plain[0], 2),
        "import_s": round(ours[0], 2),
        "seconds_ratio": round(ours[0] / plain[0], 3),
        "json_load_mb": round(plain[1]),
        "import_mb": round(ours[1]),
        "memory_ratio": round(ours[1] / plain[1], 4),
        "read_back_messages_per_s": round(rows["read back"][2] / rows["read back"][0]),
    }
    print(json.dumps(figures))


def run(code: str, export: Path, archive: Path) -> tuple[float, float, int]:
    """Return seconds, peak memory in MB and messages of one side, in a process of its own."""
    out = subprocess.run(
        [sys.executable, "-c", code, str(export), str(archive)], check=True, cwd=ROOT, capture_output=True, text=True
    )
    seconds, memory_mb, n = json.loads(out.stdout.splitlines()[-1])
    return seconds, memory_mb, n


def write_account(path: Path, n_messages: int) -> Path:
    """Write an invented account whose messages are as long as people's are, and return its path."""
    chance = random.Random(0)
    words = [line.strip() for line in (ROOT / "benchmarks/data/small_talk.txt").read_text("utf-8").splitlines()]
    words = [line for line in words if line and not line.startswith("#")]
    owner = {"user_id": 1, "first_name": "Mara", "last_name": "Lind", "phone_number": "", "username": "", "bio": ""}
    with path.open("w", encoding="utf-8") as out:
        out.write('{"about": "", "personal_information": ' + json.dumps(owner) + ', "chats": {"about": "", "list": [')
        for number in range(n_messages):
            chat, first = divmod(number, 20_000)
            if not first:
                head = {"name": f"Contact {chat}", "type": "personal_chat", "id": 100 + chat}
                out.write(("]}," if chat else "") + json.dumps(head)[:-1] + ', "messages": [')
            text = " ".join(chance.choice(words) for _ in range(chance.choice((1, 1, 1, 2))))
            is_mine = chance.random() < 0.5
            record = {
                "id": number + 1,
                "type": "message",
                "date": "2024-01-01T00:00:00",
                "date_unixtime": str(1_500_000_000 + number * 60),
                "from": "Mara Lind" if is_mine else f"Contact {chat}",
                "from_id": "user1" if is_mine else f"user{100 + chat}",
                "text": text,
                "text_entities": [{"type": "plain", "text": text}],
            }
            out.write(("" if not first else ",") + "\n" + json.dumps(record, ensure_ascii=False, indent=1))
        out.write("]}]}}\n")
    return path


if __name__ == "__main__":
    main()
