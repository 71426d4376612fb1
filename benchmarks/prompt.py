"""How soon `clone chat` shows its prompt: in a pty, from the start of Python to the sign of the prompt.

    cd WORKSPACE && python -m benchmarks.prompt [CHAT OPTIONS]      a workspace with a finished run; Linux

Prints the median, the best and the worst of eleven starts after one to warm the disk's cache, in wall time and in the
seconds of processor that the process had used by then. The model loads behind the prompt.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import statistics
import sys
import time
from pathlib import Path

RUNS = 11
SIGN = "❯".encode()


def start(arguments: list[str]) -> tuple[float, float]:
    """Return wall and processor seconds from the call to the prompt."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "clone", "chat", "--no-log", *arguments])
    seen = b""
    try:
        while SIGN not in seen:
            if not select.select([terminal], [], [], 60)[0]:
                raise TimeoutError("no prompt within a minute")
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                sys.exit(f"clone chat ended without a prompt:\n{seen.decode(errors='replace')}")
        wall_s = time.perf_counter() - started
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return wall_s, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def main() -> None:
    """Measure and print, the last line as JSON."""
    start(sys.argv[1:])
    found = [start(sys.argv[1:]) for _ in range(RUNS)]
    out = {}
    for name, values in zip(("wall_s", "processor_s"), zip(*found, strict=True), strict=True):
        out[name] = round(statistics.median(values), 3)
        print(f"  {name:<12} median {out[name]:.3f}   best {min(values):.3f}   worst {max(values):.3f}")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
