"""Posed capture → scene: one visible loop around the kernels' fused step."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.measure.evaluate import measure
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.training.dataset import TrainingSet, prepare
from nerfscene.training.exposures import exposures_matter
from nerfscene.training.moving_cameras import REFINE_APART, REFINE_EVERY, REFINE_STEPS, move_cameras, refines
from nerfscene.training.progress import Control, Listener, Progress, silent, training_progress
from nerfscene.training.record import Record, begin_record, current, save
from nerfscene.training.run import Run, as_begun, finished, fraction_done, new_run, restore, start
from nerfscene.training.schedule import budget, downscale_for, options_at
from nerfscene.types import PosedCapture

SLICE = 0.25  # seconds the kernels run between looks at the clock, the progress and Ctrl-C
SAVE_EVERY = 30.0  # seconds of training that a crash can lose


def train_posed(
    posed: PosedCapture,
    folder: Path,
    config: TrainConfig,
    field_config: FieldConfig,
    listener: Listener = silent,
    resume: bool = False,
    control: Control | None = None,
) -> Scene:
    """Trains a posed capture and leaves the scene in ``folder`` (which exists).

    On KeyboardInterrupt what was trained is saved and the exception goes on. With ``resume``, the
    time and steps already spent count towards the budget. Through ``control`` it is paused, saved and
    stopped early: then it is measured too, and can be gone on with.
    Raises NerfsceneError for photos that can't be used or a folder that can't be written.
    """
    control = control or Control()
    data, run, record = begin(posed, folder, config, field_config, listener, resume)
    control.started(current(record, run, data))
    saved_at = run.seconds
    try:
        while not finished(run, config) and not control.stop:
            asked, control.save = control.save, False
            if asked or run.seconds - saved_at > SAVE_EVERY:
                save(record, run, data, look=asked)
                saved_at = run.seconds
            if control.pause:
                time.sleep(0.05)
                continue
            report = advance(run, data, config)
            listener(training_progress(run, report, config))
        scene = save(record, run, data)
        figures = measured(scene, config, listener, control)
        return save(record, run, data, look=False, finished=finished(run, config), **figures)
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
    """Everything up to the first step: photos read, arrays made or taken up from ``folder``, kernels told.

    Raises NerfsceneError as ``train_posed`` does, and where ``folder`` holds a run of other settings.
    """
    data = prepare(
        posed,
        downscale_for(posed, config),
        config.holdout,
        field_config.occupancy_resolution,
        lambda stage, fraction: listener(Progress(stage, fraction)),
        backend.on_gpu(backend.load(config.backend)),
    )
    if resume and scenes.read_split(folder) != [v.split for v in data.views]:
        raise NerfsceneError(
            f"{folder} was trained with other photos held out, so training can't go on with these; give the "
            "same photos and --holdout, or start again with --overwrite"
        )
    begun = scenes.load(folder) if resume else None
    if begun is not None:
        data, field_config = as_begun(data, field_config, begun.field)
    run = new_run(data, field_config, config.seed, config.backend, config.refine_cameras)
    record = begin_record(posed, data, run, folder, config)
    if begun is None:
        start(run, data, config)
    else:
        restore(run, data, config, folder)
        record.backdrop = begun.backdrop
    return data, run, record


def advance(run: Run, data: TrainingSet, config: TrainConfig) -> dict[str, Any]:
    """One slice of training: up to SLICE seconds of steps. Returns the kernels' report."""
    module = backend.load(config.backend)
    seconds, steps = budget(config)
    done = fraction_done(run, config)
    options = options_at(done, data.space.unbounded, module)
    if not exposures_matter(run, done):
        options.exposure_rate = 0.0
    refining = refines(run, data, done)
    options.camera_every = REFINE_EVERY if refining else 0
    left = (steps - run.steps) if steps is not None else 1 << 40
    limit = min(SLICE, seconds - run.seconds)
    if steps is not None:  # schedules must not depend on the clock when steps are what is asked for
        left, limit = min(left, 50), math.inf if not math.isfinite(seconds) else limit
    if refining:
        left = min(left, REFINE_STEPS)
    began = time.perf_counter()
    try:
        with backend.device_errors():
            report: dict[str, Any] = run.trainer.run(options, left, limit)
    finally:  # Ctrl-C arrives just here, and what was trained by then counts
        run.seconds += time.perf_counter() - began
        run.steps = run.trainer.step
    if refining and int(fraction_done(run, config) / REFINE_APART) > int(done / REFINE_APART):
        move_cameras(run, data, done)
    run.rays += report["rays"]
    run.samples += report["survivors"]
    if not np.isfinite(report["squared_error"]):
        raise NerfsceneError(
            "training diverged (the loss is not a finite number); please report this, and try another --seed"
        )
    return report


def measured(scene: Scene, config: TrainConfig, listener: Listener, control: Control) -> dict[str, Any]:
    """The scene's figures on its held-out photos; fields of ``Figures``."""
    stage = "measuring held-out photos"
    listener(Progress(stage, 0.0))
    told = lambda fraction: listener(Progress(stage, fraction))  # noqa: E731
    return measure(scene, config.backend, config.threads, told, control.measured)
