"""The commands: their options, and one function per command that calls ``api`` and prints the result."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from nerfscene.config import (
    Backend,
    CredentialsConfig,
    FieldConfig,
    FootageConfig,
    PoseConfig,
    RenderConfig,
    TrainConfig,
)
from nerfscene.errors import NerfsceneError
from nerfscene.export_commands import Export, Share, run_export, run_share
from nerfscene.given import home_expanded
from nerfscene.loading import INTERRUPTED, leaving_at_once
from nerfscene.path_commands import Paths, run_paths
from nerfscene.ray_commands import SPLATS_SECONDS, Settings, name_of, rendering, run_train_on_ray
from nerfscene.scene.scene import error_in_words, figures_in_words, quality_in_words, splats_in_words
from nerfscene.serve_commands import Serve, Submit, run_serve, run_submit
from nerfscene.terminal import Live, clock, posed_in_words


@dataclass(frozen=True)
class Train:
    """Make a scene from photos: find where each was taken, train a radiance field and measure it."""

    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PATH", help_behavior_hint="(required)"),
    ]
    """Folder of photos, a .zip of them, or a video; or a capture posed by COLMAP, nerfstudio, Polycam, …"""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the scene. Default: NAME-scene in the current folder, where NAME is the photos' name."""
    resume: bool = False
    """Continue training the scene in the output folder, up to the budget given now."""
    overwrite: bool = False
    """Train the scene in the output folder again from the start (its poses are kept)."""
    splats: bool = False
    """Afterwards, fit Gaussian splats to the scene for a minute; exports, pages and the viewer use them."""
    json: bool = False
    """Print only one JSON object with the figures, at the end."""
    view: bool = False
    """Serve a page that shows the scene while it trains and afterwards, until Ctrl-C."""
    host: str = "127.0.0.1"
    """With --view: the address to serve on.
    If other machines can reach it, the link contains an access token."""
    port: int = 8080
    """With --view: the port; if it is taken, the next free one."""
    ray: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Train on a Ray cluster; each PATH becomes a scene of its own, several at the same time.
    ADDRESS is such as ray://head:10001; without one, the cluster of this machine."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    footage: Annotated[FootageConfig, tyro.conf.arg(name="")] = field(default_factory=FootageConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)


@dataclass(frozen=True)
class Render:
    """Film a scene along a camera path."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The film; its name ends in .mp4, .mov, .mkv, .webm, .gif or .webp."""
    frames: Path | None = None
    """A new or empty folder for the frames as PNG pictures.
    Or the one in which this film was stopped: the frames in it are kept."""
    json: bool = False
    """Print only one JSON object that describes the film."""
    ray: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Render the frames on a Ray cluster.
    ADDRESS is such as ray://head:10001; without one, the cluster of this machine."""
    render: Annotated[RenderConfig, tyro.conf.arg(name="")] = field(default_factory=RenderConfig)
    marks: Annotated[CredentialsConfig, tyro.conf.arg(name="")] = field(default_factory=CredentialsConfig)


@dataclass(frozen=True)
class View:
    """Open a scene in the browser."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    host: str = "127.0.0.1"
    """The address to serve on; if other machines can reach it, the link contains an access token."""
    port: int = 8080
    """The port; if it is taken, the next free one."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""
    threads: int = 0
    """Threads to use; 0 for all."""
    marks: Annotated[CredentialsConfig, tyro.conf.arg(name="")] = field(default_factory=CredentialsConfig)


@dataclass(frozen=True)
class Eval:
    """Measure how close a scene comes to the photos held out of its training."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    sheet: Path | None = None
    """Also write a picture (.png or .jpg) that compares photos with renders."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""
    json: bool = False
    """Print one JSON object: psnr, ssim, flip, views, train_seconds, per_view."""


