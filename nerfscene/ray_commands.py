"""``nerfscene train`` and ``nerfscene render`` with ``--ray``."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TaskID

from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.loading import INTERRUPTED, leaving_at_once
from nerfscene.scene.scene import figures_in_words
from nerfscene.terminal import PRINT_EVERY, Live, clock

if TYPE_CHECKING:
    from nerfscene.clusters.runs import Outcome
    from nerfscene.clusters.trainings import Training
    from nerfscene.films.filming import Rendered
    from nerfscene.films.paths import CameraPath
    from nerfscene.scene.folder import Scene

SPLATS_SECONDS = 60.0  # of fitting, with --splats
ADDRESS = re.compile(r"auto|local|[a-z]+://\S+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


@dataclass(frozen=True)
class Settings:
    """Of each training, as the options of ``nerfscene train`` have them."""

    train: TrainConfig
    field: FieldConfig
    poses: PoseConfig
    footage: FootageConfig
    resume: bool
    overwrite: bool
    splats: float = 0.0  # seconds to fit them


def run_train_on_ray(
    paths: Sequence[Path], ray: tuple[str, ...], output: Path | None, settings: Settings, json: bool
) -> None:
    """``nerfscene train PATH … --ray``.

    output: the scene's folder, or, of several, the folder for all. Raises NerfsceneError if a scene could not
    be made; the others are made all the same.
    """
    address, more = address_and_paths(ray)
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.clusters.connecting import connected
        from nerfscene.clusters.trainings import train_all

        trainings = _trainings(sources_of([*paths, *more]), output, settings)
    with Live(json) as live:
        told = _Told(live, [t.output.name for t in trainings])
        with connected(address) as cluster:
            live.say(f"training {len(trainings)} scene{'s' * (len(trainings) > 1)} on {in_words(cluster)}")
            outcomes = train_all(cluster, trainings, told)
        live.bar.stop()
        if json:
            print(api.as_json({"scenes": [_facts(t, o) for t, o in zip(trainings, outcomes, strict=True)]}))
        _leave_as(trainings, outcomes, live)


def _leave_as(trainings: Sequence[Training], outcomes: Sequence[Outcome], live: Live) -> None:
    """Says how it went; raises NerfsceneError or exits as a command does."""
    done = [t for t, o in zip(trainings, outcomes, strict=True) if o.state == "done"]
    failed = [(t, o) for t, o in zip(trainings, outcomes, strict=True) if o.state == "failed"]
    if len(done) + len(failed) < len(outcomes):
        live.say("interrupted; the same command with --resume continues what has been saved")
        sys.exit(INTERRUPTED)
    if failed:
        of_all = f"{len(failed)} of {len(outcomes)} scenes could not be made: " if len(outcomes) > 1 else ""
        raise NerfsceneError(
            of_all + "; ".join(f"{t.output.name}: {str(o.value).rstrip('.')}" for t, o in failed)
        )
    live.say(f"next:  nerfscene view {done[0].output}, or nerfscene render {done[0].output} -o film.mp4")


def _facts(training: Training, outcome: Outcome) -> dict[str, Any]:
    facts = {"source": str(training.source), "output": str(training.output), "state": outcome.state}
    if outcome.state == "done":
        return {**facts, **outcome.value}
    return {**facts, "message": str(outcome.value)}


def address_and_paths(ray: tuple[str, ...]) -> tuple[str, list[Path]]:
    """The cluster's address, "auto" if none is given, and the paths that were written after ``--ray``."""
    addresses = [word for word in ray if ADDRESS.fullmatch(word) and not os.path.exists(word)]
    if len(addresses) > 1:
        raise NerfsceneError(f"--ray takes one address, not {len(addresses)} ({', '.join(addresses)})")
    return (addresses[0] if addresses else "auto"), [Path(word) for word in ray if word not in addresses]


def sources_of(paths: Sequence[Path]) -> list[Path]:
    """What each scene is made of: each path, or their folder if they are all the photos of one.

    Absolute, as the cluster's machines have other current folders. Raises NerfsceneError for one that isn't
    there.
    """
    from nerfscene.capture.endings import PHOTO_SUFFIXES
    from nerfscene.intake import one_source

    if not paths or all(p.name.lower().endswith(PHOTO_SUFFIXES) for p in paths):
        paths = [one_source(paths)]
    sources = [home_expanded(path).absolute() for path in paths]
    for source in sources:
        if not source.exists():
            raise NerfsceneError(f"{source} doesn't exist; give folders of photos, .zips of them, or videos")
    return list(dict.fromkeys(sources))


