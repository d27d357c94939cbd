"""The steps from photos to film, each as one function. The command line calls the same functions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from nerfscene.capture import decoded
from nerfscene.capture.folder import StageListener
from nerfscene.capture.folder import open_capture as open_folder
from nerfscene.capture.folder import silent as unheard
from nerfscene.capture.work_folder import complete_results, remove_unfinished
from nerfscene.config import FieldConfig, FootageConfig, PoseConfig, TrainConfig
from nerfscene.credentials.checking import asset_of, check, check_page
from nerfscene.credentials.marking import BESIDE
from nerfscene.errors import NerfsceneError, warn_caller
from nerfscene.exporters.told import Told
from nerfscene.given import callable_given, instance_given, path_given, seconds_given
from nerfscene.intake import RESULTS, Given, fingerprint, open_posed
from nerfscene.measuring.evaluate import measure
from nerfscene.measuring.report import Gallery, write_report
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.scene.folder_lock import only_one
from nerfscene.scene.output_folder import (
    POSES,
    REPORT_FILE,
    forget_photos,
    open_output,
    refuse_other_photos,
    remember_photos,
    remove_empty,
)
from nerfscene.scene.summary import summary
from nerfscene.training.begun import as_begun
from nerfscene.training.loop import train_posed
from nerfscene.training.progress import Control, Listener, Progress, silent
from nerfscene.training.record import finished_already
from nerfscene.training.schedule import QUALITIES, budget_spent
from nerfscene.types import Capture, PosedCapture

Warn = Callable[[str], None]
FROM_LOAD = ", as nerfscene.load returns"


@contextlib.contextmanager
def with_progress(listener: Listener, progress: bool) -> Iterator[Listener]:
    """What to call with the progress: ``listener``, and with ``progress`` the lines that commands print."""
    instance_given(progress, bool, "progress")
    if not progress:
        yield listener
        return
    from nerfscene.terminal import Live  # rich takes a while to load

    with Live(quiet=False) as live:

        def both(p: Progress) -> None:
            live.training(p)
            listener(p)

        yield both


def warner(warn: Warn | None) -> Warn:
    """What to call with each warning."""
    if warn is None:
        return warn_caller
    callable_given(warn, "warn")
    return warn


def open_capture(path: Path | str, progress: StageListener = unheard, *, warn: Warn | None = None) -> Capture:
    """The photos of a folder and its sub-folders, in the natural order of their names.

    Every photo is decoded once, so that a damaged one is found here and not halfway through training. Photos
    that can't be read, are much more blurred than the others, or are duplicates are left out, with one
    warning per reason that names them. Masks in folders called ``masks`` are used.
    progress: called with the stage and the fraction of it that is done. warn: called with each warning; when
    it is not given, they are issued as NerfsceneWarning. The capture lists them as well.
    Raises NerfsceneError when fewer than 3 photos remain, or a mask has other proportions than its photo.
    """
    told = warner(warn)
    callable_given(progress, "progress")
    capture = open_folder(path_given(path, "path"), progress)
    for message in capture.warnings:
        told(message)
    return capture


def posed_capture(
    source: Path | str,
    workdir: Path | str,
    config: PoseConfig = PoseConfig(),  # noqa: B008 - frozen
    listener: Listener = silent,
    footage: FootageConfig = FootageConfig(),  # noqa: B008
    given: Given = "fitted",
    *,
    progress: bool = False,
    warn: Warn | None = None,
) -> PosedCapture:
    """The capture at ``source`` with its cameras: read if it comes with cameras, else estimated by COLMAP.

    source: a folder of photos, a video, a posed capture, or a .zip of one of these. workdir: keeps unpacked
    files, the frames of a video and COLMAP's files, so that a second call is fast. listener: called with
    the progress. progress: print the progress, as the command line does. given: what to do with cameras that
    are read: "read" leaves them as they are, "measured" also triangulates points, from which distances are
    estimated, and "fitted" also corrects cameras that don't fit those points. warn: called with each warning;
    when it is not given, they are issued as NerfsceneWarning. The capture lists them as well.
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input, and TypeError
    for an argument of the wrong type.
    """
    instance_given(config, PoseConfig, "config")
    instance_given(footage, FootageConfig, "footage")
    if given not in get_args(Given):
        raise NerfsceneError(f"given must be one of {', '.join(get_args(Given))}, not {given!r}")
    place, folder = path_given(source, "source"), path_given(workdir, "workdir")
    callable_given(listener, "listener")
    warned = warner(warn)
    with with_progress(listener, progress) as heard:

        def told(stage: str, fraction: float) -> None:
            heard(Progress(stage, fraction))

        capture = open_posed(place, folder, config, footage, told, given)
    for message in capture.warnings:
        warned(message)
    return capture


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
    splats: float = 0.0,
    listener: Listener = silent,
    progress: bool = False,
    warn: Warn | None = None,
    note: Callable[[str], None] = lambda message: None,
    posed_listener: Callable[[PosedCapture], None] = lambda posed: None,
    control: Control | None = None,
) -> Scene:
    """Makes a scene from photos, or from a posed capture, in the folder ``output``.

    source: as in ``posed_capture``. config, field, poses, footage: the settings of each step.
    resume: continue an interrupted run, or train further with a larger budget. overwrite: train again from
    the start; the photos' poses are kept, and the old scene until the new one is saved for the first time.
    splats: seconds to fit Gaussian splats to the scene after that, as ``fit_splats`` does; 0: none.
    listener: called with the progress. progress: print the progress, as the command line does. warn: called
    with each warning; when it is not given, they are issued as NerfsceneWarning. note: called with a line
    that says what an earlier run has left to go on with, if it has. posed_listener: called with the capture
    when its cameras are known. control: pauses, saves or stops the training from another thread.

    A scene that was trained to the end with the same settings is returned as it is.
    Raises NerfsceneError, with one sentence for the user, for anything wrong with the input, or if another
    training is at work in the folder; and TypeError for an argument of the wrong type.
    So many parameters because each is something that a user sets.
    """
    job = _Job(
        path_given(source, "source"), path_given(output, "output"), config, field, poses, footage,
        resume, overwrite, splats, warner(warn), note, posed_listener,
        Control() if control is None else control,
    )  # fmt: skip
    job.check()
    callable_given(listener, "listener")
    backend.load(config.backend)
    is_new = not job.folder.exists()
    open_output(job.folder, resume)
    try:
        with only_one(job.folder), with_progress(listener, progress) as heard:
            return _with_splats(job, _trained(job, heard), heard)
    finally:
        if is_new:
            remove_empty((job.folder,))


@dataclass(frozen=True)
class _Job:
    """What ``train`` was given."""

    source: Path
    folder: Path
    config: TrainConfig
    field: FieldConfig
    poses: PoseConfig
    footage: FootageConfig
    resume: bool
    overwrite: bool
    splats: float
    warn: Warn
    note: Callable[[str], None]
    posed_listener: Callable[[PosedCapture], None]
    control: Control

    def check(self) -> None:
        """Raises TypeError, naming the argument, for one of the wrong type."""
        instance_given(self.config, TrainConfig, "config")
        instance_given(self.field, FieldConfig, "field")
        instance_given(self.poses, PoseConfig, "poses")
        instance_given(self.footage, FootageConfig, "footage")
        instance_given(self.resume, bool, "resume")
        instance_given(self.overwrite, bool, "overwrite")
        seconds_given(self.splats, "splats")
        instance_given(self.control, Control, "control")
        callable_given(self.note, "note")
        callable_given(self.posed_listener, "posed_listener")


def _trained(job: _Job, listener: Listener) -> Scene:
    """The scene in the job's folder, which is there and no other training's, trained as far as is asked."""
    folder = job.folder
    given = fingerprint(job.source)
    if scenes.is_scene(folder) and not job.overwrite:
        refuse_other_photos(folder, given)
        if not job.resume:
            return _finished_scene(job, given)
    posed, size = False, job.poses.max_image_size
    again = job.config.downscale is None and QUALITIES[job.config.quality][1] == size
    left = complete_results(folder / POSES)
    try:
        with decoded.keeping(folder, size, again):
            use = cameras_given(folder, job.config, job.resume)
            capture = posed_capture(
                job.source, folder / POSES, job.poses, listener, job.footage, use, warn=lambda message: None
            )
            remove_unfinished(folder / POSES)
            capture = as_begun(capture, folder) if job.resume else capture
            _tell(_losing_splats(job), job.warn)
            _tell(capture.warnings, job.warn)
            _tell(_going_on(folder, left, job.resume), job.note)
            job.posed_listener(capture)
            if job.resume or not scenes.is_scene(folder):
                remember_photos(folder, given)
            posed = True
            return _train_and_report(job, capture, listener)
    finally:
        if posed:
            _settle_photos(folder, given)
        remove_empty((folder / POSES,))


def _with_splats(job: _Job, scene: Scene, listener: Listener) -> Scene:
    """The scene that was just trained, or was already, with splats if they are wanted and it has none."""
    if not job.splats or scene.splats is not None or job.control.stop:
        return scene
    from nerfscene.exporters.splat_fitting import saved_with_splats  # takes a while to load

    told = Told(lambda stage, done: listener(Progress(stage, done)), job.warn, fit_heard(listener))
    config = job.config
    try:
        return saved_with_splats(scene, job.folder, job.splats, told, config.backend, config.threads)
    except KeyboardInterrupt:  # before the fit began, or when it was being measured
        raise KeyboardInterrupt(
            f"interrupted; the scene in {job.folder} is trained, but its splats are not fitted: nerfscene "
            "train --splats with the same photos and settings, but without --overwrite, fits them"
        ) from None


def fit_heard(listener: Listener) -> Callable[[str, float, str], None]:
    """A ``Told.noted`` that calls a listener."""
    return lambda stage, done, text: listener(Progress(stage, done, note=text))


def _tell(lines: Sequence[str], told: Callable[[str], None]) -> None:
    for line in lines:
        told(line)


def _settle_photos(folder: Path, given: list[list[str | int]]) -> None:
    """Leaves source.json beside a scene, and only there; given: the photos' fingerprint."""
    if not scenes.is_scene(folder):
        forget_photos(folder)
    elif not (folder / scenes.SOURCE).exists():  # an old scene's went with it
        remember_photos(folder, given)


