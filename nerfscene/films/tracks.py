"""What changes along a film by key: focus, aperture, exposure, field of view and roll.

Between keys a value changes smoothly and doesn't go beyond either: it follows a monotone cubic curve
(F. N. Fritsch and J. Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984).
It begins and ends at rest; in a loop it goes on from the last key to the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.cameras.plausible import FARTHEST
from nerfscene.errors import NerfsceneError
from nerfscene.given import instance_given
from nerfscene.keyed import RANGES
from nerfscene.loading import loading
from nerfscene.types import Array, Lens

Point = tuple[float, float, float]
NAMES = ("focus", "aperture", "exposure", "fov", "roll")  # the fields of Tracks
CLOSE = 1e-6  # seconds and, of a film's length, share by which times may differ and be the same
FRAMES_AT_ONCE = 1024  # whose curves are computed together: many keys of long films would fill memory
TURN = 360.0  # degrees of roll after which the picture is the same


@dataclass(frozen=True)
class Key:
    """A value at a time, seconds from the film's beginning; ``Tracks`` says what values there are."""

    time: float
    value: float | str | Point


Keys = tuple[Key, ...]


@dataclass(frozen=True)
class Tracks:
    """What is given by key along a film. An empty track changes nothing, and one key holds all the time.

    Keys are in the order of their times, each time once. 0 is the first frame; the film's length is its last
    frame, or in a loop the first again.

    focus: a distance along the camera's axis in world units, a point (x, y, z) of the world, or as text
    "subject" or a photo's name, for what is in the middle of that photo
    aperture: f-numbers
    exposure: stops by which the film is brighter
    fov: degrees across the picture's shorter side
    roll: degrees by which what the picture shows is turned clockwise
    Raises NerfsceneError for keys out of order, and values that can't be.
    """

    focus: Keys = ()
    aperture: Keys = ()
    exposure: Keys = ()
    fov: Keys = ()
    roll: Keys = ()

    def __post_init__(self) -> None:
        for name in NAMES:
            before = -math.inf
            for number, key in enumerate(getattr(self, name), 1):
                instance_given(key, Key, f"key {number} of the {name}")
                doubt = _doubt(name, key, before)
                if doubt:
                    raise NerfsceneError(f"key {number} of the {name} {doubt}")
                before = key.time

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in NAMES)


def _doubt(name: str, key: Key, before: float) -> str:
    """Why a key can't be one of this track, as the end of a sentence; "" if it can."""
    if not 0 <= key.time < math.inf or key.time <= before:
        return f"must have a time after the key before it, and from 0 seconds on, not {key.time:g} s"
    value = key.value
    if isinstance(value, str | tuple):
        if name != "focus":
            return f"must be a number, not {value!r:.40}"
        if isinstance(value, str):
            return "" if value.strip() else "must name a photo"
        there = len(value) == 3 and all(abs(x) < FARTHEST for x in value)
        return "" if there else f"must have three finite numbers, not {value!r:.80}"
    least, most, words = 0.0, FARTHEST, "a distance above 0"
    if name in RANGES:
        least, most, words = RANGES[name].least, RANGES[name].most, RANGES[name].words
    fits = least <= value <= most and (name != "focus" or value > 0)
    return "" if fits else f"must be {words}, not {value:g}"


def frame_times(n: int, seconds: float, loop: bool) -> Array:
    """The time of each of n frames, (n,), seconds, in a film of this length."""
    return np.linspace(0.0, seconds, n, endpoint=not loop) if n > 1 else np.zeros(n)


def numbers_at(keys: Keys, times: Array, seconds: float, loop: bool, turn: float = 0.0) -> Array:
    """The value (n,) at each of these times (n,) of a film; of keys with numbers, at least one.

    turn: by how much a value may have changed and be the same, as degrees of roll are; 0: not at all.
    """
    values = np.array([float(key.value) for key in keys])  # type: ignore[arg-type]
    return eased(keys, values, times, round_of(keys, seconds, loop, turn))


def exposures_at(keys: Keys, times: Array, seconds: float, loop: bool) -> Array:
    """Stops (n,) at these times (n,); 0 without keys."""
    return numbers_at(keys, times, seconds, loop) if keys else np.zeros(len(times))


def f_numbers_at(keys: Keys, times: Array, seconds: float, loop: bool) -> Array:
    """F-numbers (n,) at these times (n,): their stops change smoothly. There must be a key."""
    logs = tuple(replace(key, value=math.log2(float(key.value))) for key in keys)  # type: ignore[arg-type]
    return np.exp2(numbers_at(logs, times, seconds, loop))


def rolls_at(keys: Keys, times: Array, seconds: float, loop: bool) -> Array:
    """Degrees of roll (n,) at these times (n,); 0 without keys."""
    return numbers_at(keys, times, seconds, loop, TURN) if keys else np.zeros(len(times))


def focals_at(keys: Keys, times: Array, seconds: float, loop: bool, lens: Lens) -> Array:
    """Focal lengths (n,), in shorter sides of the picture, at these times (n,). There must be a key.

    The focal length's logarithm changes smoothly, as with a zoom lens. lens: perspective or fisheye.
    """
    logs = tuple(replace(key, value=math.log(focal_of(float(key.value), lens))) for key in keys)  # type: ignore[arg-type]
    return np.exp(numbers_at(logs, times, seconds, loop))


