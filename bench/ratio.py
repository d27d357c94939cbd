"""This build beside an older one, in one run: ratios, which hold on any machine, where seconds don't.

    python -m bench.ratio COMMIT film SCENE [--rounds 3] [-- RENDER OPTIONS]
    python -m bench.ratio COMMIT frames SCENE [--rounds 3] [-- RENDER OPTIONS]
    python -m bench.ratio COMMIT pose PHOTOS [--rounds 3]
    python -m bench.ratio COMMIT start PHOTOS [--rounds 3] [-- TRAIN OPTIONS]
    python -m bench.ratio COMMIT train PHOTOS [--rounds 3] [--seconds 120] [--times 2.5] [-- TRAIN OPTIONS]

The older build is checked out and compiled in a temporary folder (with the same compiler, libraries and
flags of the machine) and runs in this environment. The two take turns, and which one begins changes from
round to round.

film, frames: seconds of a whole ``nerfscene render``, to .mp4 or PNG frames, with all that surrounds it; and
how well the two builds' frames agree. pose: seconds of a training of one step, which is nearly all finding
cameras; and of how many photos the place was found. start: seconds until the first steps are done, meant for
photos with cameras; and the seconds of a processor and the memory until then. train: the PSNR of the older
build after so many seconds of training, and of this one after ``times`` fewer: it is so many times faster if
its PSNR is no lower.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
FILM = ["--width", "640", "--height", "480", "--fps", "24", "--seconds", "1"]
# A training that ends itself after its first steps.
START = """
import json, os, resource, sys, time
from nerfscene import api, cli
usual = api.train
def train(*given, listener, **settings):
    def heard(progress):
        if not progress.step:
            return listener(progress)
        times = os.times()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([sum(times[:4]), most]), flush=True)
        os._exit(0)
    return usual(*given, listener=heard, **settings)
api.train = train
cli.main(["train", *sys.argv[1:]])
"""
Build = Path  # the root of its sources
Measure = Callable[[Build, Path], tuple[float, str]]


@contextlib.contextmanager
def built(commit: str) -> Iterator[Build]:
    """An older version, compiled for the CPU in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="nerfscene-ratio-") as folder:
        root = Path(folder) / "build"
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(HERE), str(root)], check=True)
        subprocess.run(["git", "-C", str(root), "checkout", "--quiet", commit], check=True)
        print(f"compiling {commit}", flush=True)
        compiling = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        said = subprocess.run(
            compiling, cwd=root, env={**os.environ, "NERFSCENE_CUDA": "0"}, capture_output=True, text=True
        )
        if said.returncode:
            sys.exit(f"{commit} can't be compiled here:\n{said.stderr[-2000:]}")
        yield root


def run(build: Build, *words: object, code: str | None = None) -> tuple[float, str]:
    """Seconds of a command of a build, or of Python code with these arguments, and what it printed."""
    program = ["-m", "nerfscene"] if code is None else ["-c", code]
    command = [sys.executable, *program, *map(str, words)]
    # From a folder without sources: those in the working folder would come first.
    with tempfile.TemporaryDirectory() as elsewhere:
        begin = time.monotonic()
        said = subprocess.run(
            command, cwd=elsewhere, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(build), "NERFSCENE_CUDA": "0"},
        )  # fmt: skip
        seconds = time.monotonic() - begin
    if said.returncode:
        sys.exit(f"{build}: {' '.join(command[3:])}\n{said.stderr[-2000:]}")
    return seconds, said.stdout


def film(scene: Path, options: list[str]) -> Measure:
    """Renders a film to .mp4."""

    def measure(build: Build, work: Path) -> tuple[float, str]:
        return run(build, "render", scene, "-o", work / "film.mp4", *FILM, *options)[0], ""

    return measure


def frames(scene: Path, options: list[str]) -> Measure:
    """Renders a film to PNG frames."""

    def measure(build: Build, work: Path) -> tuple[float, str]:
        shutil.rmtree(work / "frames", ignore_errors=True)
        return run(build, "render", scene, "--frames", work / "frames", *FILM, *options)[0], ""

    return measure