@dataclass(frozen=True)
class Report:
    """Measure a scene and rewrite its report.html."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""


@dataclass(frozen=True)
class Info:
    """Show what a scene holds, or what the content credentials of a film, picture, export or page say."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made; or a film, picture or export, or a page's folder."""
    trust: Path | None = None
    """Of a file: PEM file with the certificates whose signatures you trust."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Doctor:
    """Show what this machine has and what nerfscene will use."""

    json: bool = False
    """Print one JSON object."""


def run_train(a: Train) -> None:
    """``nerfscene train``."""
    if a.ray is not None:
        run_train_on_ray(a.photos, a.ray, a.output, _settings_on_ray(a), a.json)
        return
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.intake import one_source
        from nerfscene.ops import backend
        from nerfscene.training.progress import Control
        from nerfscene.training_page import TrainingPage

    source = home_expanded(one_source(a.photos))
    output = home_expanded(a.output or Path(f"{name_of(source)}-scene"))
    with Live(a.json) as live, contextlib.ExitStack() as stack:
        control, listener = Control(), live.training
        if a.view:
            page = TrainingPage(output, a.host, a.port, a.train, live, stack)
            control, listener = page.control, page.training

        def posed(capture: Any) -> None:
            live.say(f"computing with {backend.describe(a.train.backend)}")
            error, side = capture.reprojection_error, capture.reprojection_size
            if side is None:  # the photos' own
                side = max(max(view.intrinsics.width, view.intrinsics.height) for view in capture.views)
            accuracy = f" ({error_in_words(error, side)})" if error is not None else ""
            live.say(f"{posed_in_words(capture.views, capture.photos_given)}{accuracy}")

        try:
            made = api.train(
                source, output, a.train, a.field, a.poses, footage=a.footage, resume=a.resume,
                overwrite=a.overwrite, splats=SPLATS_SECONDS * a.splats,
                listener=listener, warn=live.warn, note=live.say, posed_listener=posed, control=control,
            )  # fmt: skip
        except KeyboardInterrupt as interrupted:
            if not (output / "scene.json").exists():
                raise
            live.bar.stop()
            live.say(
                str(interrupted)
                or f"interrupted; the scene so far is in {output}: --resume continues it, and "
                f"nerfscene report {output} shows how good it is"
            )
            sys.exit(INTERRUPTED)
        live.bar.stop()
        d = api.info(output)
        if a.json:
            print(api.as_json(d))
            return
        live.say(quality_in_words(d))
        live.say(f"scene: {output}")
        if (output / "report.html").is_file():
            live.say(f"how good it is, and how to shoot better: {output / 'report.html'}")
        live.say(f"next:  nerfscene view {output}, or nerfscene render {output} -o film.mp4")
        if a.view:
            page.wait(made)


def _settings_on_ray(a: Train) -> Settings:
    """Raises NerfsceneError for --view."""
    if a.view:
        raise NerfsceneError(
            "--view shows what this machine trains: leave it out with --ray, or use nerfscene serve"
        )
    return Settings(a.train, a.field, a.poses, a.footage, a.resume, a.overwrite, SPLATS_SECONDS * a.splats)


def run_view(a: View) -> None:
    """``nerfscene view``."""
    with leaving_at_once():
        from nerfscene.viewer.server import view

    with view(a.scene, a.host, a.port, a.backend, a.threads, a.marks) as viewer:
        lines = viewer.in_words()
        lines = [f"{lines[0]}   (Ctrl-C ends it)"] if len(lines) == 1 else [*lines, "Ctrl-C ends it"]
        print("\n".join(lines), flush=True)
        viewer.wait()


def run_render(a: Render) -> None:
    """``nerfscene render``."""
    with leaving_at_once():
        from nerfscene.films.filming import check_outputs, render_film
        from nerfscene.films.settings import settled
        from nerfscene.scene import folder as scene

    film = None if a.output is None else home_expanded(a.output)
    frames = None if a.frames is None else home_expanded(a.frames)
    check_outputs(film, frames, a.render)
    config = settled(a.render)
    with Live(a.json) as live, contextlib.ExitStack() as stack:
        loaded = scene.load(a.scene)
        elsewhere = stack.enter_context(rendering(a.ray, a.scene, loaded, config, live.say))
        began, rendered = time.monotonic(), 0

        def progress(done: int, total: int) -> None:
            nonlocal rendered
            rendered += 1
            left = (time.monotonic() - began) / rendered * (total - done)
            live.show("rendering", done / total, f"frame {done} of {total}  {clock(left)} left")

        made = render_film(
            loaded, config, film, frames, progress, live.warn, note=live.say, credentials=a.marks,
            elsewhere=elsewhere,
        )  # fmt: skip
        live.bar.stop()
        if a.json:
            from nerfscene.api import as_json  # which loads what training needs

            print(as_json(made))
        else:
            signed = made["credentials"]
            assert isinstance(signed, list)
            beside = "".join(f"; content credentials in {p}" for p in signed if p != str(film))
            outputs = " and ".join(str(p) for p in (film, frames) if p)
            live.say(
                f"{outputs}: {made['frames']} frames of {made['width']}×{made['height']}, "
                f"{made['seconds']:.1f} s"
                f"{beside}"
            )


def run_eval(a: Eval) -> None:
    """``nerfscene eval``."""
    with leaving_at_once():
        import numpy as np

        from nerfscene import api
        from nerfscene.exporters.splat_fitting import splat_figures
        from nerfscene.films import video
        from nerfscene.measuring import evaluate
        from nerfscene.measuring.contact_sheet import check_sheet_name, contact_sheet
        from nerfscene.scene import folder as scene

    sheet = None if a.sheet is None else home_expanded(a.sheet)
    if sheet is not None:
        check_sheet_name(sheet)
    loaded = scene.load(a.scene)
    if sheet is not None and all(view.split == "train" for view in loaded.views):
        raise NerfsceneError(f"{a.scene} has no held-out photos to put on a sheet: leave out --sheet")
    with Live(a.json) as live:
        pictures: dict[str, Any] = {}

        def keep(figures: dict[str, Any], photo: Any, rgb: Any, error: Any) -> None:
            if sheet is not None:
                pictures[figures["photo"]] = video.to_bytes(photo), video.to_bytes(rgb)

        d = evaluate.measure(loaded, a.backend, 0, lambda f: live.show("measuring", f), shown=keep)
        if sheet is not None:
            pairs = []
            for i in np.unique(np.linspace(0, d["views"] - 1, min(8, d["views"])).astype(int)):
                figures = d["per_view"][i]
                label = f"{figures['photo']}, {figures['psnr']:.1f} dB, FLIP {figures['flip']:.3f}"
                pairs.append((label, *pictures[figures["photo"]]))
            contact_sheet(pairs, sheet)
    d["train_seconds"] = loaded.figures.train_seconds
    d["splats"] = splat_figures(loaded, a.backend)
    if a.json:
        print(api.as_json(d))
        return
    print(quality_in_words(d))
    for v in d["per_view"]:
        print(f"  {v['photo']}: {v['psnr']:.2f} dB, {v['ssim']:.3f}, FLIP {v['flip']:.3f}")


def run_report(a: Report) -> None:
    """``nerfscene report``."""
    with leaving_at_once():
        from nerfscene import api

    print(f"report: {api.report(a.scene, a.backend)}")


def run_info(a: Info) -> None:
    """``nerfscene info``."""
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.credentials import words

    d = api.info(a.scene, None if a.trust is None else home_expanded(a.trust))
    if a.json:
        print(api.as_json(d))
        return
    if "scene_id" not in d:
        print(words.in_words(d))
        return
    shape = "unbounded, far space contracted" if d["unbounded"] else "bounded"
    print(f"{d['scene']}: a scene of {d['photos_posed']} posed photos of {d['photos']} ({d['poses_from']})")
    print(
        f"  cameras   {d['train_views']} trained on, {d['test_views']} held out, {d['width']}×{d['height']}"
    )
    print(f"  space     {shape}; the subject's box is {d['box_side_world']:.3g} world units wide")
    print(f"  figures   {figures_in_words(d)}")
    if d["splats"] is not None:
        print(f"  splats    {splats_in_words(d['splats'])}")
    state = "finished" if d["finished"] else "interrupted: --resume continues it"
    print(f"  training  {d['steps']} steps, {d['samples'] / 1e6:.0f} M samples with {d['device']} ({state})")
    print(f"  size      {d['parameters'] / 1e6:.1f} M parameters, {d['bytes'] / 2**20:.0f} MiB on disk")
    print(f"  identity  {d['scene_id']}, as its films' credentials say")


def run_doctor(a: Doctor) -> None:
    """``nerfscene doctor``."""
    with leaving_at_once():
        from nerfscene import api, doctor

        d = doctor.examine()  # loads what there is
    print(api.as_json(d) if a.json else doctor.in_words(d))


def chosen(args: Sequence[str] | None = None) -> Callable[[], None]:
    """The command that ``args`` (sys.argv if None) asks for, with its options, ready to be run.

    Raises SystemExit for --help and for options that there aren't, NerfsceneError for values out of range.
    """
    commands: dict[str, Any] = {
        "train": Train, "view": View, "render": Render, "paths": Paths, "export": Export, "share": Share,
        "serve": Serve, "submit": Submit, "eval": Eval, "report": Report, "info": Info, "doctor": Doctor,
    }  # fmt: skip
    runners: dict[type, Any] = {
        Train: run_train, View: run_view, Render: run_render, Paths: run_paths, Export: run_export,
        Share: run_share, Serve: run_serve, Submit: run_submit, Eval: run_eval, Report: run_report,
        Info: run_info, Doctor: run_doctor,
    }  # fmt: skip
    options = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="nerfscene",
        description="Snapshots in, an explorable 3D scene out. --version prints the version.",
        args=args,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
    )
    return functools.partial(runners[type(options)], options)


def as_options(message: str) -> str:
    """An error's message with a setting such as FieldConfig.log2_table named as its option.

    The settings of the commands themselves, such as Train.port, have no other name.
    """
    prefixes = {"PoseConfig": "poses.", "FieldConfig": "field."}

    def option(found: re.Match[str]) -> str:
        return f"--{prefixes.get(found[1], '')}{found[2].replace('_', '-')} "

    configs = "Pose|Footage|Field|Train|Render|Export|Page|Credentials|Serve"
    return re.sub(rf"^((?:{configs})Config)\.(\w+) ", option, message)
