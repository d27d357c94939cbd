"""Trains a scene from a posed capture: the loop around the kernels' training steps.

``train_posed`` is the loop; the functions it calls follow in the order in which it calls them.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.measuring.evaluate import measure
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.scene.world import Kept
from nerfscene.training.begun import as_begun, refuse_moved
from nerfscene.training.dataset import TrainingSet, prepare
from nerfscene.training.exposures import exposures_matter, one_for_each_panorama
from nerfscene.training.moving import ERRORS_EVERY, LOOKS_APART, adds_errors
from nerfscene.training.moving_cameras import REFINE_APART, REFINE_EVERY, REFINE_STEPS, move_cameras, refines
from nerfscene.training.progress import Control, Listener, Progress, silent, training_progress
from nerfscene.training.record import Record, begin_record, current, save
from nerfscene.training.run import (
    Run,
    finished,
    fraction_done,
    look_for_movement,
    new_run,
    restore,
    start,
    turn_pixels,
    with_begun_field,
)
from nerfscene.training.schedule import budget, downscale_for, options_at, suit_few_photos, trains_long
from nerfscene.types import PosedCapture

SLICE = 0.25  # seconds: how long the kernels run between checks of the clock, ``control`` and Ctrl-C
SAVE_EVERY = 25.0  # seconds of training between saves: with what a kill cuts off, at most 30 are lost
PAUSE = 0.05  # seconds between checks while paused


def train_posed(
    posed: PosedCapture,
    folder: Path,
    config: TrainConfig,
    field_config: FieldConfig,
    listener: Listener = silent,
    resume: bool = False,
    control: Control | None = None,
) -> Scene:
    """Trains a scene from a posed capture, saves it in ``folder``, which must exist, and returns it.

    listener: called with the progress a few times a second
    resume: continue the training saved in ``folder``, with the cameras that it was begun with; time and steps
        already spent count towards the budget. Otherwise a scene in ``folder`` is replaced at the first save
    control: lets other threads pause the training, save the scene or stop early; a scene stopped early is
        measured too, and its training can be resumed
    On KeyboardInterrupt the scene is saved and the exception raised again.
    Raises NerfsceneError if photos can't be used, the folder can't be written, the saved training can't be
    resumed, or training diverges.
    """
    control = control or Control()
    data, run, record = begin(posed, folder, config, field_config, listener, resume)
    record.control, control.kept, control.in_folder = control, Kept(), resume
    control.started(current(record, run, data))
    try:
        while not finished(run, config) and not control.stop:
            save_if_due(record, run, data, control)
            if control.pause:
                time.sleep(PAUSE)
            else:
                report = advance(run, data, config)
                listener(training_progress(run, report, config))
        scene = save(record, run, data)
        figures = measured(scene, config, listener, control)
        scene = save(record, run, data, thorough=False, finished=finished(run, config), **figures)
        return replace(scene, field=replace(scene.field, live=None))  # so that the GPU's memory can be freed
    except KeyboardInterrupt:
        save(record, run, data)
        raise


def begin(
    posed: PosedCapture,
    folder: Path,
    config: TrainConfig,
    field_config: FieldConfig,
    listener: Listener,
    resume: bool,
) -> tuple[TrainingSet, Run, Record]:
    """Everything before the first step: reads the photos, and makes the run or restores it from ``folder``.

    Raises NerfsceneError if photos can't be used, or if the training in ``folder`` can't be continued with
    these photos and settings.
    """
    if resume:
        posed = as_begun(posed, folder)
    saved = scenes.load(folder) if resume else None
    data = prepare(
        posed,
        downscale_for(posed, config),
        config.holdout,
        field_config.occupancy_resolution,
        lambda stage, fraction: listener(Progress(stage, fraction)),
        folder,
        None if saved is None else saved.field.space,
    )
    if resume and scenes.read_split(folder) != [v.split for v in data.views]:
        raise NerfsceneError(
            f"{folder} was trained with other photos held out, so its training can't continue with these; "
            "give the same photos and --holdout, or start again with --overwrite"
        )
    if saved is not None:
        refuse_moved(data.placement, posed, saved, folder)
        data, field_config = with_begun_field(data, field_config, saved.field)
    run = new_run(data, field_config, config.seed, config.backend, config.refine_cameras, trains_long(config))
    record = begin_record(posed, data, run, folder, config, saved is None and scenes.is_scene(folder))
    if saved is None:
        start(run, data, config)
    else:
        restore(run, data, config, folder)
        record.backdrop, record.saved_at = saved.backdrop, run.seconds
        record.splats, record.before = saved.splats, saved.figures
    return data, run, record


def save_if_due(record: Record, run: Run, data: TrainingSet, control: Control) -> None:
    """Saves the scene at least every SAVE_EVERY seconds of training, and when ``control.save`` is set."""
    asked, control.save = control.save, False
    if asked or run.seconds + run.slice_seconds - record.saved_at > SAVE_EVERY:
        save(record, run, data, thorough=asked)


def advance(run: Run, data: TrainingSet, config: TrainConfig) -> dict[str, Any]:
    """Trains for one slice, up to SLICE seconds, and returns the kernels' report.

    Raises NerfsceneError if training diverges or the GPU fails.
    """
    done = fraction_done(run, config)
    options = options_at(done, data.space.unbounded, backend.load(config.backend))
    suit_few_photos(options, data.few, data.agreed)
    if not exposures_matter(run, done):
        options.exposure_rate = 0.0
    looking = run.cells is not None and adds_errors(done)
    options.errors_every = ERRORS_EVERY if looking else 0
    refining = refines(run, data, done)
    options.camera_every = REFINE_EVERY if refining else 0
    most_steps, most_seconds = slice_limits(run, config)
    if refining:
        most_steps = min(most_steps, REFINE_STEPS)
    began = time.perf_counter()
    turn_pixels(run, data, config)
    try:
        with backend.device_errors():
            report: dict[str, Any] = run.trainer.run(options, most_steps, most_seconds)
    finally:  # Ctrl-C usually arrives in ``run``; what has been trained until then counts
        run.slice_seconds = time.perf_counter() - began
        run.seconds += run.slice_seconds
        run.steps = run.trainer.step
    if options.exposure_rate:
        one_for_each_panorama(run, data.train_views)
    # Cameras move whenever another REFINE_APART of the training is done.
    if refining and int(fraction_done(run, config) / REFINE_APART) > int(done / REFINE_APART):
        move_cameras(run, data, done)
    if looking and int(fraction_done(run, config) / LOOKS_APART) > int(done / LOOKS_APART):
        look_for_movement(run, data, config)
    run.rays += report["rays"]
    run.samples += report["survivors"]
    if not np.isfinite(report["squared_error"]):
        raise NerfsceneError(
            "training diverged (the loss is not a finite number); please report this, and try another --seed"
        )
    return report


def slice_limits(run: Run, config: TrainConfig) -> tuple[int, float]:
    """The most steps and seconds that the next slice may take."""
    seconds, steps = budget(config)
    left = seconds - run.seconds
    if steps is None:
        return 1 << 40, min(SLICE, left)
    # With a budget of steps, slices are counted in steps too, so that schedules don't depend on the clock.
    return min(steps - run.steps, 50), math.inf if not math.isfinite(seconds) else min(SLICE, left)


def measured(scene: Scene, config: TrainConfig, listener: Listener, control: Control) -> dict[str, Any]:
    """Compares the scene with its held-out photos; returns fields of ``Figures``."""

    def on_progress(fraction: float) -> None:
        listener(Progress("measuring held-out photos", fraction))

    on_progress(0.0)
    return measure(scene, config.backend, config.threads, on_progress, shown=control.measured)
