"""Kills commands at random moments (``kill -9``), and checks what is left and how they go on.

``make torture`` runs all of it, and ``tests/whole/test_torture.py`` a few kills. Each check raises
AssertionError.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import analytic
from footage_cases import demo_pictures, write_video
from panorama_cases import poses, write_panoramas
from PIL import Image

from nerfscene import api
from nerfscene.capture.work_folder import complete_results
from nerfscene.config import PoseConfig
from nerfscene.films.frames import UNFINISHED
from nerfscene.scene import folder as scenes

SAVE_EVERY = 2.0  # seconds of training between saves here, instead of 25: several kills come between two
SLACK = 5.0  # seconds: what a busy machine may make of a slice of 0.25 s, as between 25 and 30
TRAINED_STEPS = 400  # enough to leave no fog, which is slow to render
SMALL = ("--field.occupancy-resolution", "32", "--field.log2-table", "14")
ENDLESS = ("--steps", "10000000", "--time", "100000")
QUICK = (
    "--poses.max-image-size",
    "320",
    "--poses.max-features",
    "1000",
    "--holdout",
    "0",
    "--downscale",
    "8",
)

_fork = multiprocessing.get_context(
    "forkserver"
)  # a process of its own for each command, without its imports
_fork.set_forkserver_preload(["nerfscene.cli", "nerfscene.api", "nerfscene.films.filming", "torture"])


# --- commands that can be killed ------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended. killed: by us. seconds: of training so far, as it counted them itself."""

    code: int
    said: str
    killed: bool
    seconds: float
    wall: float


