"""The steps from photos to film, each as one function. The command line calls the same functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.capture.folder import open_capture as open_capture
from nerfscene.capture.work_folder import complete_results
from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import check_config as check_field_config
from nerfscene.films.filming import render_film
from nerfscene.intake import RESULTS, Given, fingerprint, open_posed
from nerfscene.measuring.evaluate import measure
from nerfscene.measuring.report import Gallery, write_report
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.scene.output_folder import (
    POSES,
    REPORT_FILE,
    forget_photos,
    open_output,
    refuse_other_photos,
    remember_photos,
    remove_empty,
)
from nerfscene.training.begun import as_begun
from nerfscene.training.loop import train_posed
from nerfscene.training.progress import Control, Listener, Progress, silent
from nerfscene.training.record import finished_already
from nerfscene.training.schedule import check_config
from nerfscene.types import PosedCapture


def posed_capture(
    source: Path | str,
    workdir: Path | str,
    config: PoseConfig = PoseConfig(),  # noqa: B008 - frozen
    listener: Listener = silent,
    footage: FootageConfig = FootageConfig(),  # noqa: B008
    given: Given = "fitted",
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read if it comes with cameras, else estimated by COLMAP.

    source: a folder of photos, a video, a posed capture, or a .zip of one of these. workdir: keeps unpacked
    files, the frames of a video and COLMAP's files, so that a second call is fast. listener: called with
    the progress. given: what to do with cameras that are read: "read" leaves them as they are, "measured"
    also triangulates points, from which distances are estimated, and "fitted" also corrects cameras that
    don't fit those points.
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input.
    """

    def progress(stage: str, fraction: float) -> None:
        listener(Progress(stage, fraction))

    return open_posed(Path(source).expanduser(), Path(workdir).expanduser(), config, footage, progress, given)


def cameras_given(folder: Path, config: TrainConfig, resume: bool) -> Given:
    """What to do with cameras that come with the photos; a resumed scene keeps what it was begun with."""
    refine = config.refine_cameras
    if resume:
        scene = scenes.load(folder)
        if not len(scene.points):
            return "read"
        refine = scene.figures.settings.get("train", {}).get("refine_cameras", refine)
    return "fitted" if refine else "measured"


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
    note: Callable[[str], None] = lambda message: None,
    posed_listener: Callable[[PosedCapture], None] = lambda posed: None,
    control: Control | None = None,
) -> Scene:
    """Makes a scene from photos, or from a posed capture, in the folder ``output``.

    source: as in ``posed_capture``. config, field, poses, footage: the settings of each step.
    resume: continue an interrupted run, or train further with a larger budget. overwrite: train again from
    the start; the photos' poses are kept, and the old scene until the new one is saved for the first time.
    listener: called with the progress. warn: called with each warning. note: called with a line that says
    what an earlier run has left to go on with, if it has. posed_listener: called with the capture when its
    cameras are known. control: pauses, saves or stops the training from another thread.

    A scene that was trained to the end with the same settings is returned as it is.
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input.
    So many parameters because each is something that a user sets.
    """
    folder = Path(output).expanduser()
    check_config(config)
    check_field_config(field)
    backend.load(config.backend)
    is_new = not folder.exists()
    open_output(folder, resume)
    given = fingerprint(Path(source).expanduser())
    if scenes.is_scene(folder) and not overwrite:
        refuse_other_photos(folder, given)
        if not resume:
            return _finished_scene(folder, source, given, config, field, warn)
    posed = False
    left = complete_results(folder / POSES)
    try:
        use = cameras_given(folder, config, resume)
        capture = posed_capture(source, folder / POSES, poses, listener, footage, use)
        capture = as_begun(capture, folder) if resume else capture
        _tell(capture.warnings, warn)
        _tell(_going_on(folder, left, resume), note)
        posed_listener(capture)
        if resume or not scenes.is_scene(folder):
            remember_photos(folder, given)
        posed = True
        return _train_and_report(capture, folder, config, field, resume, listener, warn, control)
    finally:
        if posed:
            _settle_photos(folder, given)
        remove_empty((folder / POSES, folder) if is_new else (folder / POSES,))


def _tell(lines: Sequence[str], told: Callable[[str], None]) -> None:
    for line in lines:
        told(line)


