"""The verbs: each stage as one call, for Python and for the command line alike."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.capture.folder import open_capture as open_capture
from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import check_config as check_field_config
from nerfscene.film.filming import render_film
from nerfscene.intake import Given, fingerprint, open_posed
from nerfscene.measure.evaluate import measure
from nerfscene.measure.report import FILE as REPORT_FILE
from nerfscene.measure.report import Gallery, write_report
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.training.loop import train_posed
from nerfscene.training.progress import Control, Listener, Progress, silent
from nerfscene.training.record import finished_already
from nerfscene.training.schedule import check_config
from nerfscene.types import PosedCapture

POSES = "poses"
SOURCE = "source.json"  # what was trained on, so that other photos don't go into the same scene unnoticed


def posed_capture(
    source: Path | str,
    workdir: Path,
    config: PoseConfig = PoseConfig(),  # noqa: B008 - frozen
    listener: Listener = silent,
    footage: FootageConfig = FootageConfig(),  # noqa: B008
    given: Given = "fitted",
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read where it has them, else found by COLMAP.

    ``source``: a folder of photos, a video, a posed capture, or a .zip of one. ``workdir`` keeps what was
    unpacked, a video's frames and COLMAP's files, so that a second call takes no time.
    ``given``: whether cameras that are read get points by which to tell how far away things are
    ("measured"), and are moved to fit these where they are off ("fitted"), or neither ("read").
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input.
    """
    told = lambda stage, done: listener(Progress(stage, done))  # noqa: E731
    return open_posed(Path(source), workdir, config, footage, told, given)


def _ours(name: str) -> bool:
    """Whether a killed training may have left a file of this name."""
    left = (POSES, SOURCE, REPORT_FILE, scenes.FIELD_FILE, scenes.TRAINING_FILE)
    return name in left or (name.startswith(".") and name.endswith(".tmp"))


def cameras_given(folder: Path, config: TrainConfig, resume: bool) -> Given:
    """What is made of cameras that came with the photos; a scene goes on with those it was begun with."""
    move = config.refine_cameras
    if resume:
        begun = scenes.load(folder)
        if not len(begun.points):
            return "read"
        move = begun.figures.settings.get("train", {}).get("refine_cameras", move)
    return "fitted" if move else "measured"


def remove_trained(folder: Path) -> None:
    """Takes a scene's training away and keeps its poses; scene.json first, so that it is whole or gone."""
    for path in [folder / scenes.SCENE_JSON, *folder.iterdir()]:
        if (path.name != POSES and _ours(path.name)) or path.name == scenes.SCENE_JSON:
            path.unlink(missing_ok=True)


def refuse_others(folder: Path, given: list[list[str | int]]) -> None:
    """Raises NerfsceneError where the scene in ``folder`` came of other photos than ``given``."""
    try:
        known = json.loads((folder / SOURCE).read_text())
    except (OSError, ValueError):  # an older scene, or one whose training was killed
        return
    if given and known and known != given:
        raise NerfsceneError(
            f"{folder} holds a scene of other photos than these; choose another folder with -o, or add "
            "--overwrite to make it anew"
        )


def open_output(folder: Path, resume: bool) -> None:
    """Makes the scene's folder, or says why it can't be used. Never empties a folder that isn't ours."""
    try:
        if folder.exists() and not folder.is_dir():
            raise NerfsceneError(f"{folder} is a file; choose another folder for the scene with -o")
        if folder.exists() and not scenes.is_scene(folder) and not all(map(_ours, os.listdir(folder))):
            raise NerfsceneError(f"{folder} exists and is not a scene; choose another folder with -o")
        if resume and not scenes.is_scene(folder):
            raise NerfsceneError(
                f"there is no scene in {folder} to go on with; leave out --resume to make one"
            )
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise NerfsceneError(
            f"{folder} can't be written ({error.strerror}); choose another folder with -o"
        ) from error