def _trainings(sources: Sequence[Path], output: Path | None, settings: Settings) -> list[Training]:
    from nerfscene.clusters.trainings import Training

    if output is not None and len(sources) == 1:
        outputs = [home_expanded(output)]
    else:
        home = Path() if output is None else home_expanded(output)
        outputs = [home / f"{name}-scene" for name in names_of(sources)]
    return [
        Training(
            source, folder.absolute(), settings.train, settings.field, settings.poses, settings.footage,
            settings.resume, settings.overwrite, settings.splats,
        )
        for source, folder in zip(sources, outputs, strict=True)
    ]  # fmt: skip


def name_of(source: Path) -> str:
    """The name of the photos' folder, or of the file without its extension."""
    named = source.resolve() if source.suffix != ".json" else source.resolve().parent
    return named.stem if named.is_file() else named.name


def names_of(sources: Sequence[Path]) -> list[str]:
    """A name for each: its own; with its parent's where two have the same, such as a/images and b/images.

    Raises NerfsceneError if two are still the same.
    """
    names = [name_of(source) for source in sources]
    twice = Counter(name.casefold() for name in names)
    names = [
        f"{source.resolve().parent.name}-{name}" if twice[name.casefold()] > 1 else name
        for name, source in zip(names, sources, strict=True)
    ]
    for name, count in Counter(name.casefold() for name in names).items():
        if count > 1:
            same = [str(s) for s, n in zip(sources, names, strict=True) if n.casefold() == name]
            raise NerfsceneError(
                f"{' and '.join(same)} would both become {name}-scene; rename one, or train it alone with -o"
            )
    return names


def in_words(cluster: Any) -> str:
    """A cluster's machines as words."""
    machines = cluster.machines()
    cores = int(sum(m.get("CPU", 0) for m in machines))
    gpus = int(sum(m.get("GPU", 0) for m in machines))
    count = "one machine" if len(machines) == 1 else f"{len(machines)} machines"
    return f"{count} with {cores} cores" + (f" and {gpus} GPU{'s' * (gpus > 1)}" if gpus else "")


class _Told:
    """A bar for each training on a terminal, a line every few seconds elsewhere."""

    def __init__(self, live: Live, names: Sequence[str]) -> None:
        self.live, self.names = live, names
        self.bars: dict[int, TaskID] = {}
        self.printed: dict[int, tuple[str, float]] = {}

    def progress(self, number: int, report: dict[str, Any]) -> None:
        name, stage, fraction = self.names[number], str(report["stage"]), float(report["fraction"])
        note = ""
        if report.get("step"):
            note = f"step {report['step']}  PSNR {report['psnr']:.1f} dB  {clock(report['remaining'])} left"
        if number not in self.bars:
            self.bars[number] = self.live.bar.add_task(name, total=1.0, note="")
        self.live.bar.update(self.bars[number], completed=fraction, note=f"{stage}  {note}".rstrip())
        before, then = self.printed.get(number, ("", 0.0))
        due = stage != before or time.monotonic() - then > PRINT_EVERY
        if due and not self.live.console.is_terminal:
            self.printed[number] = (stage, time.monotonic())
            self.live.say(f"{name}: {stage}: {100 * fraction:.0f} % {note}".rstrip())

    def line(self, number: int, kind: str, text: str) -> None:
        warning = "warning: " if kind == "warning" else ""
        self.live.say(f"{self.names[number]}: {warning}{text}")

    def ended(self, number: int, outcome: Outcome) -> None:
        if number in self.bars:
            self.live.bar.remove_task(self.bars.pop(number))
        said = {"done": "", "stopped": "stopped"}.get(outcome.state, f"could not be made: {outcome.value}")
        self.live.say(f"{self.names[number]}: {said or figures_in_words(outcome.value)}")


@contextlib.contextmanager
def rendering(
    ray: tuple[str, ...] | None, folder: Path, scene: Scene, config: RenderConfig, say: Callable[[str], None]
) -> Iterator[Callable[[CameraPath], Rendered] | None]:
    """What renders a film's frames: the cluster that ``--ray`` names, or None for this machine.

    Raises NerfsceneError if the cluster can't be used.
    """
    if ray is None:
        yield None
        return
    from nerfscene.clusters.connecting import connected
    from nerfscene.clusters.film_parts import on_cluster

    address, more = address_and_paths(ray)
    if more:
        raise NerfsceneError(f"--ray takes a cluster's address, such as ray://head:10001, not {more[0]}")
    with connected(address) as cluster:
        say(f"rendering on {in_words(cluster)}")
        yield on_cluster(cluster, folder, scene, config)
