"""Turns a training run into a ``Scene`` and saves it: field, views, points and figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.cube import shots
from nerfscene.capture.photos import FILM_DIAGONAL
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.backdrop import guessed
from nerfscene.field.finer import with_edges
from nerfscene.field.refinement import pixels_moved
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Figures, Scene
from nerfscene.scene.world import keeping, kept
from nerfscene.splatting.gaussians import Splats
from nerfscene.training.begun import begun_arrays, begun_notes
from nerfscene.training.dataset import TrainingSet
from nerfscene.training.exposures import exposed_views
from nerfscene.training.moving import moved_parts
from nerfscene.training.moving_cameras import placed_views
from nerfscene.training.progress import Control
from nerfscene.training.run import Run, training_arrays
from nerfscene.training.shown_exposure import shown_at, shown_exposure
from nerfscene.types import PosedCapture, View


@dataclass
class Record:
    """What a run's scene on disk needs besides the run itself.

    folder: where the scene is saved
    figures: the figures known before the first step
    points: the sparse model's points, (n, 3), scene units
    backdrop: what shows behind the scene, (rows, 2 · rows, 3), 0…1; None: the plain background
    cells: the occupancy bits with the edges of things, see ``field.finer.with_edges``, and the step at which
        they were found; None: they were not yet
    saved_at: seconds of training when the scene was last saved
    begun: the capture's cameras and points, which resuming needs; see ``training.begun``
    notes: the same for its photos and lenses
    anew: the scene that ``folder`` still holds is another one, to be replaced by the first save
    control: knows whether that is done, and what a user has set until then
    splats: those of the scene that the run goes on with, which stay until it makes a step; None: none
    before: the figures of that scene; None: there is none
    """

    folder: Path
    config: TrainConfig
    figures: Figures
    points: NDArray[np.float32]
    backdrop: NDArray[np.float32] | None = None
    cells: tuple[int, NDArray[np.uint32]] | None = None
    saved_at: float = 0.0
    begun: dict[str, NDArray[Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    anew: bool = False
    control: Control = field(default_factory=Control)
    splats: Splats | None = None
    before: Figures | None = None


def begin_record(
    posed: PosedCapture, data: TrainingSet, run: Run, folder: Path, config: TrainConfig, anew: bool
) -> Record:
    """The record of a run that has not started yet. anew: a scene in ``folder`` is another one."""
    figures = Figures(
        photos=posed.photos_given,
        photos_posed=len(set(shots(posed.views))),
        source=posed.source,
        reprojection_error=posed.reprojection_error,
        reprojection_size=posed.reprojection_size,
        downscale=data.downscale,
        taken_in=kinds(posed.views),
        left_out=tuple(asdict(photo) for photo in posed.left_out),
        warnings=posed.warnings,
        posing=None if posed.posing is None else asdict(posed.posing),
        device=backend.describe(config.backend),
        settings={"train": asdict(config), "field": asdict(run.field.config)},
    )
    points = scene_points(posed, data)
    return Record(
        folder, config, figures, points, begun=begun_arrays(posed), notes=begun_notes(posed), anew=anew
    )


def current(record: Record, run: Run, data: TrainingSet, **figures: Any) -> Scene:
    """The scene at this moment (with the run's arrays, see ``Run``), in the world that a user has set for it.

    That world is read each time, because it can be set in the viewer during training.
    """
    scene = snapshot(run, data, replace(record.figures, **figures), record.points)
    return keeping(scene, kept(record.folder) if record.control.in_folder else record.control.kept)


def save(record: Record, run: Run, data: TrainingSet, thorough: bool = True, **figures: Any) -> Scene:
    """Saves the scene at this moment and returns it.

    thorough: guess the backdrop and find the edges of things again, which takes seconds; figures: fields of
    ``Figures`` to set.
    Raises NerfsceneError if the folder can't be written.
    """
    with record.control.lock:
        scene = _saved(record, run, data, thorough, figures)
        record.control.in_folder = True
    record.saved_at, record.anew = run.seconds, False
    return scene


def _saved(record: Record, run: Run, data: TrainingSet, thorough: bool, figures: dict[str, Any]) -> Scene:
    with backend.device_errors():
        run.trainer.fetch()
    scene = current(record, run, data, **figures)
    if thorough:
        edged = with_edges(run.field, data.allowed, record.config.backend, record.config.threads)
        record.cells = run.steps, edged.occupancy.copy()
    if record.cells is not None and record.cells[0] == run.steps:
        scene = replace(scene, field=replace(scene.field, occupancy=record.cells[1]))
    if thorough and data.space.unbounded:
        trained = [v for v in scene.views if v.split == "train"]
        renderer = scene.photo_renderer(record.config.backend, record.config.threads)
        record.backdrop = guessed(renderer, trained)
    scene = replace(scene, backdrop=record.backdrop)
    if record.before is not None and record.before.steps == run.steps:
        same = replace(scene.figures, splats=record.before.splats)
        scene = replace(scene, splats=record.splats, figures=same)
    scenes.save(scene, record.folder, training_arrays(run) | record.begun, record.notes, record.anew)
    return scene


def snapshot(run: Run, data: TrainingSet, figures: Figures, points: NDArray[np.float32]) -> Scene:
    """The run as a scene (with its arrays), in the capture's own world coordinates."""
    views = exposed_views(run, placed_views(run, data.views), data.placement.scene_from_world)
    gain, views = shown_at(shown_exposure(run.exposures, data), views)
    return Scene(
        field=run.field,
        views=views,
        scene_from_world=data.placement.scene_from_world,
        background=data.background,
        has_alpha=data.channels == 4,
        figures=replace(
            figures,
            train_seconds=run.seconds,
            steps=run.steps,
            rays=run.rays,
            samples=run.samples,
            history=run.history,
            cameras_moved=None if run.cameras is None else pixels_moved(run.cameras),
            moved=() if run.cells is None else moved_parts(run.cells, data.train_views),
        ),
        points=points,
        gain=gain,
    )


def kinds(views: Sequence[View]) -> tuple[dict[str, int], ...]:
    """Counts of photos by size (pixels) and focal length (mm, 35 mm equivalent), most frequent first."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for view in views:
        k = view.intrinsics
        focal = (k.fx + k.fy) / 2 / math.hypot(k.width, k.height) * FILM_DIAGONAL
        counts[k.width, k.height, round(focal)] += 1
    return tuple({"photos": n, "width": w, "height": h, "focal": f} for (w, h, f), n in counts.most_common())


def scene_points(posed: PosedCapture, data: TrainingSet) -> NDArray[np.float32]:
    """The sparse model's points in scene units (n, 3)."""
    m = data.placement.scene_from_world
    return (posed.points @ m[:3, :3].T + m[:3, 3]).astype(np.float32)


def finished_already(folder: Path, config: TrainConfig, field_config: FieldConfig) -> bool:
    """Whether the scene in ``folder`` has finished training with exactly these settings.

    Threads don't matter. Raises NerfsceneError as ``scene.folder.load`` does.
    """
    figures = scenes.read_figures(folder)
    wanted = {k: v for k, v in asdict(config).items() if k != "threads"}
    wanted_field = {k: v for k, v in asdict(field_config).items() if v is not None}
    trained, trained_field = figures.settings.get("train", {}), figures.settings.get("field", {})
    return (
        figures.finished
        and all(trained.get(k) == v for k, v in wanted.items())
        and all(trained_field.get(k) == v for k, v in wanted_field.items())
    )
