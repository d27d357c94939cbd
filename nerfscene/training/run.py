"""A training run's state: its arrays, the kernels' trainer, and resuming it from disk."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.cameras.plausible import camera_doubt
from nerfscene.capture.json_text import parsed
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import (
    RadianceField,
    kernel_field,
    layer_shapes,
    new_field,
    resolve,
    transposed,
)
from nerfscene.field.refinement import CameraFit, kernel_cameras, refined_views, start_fit
from nerfscene.field.rendering import Renderer, render
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Figures
from nerfscene.training.dataset import TrainingSet
from nerfscene.training.moving import Cells, enough, leave_out, new_cells
from nerfscene.training.pixel_file import turn
from nerfscene.training.saved_arrays import (
    OtherSettings,
    check_arrays,
    checked_progress,
    checked_state,
    damaged,
)
from nerfscene.training.schedule import budget, budget_spent, occupancy_at_first, rays_wanted
from nerfscene.types import Array, Camera

CELLS = "photo_cells"  # the name under which ``Cells.numbers`` are saved
KEPT = ("master", "table_moments", "weight_moments", "occupancy_values", "exposures", "exposure_moments")


@dataclass
class Run:
    """A training run: the field, the optimiser's arrays, and what has been spent so far.

    On a GPU, kernels train copies of the arrays. The exposures and the cameras' gradients here are up to date
    whenever no step is running, and changes to them count; the other arrays are as they were at the last
    ``trainer.fetch()``, which ``record.save`` calls. On the processor, kernels train copies of ``master`` and
    ``table_moments`` alone.
    """

    field: RadianceField
    master: NDArray[np.float32]  # (rows, features): the table in float32
    table_moments: NDArray[np.float32]  # (rows, 2, features)
    weight_moments: NDArray[np.float32]  # (2 · weights,)
    occupancy_values: NDArray[np.float32]  # (cells,)
    exposures: NDArray[np.float32]  # (training photos, 3): logarithms of gains
    exposure_moments: NDArray[np.float32]  # (training photos, 2, 3)
    cameras: CameraFit | None = None  # None: cameras are not refined
    cells: Cells | None = None  # where things that moved are looked for; None: nowhere
    trainer: Any = None  # the kernels' Trainer, once ``start`` has made it
    pixels: int = 0  # of the training photos, those that are trained on
    seconds: float = 0.0  # spent training
    slice_seconds: float = 0.0  # of them, in the last slice
    steps: int = 0
    rays: int = 0
    samples: int = 0
    history: tuple[dict[str, float], ...] = ()  # see progress.training_progress
    exposures_decided: bool = False  # whether the trial of fitting exposures is over
    cameras_decided: bool = False  # whether the trial of refining cameras is over


def fraction_done(run: Run, config: TrainConfig) -> float:
    """The fraction of the budget that is spent, 0…1; schedules are functions of it."""
    seconds, steps = budget(config)
    spent = run.seconds / seconds if math.isfinite(seconds) else 0.0
    seen = run.rays / max(rays_wanted(config, run.pixels), 1)
    return min(max(spent, seen, run.steps / steps if steps else 0.0), 1.0)


def finished(run: Run, config: TrainConfig) -> bool:
    """Whether the budget is spent."""
    seen = run.rays >= rays_wanted(config, run.pixels)
    return seen or budget_spent(config, run.seconds, run.steps)


def new_run(
    data: TrainingSet,
    field_config: FieldConfig,
    seed: int,
    backend_name: str = "auto",
    refine: bool = True,
    long: bool = False,
) -> Run:
    """A run that has not started.

    refine: refine cameras too, except for cut-outs, which come from renderers with exact cameras. long: see
    ``hash_grid.resolve``.
    Raises NerfsceneError if the backend can't be used, or for field settings out of range.
    """
    module = backend.load(backend_name)
    space = data.space
    on_gpu, ahead = backend.on_gpu(module), space.view is not None
    config = resolve(field_config, data.photo_side, space.unbounded, on_gpu, ahead, long)
    field, master = new_field(config, data.space, seed)
    field.occupancy[:] = data.allowed
    cells = data.space.occupancy_resolution**3
    photos = len(data.train_views)
    refined = refine and data.space.unbounded
    return Run(
        field=field,
        master=master,
        table_moments=np.zeros((len(master), 2, field.layout.features), np.float32),
        weight_moments=np.zeros(2 * field.weights.size, np.float32),
        occupancy_values=np.full(cells, occupancy_at_first(module), np.float32),
        exposures=np.zeros((photos, 3), np.float32),
        exposure_moments=np.zeros((photos, 2, 3), np.float32),
        cameras=start_fit(data.train_views, data.placement.scene_from_world) if refined else None,
        # Cut-outs were cut by hand or rendered: what moved in them was cut away, or moves in none.
        cells=new_cells(data.train_views) if data.space.unbounded else None,
        pixels=len(data.pixels) if data.chosen is None else len(data.chosen),
    )


def start(run: Run, data: TrainingSet, config: TrainConfig) -> None:
    """Makes the kernels' trainer, which trains the run's arrays, or on a GPU copies of them.

    Raises NerfsceneError if the GPU fails, or has too little memory.
    """
    module = backend.load(config.backend)
    views = data.train_views if run.cameras is None else refined_views(run.cameras)
    cameras = kernel_cameras(views, data.placement.scene_from_world)
    with backend.device_errors():
        native = kernel_field(run.field, module)
        if backend.on_gpu(module):
            run.field = replace(run.field, live=native)
        run.trainer = module.Trainer(
            native,
            run.master,
            run.table_moments,
            run.weight_moments,
            run.occupancy_values,
            data.allowed,
            cameras,
            data.pixels.reshape(-1),
            data.channels,
            # A random background for each ray: with a fixed one, see-through parts would learn its colour.
            data.space.unbounded or data.channels == 4,
            list(data.background),
            config.seed,
            backend.thread_count(config.threads),
            run.exposures,
            run.exposure_moments,
            data.chosen,
            None if run.cameras is None else run.cameras.gradients,
            data.depths,
            None if run.cells is None else run.cells.numbers,
            0 if run.cells is None else run.cells.side,
        )


def turn_pixels(run: Run, data: TrainingSet, config: TrainConfig) -> None:
    """Goes on to the next part of photos whose pixels are in a file, if it is time; a GPU has them all."""
    if data.file is not None and hasattr(run.trainer, "draw_from"):
        turn(data.file, run.trainer, run.pixels, data.chosen, run.trainer.step, config.seed)


def kept_arrays(run: Run) -> dict[str, NDArray[Any]]:
    """The optimiser's arrays, by name."""
    out: dict[str, NDArray[Any]] = {name: getattr(run, name) for name in KEPT}
    if run.cameras is not None:
        names = ("poses", "lenses", "pose_moments", "lens_moments")
        out |= {f"camera_{name}": getattr(run.cameras, name) for name in names}
    return out


