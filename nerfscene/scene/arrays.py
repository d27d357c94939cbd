"""The arrays of a scene's files: the field with what surrounds it, and splats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nerfscene.config import FieldConfig
from nerfscene.errors import warn_caller
from nerfscene.field.hash_grid import RadianceField, Space, restored
from nerfscene.scene.atomic import telling
from nerfscene.scene.scene import Scene
from nerfscene.splatting import stored
from nerfscene.splatting.gaussians import Splats

SPLATS_FILE = "splats.safetensors"
LARGEST_WEIGHT = 1e6  # of the networks; trained ones stay below 100


def field_arrays(scene: Scene) -> dict[str, NDArray[Any]]:
    """What field.safetensors holds."""
    f = scene.field
    arrays: dict[str, NDArray[Any]] = {
        "table": f.table.view(np.float16),
        "weights": f.weights,
        "occupancy": f.occupancy,
        "points": scene.points,
    }
    return arrays if scene.backdrop is None else {**arrays, "backdrop": scene.backdrop}


def field_of(data: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> RadianceField:
    """The field in a scene.json and the arrays beside it. Raises ValueError or KeyError for what is none."""
    kinds = {name: arrays[name].dtype.kind for name in ("table", "weights", "occupancy")}
    if kinds != {"table": "f", "weights": "f", "occupancy": "u"}:
        raise ValueError("the types of the field's arrays don't fit")
    return restored(
        FieldConfig(**data["field"]),
        space_of(data["space"]),
        np.ascontiguousarray(arrays["table"].astype(np.float16, copy=False)).view(np.uint16),
        np.ascontiguousarray(arrays["weights"].astype(np.float32, copy=False)),
        np.ascontiguousarray(arrays["occupancy"].astype(np.uint32, copy=False)),
    )


def space_of(values: dict[str, Any]) -> Space:
    """The space in a scene.json; those of older versions have no ``view``."""
    view = values.get("view")
    return Space(**{**values, "view": None if view is None else tuple(map(float, view))})


def backdrop_of(saved: NDArray[Any] | None) -> NDArray[np.float32] | None:
    """The saved backdrop (rows, 2 · rows, 3), None if there is none. Raises ValueError for anything else."""
    if saved is None:
        return None
    usable = saved.ndim == 3 and saved.shape[2] == 3 and saved.size > 0 and saved.dtype.kind == "f"
    if not usable or not (np.abs(saved) <= 1e6).all():  # false for NaN too
        raise ValueError("its backdrop is not a picture")
    return saved.astype(np.float32, copy=False)


def points_of(saved: NDArray[Any] | None) -> NDArray[np.float32]:
    """The saved points (n, 3), none if there are none. Raises ValueError for anything else."""
    if saved is None:
        return np.zeros((0, 3), np.float32)
    if saved.ndim != 2 or saved.shape[1] != 3 or saved.dtype.kind != "f" or not np.isfinite(saved).all():
        raise ValueError("its points are not positions")
    return saved.astype(np.float32, copy=False)


def check_sizes(arrays: dict[str, NDArray[Any]], field: RadianceField) -> None:
    """Raises ValueError unless the field's numbers are finite, and so small that no product overflows."""
    small = bool((np.abs(field.weights) <= LARGEST_WEIGHT).all())  # false for NaN too
    if not (small and np.isfinite(arrays["table"]).all()):
        raise ValueError("some of its numbers are not finite")


def splats_entry(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """scene.json's "splats" for the arrays of ``stored.arrays_of``."""
    return {"version": stored.VERSION, "stamp": stored.stamp_of(arrays)}


def write_splats(arrays: dict[str, NDArray[Any]], file: Path) -> None:
    """Writes the arrays of ``stored.arrays_of``. Raises NerfsceneError if that can't be done."""
    with telling(file):
        save_file(arrays, file, metadata={"version": str(stored.VERSION), "stamp": stored.stamp_of(arrays)})


def saved_splats(data: dict[str, Any], folder: Path) -> Splats | None:
    """The splats that scene.json names.

    There are none, with a NerfsceneWarning, where their file was deleted, is damaged, is another scene's (a
    process killed while it saved can leave that) or of another version: the field is whole without them, and
    it took longer to make.
    """
    entry = data.get("splats")
    if entry is None:
        return None
    file = folder / SPLATS_FILE
    try:
        wrong, splats = _read_splats(file, entry)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        wrong, splats = f"is damaged ({getattr(error, 'strerror', None) or error}), so it is not used", None
    if splats is None:
        warn_caller(f"{file} {wrong}; fit others with nerfscene train --splats")
    return splats


def _read_splats(file: Path, entry: dict[str, Any]) -> tuple[str, Splats | None]:
    """The splats that scene.json's ``entry`` names, or what is wrong with them.

    Raises ValueError, SafetensorError or OSError for a damaged file.
    """
    if entry["version"] != stored.VERSION:
        return (
            f"was written by another version of nerfscene (version {entry['version']}, this nerfscene reads "
            f"{stored.VERSION}), so it is not used"
        ), None
    if not file.exists():
        return "is gone, so the scene has no splats", None
    with safe_open(file, framework="np") as handle:
        if (handle.metadata() or {}).get("stamp") != entry["stamp"]:
            return "is not this scene's, so it is not used", None
        arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    return "", stored.splats_of(arrays)
