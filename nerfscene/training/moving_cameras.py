"""Cameras that training corrects: when they move, by how much, and when they are put back."""

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

# Cameras move from so much of the training on (before, all is fog, which pulls them anywhere) to so much of
# it; by at most so many radians at once, at first; after so many steps of training; and of these, every so
# manyth is asked for the cameras' gradients.
REFINE_FROM, REFINE_TO = 0.15, 0.9
REFINE_RATE, REFINE_STEPS, REFINE_EVERY = 6e-4, 32, 2
# And after so much of the training at least: in a long one they would walk far at random, step by step.
REFINE_APART = (REFINE_TO - REFINE_FROM) / 160
# They are put back if after so much of the training they have turned by less (radians, root mean square):
# cameras that were right turn by 1e-3 to 1.6e-3, for nothing.
REFINE_TRIAL, REFINE_LEAST = 0.35, 2e-3


def refines(run: Run, data: TrainingSet, done: float) -> bool:
    """Whether cameras move at this point; puts them back after a trial that came to little."""
    fit = run.cameras
    if fit is None or not REFINE_FROM <= done < REFINE_TO:
        return False
    if done < REFINE_TRIAL:
        return True
    if 0 < turned(fit) < REFINE_LEAST and not run.refined:
        give_up(fit)
        run.trainer.set_cameras(kernel_cameras(refined_views(fit), data.placement.scene_from_world))
    run.refined = True
    return bool(fit.poses.any())


def move_cameras(run: Run, data: TrainingSet, done: float) -> None:
    """One step of the cameras, along the gradients that the kernels have summed up."""
    assert run.cameras is not None
    update(run.cameras, REFINE_RATE * 0.02**done)
    run.trainer.set_cameras(kernel_cameras(refined_views(run.cameras), data.placement.scene_from_world))


def placed_views(run: Run, views: tuple[View, ...]) -> tuple[View, ...]:
    """The views with their cameras as training moved them; held-out ones have no say, and follow others."""
    fit = run.cameras
    if fit is None or not (fit.poses.any() or fit.lenses.any()):
        return views
    changes = {v.intrinsics: fit.lenses[lens] for v, lens in zip(fit.views, fit.lens_of, strict=True)}
    train = iter(refined_views(fit))
    followed = iter(neighbours_changes(fit, [v for v in views if v.split != "train"]))
    none = np.zeros_like(fit.lenses[0])
    return tuple(
        next(train)
        if v.split == "train"
        else replace(
            v,
            intrinsics=refined_lens(v.intrinsics, changes.get(v.intrinsics, none)),
            world_from_cam=moved(v.world_from_cam, next(followed), fit.scene_from_world),
        )
        for v in views
    )