def training_arrays(run: Run) -> dict[str, NDArray[Any]]:
    """All arrays that resuming the run needs besides the field, by name."""
    t = run.trainer
    state = [t.survivors_per_ray, t.occupancy_mean, float(t.step), float(t.rays_drawn)]
    return {
        **kept_arrays(run),
        **({} if run.cells is None else {CELLS: run.cells.numbers}),
        "weights": run.field.weights,
        "state": np.array(state, np.float64),
    }


def resume_run(run: Run, folder: Path, figures: Figures) -> NDArray[np.float64]:
    """Fills a new run's arrays from those saved in ``folder``; returns the trainer's state (4,) to restore.

    Raises NerfsceneError if the saved arrays are missing, damaged or of other settings.
    """
    arrays = scenes.load_training(folder, figures.steps)
    ours = {**kept_arrays(run), "weights": run.field.weights}
    if run.cells is not None and CELLS in arrays:  # scenes of older versions have none
        ours[CELLS] = run.cells.numbers
    try:
        check_arrays(arrays, ours)
        state = checked_state(arrays)
    except OtherSettings as error:
        raise NerfsceneError(
            f"{folder} was trained with other settings, or its {scenes.TRAINING_FILE} is damaged (it has "
            f"no {error} of the right size), so its training can't continue with these; give the same "
            "settings, or start again with --overwrite"
        ) from error
    except ValueError as error:
        raise damaged(folder, error) from error
    for name, array in ours.items():
        array[...] = arrays[name]
    run.field.table[...] = run.master.astype(np.float16).view(np.uint16)
    run.field.weights_t[...] = transposed(run.field.weights, layer_shapes(run.field.config))
    run.seconds, run.steps = figures.train_seconds, figures.steps
    run.rays, run.samples = figures.rays, figures.samples
    run.history = figures.history
    return state