def pose(photos: Path, options: list[str]) -> Measure:
    """Finds cameras, and trains a step."""

    def measure(build: Build, work: Path) -> tuple[float, str]:
        shutil.rmtree(work / "scene", ignore_errors=True)
        short = ["--steps", 1, "--holdout", 0, "--json"]
        seconds, said = run(build, "train", photos, "-o", work / "scene", *short, *options)
        made = json.loads(said)
        return seconds, f"{made['photos_posed']} photos posed"

    return measure


def start(photos: Path, options: list[str]) -> Measure:
    """Trains until the first steps are done."""

    def measure(build: Build, work: Path) -> tuple[float, str]:
        shutil.rmtree(work / "scene", ignore_errors=True)
        seconds, said = run(build, photos, "-o", work / "scene", "--json", *options, code=START)
        processor, most = json.loads(said)
        return seconds, f"({processor:.2f} s of a processor, {most:.0f} MB)"

    return measure


def train(photos: Path, seconds: float, times: float, options: list[str]) -> Measure:
    """Trains; the older build for ``seconds``, this one for ``times`` fewer. Returns decibels."""

    def measure(build: Build, work: Path) -> tuple[float, str]:
        shutil.rmtree(work / "scene", ignore_errors=True)
        budget = seconds / times if build == HERE else seconds
        _, said = run(build, "train", photos, "-o", work / "scene", "--time", budget, "--json", *options)
        return float(json.loads(said)["psnr"]), f"after {budget:g} s of training"

    return measure


def agreement(one: Path, other: Path) -> float:
    """PSNR in dB between two folders' frames; infinite if they are the same."""
    errors = []
    for file in sorted(one.glob("*.png")):
        a, b = (np.asarray(Image.open(p / file.name), np.float64) for p in (one, other))
        errors.append(((a - b) ** 2).mean() / 255**2)
    mean = float(np.mean(errors))
    return float("inf") if mean == 0 else -10 * float(np.log10(mean))


def main() -> None:
    """Builds the older version and lets the two take turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit")
    parser.add_argument("what", choices=("film", "frames", "pose", "start", "train"))
    parser.add_argument("given", type=Path, help="a scene for film and frames, else photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--times", type=float, default=2.5)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    asked, options = parser.parse_args(words[:cut]), words[cut + 1 :]
    given = asked.given.resolve()
    measures: dict[str, Measure] = {
        "film": film(given, options),
        "frames": frames(given, options),
        "pose": pose(given, options),
        "start": start(given, options),
        "train": train(given, asked.seconds, asked.times, options),
    }
    measure, unit = measures[asked.what], "dB" if asked.what == "train" else "s"
    with built(asked.commit) as older, tempfile.TemporaryDirectory() as folder:
        found: dict[Build, list[float]] = {older: [], HERE: []}
        for number in range(asked.rounds):
            for build in (older, HERE) if number % 2 == 0 else (HERE, older):
                work = Path(folder) / ("here" if build == HERE else "older")
                work.mkdir(exist_ok=True)
                value, said = measure(build, work)
                found[build].append(value)
                name = "this build" if build == HERE else asked.commit
                print(f"{asked.what}: {name} {value:.2f} {unit} {said}".rstrip(), flush=True)
        before, now = (statistics.median(found[build]) for build in (older, HERE))
        if asked.what == "train":
            print(f"train: {now - before:+.2f} dB with {asked.times:g} times fewer seconds (medians)")
        else:
            print(f"{asked.what}: {before / now:.2f} times faster (medians {before:.2f} s, {now:.2f} s)")
        if asked.what == "frames":
            same = agreement(Path(folder) / "older" / "frames", Path(folder) / "here" / "frames")
            print(f"frames: the two builds' agree to {same:.1f} dB")


if __name__ == "__main__":
    main()
