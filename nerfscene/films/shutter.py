"""Motion blur and depth of field: a frame as the mean of pictures, in linear light.

While the shutter is open the camera moves along its path, and light comes through every point of the lens.
Each picture of a frame is taken at another moment from another point of the lens, so the same pictures serve
both. They need fewer rays each, because the places within a pixel that they sample differ too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerfscene.cameras.algebra import scaled, similarity_scale
from nerfscene.config import RenderConfig
from nerfscene.field.rendering import Renderer, rays_through, render
from nerfscene.films.lens import HIT, ROUND, Lens, lens_of
from nerfscene.films.light import encoded, linear, straight
from nerfscene.films.paths import CameraPath
from nerfscene.films.pulling import closes
from nerfscene.films.settings import PREVIEW_STEP
from nerfscene.films.strips import strips
from nerfscene.films.through_lens import Shot, nudged, refuse_lens, shown, size_of, through_lens
from nerfscene.loading import loading
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Frame

MOST = 64  # pictures of a frame
STEP = 1.0  # pixels that things move from one picture to the next, unless that takes too many
SPACING = 2.5  # pixels between neighbouring points of a blurred point's disc, likewise
VISIBLE = 0.5  # pixels of blur from which on it is worth more than one picture
FEWEST = 6  # pictures of a frame with any blur
MOSTLY = 95  # percentile of the pixels' blur that counts
PROBE = 32  # pixels along the longer side of the small picture that says what is where
FAR = 1e3  # times the farthest thing seen: how far away nothing is
CUT, SUDDEN = 0.5, 10.0  # of the picture's width, and times the move before: such a move is a cut
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True)
class Shutter:
    """How the frames of a film are taken.

    path: its cameras. opened: the share (0…1) of the time from frame to frame that the shutter is open, half
    of it before the frame's own time and half of it after. lens: None for one that shows all things sharp
    """

    path: CameraPath
    opened: float = 0.0
    lens: Lens | None = None

    @property
    def blurs(self) -> bool:
        """Whether a frame may need more than one picture."""
        return self.opened > 0 or self.lens is not None


def shutter_of(
    scene: Scene, points: Array, path: CameraPath, config: RenderConfig, renderer: Renderer
) -> Shutter:
    """The shutter that ``config`` asks for. points: the sparse model's, (n, 3), world units.

    Raises NerfsceneError for a focus that isn't there.
    """
    # A preview's frames are farther apart, and are to be blurred as the film's.
    opened = config.motion_blur / 360 / (PREVIEW_STEP if config.preview else 1)
    return Shutter(path, opened, lens_of(scene, points, path, config, renderer))


@dataclass(frozen=True)
class Motion:
    """A camera's way about the time of its frame.

    velocity, acceleration: (7,), per frame and per frame²: of its position, world units; of its rotation, as
    a vector in its own axes, radians; and of the focal length's logarithm.
    """

    camera: Camera
    velocity: Array
    acceleration: Array

    def at(self, time: float) -> Camera:
        """The camera ``time`` frames after its frame."""
        change = time * self.velocity + 0.5 * time * time * self.acceleration
        if not change.any():
            return self.camera
        with loading():
            from scipy.spatial.transform import Rotation

        pose = np.array(self.camera.world_from_cam, np.float64)
        pose[:3, 3] += change[:3]
        pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(change[3:6]).as_matrix()
        k, zoom = self.camera.intrinsics, math.exp(change[6])
        return Camera(replace(k, fx=k.fx * zoom, fy=k.fy * zoom), pose)


def motion_of(camera: Camera, before: Camera | None, after: Camera | None) -> Motion:
    """How a camera moves, from those of the frames before and after; without one of them, straight on."""
    forward = None if after is None else _change(camera, after)
    backward = None if before is None else -_change(camera, before)
    if forward is None and backward is None:
        return Motion(camera, np.zeros(7), np.zeros(7))
    forward = backward if forward is None else forward
    backward = forward if backward is None else backward
    assert forward is not None and backward is not None
    return Motion(camera, (forward + backward) / 2, forward - backward)


def _change(one: Camera, other: Camera) -> Array:
    """What a camera does from ``one`` to ``other``, (7,) as in Motion."""
    with loading():
        from scipy.spatial.transform import Rotation

    turn = one.world_from_cam[:3, :3].T @ other.world_from_cam[:3, :3]
    moved = other.world_from_cam[:3, 3] - one.world_from_cam[:3, 3]
    if np.abs(turn - np.eye(3)).max() < 1e-12:  # else rounding would move a still camera
        turn = np.eye(3)
    zoom = math.log(other.intrinsics.fy / one.intrinsics.fy)
    return np.concatenate([moved, Rotation.from_matrix(turn).as_rotvec(), [zoom]])


def cameras_of(shutter: Shutter, renderer: Renderer, number: int) -> list[Shot]:
    """The cameras of a frame's pictures; the frame's own alone if nothing in it is blurred.

    Raises NerfsceneError for depth of field with a lens that can't show it.
    """
    camera = shutter.path.cameras[number]
    if not shutter.blurs:
        return [camera]
    if shutter.lens is not None:
        refuse_lens(camera)
    seen = _seen(renderer, camera)
    world = seen @ camera.world_from_cam[:3, :3].T + camera.world_from_cam[:3, 3]
    motion = motion_of(camera, *_neighbours(shutter.path, number, world))
    moved = 0.0
    if shutter.opened:
        begin, end = motion.at(-shutter.opened / 2), motion.at(shutter.opened / 2)
        moved = float(np.percentile(_shifts(world, begin, camera) + _shifts(world, camera, end), MOSTLY))
    blur, lens = 0.0, shutter.lens and shutter.lens.at(number)
    if lens is not None:
        blur = float(np.percentile(lens.blur(camera, _depths(camera, seen)), MOSTLY))
    n = pictures(moved, blur)
    if n == 1:
        return [camera]
    times, places = moments(n), disc(n)
    cameras = [motion.at(shutter.opened * time) for time in times]
    if lens is None:
        return list(cameras)
    return [through_lens(lens, each, place) for each, place in zip(cameras, places, strict=True)]


def pictures(moved: float, blur: float) -> int:
    """How many pictures a frame needs in which things move, and are blurred, by so many pixels."""
    if max(moved, blur) < VISIBLE:
        return 1
    needed = max(moved / STEP, math.pi / 4 * (blur / SPACING) ** 2)
    return int(np.clip(math.ceil(needed), FEWEST, MOST))


def moments(n: int) -> Array:
    """Times (n,), -0.5…0.5, one in each n-th of that range, unevenly, and not in the order of ``disc``."""
    order = np.argsort(np.argsort(np.arange(n) * math.sqrt(2) % 1))
    times = (order + 0.375 + 0.25 * (np.arange(n) * math.sqrt(3) % 1)) / n - 0.5
    centred: Array = times - times.mean()
    return centred


def disc(n: int) -> Array:
    """Points (n, 2), evenly spread over a disc of diameter 1 about 0.

    They lie on the spiral of a sunflower's seeds (H. Vogel, "A better way to construct the sunflower head",
    1979).
    """
    i = np.arange(n)
    radius, angle = 0.5 * np.sqrt((i + 0.5) / n), GOLDEN_ANGLE * i
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    points -= points.mean(0)
    # A few points are a little wider one way than the other; the mean square of a disc is 1/16 in all ways.
    values, vectors = np.linalg.eigh(points.T @ points / n)
    rounded: Array = points @ (vectors / np.sqrt(16 * values)) @ vectors.T
    return rounded


def taken(renderer: Renderer, cameras: Sequence[Shot], samples: int, transparent: bool) -> Frame:
    """The mean of the pictures of these cameras, in linear light; of one alone, its picture.

    samples: rays along a pixel's side that one picture would have. transparent: the renderer's background is
    black and stands for nothing, so each colour counts by its opacity. A mean has no depth: it is (0,).
    """
    n = len(cameras)
    if n == 1:
        return shown(renderer, cameras[0], samples)
    fewer = max(math.ceil(samples / math.sqrt(n)), 1)
    within = np.arange(n)[:, None] * [0.7548776662466927, 0.5698402909980532] % 1  # R2, M. Roberts, 2018
    width, height = size_of(cameras[0])
    light = np.zeros((height, width, 3), np.float32)
    alpha = np.zeros((height, width), np.float32)
    for camera, nudge in zip(cameras, (within - within.mean(0)) / fewer, strict=True):
        frame = shown(renderer, nudged(camera, nudge), fewer)
        for rows in strips(height):
            if transparent:
                rgb, opacity = straight(frame.rgb[rows], frame.accumulation[rows])
                light[rows] += opacity[..., None] * linear(np.clip(rgb, 0, 1))
            else:
                light[rows] += linear(frame.rgb[rows])
            alpha[rows] += frame.accumulation[rows]
        del frame  # while the next is rendered
    alpha /= np.float32(n)
    for rows in strips(height):
        mean = light[rows] / np.float32(n)
        if transparent:
            mean /= np.maximum(alpha[rows], np.float32(1e-6))[..., None]
            light[rows] = encoded(mean) * alpha[rows, :, None]
        else:
            light[rows] = encoded(mean)
    return Frame(light, np.zeros(0, np.float32), alpha)


def in_words(shutter: Shutter, renderer: Renderer) -> str:
    """A sentence on what the film's blur costs, from five frames; "" for a film without blur.

    Raises NerfsceneError as ``cameras_of`` does.
    """
    if not shutter.blurs:
        return ""
    frames = np.unique(np.linspace(0, len(shutter.path.cameras) - 1, 5).round().astype(int))
    found = [len(cameras_of(shutter, renderer, int(i))) for i in frames]
    least, most = min(found), max(found)
    if most == 1:
        return "nothing in this film is blurred enough to show: each frame is one picture"
    some = f"{least} to {most}" if least < most else f"{most}"
    return f"a frame of this film is the mean of {some} pictures, and takes accordingly longer"


def _seen(renderer: Renderer, camera: Camera) -> Array:
    """Points (n, 3), in the camera's axes and world units: what it sees, nothing being far away."""
    k = camera.intrinsics
    shrink = PROBE / max(k.width, k.height)
    small = scaled(k, max(round(k.width * shrink), 1), max(round(k.height * shrink), 1))
    frame = render(renderer, Camera(small, camera.world_from_cam))
    every = np.ones((small.height, small.width), bool)
    origins, rays = (a.astype(np.float64) for a in rays_through(renderer, small, np.eye(4), every))
    depth = frame.depth.ravel().astype(np.float64)
    hit = (frame.accumulation.ravel() > HIT) & (depth > 0)
    far = FAR * (float(depth[hit].max()) if hit.any() else 1e3)
    origins /= similarity_scale(renderer.scene_from_world)  # all 0, but for orthographic lenses and two eyes
    points: Array = origins + rays * np.where(hit, depth, far)[:, None]
    return points


