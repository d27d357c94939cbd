"""A training run as a scene on disk: its views, its points, and the figures of how it was made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.photos import FILM_DIAGONAL
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.field.backdrop import guessed
from nerfscene.field.refinement import pixels_moved
from nerfscene.ops import backend
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Figures, Scene
from nerfscene.scene.world import keeping, kept
from nerfscene.training.dataset import TrainingSet
from nerfscene.training.exposures import exposed_views
from nerfscene.training.moving_cameras import placed_views
from nerfscene.training.run import Run, training_arrays
from nerfscene.types import PosedCapture, View


@dataclass
class Record:
    """What is written down of a run under way, and where.

    points: the sparse model's points in scene units, (n, 3)
    figures: what was known of the scene's making before the first step
    backdrop: what shows behind the scene, (rows, 2 · rows, 3); None: plain
    """

    folder: Path
    config: TrainConfig
    figures: Figures
    points: NDArray[np.float32]
    backdrop: NDArray[np.float32] | None = None


def begin_record(
    posed: PosedCapture, data: TrainingSet, run: Run, folder: Path, config: TrainConfig
) -> Record:
    """The record of a run that has not started."""
    figures = Figures(
        photos=posed.photos_given,
        photos_posed=len(posed.views),
        source=posed.source,
        reprojection_error=posed.reprojection_error,
        downscale=data.downscale,
        taken_in=kinds(posed.views),
        left_out=tuple(asdict(photo) for photo in posed.left_out),
        warnings=posed.warnings,
        posing=None if posed.posing is None else asdict(posed.posing),
        device=backend.describe(config.backend),
        settings={"train": asdict(config), "field": asdict(run.field.config)},
    )
    return Record(folder, config, figures, scene_points(posed, data))


def current(record: Record, run: Run, data: TrainingSet, **figures: Any) -> Scene:
    """The scene as it stands (sharing the run's arrays), with the world a person chose for it.

    That world is read from the folder each time: it may be set in the viewer while training goes on.
    """
    scene = snapshot(run, data, replace(record.figures, **figures), record.points)
    return keeping(scene, kept(record.folder))


def save(record: Record, run: Run, data: TrainingSet, look: bool = True, **figures: Any) -> Scene:
    """Writes the scene as it stands and returns it.

    ``look``: guesses its backdrop anew, which takes seconds.
    """
    scene = current(record, run, data, **figures)
    if look and data.space.unbounded:
        seen = [v for v in scene.views if v.split == "train"]
        renderer = scene.photo_renderer(record.config.backend, record.config.threads)
        record.backdrop = guessed(renderer, seen)
    scene = replace(scene, backdrop=record.backdrop)
    scenes.save(scene, record.folder, training_arrays(run))
    return scene


def snapshot(run: Run, data: TrainingSet, figures: Figures, points: NDArray[np.float32]) -> Scene:
    """The run as a scene (sharing its arrays)."""
    return Scene(
        field=run.field,
        views=exposed_views(run, placed_views(run, data.views), data.placement.scene_from_world),
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
        ),
        points=points,
    )


def kinds(views: Sequence[View]) -> tuple[dict[str, int], ...]:
    """How many photos there are of each size (pixels) and focal length (mm, a 35 mm camera's), most first."""
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
    """Whether the scene in ``folder`` was trained to the end with just these settings."""
    done = scenes.read_figures(folder)
    asked = asdict(config)
    field_asked = {k: v for k, v in asdict(field_config).items() if v is not None}
    trained, field_trained = done.settings.get("train", {}), done.settings.get("field", {})
    ignored = {"threads"}
    return (
        done.finished
        and all(trained.get(k) == v for k, v in asked.items() if k not in ignored)
        and all(field_trained.get(k) == v for k, v in field_asked.items())
    )