def _losing_splats(job: _Job) -> list[str]:
    """Says that training further removes splats, if it does and no others are to be fitted."""
    if not job.resume or job.splats:
        return []
    figures = scenes.read_figures(job.folder)
    over = budget_spent(job.config, figures.train_seconds, figures.steps)
    if figures.splats is None or over or finished_already(job.folder, job.config, job.field):
        return []
    return ["the scene's splats were fitted to it as it was, and go; --splats fits others afterwards"]


def _going_on(folder: Path, left: Mapping[str, int], resume: bool) -> list[str]:
    """What this run goes on with, as one line or none; left: the complete results that it found at first."""
    now = complete_results(folder / POSES)
    words = [RESULTS[name] for name in RESULTS if name in left and now.get(name) == left[name]]
    kept = f"kept from the last run: {', '.join(words)}" if words else ""
    if not resume:
        return [kept] if kept else []
    at = f"going on with the training at step {scenes.read_figures(folder).steps}"
    return [f"{at}; {kept}" if kept else at]


def _finished_scene(job: _Job, given: list[list[str | int]]) -> Scene:
    """The job's scene if it is finished and has these settings; else raises NerfsceneError."""
    folder = job.folder
    if given and finished_already(folder, job.config, job.field):
        scene = scenes.load(folder)
        only_splats = job.splats and scene.splats is None
        left = "only its splats are left to fit" if only_splats else "nothing is left to do"
        report = "" if (folder / REPORT_FILE).is_file() else f"; nerfscene report {folder} makes its report"
        job.warn(f"{folder} is already trained on these photos with these settings: {left}{report}")
        return scene
    if not given:
        raise NerfsceneError(f"{job.source} doesn't exist or can't be read")
    figures = scenes.read_figures(folder)
    raise NerfsceneError(
        f"{folder} already holds a scene trained for {figures.train_seconds:.0f} s "
        f"({'with other settings' if figures.finished else 'interrupted'}); add --resume to continue it, "
        "--overwrite to start again, or choose another folder with -o"
    )