def _depths(camera: Camera, seen: Array) -> Array:
    """How far away points (n, 3) in the camera's axes are, (m,), as ``Lens.blur`` counts it."""
    lens = camera.intrinsics.lens
    if lens in ROUND:
        return np.linalg.norm(seen, axis=1)
    depths = seen[:, 2]
    if lens == "orthographic":  # there, what is nowhere would be blurred without bounds; it has one colour
        depths = depths[depths < FAR / 2 * np.median(depths)]
    return depths


def _neighbours(path: CameraPath, number: int, world: Array) -> tuple[Camera | None, Camera | None]:
    """The cameras of the frames before and after; None at an open path's ends, and where the film is cut."""
    camera, n, round_again = path.cameras[number], len(path.cameras), closes(path)
    found: list[Camera | None] = []
    for other in (number - 1, number + 1):
        inside = 0 <= other < n or (round_again and n > 1)
        found.append(path.cameras[other % n] if inside else None)
    before, after = found
    if before is None or after is None:
        return before, after
    back, on = (float(np.median(_shifts(world, camera, other))) for other in (before, after))
    jump = CUT * camera.intrinsics.width
    return (
        None if back > jump and back > SUDDEN * on else before,
        None if on > jump and on > SUDDEN * back else after,
    )


def _shifts(world: Array, one: Camera, other: Camera) -> Array:
    """How far apart two cameras show points (n, 3) of the world, pixels (n,)."""
    a, b = (_in_axes(world, camera) for camera in (one, other))
    focal = (one.intrinsics.fx + one.intrinsics.fy) / 2
    chord = np.linalg.norm(_unit(a) - _unit(b), axis=1)
    shifts: Array = focal * 2 * np.arcsin(np.clip(chord / 2, 0, 1))
    if one.intrinsics.lens == "orthographic":
        return np.linalg.norm((a - b)[:, :2] * [one.intrinsics.fx, one.intrinsics.fy], axis=1)
    if one.intrinsics.lens == "perspective":
        before_both = (a[:, 2] > 0) & (b[:, 2] > 0)
        flat = [
            points[before_both, :2] / points[before_both, 2:] * [camera.intrinsics.fx, camera.intrinsics.fy]
            for points, camera in ((a, one), (b, other))
        ]
        shifts[before_both] = np.linalg.norm(flat[0] - flat[1], axis=1)
    return shifts


def _in_axes(world: Array, camera: Camera) -> Array:
    points: Array = (world - camera.world_from_cam[:3, 3]) @ camera.world_from_cam[:3, :3]
    return points


def _unit(points: Array) -> Array:
    units: Array = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return units
