"""When training refines the photos' cameras, by how much, and when it puts them back.

The changes themselves are computed in ``field.refinement``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.field.refinement import (
    give_up,
    kernel_cameras,
    moved,
    neighbours_changes,
    refined_lens,
    refined_views,
    turned,
    update,
)
from nerfscene.training.dataset import TrainingSet
from nerfscene.training.run import Run
from nerfscene.types import View

# Cameras move between these fractions of the training. Earlier, the scene is still fog, and its gradients
# would move cameras randomly.
REFINE_FROM, REFINE_TO = 0.15, 0.9
REFINE_RATE = 6e-4  # radians: the most that a camera moves at once, at first
REFINE_STEPS = 32  # training steps between two moves
REFINE_EVERY = 2  # every second training step computes the cameras' gradients
# Smallest fraction of the training between two moves: with more moves, a long training would let the cameras
# drift far at random.
REFINE_APART = (REFINE_TO - REFINE_FROM) / 160
# If at this fraction of the training cameras have rotated by less than this (radians, root mean square), they
# are put back: even correct cameras rotate by 1e-3 to 1.6e-3, from noise.
REFINE_TRIAL, REFINE_LEAST = 0.35, 2e-3


def refines(run: Run, data: TrainingSet, done: float) -> bool:
    """Whether cameras are refined at this point of the training (``done`` in 0…1).

    At the end of the trial, puts them back if they have hardly moved.
    """
    fit = run.cameras
    if fit is None or not REFINE_FROM <= done < REFINE_TO:
        return False
    if done < REFINE_TRIAL:
        return True
    if 0 < turned(fit) < REFINE_LEAST and not run.cameras_decided:
        give_up(fit)
        run.trainer.set_cameras(kernel_cameras(refined_views(fit), data.placement.scene_from_world))
    run.cameras_decided = True
    return bool(fit.poses.any())


def move_cameras(run: Run, data: TrainingSet, done: float) -> None:
    """Moves the cameras by one step along the gradients that the kernels have summed up."""
    assert run.cameras is not None
    update(run.cameras, REFINE_RATE * 0.02**done)
    run.trainer.set_cameras(kernel_cameras(refined_views(run.cameras), data.placement.scene_from_world))


def placed_views(run: Run, views: tuple[View, ...]) -> tuple[View, ...]:
    """The views with their refined cameras; those of held-out views follow the trained ones next to them."""
    fit = run.cameras
    if fit is None or not (fit.poses.any() or fit.lenses.any()):
        return views
    lens_changes = {v.intrinsics: fit.lenses[lens] for v, lens in zip(fit.views, fit.lens_of, strict=True)}
    train = iter(refined_views(fit))
    pose_changes = iter(neighbours_changes(fit, [v for v in views if v.split != "train"]))
    no_change = np.zeros_like(fit.lenses[0])
    return tuple(
        next(train)
        if v.split == "train"
        else replace(
            v,
            intrinsics=refined_lens(v.intrinsics, lens_changes.get(v.intrinsics, no_change)),
            world_from_cam=moved(v.world_from_cam, next(pose_changes), fit.scene_from_world),
        )
        for v in views
    )
