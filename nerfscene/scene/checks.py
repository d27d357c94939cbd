"""Whether a scene.json is whole: every entry of the type and in the range that the program expects.

Each check raises ValueError with a clause such as "its space has a cone that is not a number from 0 to 1".
Entries that older versions didn't write may be missing. Unknown entries are ignored, except in settings that
become a dataclass.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nerfscene.cameras.plausible import invertible, lens_doubt, pose_doubt
from nerfscene.types import Array, Intrinsics

Values = dict[str, Any]
LARGEST = sys.float_info.max
MOST_STEPS = 1_000_000  # along a ray
STRONGEST_EXPOSURE = 20.0  # natural logarithm of a factor


@dataclass(frozen=True)
class Entry:
    """What an entry of a JSON object must be. words: completes "it has a NAME that is not"."""

    fits: Callable[[Any], bool]
    words: str
    needed: bool = True


# --- kinds of values ------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _number(low: float = -LARGEST, high: float = LARGEST) -> Entry:
    words = "a number" if high == LARGEST else f"a number from {low:g} to {high:g}"
    return Entry(lambda v: _is_number(v) and low <= v <= high, words)


def _whole(low: int, high: int) -> Entry:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Entry(fits, f"a whole number from {low} to {high}")


def _one_of(*choices: str) -> Entry:
    return Entry(lambda v: isinstance(v, str) and v in choices, " or ".join(choices))


def _list_of(entry: Entry, length: int | None = None) -> Entry:
    def fits(value: Any) -> bool:
        return isinstance(value, list) and length in (None, len(value)) and all(map(entry.fits, value))

    return Entry(fits, f"a list of {'' if length is None else f'{length} times '}{entry.words}")


def _or_none(entry: Entry) -> Entry:
    return Entry(lambda v: v is None or entry.fits(v), f"{entry.words} or null", needed=False)


def _optional(entry: Entry) -> Entry:
    return Entry(entry.fits, entry.words, needed=False)


def _object_of(table: dict[str, Entry], name: str) -> Entry:
    def fits(value: Any) -> bool:
        return isinstance(value, dict) and all(
            entry.fits(value[key]) if key in value else not entry.needed for key, entry in table.items()
        )

    return Entry(fits, name)


def _names_a_file(text: str) -> bool:
    try:
        return text != "" and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


TRUTH = Entry(lambda v: isinstance(v, bool), "true or false")
TEXT = Entry(lambda v: isinstance(v, str), "text")
PATH = Entry(lambda v: isinstance(v, str) and _names_a_file(v), "a path")
COUNT = _whole(0, 10**18)
ANY_NUMBER = Entry(lambda v: isinstance(v, float) or _is_number(v), "a number")  # NaN and infinity too
MATRIX = Entry(lambda v: _list_of(_list_of(_number(), 4), 4).fits(v), "a 4×4 matrix of numbers")
OBJECT = Entry(lambda v: isinstance(v, dict), "an object")

# --- the tables -----------------------------------------------------------------------------------

SPACE = {
    "unbounded": TRUTH,
    "near": _number(0, 1e6),
    "far": _number(1e-6, 1e9),
    "step": _number(1e-6, 1e6),
    "cone": _number(0, 1),
    "occupancy_resolution": _whole(32, 512),
    "view": _optional(_or_none(_list_of(_number(-1e6, 1e6), 12))),
    "share": _optional(_number(0.01, 1)),
}
SIZES = ("levels", "features", "log2_table", "base_resolution", "finest_resolution", "hidden")
FIELD = {name: _optional(_whole(1, 65536)) for name in (*SIZES, "color_hidden", "color_layers")} | {
    "color": _optional(_one_of("harmonics", "network")),
    "occupancy_resolution": _optional(_whole(32, 512)),
}
LENS = {
    "width": _whole(1, 1_000_000),
    "height": _whole(1, 1_000_000),
    **{name: _number() for name in ("fx", "fy", "cx", "cy")},
    "lens": _one_of("perspective", "fisheye"),
    "distortion": _list_of(_number(), 5),
}
VIEW = {
    "photo": PATH,
    "mask": _or_none(PATH),
    "mask_turns": _optional(_whole(0, 3)),
    "split": _one_of("train", "test"),
    "intrinsics": OBJECT,
    "world_from_cam": MATRIX,
    "exposure": _optional(_list_of(_number(-STRONGEST_EXPOSURE, STRONGEST_EXPOSURE), 3)),
    "panorama": _or_none(PATH),
    "face": _optional(TEXT),
}
PER_VIEW = {"photo": TEXT, "psnr": ANY_NUMBER, "ssim": ANY_NUMBER} | {
    name: _or_none(ANY_NUMBER) for name in ("flip", "psnr_matched", "flip_matched")
}
HISTORY = {
    "seconds": _number(),
    "psnr": ANY_NUMBER,
    "fraction": _optional(_number()),
    "step": _optional(COUNT),
}
TAKEN_IN = {"photos": COUNT, "width": COUNT, "height": COUNT, "focal": ANY_NUMBER}
POSING = {
    "found_by": TEXT,
    "tried": _list_of(TEXT),
    "photos_posed": COUNT,
    **{name: _or_none(ANY_NUMBER) for name in ("models", "pairs_compared", "pairs_connected", "points")},
    **{name: _or_none(ANY_NUMBER) for name in ("observations", "track_length", "reprojection_error")},
    "agreement": _or_none(ANY_NUMBER),
    "apart": _optional(_list_of(_list_of(TEXT))),
}
SETTINGS = Entry(lambda v: isinstance(v, dict) and all(isinstance(p, dict) for p in v.values()), "settings")
SPLATS = {
    **{name: COUNT for name in ("count", "degree")},
    "seconds": _number(0, 1e12),
    **{name: _or_none(ANY_NUMBER) for name in ("psnr", "psnr_before", "flip")},
}
MOVED = {"photo": TEXT, "share": _number(0, 1), "boxes": _list_of(_list_of(_number(0, 1), 4))}
FIGURES = {
    **{name: _optional(COUNT) for name in ("photos", "photos_posed", "steps", "rays", "samples", "views")},
    **{name: _optional(TEXT) for name in ("source", "device")},
    "downscale": _optional(_number(1e-3, 1e6)),
    "train_seconds": _optional(_number(0, 1e12)),
    "finished": _optional(TRUTH),
    **{name: _or_none(ANY_NUMBER) for name in ("psnr", "ssim", "flip", "psnr_matched", "flip_matched")},
    **{name: _or_none(ANY_NUMBER) for name in ("reprojection_error", "cameras_moved")},
    "per_view": _optional(_list_of(_object_of(PER_VIEW, "figures of a photo"))),
    "history": _optional(_list_of(_object_of(HISTORY, "figures of a moment"))),
    "taken_in": _optional(_list_of(_object_of(TAKEN_IN, "photos of a kind"))),
    "left_out": _optional(_list_of(_object_of({"name": TEXT, "reason": TEXT}, "photos and reasons"))),
    "warnings": _optional(_list_of(TEXT)),
    "moved": _optional(_list_of(_object_of(MOVED, "photos in which something moved"))),
    "posing": _or_none(_object_of(POSING, "a record of how the photos were posed")),
    "settings": _optional(SETTINGS),
    "splats": _or_none(_object_of(SPLATS, "figures of splats")),
}
BEGUN = {
    **{name: VIEW[name] for name in ("mask", "mask_turns", "panorama", "face", "split", "intrinsics")},
    "name": TEXT,
    "path": PATH,
}
WHOLE = {
    "space": OBJECT,
    "field": OBJECT,
    "background": _list_of(_number(0, 1), 3),
    "has_alpha": TRUTH,
    "gain": _optional(_number(1e-6, 1e6)),
    "scene_from_world": MATRIX,
    "crop": _or_none(MATRIX),
    "world_from_capture": _or_none(MATRIX),
    "up": _or_none(Entry(lambda v: _list_of(_number(), 3).fits(v) and any(v), "a direction")),
    "views": Entry(lambda v: isinstance(v, list) and len(v) > 0, "a list of cameras"),
    "figures": OBJECT,
    "splats": _or_none(_object_of({"version": COUNT, "stamp": TEXT}, "an entry of splats")),
}


# --- the checks -----------------------------------------------------------------------------------


def check_manifest(data: Values) -> None:
    """Raises ValueError unless everything in a scene.json of this version can be used."""
    _check(data, WHOLE, "it")
    _check(data["space"], SPACE, "its space", closed=True)
    _check_steps(data["space"])
    _check(data["field"], FIELD, "its field", closed=True)
    if data["field"].get("occupancy_resolution", 128) != data["space"]["occupancy_resolution"]:
        raise ValueError("its space and its field differ in their occupancy_resolution")
    _check(data["figures"], FIGURES, "its figures")
    _check_similarity(data["scene_from_world"], "scene_from_world")
    if data.get("world_from_capture") is not None:
        _check_similarity(data["world_from_capture"], "world_from_capture")
    if data.get("crop") is not None:
        _check_invertible(data["crop"], "crop")
    for number, view in enumerate(data["views"], 1):
        _check_view(view, f"its camera {number}")


def check_progress(values: Any, names: Sequence[str]) -> None:
    """Raises ValueError unless ``values`` are these figures, as ``training.safetensors`` keeps them."""
    table = {name: Entry(FIGURES[name].fits, FIGURES[name].words) for name in names}
    _check(values, table, "its progress", closed=True)


def check_begun(entries: Any) -> None:
    """Raises ValueError unless ``entries`` describe photos, as ``training.safetensors`` keeps them."""
    if not isinstance(entries, list) or not entries:
        raise ValueError("its photos are not a list")
    for number, entry in enumerate(entries, 1):
        _check(entry, BEGUN, f"its photo {number}")
        _check(entry["intrinsics"], LENS, f"the lens of its photo {number}", closed=True)


def _check(values: Any, table: dict[str, Entry], where: str, closed: bool = False) -> None:
    """Raises ValueError unless ``values`` is an object with a table's entries; closed: with no other."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not an object")
    for name, entry in table.items():
        if name not in values and entry.needed:
            raise ValueError(f"{where} has no {name}")
        if name in values and not entry.fits(values[name]):
            raise ValueError(f"{where} has {_article(name)} {name} that is not {entry.words}")
    unknown = [name for name in values if closed and name not in table]
    if unknown:
        raise ValueError(f"{where} has an unknown entry {unknown[0]:.40}")


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def _check_steps(space: Values) -> None:
    """Raises ValueError for a space whose rays would have no end or hardly any."""
    near, far, step, cone = (float(space[name]) for name in ("near", "far", "step", "cone"))
    if far <= near:
        raise ValueError("its space has a far that is not more than its near")
    reach = far - near if space["unbounded"] else min(far - near, 2 * math.sqrt(3))
    straight = min(reach, max(step / cone - near, 0)) if cone > 0 else reach
    grown = math.log(max(far * cone / step, 1)) / math.log1p(cone) if cone > 0 else 0
    if straight / step + grown > MOST_STEPS:
        raise ValueError("its space has steps that are too short")


def _check_view(view: Any, where: str) -> None:
    _check(view, VIEW, where)
    _check(view["intrinsics"], LENS, f"the lens of {where}", closed=True)
    values = {**view["intrinsics"], "distortion": tuple(view["intrinsics"]["distortion"])}
    doubt = lens_doubt(Intrinsics(**values)) or pose_doubt(np.array(view["world_from_cam"], np.float64))
    if doubt is not None:
        raise ValueError(f"{where} can't be one: {doubt}")


def _check_invertible(values: Any, name: str) -> Array:
    """The matrix (4, 4), if it can be inverted and neither it nor its inverse overflows."""
    matrix = np.array(values, np.float64)
    if not invertible(matrix):
        raise ValueError(f"its {name} is not an invertible 4×4 matrix")
    return matrix


def _check_similarity(values: Any, name: str) -> None:
    matrix = _check_invertible(values, name)
    turn = matrix[:3, :3]
    square = turn @ turn.T
    scale = float(np.trace(square)) / 3
    if (
        np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6
        or not np.abs(square - scale * np.eye(3)).max() <= 1e-3 * scale
        or np.linalg.det(turn) <= 0
    ):
        raise ValueError(f"its {name} is not a rotation, a translation and one scale")
