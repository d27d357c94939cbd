"""The command line: thin over the verbs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from nerfscene import __version__
from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.training.progress import Control
from nerfscene.training.progress import Progress as TrainingProgress

BAD_INPUT, INTERRUPTED = 2, 130


@dataclass(frozen=True)
class Train:
    """Photos → a scene: finds where each was taken, trains a radiance field, measures it."""

    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PATH", help_behavior_hint="(required)"),
    ]
    """Folder of photos, a .zip of them, or a video; or a capture posed by COLMAP, nerfstudio, Polycam, …"""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the scene; by default, the photos' name with -scene behind it, here."""
    resume: bool = False
    """Go on with the scene in the output folder, up to the budget given now."""
    overwrite: bool = False
    """Train the scene in the output folder anew (its poses are kept)."""
    json: bool = False
    """Print the figures as one JSON object at the end, and nothing else."""
    view: bool = False
    """Open a page that shows the scene while it trains, and stays until Ctrl-C."""
    host: str = "127.0.0.1"
    """With --view: the address to serve on; on any but this machine's own, the link holds a token."""
    port: int = 8080
    """With --view: the port, or the next free one."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    footage: Annotated[FootageConfig, tyro.conf.arg(name="")] = field(default_factory=FootageConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)


@dataclass(frozen=True)
class Render:
    """A scene → a film along a camera path."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The film: a name that ends in .mp4, .mov or .mkv."""
    frames: Path | None = None
    """An empty or new folder for PNG frames."""
    json: bool = False
    """Print what was made as one JSON object, and nothing else."""
    render: Annotated[RenderConfig, tyro.conf.arg(name="")] = field(default_factory=RenderConfig)


@dataclass(frozen=True)
class View:
    """Step into a scene in the browser."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    host: str = "127.0.0.1"
    """The address to serve on; on any but this machine's own, the link holds a token."""
    port: int = 8080
    """The port, or the next free one."""
    backend: str = "auto"
    """What computes: auto, cpu, cuda or torch."""
    threads: int = 0
    """Threads to use; 0 for all of them."""


@dataclass(frozen=True)
class Eval:
    """How close a scene comes to the photos held out of its training."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    sheet: Path | None = None
    """Also write photos beside renders to this picture (.png or .jpg)."""
    backend: str = "auto"
    """What computes: auto, cpu or torch."""
    json: bool = False
    """Print one JSON object: psnr, ssim, views, train_seconds, per_view."""


@dataclass(frozen=True)
class Report:
    """Measures a scene and writes its report.html anew."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    backend: str = "auto"
    """What computes: auto, cpu, cuda or torch."""


