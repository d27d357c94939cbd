"""Adjusts whole models: poses, lenses and points together, until they fit what the photos show."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pycolmap

from nerfscene.posing.rigs import known_lenses

FULL_LENS_FROM = 15  # photos with the same lens that determine OPENCV's four distortion coefficients
LARGEST_COEFFICIENT = 0.5  # of distortion: real lenses stay below it, diverging fits don't
LARGEST_ERROR = 4.0  # pixels: observations with a larger error are removed
ROUGHLY, THOROUGHLY = 1e-3, 1e-6  # an adjustment ends when its cost falls by less than this fraction

Model = pycolmap.Reconstruction


def with_full_lenses(model: Model) -> Model:
    """The model with OPENCV lenses (four distortion coefficients) where many photos share one, refined.

    The model itself, if that doesn't fit better or gives absurd lenses.
    """
    full = Model(model)
    users = Counter(full.images[i].camera_id for i in full.reg_image_ids())
    known = known_lenses(full.cameras.values())
    changed = [key for key, uses in users.items() if uses >= FULL_LENS_FROM and key not in known]
    for key in changed:
        camera = full.cameras[key]
        focal, cx, cy, k1 = camera.params
        camera.model = pycolmap.CameraModelId.OPENCV
        camera.params = [focal, focal, cx, cy, k1, 0.0, 0.0, 0.0]
    if not changed:
        return model
    _refine(full)
    full.update_point_3d_errors()
    coefficients = np.abs([full.cameras[key].params[4:] for key in changed])
    better = full.compute_mean_reprojection_error() <= model.compute_mean_reprojection_error()
    return full if better and coefficients.max() < LARGEST_COEFFICIENT else model


def finished(model: Model) -> Model:
    """A model as mapping leaves it, adjusted thoroughly: with full lenses, or with its own if those fit."""
    full = with_full_lenses(model)
    return refined(model) if full is model else full


def refined(model: Model, roughly: bool = False) -> Model:
    """A copy of the model with poses, lenses and points refined together, without points that don't fit.

    roughly: as far as it takes to see whether a change of the lenses is of use.
    """
    copied = Model(model)
    for _ in range(1 if roughly else 2):
        _refine(copied, tolerance=ROUGHLY if roughly else THOROUGHLY)
        pycolmap.ObservationManager(copied).filter_all_points3D(LARGEST_ERROR, 1.0)
        copied.update_point_3d_errors()
    return copied


def fit_poses(model: Model) -> None:
    """Refines poses and points in place, with fixed lenses, and then removes points that don't fit.

    A robust loss limits the influence of outliers: poses from a phone's tracking may be far off, and some
    matches wrong.
    """
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    options.ceres.solver_options.function_tolerance = 1e-4
    _refine(model, options)
    pycolmap.ObservationManager(model).filter_all_points3D(LARGEST_ERROR, 1.0)
    model.update_point_3d_errors()


def _refine(
    model: Model, options: pycolmap.BundleAdjustmentOptions | None = None, tolerance: float = THOROUGHLY
) -> None:
    """Bundle adjustment of the whole model, in place; ``tolerance`` is for the usual options."""
    if options is None:
        options = pycolmap.BundleAdjustmentOptions()
        options.ceres.solver_options.function_tolerance = tolerance
    options.print_summary = False
    options.refine_sensor_from_rig = False
    setup = pycolmap.BundleAdjustmentConfig()
    for key in model.reg_image_ids():
        setup.add_image(key)
    for key in known_lenses(model.cameras.values()):
        setup.set_constant_cam_intrinsics(key)
    setup.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # Not pycolmap.bundle_adjustment, which turns COLMAP's log on again.
    pycolmap.create_default_bundle_adjuster(options, setup, model).solve()