def focal_of(degrees: float, lens: Lens) -> float:
    """The focal length, in shorter sides of the picture, of a field of view across its shorter side."""
    angle = math.radians(degrees)
    return 1 / angle if lens == "fisheye" else 0.5 / math.tan(angle / 2)


@dataclass(frozen=True)
class Round:
    """How a track goes on in a loop: seconds from a key to the same key again; by how much it then differs.

    keys: how many of its keys count. The last one doesn't where it is the first again.
    """

    seconds: float
    change: float
    keys: int


def round_of(keys: Keys, seconds: float, loop: bool, turn: float = 0.0) -> Round | None:
    """How a track goes on from its last key to its first; None: it doesn't.

    It does in a loop, unless it has other values at the beginning and the end of the film. turn: as in
    ``numbers_at``.
    """
    if not loop or len(keys) < 2:
        return None
    close = CLOSE * max(seconds, 1.0)
    first, last = keys[0], keys[-1]
    if first.time > close or last.time < seconds - close:
        return Round(seconds, 0.0, len(keys))
    if first.value == last.value:
        return Round(seconds, 0.0, len(keys) - 1)
    if turn and isinstance(first.value, int | float) and isinstance(last.value, int | float):
        change = last.value - first.value
        if abs(change / turn - round(change / turn)) < 1e-9:
            return Round(seconds, change, len(keys) - 1)
    return None


def eased(keys: Keys, values: Array, times: Array, around: Round | None) -> Array:
    """What the keys' values, (k,) or at each time (k, n), become at these times (n,): (n,).

    around: as ``round_of`` has it; without it, the value holds before the first key and after the last.
    """
    with loading():
        from scipy.interpolate import PchipInterpolator  # imported here because it takes half a second

    at = np.array([key.time for key in keys])
    if values.ndim == 2 and len(times) > FRAMES_AT_ONCE:
        cuts = range(0, len(times), FRAMES_AT_ONCE)
        parts = [slice(cut, cut + FRAMES_AT_ONCE) for cut in cuts]
        return np.concatenate([eased(keys, values[:, part], times[part], around) for part in parts])
    if around is not None:
        at, values = at[: around.keys], values[: around.keys]
    if len(at) == 1:
        return np.array(np.broadcast_to(values[0], times.shape), np.float64)
    if around is None:
        # A flat piece before and behind makes the curve begin and end at rest.
        knots = np.concatenate([[at[0] - 1], at, [at[-1] + 1]])
        rows = np.concatenate([values[:1], values, values[-1:]])
        times = np.clip(times, at[0], at[-1])
    else:
        knots = np.concatenate([at - around.seconds, at, at + around.seconds])
        rows = np.concatenate([values - around.change, values, values + around.change])
    pieces = PchipInterpolator(knots, rows).c  # (4, pieces) or (4, pieces, n), the highest power first
    i = np.clip(np.searchsorted(knots, times, "right") - 1, 0, len(knots) - 2)
    c = pieces[:, i] if values.ndim == 1 else pieces[:, i, np.arange(len(times))]
    x = times - knots[i]
    made: Array = ((c[0] * x + c[1]) * x + c[2]) * x + c[3]
    # Rounding may lead a hair beyond the keys.
    return np.clip(made, rows.min(0), rows.max(0))


def stretched(tracks: Tracks, factor: float) -> Tracks:
    """The tracks of a film that takes ``factor`` times as long."""
    made = {
        name: tuple(replace(key, time=key.time * factor) for key in getattr(tracks, name)) for name in NAMES
    }
    return Tracks(**made)


def transformed(tracks: Tracks, new_from_world: Array) -> Tracks:
    """The same tracks in the coordinates of another world; ``new_from_world``: a similarity (4, 4)."""
    scale = similarity_scale(new_from_world)

    def moved(value: float | str | Point) -> float | str | Point:
        if isinstance(value, str):
            return value
        if isinstance(value, tuple):
            x, y, z = (float(c) for c in new_from_world[:3, :3] @ value + new_from_world[:3, 3])
            return x, y, z
        return value * scale

    return replace(tracks, focus=tuple(replace(key, value=moved(key.value)) for key in tracks.focus))


def as_json(tracks: Tracks) -> dict[str, list[dict[str, Any]]]:
    """The tracks that have keys, as plain values: {"exposure": [{"time": 0.0, "value": -1.0}]}."""
    return {
        field.name: [
            {"time": key.time, "value": list(key.value) if isinstance(key.value, tuple) else key.value}
            for key in getattr(tracks, field.name)
        ]
        for field in fields(tracks)
        if getattr(tracks, field.name)
    }


def rolled(world_from_cam: Array, degrees: float) -> Array:
    """A pose (4, 4) turned about its viewing direction so that what the picture shows turns clockwise."""
    angle = math.radians(degrees)
    out = world_from_cam.copy()
    right, down = world_from_cam[:3, 0], world_from_cam[:3, 1]
    out[:3, 0] = math.cos(angle) * right - math.sin(angle) * down
    out[:3, 1] = math.sin(angle) * right + math.cos(angle) * down
    return out