@dataclass(frozen=True)
class Info:
    """What is in a scene."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Doctor:
    """What this machine has and what nerfscene will use."""

    json: bool = False
    """Print one JSON object."""


class Live:
    """Progress on the terminal; single lines now and then where there is none."""

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(),
            TextColumn("{task.fields[note]}"), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self.stage, self.told = "", 0.0
        self.task: TaskID | None = None

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def show(self, stage: str, fraction: float, note: str = "") -> None:
        if stage != self.stage:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.stage, self.told = stage, 0.0
            self.task = self.bar.add_task(stage, total=1.0, note=note)
        assert self.task is not None
        self.bar.update(self.task, completed=fraction, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.told > 5 or fraction >= 1.0):
            self.told = now
            self.say(f"{stage}: {100 * fraction:.0f} % {note}".rstrip())

    def training(self, p: TrainingProgress) -> None:
        note = ""
        if p.step:
            note = (
                f"step {p.step}  loss {p.loss:.5f}  PSNR {p.psnr:.1f} dB  "
                f"{p.rate / 1e6:.2f} M samples/s  {clock(p.remaining)} left"
            )
        self.show(p.stage, p.fraction, note)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    if not seconds < 1e7:
        return "some time"
    whole = max(round(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"


WORTH_SAYING = 0.3  # dB


def figures_line(d: dict[str, Any]) -> str:
    """PSNR and SSIM as a sentence."""
    if d.get("psnr") is None:
        return "no photos were held out, so nothing was measured"
    matched = d.get("psnr_matched") or d["psnr"]
    whose = "this photo's" if d["views"] == 1 else "these photos'"
    exposed = (
        f" ({matched:.2f} dB but for {whose} exposure and camera)"
        if matched > d["psnr"] + WORTH_SAYING
        else ""
    )
    photos = "photo" if d["views"] == 1 else "photos"
    return (
        f"{d['views']} held-out {photos}: PSNR {d['psnr']:.2f} dB{exposed}, SSIM {d['ssim']:.3f} "
        f"after {d['train_seconds']:.0f} s of training"
    )


def run_train(a: Train) -> None:
    from nerfscene import api
    from nerfscene.intake import one_source
    from nerfscene.ops import backend

    # `kill` ends training as Ctrl-C does. Set here because importing pycolmap sets a handler of its own,
    # which prints a stack trace.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    source = one_source(a.photos).expanduser()
    named = source.resolve() if source.suffix != ".json" else source.resolve().parent
    name = named.stem if named.is_file() else named.name
    output = (a.output or Path(f"{name}-scene")).expanduser()
    with Live(a.json) as live, contextlib.ExitStack() as page:
        control, listener = Control(), live.training
        if a.view:
            watched = Watched(a, output, live, page)
            control, listener = watched.control, watched.training

        def posed(capture: Any) -> None:
            live.say(f"computing with {backend.describe(a.train.backend)}")
            error = capture.reprojection_error
            how = f" ({error:.2f} px)" if error is not None else ""
            live.say(f"{len(capture.views)} of {capture.photos_given} photos posed{how}")

        try:
            made = api.train(
                source, output, a.train, a.field, a.poses, footage=a.footage, resume=a.resume,
                overwrite=a.overwrite,
                listener=listener, warn=live.warn, posed_listener=posed, control=control,
            )  # fmt: skip
        except KeyboardInterrupt:
            if not (output / "scene.json").exists():
                raise
            live.bar.stop()
            live.say(
                f"interrupted; what was trained is in {output}: --resume goes on from it, and "
                f"nerfscene report {output} says how it came out"
            )
            sys.exit(INTERRUPTED)
        live.bar.stop()
        d = api.info(output)
        if a.json:
            print(api.as_json(d))
            return
        live.say(figures_line(d))
        live.say(f"scene: {output}")
        if (output / "report.html").is_file():
            live.say(f"how it came out, and how to shoot better: {output / 'report.html'}")
        live.say(f"next:  nerfscene view {output}, or nerfscene render {output} -o film.mp4")
        if a.view:
            watched.wait(made.backdrop)


class Watched:
    """The page that shows a training: opened at its first step, open until Ctrl-C."""

    def __init__(self, a: Train, output: Path, live: Live, page: contextlib.ExitStack) -> None:
        self.a, self.output, self.live, self.page = a, output, live, page
        self.control = Control(started=self.started)
        self.viewer: Any = None
        self.told = 0.0
        self.history: list[tuple[float, float, float]] = []  # seconds, PSNR, loss
        self.text = "starting"

    def started(self, scene: Any) -> None:
        from nerfscene.viewer.server import Viewer
        from nerfscene.viewer.stage import Training

        def ask(name: str, value: bool = True) -> None:
            setattr(self.control, name, value)

        asks = Training(
            figures=lambda: {"text": self.text, "seconds": [h[0] for h in self.history],
                             "psnr": [h[1] for h in self.history], "loss": [h[2] for h in self.history]},
            pause=lambda on: ask("pause", on), stop=lambda: ask("stop"), save=lambda: ask("save"),
        )  # fmt: skip
        a = self.a
        viewer = Viewer(scene, self.output, a.host, a.port, a.train.backend, a.train.threads, asks)
        self.viewer = self.page.enter_context(viewer)
        self.live.say(f"look at it: {self.viewer.url}")

    def training(self, p: TrainingProgress) -> None:
        self.live.training(p)
        if self.viewer is None or not p.step or time.monotonic() - self.told < 2:
            return
        self.told = time.monotonic()
        self.history.append((p.seconds, p.psnr, p.loss))
        self.text = (
            f"step {p.step}, loss {p.loss:.5f}, **{p.psnr:.1f} dB** on the photos it trains on, "
            f"{p.rate / 1e6:.2f} M samples/s, {clock(p.remaining)} left"
        )
        self.viewer.refresh()

    def wait(self, backdrop: Any) -> None:
        if self.viewer is None:  # it was trained already
            self.live.say(f"trained already; nerfscene view {self.output} shows it")
            return
        self.text = "finished"
        self.viewer.trained(backdrop)
        self.live.say(f"the page stays open until Ctrl-C: {self.viewer.url}")
        self.viewer.wait()


def run_view(a: View) -> None:
    from nerfscene.viewer.server import view

    with view(a.scene, a.host, a.port, a.backend, a.threads) as viewer:
        print(f"open {viewer.url}   (Ctrl-C ends it)", flush=True)
        viewer.wait()


def run_render(a: Render) -> None:
    from nerfscene import api
    from nerfscene.film.filming import render_film
    from nerfscene.scene import folder as scene

    with Live(a.json) as live:
        loaded = scene.load(a.scene)
        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            left = (time.monotonic() - began) / done * (total - done)
            live.show("rendering", done / total, f"frame {done} of {total}  {clock(left)} left")

        made = render_film(loaded, a.render, a.output, a.frames, progress)
        live.bar.stop()
        if a.json:
            print(api.as_json(made))
        else:
            where = " and ".join(str(p) for p in (a.output, a.frames) if p)
            live.say(
                f"{where}: {made['frames']} frames of {made['width']}×{made['height']}, "
                f"{made['seconds']:.1f} s"
            )


def run_eval(a: Eval) -> None:
    import numpy as np

    from nerfscene import api
    from nerfscene.film import video
    from nerfscene.measure import contact, evaluate
    from nerfscene.scene import folder as scene

    loaded = scene.load(a.scene)
    with Live(a.json) as live:
        seen: dict[str, Any] = {}

        def keep(figures: dict[str, Any], photo: Any, rgb: Any) -> None:
            if a.sheet is not None:
                seen[figures["photo"]] = video.to_bytes(photo), video.to_bytes(rgb)

        d = evaluate.measure(loaded, a.backend, 0, lambda f: live.show("measuring", f), keep)
        if a.sheet is not None:
            if not d["views"]:
                raise NerfsceneError(f"{a.scene} has no held-out photos to put on a sheet")
            pairs = []
            for i in np.unique(np.linspace(0, d["views"] - 1, min(8, d["views"])).astype(int)):
                of = d["per_view"][i]
                pairs.append((f"{of['photo']}, {of['psnr']:.1f} dB", *seen[of["photo"]]))
            contact.contact_sheet(pairs, a.sheet)
    d["train_seconds"] = loaded.figures.train_seconds
    if a.json:
        print(api.as_json(d))
        return
    print(figures_line(d))
    for v in d["per_view"]:
        print(f"  {v['photo']}: {v['psnr']:.2f} dB, {v['ssim']:.3f}")


def run_report(a: Report) -> None:
    from nerfscene import api

    print(f"report: {api.report(a.scene, a.backend)}")


def run_info(a: Info) -> None:
    from nerfscene import api

    d = api.info(a.scene)
    if a.json:
        print(api.as_json(d))
        return
    shape = "unbounded, far space contracted" if d["unbounded"] else "bounded"
    print(f"{d['scene']}: a scene of {d['photos_posed']} posed photos of {d['photos']} ({d['poses_from']})")
    print(
        f"  cameras   {d['train_views']} trained on, {d['test_views']} held out, {d['width']}×{d['height']}"
    )
    print(f"  space     {shape}; the subject's box is {d['box_side_world']:.3g} world units wide")
    print(f"  figures   {figures_line(d)}")
    state = "finished" if d["finished"] else "interrupted: --resume goes on"
    print(f"  training  {d['steps']} steps, {d['samples'] / 1e6:.0f} M samples with {d['device']} ({state})")
    print(f"  size      {d['parameters'] / 1e6:.1f} M parameters, {d['bytes'] / 2**20:.0f} MiB on disk")


def run_doctor(a: Doctor) -> None:
    from nerfscene import api, doctor

    d = doctor.examine()
    print(api.as_json(d) if a.json else doctor.in_words(d))


def main(args: Sequence[str] | None = None) -> None:
    """Entry point: exit code 0, 2 for bad input (one sentence, no traceback), 130 for Ctrl-C."""
    if (sys.argv[1:] if args is None else list(args)) == ["--version"]:
        print(f"nerfscene {__version__}")
        return
    commands: dict[str, Any] = {
        "train": Train, "view": View, "render": Render, "eval": Eval, "report": Report, "info": Info,
        "doctor": Doctor,
    }  # fmt: skip
    runners: dict[type, Any] = {
        Train: run_train, View: run_view, Render: run_render, Eval: run_eval, Report: run_report,
        Info: run_info, Doctor: run_doctor,
    }  # fmt: skip
    try:
        chosen = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="nerfscene",
            description="Snapshots in, an explorable 3D scene out. --version prints the version.",
            args=args,
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
        )
        runners[type(chosen)](chosen)
    except NerfsceneError as error:
        print(f"nerfscene: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("nerfscene: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