def _command(arguments: list[str], log: str) -> None:
    """``nerfscene`` with its output in ``log``; after each slice, the seconds trained go to ``log``.clock."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from nerfscene import cli
    from nerfscene.training import loop

    clock = os.open(log + ".clock", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    loop.SAVE_EVERY = SAVE_EVERY
    advance = loop.advance

    def advanced(run, data, config):  # type: ignore[no-untyped-def]
        report = advance(run, data, config)
        os.pwrite(clock, struct.pack("d", run.seconds), 0)
        return report

    loop.advance = advanced
    cli.main(arguments)


def run(arguments: tuple[object, ...], work: Path, kill_after: float | None = None) -> Ended:
    """Runs a command, and kills it after some seconds unless it has ended before."""
    log = work / "said.txt"
    began = time.monotonic()
    process = _fork.Process(target=_command, args=([*map(str, arguments)], str(log)))
    process.start()
    process.join(kill_after)
    killed = process.is_alive()
    if killed:
        process.kill()
        process.join()
    clock = Path(f"{log}.clock")
    packed = clock.read_bytes() if clock.exists() else b""
    clock.unlink(missing_ok=True)
    said = log.read_text(errors="replace") if log.exists() else ""
    log.unlink(missing_ok=True)
    assert "Traceback" not in said, said
    seconds = struct.unpack("d", packed)[0] if len(packed) == 8 else 0.0
    return Ended(process.exitcode or 0, said, killed, seconds, time.monotonic() - began)


def finished(arguments: tuple[object, ...], work: Path) -> Ended:
    """Runs a command to its end, which must be a good one."""
    ended = run(arguments, work)
    assert ended.code == 0, ended.said
    return ended


@dataclass
class Tally:
    """What the kills of one command did. where: what was there after a kill, and how often."""

    kills: int = 0
    lost: float = 0.0  # the most seconds of training
    where: Counter[str] = field(default_factory=Counter)


def kills(
    arguments: Callable[[], tuple[object, ...]], work: Path, count: int, window: float, rng: random.Random
) -> Iterator[Ended]:
    """Runs ``arguments()`` and kills it within ``window`` seconds, until it was killed ``count`` times.

    A command that ends before it is killed must end well, and doesn't count.
    """
    done = 0
    for _ in range(12 * count):
        ended = run(arguments(), work, rng.uniform(0.0, window))
        assert ended.killed or ended.code == 0, ended.said
        done += ended.killed
        if ended.killed:
            yield ended
        if done == count:
            return
    raise AssertionError(f"only {done} of {count} kills came before the end: {arguments()}")


# --- what is tried --------------------------------------------------------------------------------


def training(work: Path, count: int, rng: random.Random, window: float = 7.0) -> Tally:
    """Training is killed and resumed: the scene loads, and no more is lost than since the last save."""
    tally, out = Tally(), work / "scene"
    capture = analytic.write_room(work / "room", 9, (32, 24))

    def command() -> tuple[object, ...]:
        resume = ("--resume",) if scenes.is_scene(out) else ()
        return "train", capture, "-o", out, *ENDLESS, *SMALL, *resume

    best = 0.0
    for ended in kills(command, work, count, window, rng):
        tally.kills += 1
        saved = 0.0
        if scenes.is_scene(out):
            saved = scenes.load(out).figures.train_seconds
            assert api.info(out)["steps"] > 0
        assert saved >= best, "a kill lost what had been saved"
        tally.lost = max(tally.lost, ended.seconds - saved)
        assert ended.seconds - saved < SAVE_EVERY + SLACK, (ended.seconds, saved)
        tally.where["going on" if saved > best > 0 else "trained" if saved > best else "nothing new"] += 1
        best = saved
    steps = scenes.read_figures(out).steps if scenes.is_scene(out) else 0
    end = finished(
        (*("train", capture, "-o", out, "--steps", steps + 50), *SMALL, *(["--resume"] if steps else [])),
        work,
    )
    assert not steps or f"going on with the training at step {steps}" in end.said, end.said
    made = {scenes.SCENE_JSON, scenes.FIELD_FILE, scenes.TRAINING_FILE, scenes.SOURCE, scenes.REPORT_FILE}
    assert {p.name for p in out.iterdir()} == made and scenes.load(out).figures.finished
    return tally


def stage(
    work: Path, source: Path, name: str, words: str, options: tuple[str, ...], count: int, rng: random.Random
) -> Tally:
    """Kills come while ``poses/<name>`` is made: it is whole or not there, and kept once it is there."""
    tally, out = Tally(), work / "scene"
    arguments = ("train", source, "-o", out, *SMALL, *QUICK, *options)
    made = out / "poses" / name
    began = time.time()
    finished((*arguments, "--steps", "3"), work)
    window = max((made / "done.json").stat().st_mtime - began, 0.2)

    def command() -> tuple[object, ...]:
        if scenes.is_scene(out) or made.exists():
            remove(out)
        return (*arguments, "--steps", "3")

    for _ in kills(command, work, count, 1.2 * window, rng):
        tally.kills += 1
        there = made.exists()
        left = complete_results(out / "poses")  # which also ends a renaming that was killed
        assert not there or name in left, "a folder that is not complete has its final name"
        tally.where["whole" if there else "begun" if (out / "poses").exists() else "nothing yet"] += 1
        for picture in made.rglob("*.jpg"):
            Image.open(picture).load()
        if there and name == "posing":
            config = PoseConfig(max_image_size=320, max_features=1000)
            assert len(api.posed_capture(source, out / "poses", config).views) >= 3
        assert complete_results(out / "poses") == left, "what was complete was made again"
    finished((*arguments, "--steps", "3"), work)
    for file in out.glob("*.*"):
        if file.is_file():
            file.unlink()
    end = finished((*arguments, "--steps", "3"), work)
    assert "kept from the last run: " in end.said and words in end.said, end.said
    end = finished((*arguments, "--steps", "6", "--resume"), work)
    assert "going on with the training at step 3; kept from the last run: " in end.said, end.said
    assert words in end.said and not list((out / "poses").glob("*.partial")), end.said
    return tally


def frames(work: Path, scene: Path, count: int, rng: random.Random) -> Tally:
    """A film's frames: those that are finished stay as they are, and the next run says how many there are."""
    tally, out = Tally(), work / "frames"
    film = ("render", scene, "--frames", out, "--width", "32", "--fps", "12", "--seconds", "2", "--depth")
    window = finished(film, work).wall
    before: dict[Path, int] = {}

    def pictures() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in out.glob("[0-9]*.png")}

    def command() -> tuple[object, ...]:
        if not (out / UNFINISHED).exists():  # it is finished, or killed before anything was written
            remove(out)
            before.clear()
        return film

    def kept(said: str) -> None:
        now = pictures()
        assert all(now.get(p) == at for p, at in before.items()), "a finished frame was lost or made again"
        told = re.search(r"(\d+) of 24 frames are there already", said)
        assert told is None or int(told[1]) == len(before), said
        before.update(now)

    for ended in kills(command, work, count, 0.4 * window, rng):
        tally.kills += 1
        kept(ended.said)
        for picture in before:
            Image.open(picture).load()
        tally.where[f"{len(before) // 6 * 6} frames or more"] += 1
    there = len(before)
    end = finished(command(), work)
    kept(end.said)
    assert not there or f"{there} of 24 frames are there already" in end.said, end.said
    assert len(before) == 24 and len(list(out.iterdir())) == 2 * 24 + 1  # and depth.json
    return tally


def output(
    work: Path, arguments: tuple[object, ...], file: Path, whole: Callable[[Path], None], count: int,
    rng: random.Random,
) -> Tally:  # fmt: skip
    """A command that writes one file: after a kill the file is the old one or the new one, and whole."""
    tally = Tally()
    window = finished(arguments, work).wall
    old = file.stat().st_mtime_ns
    for _ in kills(lambda: arguments, work, count, 1.1 * window, rng):
        tally.kills += 1
        whole(file)
        now = file.stat().st_mtime_ns
        tally.where["the old one" if now == old else "the new one"] += 1
        old = now
    finished(arguments, work)
    whole(file)
    return tally


