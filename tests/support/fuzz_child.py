"""Gives damaged inputs to nerfscene, one after the other in one process, and says what came of each.

Run by ``fuzz.py``: a process of its own, because an input may crash it. Prints a line of JSON when it begins
with an input, and one when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz_damage
import numpy as np
from fuzz_inputs import KINDS, Kind

from nerfscene import api, cli
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder
from nerfscene.viewer import path_files
from nerfscene.viewer.keyframes import cameras

SMALL = ["--threads", "1", "--field.occupancy-resolution", "32", "--field.log2-table", "12"]
LIKE_CODE = re.compile(r"Traceback|\.cc:|\.cpp:|Check failed|0x[0-9a-f]{6}|<class|object at|__init__")
LONGEST = 1500  # characters of a sentence
TRAINED_TOO = 8  # one in so many captures that can be read is also trained on


def main() -> None:
    """``inputs``: a folder with a folder of each kind. ``room``: a folder to work in."""
    inputs, room, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    say = os.fdopen(os.dup(1), "w", buffering=1)
    names = list(KINDS)
    for number in map(int, sys.argv[4:]):
        rng = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        work = room / str(number)
        shutil.copytree(inputs / str(number % len(names)), work)
        files = sorted({p for pattern in KINDS[name].damaged for p in work.glob(pattern) if p.is_file()})
        words = fuzz_damage.damage(files[int(rng.integers(0, len(files)))], rng)
        print(json.dumps({"number": number, "kind": name, "damage": words}), file=say)
        _forget_memory()
        outcome, said = _use(KINDS[name], work, room / f"{number}.err", number)
        megabytes = _most_memory()
        print(json.dumps({"outcome": outcome, "said": said, "megabytes": megabytes}), file=say)
        shutil.rmtree(work)


def _use(kind: Kind, work: Path, err: Path, number: int) -> tuple[str, str]:
    """Gives an input to the commands that take it; returns "taken", "refused" or "wrong", and why."""
    given, out = str(work / kind.given), str(work / "out")
    train = ["train", str(work / "capture"), "-o", given, "--holdout", "3", "--no-refine-cameras", *SMALL]
    render = ["render", given, "--frames", out, "--width", "32", "--threads", "1", "--fps", "2"]
    match kind.use:
        case "read":
            outcome = _ended(
                lambda: api.posed_capture(given, out, given="read", warn=lambda message: None), err
            )
            if outcome[0] != "taken" or (number // len(KINDS)) % TRAINED_TOO:
                return outcome
            made = str(work / "scene-made")
            return _command(["train", given, "-o", made, "--steps", "2", "--holdout", "0", *SMALL], err)
        case "train":
            return _command(["train", given, "-o", out, "--steps", "2", *SMALL], err)
        case "again":
            again = _command([*train, "--steps", "30"], err)
            if again[0] == "wrong":
                return again
            return _command([*train, "--steps", "31", "--resume"], err)
        case "path":
            path = str(work / "camera_path.json")
            return _command([*render, "--height", "24", "--seconds", "1.5", "--path", path], err)
        case "keyframes":
            path = str(work / "camera_path.json")
            shown = _ended(lambda: cameras(path_files.load(Path(path), folder.load(given))), err)
            filmed = _command([*render, "--seconds", "1", "--path", path], err)
            return filmed if shown[0] != "wrong" else shown
    outcome = _command(["info", given], err)
    if outcome[0] != "taken":
        return outcome
    then = (
        ["eval", given],
        [*render, "--path", "orbit", "--seconds", "1.5"],
        ["report", given],
    )[(number // len(KINDS)) % 3]
    outcome, said = _command(then, err)
    return (
        ("wrong", f"taken by info, refused by {then[0]}: {said}") if _late(outcome, said) else (outcome, said)
    )


def _late(outcome: str, said: str) -> bool:
    """Whether a scene was found damaged too late; photos may be missing only when they are needed."""
    return outcome == "refused" and "damaged" in said


def _command(arguments: list[str], err: Path) -> tuple[str, str]:
    return _ended(lambda: cli.main([*arguments, *(["--json"] if arguments[0] != "report" else [])]), err)


def _ended(run: Callable[[], object], err: Path) -> tuple[str, str]:
    """How a command or function of nerfscene ended, with a look at all that it printed."""
    code = 0
    with _redirected(err):
        try:
            run()
        except NerfsceneError as error:
            print(f"nerfscene: {error}", file=sys.stderr)
            code = 2
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
    said = err.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in said.splitlines() if line.strip()]
    sentences = [line for line in lines if line.startswith("nerfscene: ")]
    others = [line for line in lines if not line.startswith(("nerfscene: ", "warning: "))]
    if code not in (0, 2) or others or LIKE_CODE.search(said) or any(len(line) > LONGEST for line in lines):
        return "wrong", f"exit code {code}: {_end_of(lines)}"
    if len(sentences) != (code == 2):
        return "wrong", f"exit code {code}, {len(sentences)} sentences: {_end_of(lines)}"
    return ("refused", sentences[0]) if sentences else ("taken", "")


def _end_of(lines: list[str]) -> str:
    """The last lines of what was printed, without the marks below a traceback's lines."""
    return "\n".join([line[:400] for line in lines if set(line) - set(" ^~")][-9:])


@contextlib.contextmanager
def _redirected(err: Path) -> Iterator[None]:
    """Sends what this process and its libraries print to a file (stderr) and to nowhere (stdout)."""
    kept = os.dup(1), os.dup(2)
    sys.stdout.flush()
    file, nowhere = os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        for target, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, target)
        for descriptor in (*kept, file, nowhere):
            os.close(descriptor)


def _forget_memory() -> None:
    """Sets the record of this process's largest memory to what it has now, where Linux allows that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _most_memory() -> int:
    """MiB: the largest memory since ``_forget_memory``; 0 where nothing tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return 0


if __name__ == "__main__":
    main()
