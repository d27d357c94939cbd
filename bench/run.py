"""All CPU benchmarks, with one command.

    python -m bench.run                    # quality and speed
    python -m bench.run ablations scales   # only these

The names are quality, speed, ablations and scales.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

from bench import ablations, quality, scales, speed
from nerfscene.doctor import processor_name
from nerfscene.ops import backend


def commit() -> str:
    """The checkout's commit, with a + if files were changed since."""
    root = Path(__file__).parents[1]
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(["git", "diff", "--quiet"], cwd=root, check=False).returncode
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return name + ("+" if dirty else "")


def main(which: list[str]) -> None:
    """Prints the machine, then the named tables; without names, quality and speed."""
    print(
        f"{processor_name()}, {backend.thread_count()} threads, {platform.system()}; "
        f"{backend.describe()}; commit {commit()}; {time.strftime('%Y-%m-%d')}\n"
    )
    if not which or "quality" in which:
        quality.table()
    if not which or "speed" in which:
        speed.main()
    if "ablations" in which:
        ablations.table()
    if "scales" in which:
        scales.table()


if __name__ == "__main__":
    main(sys.argv[1:])
