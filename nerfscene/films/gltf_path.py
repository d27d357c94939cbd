"""Reads an animated camera from a glTF 2.0 file, as Blender exports it.

By the specification (Khronos, glTF 2.0, 3.6, 3.10 and 3.11): a camera looks along -z of its node, with +y
up; nodes are placed in their parents; an animation moves translation, rotation (a quaternion x, y, z, w)
and scale of nodes by keys in seconds, joined in steps, by straight lines (rotations on the sphere) or by
cubic Hermite curves. ``yfov`` is vertical, in radians; KHR_animation_pointer can animate it. There is no
frame rate: Blender writes a key a frame, and their spacing gives it.

``extras`` of a file that was written here hold what glTF has no place for: the film's size, rate and loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.gltf_file import Gltf, array, entry, listed
from nerfscene.films.path_parts import (
    DEFAULT_FPS,
    FLIP,
    FilePath,
    focal_of,
    frame_count,
    number,
    positive,
    rigid,
    vector,
)
from nerfscene.formats.app_files import printable, rotation_of
from nerfscene.loading import loading
from nerfscene.types import Array

EXTRAS = "nerfscene"  # the key of what only this program writes into ``extras``
RATES = (
    30.0,
    24.0,
    25.0,
    60.0,
    50.0,
    24000 / 1001,
    30000 / 1001,
    48.0,
    60000 / 1001,
    12.0,
    15.0,
    120.0,
    240.0,
)
OFF_BEAT = 0.02  # of a frame, by which a key may be off the frame rate that it is to have
DEEPEST = 100  # nodes above a camera
WIDTHS = {"translation": 3, "rotation": 4, "scale": 3, "yfov": 1}
Moves = dict[
    tuple[Any, str], Callable[[Array], Array]
]  # (node, or "camera"; property) → values (m, k) at times (m,)


def read(gltf: Gltf) -> FilePath:
    """The path of the file's camera, in its own coordinates (+y up), one camera a frame.

    If there are several cameras, the first one that moves is taken. Raises NerfsceneError, naming the file,
    for anything that can't be used.
    """
    chain, other = _chosen(gltf)
    node = entry(gltf, "nodes", chain[0])
    camera = entry(gltf, "cameras", node.get("camera"))
    moves, times, notes = _moves(gltf, chain)
    if other:
        notes.append(
            f"{gltf.file} holds {1 + len(other)} cameras; {_name(node)} is filmed, "
            f"not {', '.join(other[:3])}."
        )
    ours = _extras(gltf)
    fps = positive(ours, "fps", gltf.file) or _rate(times)
    begin = float(times[0]) if len(times) else 0.0
    lasts = float(times[-1]) - begin if len(times) else 0.0
    n = frame_count(lasts + 1 / fps, fps, gltf.file) if lasts > 0 else 1
    if n == 1:
        notes.append(
            f"{gltf.file}: its camera doesn't move, so the film is one picture; --seconds makes it longer."
        )
    at = begin + np.arange(n) / fps
    poses = [
        rigid(pose, f"{gltf.file}: the camera at {t:.3f} s", any_scale=True) @ FLIP
        for t, pose in zip(at, _world(gltf, chain, moves, at), strict=True)
    ]
    focals, aspect = _lens(gltf, camera, moves, at)
    width, height = (positive(ours, side, gltf.file) for side in ("width", "height"))
    return FilePath(
        poses,
        focals,
        fps,
        n / fps,
        ours.get("loop") is True,
        None if width is None else round(width),
        None if height is None else round(height),
        aspect,
        notes=tuple(notes),
    )


def _chosen(gltf: Gltf) -> tuple[list[int], list[str]]:
    """(a camera's node and those above it, upwards; the names of other cameras)."""
    nodes = listed(gltf, "nodes")
    above = {}
    for i, node in enumerate(nodes):
        children = node.get("children")
        for child in children if isinstance(children, list) else []:
            if isinstance(child, int):
                above[child] = i
    chains = []
    for i, node in enumerate(nodes):
        if node.get("camera") is None:
            continue
        chain = [i]
        while chain[-1] in above:
            chain.append(above[chain[-1]])
            if len(chain) > DEEPEST:
                raise NerfsceneError(f"{gltf.file} is damaged: its nodes hang in a ring; export it again")
        chains.append(chain)
    if not chains:
        raise NerfsceneError(
            f"{gltf.file} holds no camera; in Blender's glTF export, tick Include: Cameras, and Animation"
        )
    moved = _animated(gltf)
    best = next((c for c in chains if moved & set(c)), chains[0])
    return best, [_name(nodes[c[0]]) for c in chains if c is not best]


def _name(node: dict[str, Any]) -> str:
    return printable(node.get("name") or "a camera without a name")


def _animated(gltf: Gltf) -> set[int]:
    """The nodes that any animation moves."""
    return {
        target[0]
        for animation in listed(gltf, "animations")
        for channel in _objects(animation, "channels")
        if (target := _target(channel)) is not None and isinstance(target[0], int)
    }


def _objects(values: dict[str, Any], name: str) -> list[dict[str, Any]]:
    given = values.get(name)
    return [v for v in given if isinstance(v, dict)] if isinstance(given, list) else []


def _target(channel: dict[str, Any]) -> tuple[Any, str] | None:
    """What a channel moves: (node, property), or ("camera 3", "yfov"); None for anything else."""
    target = channel["target"] if isinstance(channel.get("target"), dict) else {}
    path, node = target.get("path"), target.get("node")
    if path in ("translation", "rotation", "scale"):
        return (node, path) if isinstance(node, int) else None
    extensions = target["extensions"] if isinstance(target.get("extensions"), dict) else {}
    pointer = extensions.get("KHR_animation_pointer")
    parts = str(pointer.get("pointer") if isinstance(pointer, dict) else "").split("/")
    if path != "pointer" or len(parts) < 4 or not parts[2].isdecimal() or len(parts[2]) > 9:
        return None
    if parts[1] == "nodes" and parts[3:] in (["translation"], ["rotation"], ["scale"]):
        return int(parts[2]), parts[3]
    if parts[1] == "cameras" and parts[3:] == ["perspective", "yfov"]:
        return f"camera {parts[2]}", "yfov"
    return None


def _moves(gltf: Gltf, chain: list[int]) -> tuple[Moves, Array, list[str]]:
    """(how the camera and what it hangs on move, the times of all their keys, sentences)."""
    wanted = {*chain, f"camera {entry(gltf, 'nodes', chain[0]).get('camera')}"}
    moves: Moves = {}
    times = [np.zeros(0)]
    twice = []
    for number_, animation in enumerate(listed(gltf, "animations")):
        name = printable(animation.get("name") or f"number {number_ + 1}")
        samplers = animation.get("samplers")
        for channel in _objects(animation, "channels"):
            target = _target(channel)
            if target is None or target[0] not in wanted:
                continue
            if target in moves:
                twice.append(name)
                continue
            index: Any = channel.get("sampler")
            several = samplers if isinstance(samplers, list) else []
            known = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(several)
            sampler = several[index] if known else None
            if not isinstance(sampler, dict):
                raise NerfsceneError(
                    f"{gltf.file} is damaged: its animation {name} lacks a sampler; export it again"
                )
            moves[target], at = _sampled(gltf, sampler, target[1])
            times.append(at)
    notes = []
    if twice:
        names = ", ".join(dict.fromkeys(twice))
        notes.append(f"{gltf.file}: its camera has several animations; the first is filmed, not {names}.")
    return moves, np.unique(np.concatenate(times)), notes


def _sampled(gltf: Gltf, sampler: dict[str, Any], what: str) -> tuple[Callable[[Array], Array], Array]:
    """(a sampler's values (m, k) at times (m,), the times of its keys)."""
    times, values = array(gltf, sampler.get("input"))[:, 0], array(gltf, sampler.get("output"))
    kind, n = sampler.get("interpolation", "LINEAR"), len(times)
    cubic = kind == "CUBICSPLINE"
    if kind not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise NerfsceneError(
            f"{gltf.file}: its keys are joined by {kind!r:.40}, which glTF doesn't know; export it again"
        )
    if values.shape != (3 * n if cubic else n, WIDTHS[what]) or not (np.diff(times) > 0).all():
        raise NerfsceneError(
            f"{gltf.file} is damaged: the keys of its {what} don't match their times; export it again"
        )
    keys = values[1::3] if cubic else values
    if what == "rotation":
        lengths = np.linalg.norm(keys, axis=1, keepdims=True)
        if not (lengths > 1e-6).all():
            raise NerfsceneError(f"{gltf.file} is damaged: it has a rotation of all zeros; export it again")
        keys = keys if cubic else keys / lengths
    if n == 1:
        return lambda at: np.repeat(keys, len(at), axis=0), times
    if kind == "STEP":
        return lambda at: keys[np.clip(np.searchsorted(times, at + 1e-6, side="right") - 1, 0, n - 1)], times
    if cubic:
        return lambda at: _hermite(times, keys, values[0::3], values[2::3], at), times
    if what == "rotation":
        with loading():
            from scipy.spatial.transform import Rotation, Slerp

        turning = Slerp(times, Rotation.from_quat(keys))
        return lambda at: turning(np.clip(at, times[0], times[-1])).as_quat(), times
    return lambda at: np.stack(
        [np.interp(at, times, keys[:, j]) for j in range(keys.shape[1])], axis=1
    ), times


def _hermite(times: Array, keys: Array, arriving: Array, leaving: Array, at: Array) -> Array:
    """Values (m, k) of a curve through keys (n, k), with slopes (n, k) a second before and after each."""
    at = np.clip(at, times[0], times[-1])
    k = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    span = (times[k + 1] - times[k])[:, None]
    t = (at - times[k])[:, None] / span
    start, end = keys[k], keys[k + 1]
    bent = t * (1 - t) * ((1 - t) * span * leaving[k] - t * span * arriving[k + 1])
    return np.asarray(start + (end - start) * t**2 * (3 - 2 * t) + bent)


def _world(gltf: Gltf, chain: list[int], moves: Moves, at: Array) -> Array:
    """Where the camera's node is at times (m,): (m, 4, 4)."""
    world = np.tile(np.eye(4), (len(at), 1, 1))
    for index in reversed(chain):
        node = entry(gltf, "nodes", index)
        where = f"{gltf.file}: {_name(node)}"
        matrix = node.get("matrix")
        if matrix is not None:
            numbers = vector(matrix, 16)
            if numbers is None:
                raise NerfsceneError(f"{where} has a matrix that isn't 16 numbers; export it again")
            world = world @ numbers.reshape(4, 4).T
            continue
        parts = {}
        for what, usual in (("translation", [0.0] * 3), ("rotation", [0.0, 0, 0, 1]), ("scale", [1.0] * 3)):
            still = vector(node.get(what, usual), WIDTHS[what])
            if still is None:
                raise NerfsceneError(
                    f"{where} has a {what} that isn't {WIDTHS[what]} numbers; export it again"
                )
            parts[what] = moves[index, what](at) if (index, what) in moves else np.tile(still, (len(at), 1))
        local = np.tile(np.eye(4), (len(at), 1, 1))
        turns = np.stack([rotation_of(q, where) for q in parts["rotation"]])
        local[:, :3, :3] = turns * parts["scale"][:, None, :]
        local[:, :3, 3] = parts["translation"]
        world = world @ local
    return world


def _lens(gltf: Gltf, camera: dict[str, Any], moves: Moves, at: Array) -> tuple[Array, float | None]:
    """(focal lengths (m,) in heights of the picture, its width by its height or None)."""
    if camera.get("type") != "perspective":
        raise NerfsceneError(
            f"{gltf.file}: its camera is {printable(camera.get('type'))}, and only perspective ones can be "
            "filmed; make it one in Blender and export again"
        )
    lens = camera["perspective"] if isinstance(camera.get("perspective"), dict) else {}
    moved = next((m for (_, what), m in moves.items() if what == "yfov"), None)
    angles = np.full(len(at), number(lens.get("yfov")) or 0.0) if moved is None else moved(at)[:, 0]
    focals = np.array([focal_of(math.degrees(angle), str(gltf.file)) for angle in angles.tolist()])
    return focals, number(lens.get("aspectRatio"))


def _rate(times: Array) -> float:
    """The frames per second at which all keys (n,), in seconds, are frames; the usual rate if none fits."""
    if len(times) < 2:
        return DEFAULT_FPS
    from_first = times - times[0]
    for rate in RATES:
        beats = from_first * rate
        if np.abs(beats - np.round(beats)).max() < OFF_BEAT:
            return rate
    spacing = float(np.median(np.diff(times)))
    even = np.abs(np.diff(times) - spacing).max() < OFF_BEAT * spacing
    return 1 / spacing if even and 1 / 240 <= spacing <= 1 else DEFAULT_FPS


def _extras(gltf: Gltf) -> dict[str, Any]:
    """What this program wrote beside the scene; nothing in another's file."""
    asset = gltf.data.get("asset")
    extras = asset.get("extras") if isinstance(asset, dict) else None
    ours = extras.get(EXTRAS) if isinstance(extras, dict) else None
    return ours if isinstance(ours, dict) else {}