def film_is_whole(file: Path) -> None:
    from nerfscene.films.video import film_facts

    assert film_facts(file)["frames"] == 12


def picture_is_whole(file: Path) -> None:
    Image.open(file).load()


def page_is_whole(file: Path) -> None:
    assert file.read_text().rstrip().endswith("</html>")
    assert scenes.load(file.parent).figures.steps == TRAINED_STEPS


def remove(folder: Path) -> None:
    """Removes a folder with all in it, which may not be there."""
    shutil.rmtree(folder, ignore_errors=True)


def trained_scene(work: Path) -> Path:
    """A small finished scene to film and to measure."""
    room = analytic.write_room(work / "room", 9, (32, 24))
    finished(("train", room, "-o", work / "trained", "--steps", TRAINED_STEPS, *SMALL), work)
    return work / "trained"


def demo_photos(folder: Path) -> Path:
    """Nine of the demo's photos, small."""
    folder.mkdir(parents=True)
    for i, picture in enumerate(demo_pictures(9, 400)):
        Image.fromarray(picture).save(folder / f"{i}.jpg", quality=92)
    return folder


def demo_video(file: Path) -> Path:
    """A video of the demo's first pictures, each shown for a tenth of a second."""
    return write_video(file, [picture for picture in demo_pictures(12, 400) for _ in range(3)])


def posed_panoramas(folder: Path) -> Path:
    """Three panoramas with cameras."""
    write_panoramas(folder / "images", 768, range(3))
    frames = [
        {"file_path": f"images/R{i:04d}.JPG", "transform_matrix": (pose @ analytic.OPENGL).tolist()}
        for i, pose in enumerate(poses()[:3])
    ]
    lens = {"camera_model": "EQUIRECTANGULAR", "w": 768, "h": 384}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


# --- make torture ---------------------------------------------------------------------------------


def everything(work: Path, count: int, seed: int, only: str = "") -> dict[str, Tally]:
    """All of the above, with ``count`` kills each; only: those whose names hold this."""
    tallies: dict[str, Tally] = {}

    def tried(name: str, make: Callable[[Path, random.Random], Tally]) -> None:
        if only not in name:
            return
        place = work / name.replace(" ", "-")
        place.mkdir()
        began = time.monotonic()
        tallies[name] = make(place, random.Random(f"{seed} {name}"))
        tally = tallies[name]
        where = ", ".join(f"{word} {n}" for word, n in sorted(tally.where.items()))
        print(f"{name:22} {tally.kills:3} kills: {where}  ({time.monotonic() - began:.0f} s)", flush=True)

    scene = trained_scene(work)
    film, sheet = work / "film.mp4", work / "sheet.jpg"
    filming = ("render", scene, "-o", film, "--width", "32", "--fps", "12", "--seconds", "1")
    tried("training", lambda w, rng: training(w, count, rng))
    tried(
        "posing",
        lambda w, rng: stage(w, demo_photos(w / "photos"), "posing", "the poses found", (), count, rng),
    )
    tried(
        "frames of a video",
        lambda w, rng: stage(
            *(w, demo_video(w / "walk.mp4"), "frames", "the frames of the video"),
            *(("--frames", "12"), count, rng),
        ),
    )
    tried(
        "cutting panoramas",
        lambda w, rng: stage(
            *(
                w,
                posed_panoramas(w / "panoramas"),
                "panoramas",
                "the views cut from panoramas",
                (),
                count,
                rng,
            )
        ),
    )
    tried("film", lambda w, rng: output(w, filming, film, film_is_whole, count, rng))
    tried("frames of a film", lambda w, rng: frames(w, scene, count, rng))
    tried(
        "report",
        lambda w, rng: output(w, ("report", scene), scene / "report.html", page_is_whole, count, rng),
    )
    measuring = ("eval", scene, "--sheet", sheet)
    tried("contact sheet", lambda w, rng: output(w, measuring, sheet, picture_is_whole, count, rng))
    return tallies


def main() -> None:
    """``make torture``: prints a line for each command, and the figures as JSON."""
    parser = argparse.ArgumentParser(description="Kills nerfscene's commands at random moments.")
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the names of those to try")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nerfscene-torture-") as folder:
        tallies = everything(Path(folder), options.kills, options.seed, options.only)
    figures = {
        "seed": options.seed,
        "kills": sum(tally.kills for tally in tallies.values()),
        "most_training_lost_seconds": round(max((tally.lost for tally in tallies.values()), default=0.0), 2),
        "saved_every_seconds": SAVE_EVERY,
        "seconds": round(time.monotonic() - began),
        "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