def _settle_photos(folder: Path, given: list[list[str | int]]) -> None:
    """Leaves source.json beside a scene, and only there; given: the photos' fingerprint."""
    if not scenes.is_scene(folder):
        forget_photos(folder)
    elif not (folder / scenes.SOURCE).exists():  # an old scene's went with it
        remember_photos(folder, given)


def _going_on(folder: Path, left: Mapping[str, int], resume: bool) -> list[str]:
    """What this run goes on with, as one line or none; left: the complete results that it found at first."""
    now = complete_results(folder / POSES)
    words = [RESULTS[name] for name in RESULTS if name in left and now.get(name) == left[name]]
    kept = f"kept from the last run: {', '.join(words)}" if words else ""
    if not resume:
        return [kept] if kept else []
    at = f"going on with the training at step {scenes.read_figures(folder).steps}"
    return [f"{at}; {kept}" if kept else at]


def _finished_scene(
    folder: Path,
    source: Path | str,
    given: list[list[str | int]],
    config: TrainConfig,
    field: FieldConfig,
    warn: Callable[[str], None],
) -> Scene:
    """The scene in ``folder`` if it is finished and has these settings; else raises NerfsceneError."""
    if given and finished_already(folder, config, field):
        report = "" if (folder / REPORT_FILE).is_file() else f"; nerfscene report {folder} makes its report"
        warn(
            f"{folder} is already trained on these photos with these settings: nothing is left to do{report}"
        )
        return scenes.load(folder)
    if not given:
        raise NerfsceneError(f"{source} doesn't exist or can't be read")
    figures = scenes.read_figures(folder)
    raise NerfsceneError(
        f"{folder} already holds a scene trained for {figures.train_seconds:.0f} s "
        f"({'with other settings' if figures.finished else 'interrupted'}); add --resume to continue it, "
        "--overwrite to start again, or choose another folder with -o"
    )


def _train_and_report(
    capture: PosedCapture,
    folder: Path,
    config: TrainConfig,
    field: FieldConfig,
    resume: bool,
    listener: Listener,
    warn: Callable[[str], None],
    control: Control | None,
) -> Scene:
    control = control or Control()
    gallery = Gallery()
    control.measured = gallery.add
    scene = train_posed(capture, folder, config, field, listener, resume, control)
    try:
        write_report(scene, folder, gallery.pictures)
    except Exception as error:  # a scene without its report is still a scene
        warn(f"the report could not be written ({error}); to try again: nerfscene report {folder}")
    return scene


def report(folder: Path | str, backend_name: str = "auto") -> Path:
    """Measures the scene in ``folder`` again and rewrites its report.html; returns that file.

    Raises NerfsceneError for a scene or photo that can't be read, or a folder that can't be written.
    """
    folder = Path(folder).expanduser()
    scene = scenes.load(folder)
    gallery = Gallery()
    measure(scene, backend_name, shown=gallery.add)
    return write_report(scene, folder, gallery.pictures)


def info(folder: Path | str) -> dict[str, Any]:
    """Facts about the scene in ``folder`` as a dictionary of plain values.

    Among them: photos, photos_posed, train_views, test_views; width and height in pixels; psnr (dB), ssim;
    train_seconds, steps, finished; parameters (of the field), bytes (on disk).
    Raises NerfsceneError for a scene that can't be read.
    """
    folder = Path(folder).expanduser()
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
    """``data`` as one JSON object on one line."""
    return json.dumps(data, default=str)


def film(
    scene: Scene,
    file: Path | str,
    config: RenderConfig = RenderConfig(),  # noqa: B008 - frozen
    frames: Path | str | None = None,
) -> dict[str, float | int | str | list[str]]:
    """Films a scene along ``config.path`` to the video ``file`` and, if given, to pictures in ``frames``.

    file: ends in .mp4, .mov or .mkv. frames: a new or empty folder for numbered PNG pictures.
    Returns frames (their number), fps, width, height, seconds, film, frames_folder, and warnings: a list of
    sentences about the path.
    Raises NerfsceneError for a path, size or output that can't be used.
    """
    folder = Path(frames).expanduser() if frames is not None else None
    return render_film(scene, config, Path(file).expanduser(), folder)
