"""What only this program keeps in a camera_path.json, beside the frames that other programs read.

The viewer saves keyframes there, and every path what it pulls by key. All of it is checked wherever the file
is read, so that a film isn't made along frames that belong to other keyframes than those that the viewer
would refuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.plausible import NARROWEST, WIDEST, pose_doubt
from nerfscene.errors import NerfsceneError
from nerfscene.films.path_parts import number, vector
from nerfscene.films.tracks import NAMES, Key, Keys, Point, Tracks, as_json
from nerfscene.keyed import MOST_KEYS

OURS = "nerfscene"  # the key of what only this program writes into a camera_path.json
VERSION = 1
WITH_TRACKS = 2  # the version of a part with tracks, which earlier programs refuse rather than leave out
EASINGS = ("none", "gentle", "strong")
MOST_KEYFRAMES = 1000
SMALLEST, LARGEST = 16, 8192  # pixels along a film's side
LEAST_FPS, MOST_FPS = 0.01, 1000.0
SHORTEST, LONGEST = 1e-3, 3600.0  # seconds


def own_part(data: dict[str, Any], file: Path) -> dict[str, Any] | None:
    """The part of a camera_path.json with keyframes, as ``viewer.keyframes`` saved it; None: it has none.

    Raises NerfsceneError, naming the file, unless all of it can be used.
    """
    ours = _checked(data, file)[0]
    if ours is None or "keyframes" not in ours:
        return None
    return {name: value for name, value in ours.items() if name != "tracks"}  # of ``own_tracks``


def own_tracks(data: dict[str, Any], file: Path) -> Tracks:
    """What a camera_path.json says is pulled by key; its roll and field of view are in its frames already.

    Raises NerfsceneError as ``own_part`` does.
    """
    return _checked(data, file)[1]


def tracks_part(tracks: Tracks) -> dict[str, Any]:
    """The entries of the own part that hold tracks; none if there are no tracks."""
    return {"version": WITH_TRACKS, "tracks": as_json(tracks)} if tracks else {}


def _checked(data: dict[str, Any], file: Path) -> tuple[dict[str, Any] | None, Tracks]:
    """The own part of a camera_path.json, and its tracks; (None, no tracks) if it has neither."""
    ours = data.get(OURS)
    try:
        if ours is not None and not isinstance(ours, dict):
            raise ValueError("it is not an object")
        if ours is None or not {"version", "keyframes", "tracks"} & set(ours):
            return None, Tracks()
        version = ours.get("version")
        if version not in (VERSION, WITH_TRACKS):
            raise ValueError(
                f"its version is {version!r:.40}, and this nerfscene reads {VERSION} and {WITH_TRACKS}"
            )
        if "keyframes" in ours or version == VERSION:
            _check(ours)
        return ours, _tracks(ours.get("tracks", {}))
    except ValueError as error:
        raise NerfsceneError(
            f"{file}: its {OURS} part can't be read ({error}); remove that part, and its frames can be used"
        ) from error


def _check(ours: dict[str, Any]) -> None:
    """Raises ValueError, whose message is a clause, unless every entry of the keyframes can be used."""
    for name in ("loop", "constant_speed"):
        if not isinstance(ours.get(name), bool):
            raise ValueError(f"its {name} is neither true nor false")
    if ours.get("easing") not in EASINGS:
        raise ValueError("its easing must be none, gentle or strong")
    for name in ("width", "height"):
        size = ours.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or not SMALLEST <= size <= LARGEST:
            raise ValueError(f"its {name} is not {SMALLEST} to {LARGEST} pixels")
    _check_number(ours, "fps", LEAST_FPS, MOST_FPS, "it")
    _check_number(ours, "seconds", SHORTEST, LONGEST, "it")
    keys = ours.get("keyframes")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYFRAMES:
        raise ValueError(f"its keyframes are not a list of 1 to {MOST_KEYFRAMES}")
    for index, key in enumerate(keys, 1):
        _check_keyframe(key, f"its keyframe {index}")


def _check_keyframe(key: Any, where: str) -> None:
    if not isinstance(key, dict):
        raise ValueError(f"{where} is not an object")
    pose = vector(key.get("world_from_cam"), 16)
    doubt = "its pose is not 16 numbers" if pose is None else pose_doubt(np.reshape(pose, (4, 4)))
    if doubt is not None:
        raise ValueError(f"{where} can't be one: {doubt}")
    _check_number(key, "fov", NARROWEST, WIDEST, where)
    _check_number(key, "time", 0.0, LONGEST, where)


def _check_number(values: dict[str, Any], name: str, least: float, most: float, where: str) -> None:
    value = number(values.get(name))
    if value is None or not least <= value <= most:
        raise ValueError(f"{where} has no {name} from {least:g} to {most:g}")


def _tracks(data: Any) -> Tracks:
    """The tracks in their entry of the own part. Raises ValueError, whose message is a clause."""
    if not isinstance(data, dict):
        raise ValueError("its tracks are not an object")
    unknown = sorted(set(data) - set(NAMES))
    if unknown:
        raise ValueError(f"there is no track {unknown[0]!r:.40}")
    made = {name: _keys(keys, name) for name, keys in data.items()}
    try:
        return Tracks(**made)
    except NerfsceneError as error:
        raise ValueError(str(error)) from error


def _keys(data: Any, name: str) -> Keys:
    if not isinstance(data, list) or len(data) > MOST_KEYS:
        raise ValueError(f"its {name} is not a list of up to {MOST_KEYS} keys")
    keys: list[Key] = []
    for index, entry in enumerate(data, 1):
        where = f"key {index} of its {name}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is not an object")
        _check_number(entry, "time", 0.0, LONGEST, where)
        keys.append(Key(float(entry["time"]), _value(entry.get("value"), where)))
    return tuple(keys)


def _value(given: Any, where: str) -> float | str | Point:
    point, single = vector(given, 3), number(given)
    if point is not None:
        return float(point[0]), float(point[1]), float(point[2])
    if single is not None or isinstance(given, str):
        return given if single is None else single
    raise ValueError(f"the value of {where} is no number, point or text")