def restore(run: Run, data: TrainingSet, config: TrainConfig, folder: Path) -> None:
    """Continues the run saved in ``folder`` in a new run: fills its arrays and makes its trainer.

    Raises NerfsceneError if the saved run is missing, damaged or of other settings.
    """
    figures = scenes.read_figures(folder)
    # A training that was killed while it was being saved may be newer than scene.json.
    text = scenes.read_notes(folder).get("progress")
    try:
        progress = {} if text is None else checked_progress(parsed(text))
    except ValueError as error:
        raise damaged(folder, error) from error
    if progress.get("steps", 0) > figures.steps:
        figures = replace(figures, **progress)
    state = resume_run(run, folder, figures)
    for view in () if run.cameras is None else refined_views(run.cameras):
        doubt = camera_doubt(view.intrinsics, view.world_from_cam)
        if doubt is not None:
            raise damaged(folder, ValueError(f"the camera of {view.path.name} can't be one: {doubt}"))
    start(run, data, config)
    run.trainer.survivors_per_ray, run.trainer.occupancy_mean = float(state[0]), float(state[1])
    run.trainer.step, run.trainer.rays_drawn = int(state[2]), int(state[3])


def with_begun_field(
    data: TrainingSet, config: FieldConfig, field: RadianceField
) -> tuple[TrainingSet, FieldConfig]:
    """The training set and settings with the defaults that were resolved on the device where training began.

    Training may be resumed on another device, for which these defaults would be different. ``field``: the
    saved field.
    """
    chosen = {name: getattr(field.config, name) for name, value in vars(config).items() if value is None}
    return replace(data, space=replace(data.space, step=field.space.step)), replace(config, **chosen)


def look_for_movement(run: Run, data: TrainingSet, config: TrainConfig) -> None:
    """Decides which parts of the photos are left out of the loss from now on, if there are errors enough.

    The time that it takes counts as training.
    """
    assert run.cells is not None
    if not enough(run.cells):
        return
    began = time.perf_counter()
    views = data.train_views if run.cameras is None else refined_views(run.cameras)
    scene_from_world = data.placement.scene_from_world
    renderer = Renderer(run.field, scene_from_world, data.background, config.backend, config.threads)
    cells = run.cells

    def distances(photo: int) -> Array:
        k, side = views[photo].intrinsics, cells.side
        rows, across = cells.of(photo).shape[:2]
        small = replace(
            k, width=across, height=rows, fx=k.fx / side, fy=k.fy / side, cx=k.cx / side, cy=k.cy / side
        )
        depth = render(renderer, Camera(small, views[photo].world_from_cam)).depth
        return np.asarray(depth * similarity_scale(scene_from_world), np.float64)

    poses = np.stack([pose_in_scene(scene_from_world, v.world_from_cam) for v in views])
    leave_out(cells, views, poses, distances)
    run.seconds += time.perf_counter() - began
