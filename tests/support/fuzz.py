"""The fuzzer: valid inputs of every kind, damaged at random, and given to nerfscene.

``make fuzz`` runs ``python tests/support/fuzz.py --count 1000``; the tests run a hundred inputs. Each must
be taken or refused with one sentence: no traceback, no crash, within SECONDS and MEGABYTES. An input is known
by the seed and its number, so that it can be made again: ``--only 123`` gives that one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

SECONDS, MEGABYTES = 60.0, 2048
WAITING = 900.0  # seconds after which an input hangs that computes nothing
SUPPORT = Path(__file__).parent
PATHS = [str(SUPPORT.parents[1]), str(SUPPORT.parent), str(SUPPORT)]


@dataclass(frozen=True)
class Result:
    """What came of an input. outcome: "taken", "refused", or what went wrong in a word."""

    number: int
    kind: str
    damage: str
    outcome: str
    said: str
    seconds: float
    megabytes: int

    @property
    def fine(self) -> bool:
        """Whether it was taken or refused as it should."""
        return self.outcome in ("taken", "refused")


def write_inputs(folder: Path, numbers: Sequence[int]) -> None:
    """Writes an undamaged input of each kind that these numbers use, into folders with the kinds' numbers."""
    from fuzz_inputs import KINDS

    for index, kind in enumerate(KINDS.values()):
        if any(number % len(KINDS) == index for number in numbers):
            (folder / str(index)).mkdir(parents=True)
            kind.write(folder / str(index))


def fuzz(seed: int, numbers: Sequence[int], room: Path) -> list[Result]:
    """The results of the inputs with these numbers; ``room``: an empty folder to work in."""
    write_inputs(room / "inputs", numbers)
    left, results = list(numbers), []
    while left:
        done = _batch(seed, left, room)
        results += done
        left = left[len(done) :]
    return results


def _batch(seed: int, numbers: Sequence[int], room: Path) -> list[Result]:
    """The results of the first of these numbers, up to one at which the process ends; at least one."""
    words = [sys.executable, str(SUPPORT / "fuzz_child.py"), str(room / "inputs"), str(room), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), "OMP_NUM_THREADS": "1"}
    with (room / "child.err").open("w+b") as err:
        child = subprocess.Popen(
            [*words, *map(str, numbers)], stdout=subprocess.PIPE, stderr=err, env=environment
        )
        lines: queue.Queue[str] = queue.Queue()
        assert child.stdout is not None
        threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
        results: list[Result] = []
        begun: dict[str, Any] | None = None
        try:
            while True:
                line, seconds = _next(child, lines)
                ended = "hang" if line is None else "crash"
                if not line:
                    break
                told = json.loads(line)
                if "number" in told:
                    begun = told
                    continue
                assert begun is not None
                outcome = told["outcome"] if told["megabytes"] <= MEGABYTES else "memory"
                results.append(Result(**begun, **told | {"outcome": outcome}, seconds=seconds))
                begun = None
        except BaseException:  # Ctrl-C
            child.kill()
            raise
        child.wait()
        if begun is not None:
            err.seek(0)
            said = f"exit code {child.returncode}: {err.read().decode(errors='replace')[-2000:]}"
            results.append(Result(**begun, outcome=ended, said=said, seconds=seconds, megabytes=0))
        elif len(results) < len(numbers):
            err.seek(0)
            raise RuntimeError(f"the fuzzer itself failed: {err.read().decode(errors='replace')[-3000:]}")
    return results


def _next(child: subprocess.Popen[bytes], lines: queue.Queue[str]) -> tuple[str | None, float]:
    """The next line, "" at the end, or None if the process hangs and was ended; and the seconds it computed.

    A busy machine may let it wait for long, so that what counts is how long it computes, where the system
    says; but nothing takes longer than WAITING.
    """
    since, before = time.monotonic(), _computed(child.pid)
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            line = None
        waited = time.monotonic() - since
        computed = waited if before is None else (_computed(child.pid) or before) - before
        if line is not None:
            return line, computed
        if computed > SECONDS or waited > WAITING:
            child.kill()
            return None, computed


def _computed(process: int) -> float | None:
    """Seconds that a process has computed on all its threads; None where the system doesn't say."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _read(stdout: IO[bytes], lines: queue.Queue[str]) -> None:
    """Passes the lines on, and an empty one at the end."""
    for line in stdout:
        lines.put(line.decode())
    lines.put("")


def in_words(results: Sequence[Result], seed: int) -> str:
    """The figures, and every input that went wrong."""
    counts = Counter(result.outcome for result in results)
    slowest = max(results, key=lambda r: r.seconds)
    wrong = [r for r in results if not r.fine]
    lines = [f"WRONG ({r.outcome}): number {r.number}, {r.kind}, {r.damage}\n{r.said}" for r in wrong]
    kinds = ", ".join(f"{n} {what}" for what, n in Counter(r.outcome for r in wrong).items())
    lines.append(
        f"seed {seed}: {len(results)} damaged inputs, {counts['taken']} taken, {counts['refused']} refused "
        f"with one sentence, {len(wrong)} wrong{f' ({kinds})' if kinds else ''}"
    )
    lines.append(
        f"longest {slowest.seconds:.1f} s of computing ({slowest.kind}), most memory "
        f"{max(r.megabytes for r in results)} MiB, {sum(r.seconds for r in results):.0f} s in all"
    )
    return "\n".join(lines)


def main() -> None:
    """Exit code 1 if any input went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="a new one each time if not given")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of inputs")
    parser.add_argument("--show", action="store_true", help="what came of every input")
    a = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if a.seed is None else a.seed
    print(f"seed {seed}", flush=True)
    with TemporaryDirectory(prefix="nerfscene-fuzz-") as room:
        results = fuzz(seed, a.only or range(a.count), Path(room))
    if a.show:
        for r in results:
            print(f"{r.number} {r.kind}: {r.damage}: {r.outcome} {r.seconds:.2f} s {r.said[:300]}")
    print(in_words(results, seed))
    sys.exit(not all(r.fine for r in results))


if __name__ == "__main__":
    sys.path[:0] = PATHS
    main()