def _train_and_report(job: _Job, capture: PosedCapture, listener: Listener) -> Scene:
    folder, gallery = job.folder, Gallery()
    job.control.measured = gallery.add
    scene = train_posed(capture, folder, job.config, job.field, listener, job.resume, job.control)
    try:
        write_report(scene, folder, gallery.pictures)
    except Exception as error:  # a scene without its report is still a scene
        job.warn(f"the report could not be written ({error}); to try again: nerfscene report {folder}")
    return scene


def report(folder: Path | str, backend_name: str = "auto", *, progress: bool = False) -> Path:
    """Measures the scene in ``folder`` again and rewrites its report.html; returns that file.

    progress: print the progress, as the command line does.
    Raises NerfsceneError for a scene or photo that can't be read, or a folder that can't be written.
    """
    folder = path_given(folder, "folder")
    scene = scenes.load(folder)
    gallery = Gallery()
    with with_progress(silent, progress) as heard:
        measure(scene, backend_name, 0, lambda done: heard(Progress("measuring", done)), shown=gallery.add)
    return write_report(scene, folder, gallery.pictures)


def info(folder: Path | str, trust: Path | str | None = None) -> dict[str, Any]:
    """Facts about the scene in ``folder``, or about a file's content credentials, as plain values.

    Of a film, picture, export, or page's folder: what its credentials say and whether they hold; state is
    "valid", "changed" since it was signed, "invalid", "unreadable" or "unsigned". key is "own" (this
    machine's), "trusted" (by the certificates in the PEM file ``trust``), "self-made" or "unknown". The rest
    are file, held_in, signer, made_with, when, time_stamped, what, source_type, kind, photos, scene, settings
    and problems; of a page, files, with these of each.
    Of a scene, among others: scene_id, by which films name it in their credentials; photos, photos_posed,
    train_views, test_views; width and height in pixels; reprojection_error, in pixels of a photo whose longer
    side is reprojection_size; psnr (dB), ssim and flip, None if not measured; train_seconds, steps, finished;
    parameters (of the field), bytes (on disk).
    Raises NerfsceneError for a scene or file that can't be read.
    """
    folder = path_given(folder, "folder")
    trusted = None if trust is None else path_given(trust, "trust")
    if folder.is_file() and folder.name != scenes.SCENE_JSON:
        return check(asset_of(folder) if folder.suffix == BESIDE else folder, trusted)
    if folder.suffix and not folder.exists():
        raise NerfsceneError(f"{folder} doesn't exist; give a scene's folder, or a film, picture or export")
    page = check_page(folder, trusted) if not scenes.is_scene(folder) else None
    if page is not None:
        return page
    return summary(scenes.load(folder), folder)


def as_json(data: dict[str, Any]) -> str:
    """``data`` as one JSON object on one line."""
    return json.dumps(data, default=str)
