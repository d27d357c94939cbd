"""Whether what resuming a training needs is whole: training.safetensors may be damaged, as any file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.plausible import FARTHEST, lens_doubt, pose_doubt
from nerfscene.errors import NerfsceneError
from nerfscene.scene.arrays import LARGEST_WEIGHT
from nerfscene.scene.checks import STRONGEST_EXPOSURE, check_begun, check_progress
from nerfscene.scene.folder import PROGRESS, TRAINING_FILE
from nerfscene.types import Array, Intrinsics

LARGEST = {  # sizes of numbers; what is not named may have any finite size
    "master": 65504.0,  # of binary16, to which the table is rounded
    "weights": LARGEST_WEIGHT,
    "exposures": STRONGEST_EXPOSURE,
    "camera_poses": 1e4,  # scene units and radians
    "camera_lenses": 10.0,
}
# Where second moments lie, which are means of squares, in an array that is split in two along an axis.
SECOND_MOMENTS = {
    "table_moments": 1,
    "weight_moments": 0,
    "exposure_moments": 1,
    "camera_pose_moments": 1,
    "camera_lens_moments": 1,
}
STATE = ("survivors_per_ray", "occupancy_mean", "step", "rays_drawn")  # the trainer's, see ops
MOST = 2.0**53  # up to which float64 counts


class OtherSettings(ValueError):
    """An array is missing or has another shape than these settings give it."""


def damaged(folder: Path, error: Exception) -> NerfsceneError:
    """What to raise when what is saved for resuming in ``folder`` is damaged."""
    return NerfsceneError(
        f"{folder / TRAINING_FILE} is damaged ({error}), so training can't be resumed; start again "
        "with --overwrite"
    )


def check_arrays(saved: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    """Checks the arrays that are copied into a run's, ``expected``, by name.

    Raises OtherSettings where shapes differ, and ValueError, with a clause, for types or numbers that no
    training can have saved.
    """
    for name, ours in expected.items():
        array = saved.get(name)
        if array is None or array.shape != ours.shape:
            raise OtherSettings(name)
        if array.dtype != ours.dtype:
            raise ValueError(f"its {name} are {array.dtype} instead of {ours.dtype}")
        if not (np.abs(array) <= LARGEST.get(name, np.finfo(np.float32).max)).all():  # nor NaN
            raise ValueError(f"some of the numbers in its {name} can't be right")
        if name in SECOND_MOMENTS and array.size:
            second = np.split(array, 2, SECOND_MOMENTS[name])[1]
            if second.min() < 0:
                raise ValueError(f"some of the numbers in its {name} can't be right")


def checked_state(saved: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The trainer's state (4,), see STATE. Raises ValueError, with a clause, for anything else."""
    state = saved.get("state")
    if state is None or state.shape != (len(STATE),) or state.dtype != np.float64:
        raise ValueError("its state is not four numbers")
    if not ((state >= 0) & (state <= [MOST, 1e31, MOST, MOST])).all():
        raise ValueError("its state can't be right")
    return state


def checked_progress(values: Any) -> dict[str, Any]:
    """The figures that were saved with the arrays. Raises ValueError, with a clause, for anything else."""
    check_progress(values, PROGRESS)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def check_views(entries: Any, cameras: Array) -> None:
    """Checks the saved views' entries and poses (n, 4, 4). Raises ValueError, with a clause."""
    check_begun(entries)
    if cameras.ndim != 3 or cameras.dtype.kind != "f" or len(cameras) != len(entries):
        raise ValueError("its cameras and photos don't fit together")
    for number, (entry, camera) in enumerate(zip(entries, cameras, strict=True), 1):
        doubt = lens_doubt(lens_of(entry)) or pose_doubt(camera)
        if doubt is not None:
            raise ValueError(f"its camera {number} can't be one: {doubt}")


def lens_of(entry: Mapping[str, Any]) -> Intrinsics:
    """The lens of a saved view's entry, which ``check_views`` has checked."""
    lens = entry["intrinsics"]
    return Intrinsics(**{**lens, "distortion": tuple(lens["distortion"])})


def seen_points(
    points: NDArray[Any], seen: NDArray[Any], counts: NDArray[Any], n_views: int
) -> Sequence[NDArray[np.int64]]:
    """Which of the points (p, 3) each view sees, from the saved arrays.

    Raises ValueError, with a clause, if they can't be right.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype != np.float64:
        raise ValueError("its points are not positions")
    if not (np.abs(points) <= FARTHEST).all():
        raise ValueError("some of its points are impossibly far away")
    whole = seen.ndim == counts.ndim == 1 and seen.dtype == counts.dtype == np.int64
    if not whole or len(counts) != n_views or (counts < 0).any() or int(counts.sum()) != len(seen):
        raise ValueError("its cameras and points don't fit together")
    if len(seen) and not 0 <= seen.min() <= seen.max() < len(points):
        raise ValueError("its cameras and points don't fit together")
    return np.split(seen, np.cumsum(counts)[:-1])