def train(
    source: Path | str,
    output: Path | str,
    config: TrainConfig = TrainConfig(),  # noqa: B008 - frozen
    field: FieldConfig = FieldConfig(),  # noqa: B008
    poses: PoseConfig = PoseConfig(),  # noqa: B008
    *,
    footage: FootageConfig = FootageConfig(),  # noqa: B008
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener = silent,
    warn: Callable[[str], None] = lambda message: None,
    posed_listener: Callable[[PosedCapture], None] = lambda posed: None,
    control: Control | None = None,
) -> Scene:
    """Photos (or a posed capture) → a trained scene in the folder ``output``.

    Stages already done are not done again: a scene that was trained to the end with the same settings
    is returned as it is. ``resume`` goes on with one that was interrupted, or further with a larger
    budget; ``overwrite`` starts its training anew (the photos' poses are kept). ``control`` pauses, saves
    and stops it from another thread.
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input.
    """
    folder = Path(output).expanduser()
    check_config(config)
    check_field_config(field)
    backend.load(config.backend)
    new = not folder.exists()
    open_output(folder, resume)
    given = fingerprint(Path(source))
    if scenes.is_scene(folder) and not overwrite:
        refuse_others(folder, given)
    if scenes.is_scene(folder) and not resume and not overwrite:
        if given and finished_already(folder, config, field):
            warn(f"{folder} was trained on these with these settings before: nothing is left to do")
            return scenes.load(folder)
        if not given:
            raise NerfsceneError(f"{source} is not there, or can't be read")
        done = scenes.read_figures(folder)
        raise NerfsceneError(
            f"{folder} already holds a scene trained for {done.train_seconds:.0f} s "
            f"({'with other settings' if done.finished else 'interrupted'}); add --resume to go on "
            "with it, --overwrite to start again, or choose another folder with -o"
        )
    opened = False
    try:
        capture = posed_capture(
            source, folder / POSES, poses, listener, footage, cameras_given(folder, config, resume)
        )
        for message in capture.warnings:
            warn(message)
        posed_listener(capture)
        if overwrite and not resume:
            remove_trained(folder)
        opened = True
        control = control or Control()
        gallery = Gallery()
        control.measured = gallery.add
        scene = train_posed(capture, folder, config, field, listener, resume, control)
        try:
            write_report(scene, folder, gallery.pictures)
        except Exception as error:  # a scene without its report is still a scene
            warn(f"the report could not be written ({error}); nerfscene report {folder} tries again")
        return scene
    finally:
        if opened and scenes.is_scene(folder):
            with contextlib.suppress(OSError), scenes.writing(folder / SOURCE) as temporary:
                temporary.write_text(json.dumps(given))
        for empty in (folder / POSES, folder) if new else (folder / POSES,):  # nothing came of it
            with contextlib.suppress(OSError):
                empty.rmdir()


def report(folder: Path | str, backend_name: str = "auto") -> Path:
    """Measures a scene and writes its report.html anew; returns the file.

    Raises NerfsceneError for a scene that can't be read or a folder that can't be written.
    """
    folder = Path(folder).expanduser()
    scene = scenes.load(folder)
    gallery = Gallery()
    measure(scene, backend_name, seen=gallery.add)
    return write_report(scene, folder, gallery.pictures)


def info(folder: Path | str) -> dict[str, Any]:
    """What is in a scene, as one plain dictionary."""
    folder = Path(folder)
    scene = scenes.load(folder)
    f = scene.figures
    size = sum(p.stat().st_size for p in folder.iterdir() if p.is_file())
    k = scene.views[0].intrinsics
    return {
        "scene": str(folder),
        "photos": f.photos,
        "photos_posed": f.photos_posed,
        "poses_from": f.source,
        "reprojection_error": f.reprojection_error,
        "train_views": sum(v.split == "train" for v in scene.views),
        "test_views": sum(v.split == "test" for v in scene.views),
        "width": k.width,
        "height": k.height,
        "downscale": f.downscale,
        "unbounded": scene.field.space.unbounded,
        "box_side_world": 2.0 / similarity_scale(scene.scene_from_world),
        "points": len(scene.points),
        "psnr": f.psnr,
        "ssim": f.ssim,
        "psnr_matched": f.psnr_matched,
        "cameras_moved": f.cameras_moved,
        "views": f.views,
        "train_seconds": f.train_seconds,
        "steps": f.steps,
        "samples": f.samples,
        "finished": f.finished,
        "device": f.device,
        "parameters": int(scene.field.table.size + scene.field.weights.size),
        "bytes": size,
        "field": asdict(scene.field.config),
    }


def as_json(data: dict[str, Any]) -> str:
    """One JSON object on one line."""
    return json.dumps(data, default=str)


def film(
    scene: Scene,
    file: Path | str,
    config: RenderConfig = RenderConfig(),  # noqa: B008 - frozen
    frames: Path | str | None = None,
) -> dict[str, float | int | str]:
    """Films a scene along ``config.path`` to ``file``, and to numbered pictures in ``frames``.

    Returns what was made: frames, fps, width, height, seconds. Raises NerfsceneError for a path, size or
    output that can't be used.
    """
    return render_film(scene, config, Path(file), Path(frames) if frames is not None else None)
