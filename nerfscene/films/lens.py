"""Depth of field: a thin lens with an aperture, also for a film of a scene that has no scale of its own.

The lens is given as photographers know it, by an f-number. Its size in the scene follows from two agreements:
the picture's longer side is that of a full-frame sensor (36 mm), and where the world isn't in metres, the
photos were taken from a metre away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nerfscene.cameras.algebra import scaled
from nerfscene.config import RenderConfig
from nerfscene.equality import equal_fields, hash_fields
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.lenses import in_metres
from nerfscene.films.moves import goes_round
from nerfscene.films.orbit import subject_of
from nerfscene.films.paths import CameraPath, look_at
from nerfscene.films.pulling import seconds_of, times_of, tracks_of
from nerfscene.films.through import SUBJECT, point_to_look_at
from nerfscene.films.tracks import Point, eased, f_numbers_at, round_of
from nerfscene.loading import loading
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Intrinsics
from nerfscene.types import Lens as Lenses

SENSOR = 0.036  # metres, the longer side
METRES = 1.0  # how far what the photos show is taken to be from them, as the median over the photos
MOST_VIEWS, PROBE = 9, 24  # photos that distances are looked up in, and pixels along the longer side
FRAMES_A_KEY, SMOOTH = 5, 1.5  # from one measurement of the focus to the next; how many a change of it takes
KEY_PROBE, KEY_SHARE = 9, 0.06  # pixels along a side of the picture for that, and its share of a frame's side
HIT = 0.5  # accumulation above which a pixel shows something
ROUND: tuple[Lenses, ...] = ("fisheye", "equirectangular", "stereo180")  # what is in focus lies round these
LEAST = 0.25  # of a point's distance: it is focused on no nearer than that where it lies beside the picture


@dataclass(frozen=True)
class Lens:
    """A thin lens.

    f_number: its focal length is so many times the aperture's diameter. metre: world units in a metre.
    focus: what is sharp: a distance in world units, along the optical axis or, with a lens of ROUND, along
    each ray; or a point (3,) in the world.
    pulled: that distance in each frame of the film, (n,), if the focus follows something, not ``focus``.
    f_numbers: of each frame, (n,), if it changes, not ``f_number``
    """

    f_number: float
    metre: float
    focus: float | Array
    pulled: Array | None = None
    f_numbers: Array | None = None

    __eq__ = equal_fields
    __hash__ = hash_fields

    def at(self, number: int) -> Lens:
        """The lens of the frame with this number."""
        lens = self
        if self.pulled is not None:
            lens = replace(lens, focus=float(self.pulled[number]), pulled=None)
        if self.f_numbers is not None:
            lens = replace(lens, f_number=float(self.f_numbers[number]), f_numbers=None)
        return lens

    def diameter(self, k: Intrinsics, distance: float = 1.0) -> float:
        """The aperture's diameter, world units, with the focal length that ``k`` has.

        An orthographic lens has none: it counts as the perspective one that shows as much of the plane in
        focus, which is at this distance.
        """
        pixels = (k.fx + k.fy) / 2 * (distance if k.lens == "orthographic" else 1)
        return SENSOR * pixels / max(k.width, k.height) / self.f_number * self.metre

    def distance(self, camera: Camera) -> float:
        """How far away it is sharp, world units: along the optical axis, or with a lens of ROUND each ray."""
        if isinstance(self.focus, float):
            return self.focus
        toward = self.focus - camera.world_from_cam[:3, 3]
        if camera.intrinsics.lens in ROUND:
            return max(float(np.linalg.norm(toward)), 1e-9)
        along = float(toward @ camera.world_from_cam[:3, 2])
        return max(along, LEAST * float(np.linalg.norm(toward)), 1e-9)

    def blur(self, camera: Camera, depths: Array) -> Array:
        """Diameters (n,), pixels, of the discs as which points at these depths (n,) appear.

        depths: as ``distance``, world units. A disc is as wide as a point's picture moves while the
        camera moves across the aperture and keeps what is in focus where it is.
        """
        k, distance = camera.intrinsics, self.distance(camera)
        pixels = self.diameter(k, distance) * (k.fx + k.fy) / 2
        near = np.maximum(depths, 1e-9)
        wide = np.abs(near / distance - 1) if k.lens == "orthographic" else np.abs(1 / near - 1 / distance)
        discs: Array = pixels * wide
        return discs


def lens_of(
    scene: Scene, points: Array, path: CameraPath, config: RenderConfig, renderer: Renderer
) -> Lens | None:
    """The lens that ``config`` and the path's tracks ask for; None for one without depth of field.

    points: the sparse model's, (n, 3), world units. Raises NerfsceneError for a focus that isn't there.
    """
    tracks = tracks_of(path, config, scene.views)
    if not tracks.aperture:
        if config.focus is not None:
            raise NerfsceneError("--focus is for films with depth of field: give --aperture too, such as 2.8")
        return None
    film = times_of(path), seconds_of(path), path.loop
    f_numbers = f_numbers_at(tracks.aperture, *film)
    usual = usual_distance(scene, renderer)
    lens = Lens(float(f_numbers[0]), 1.0 if in_metres(scene) else usual / METRES, usual)
    if len(tracks.aperture) > 1:
        lens = replace(lens, f_numbers=f_numbers)

    if not tracks.focus:
        subject = subject_of(scene.views, points, scene.up)
        target = subject.focus if goes_round(subject) else None
        return replace(lens, pulled=_followed(path, target, renderer, usual))

    def focused(value: float | str | Point) -> Lens:
        if isinstance(value, int | float):
            return replace(lens, focus=float(value))
        if isinstance(value, tuple):
            return replace(lens, focus=np.array(value))
        point = point_to_look_at(value, scene.views, points, scene.up, renderer, "--focus")
        if value.strip().lower() == SUBJECT:
            return replace(lens, pulled=_followed(path, point, renderer, usual))
        return replace(lens, focus=point)

    lenses = {key.value: focused(key.value) for key in tracks.focus}
    if len(lenses) == 1:
        return lenses[tracks.focus[0].value]
    # The distance to each key's target goes on changing with the camera, so that what is held in focus stays
    # so. Between keys, the inverse of the distance changes smoothly, as blur grows evenly with that.
    inverse = np.stack([1 / _distances(lenses[key.value], path) for key in tracks.focus])
    times, seconds, loop = film
    return replace(
        lens, pulled=1 / eased(tracks.focus, inverse, times, round_of(tracks.focus, seconds, loop))
    )


def _distances(lens: Lens, path: CameraPath) -> Array:
    """How far along its axis each camera of a path focuses, (n,)."""
    return np.array([lens.at(i).distance(camera) for i, camera in enumerate(path.cameras)])


def _followed(path: CameraPath, target: Array | None, renderer: Renderer, usual: float) -> Array:
    """How far away each camera of a path focuses, (n,), to follow what is towards the target.

    The point that photos look at is in the middle of a thing, or even behind it; sharp should be the side
    that is seen. target: (3,); None: what is in the picture's middle. usual: the distance if nothing is
    anywhere. The distance changes smoothly, also where something passes before the target.
    """
    with loading():
        from scipy.ndimage import gaussian_filter1d, median_filter

    n = len(path.cameras)
    keys = np.unique(np.linspace(0, n - 1, min(n, max(n // FRAMES_A_KEY, 6))).round().astype(int))
    found = np.array([_depth_toward(path.cameras[i], target, renderer) for i in keys])
    known = np.isfinite(found)
    if not known.any():
        return np.full(n, usual)
    logs = np.interp(keys, keys[known], np.log(found[known]))
    mode = "wrap" if path.loop else "nearest"
    smooth = gaussian_filter1d(median_filter(logs, 3, mode=mode), SMOOTH, mode=mode)
    distances: Array = np.exp(np.interp(np.arange(n), keys, smooth))
    return distances


def _depth_toward(camera: Camera, target: Array | None, renderer: Renderer) -> float:
    """How far what a camera sees in a target's direction is, as ``Lens.distance``; NaN for nothing."""
    k, pose = camera.intrinsics, camera.world_from_cam
    flat, cosine = k.lens == "orthographic", 1.0
    if target is not None and flat:
        pose = pose.copy()
        pose[:3, 3] += pose[:3, :2] @ (pose[:3, :2].T @ (target - pose[:3, 3]))
    elif target is not None and np.linalg.norm(target - pose[:3, 3]) > 1e-9:
        pose = look_at(pose[:3, 3], target, -pose[:3, 1])
        if k.lens not in ROUND:
            cosine = max(float(pose[:3, 2] @ camera.world_from_cam[:3, 2]), LEAST)
    focal = KEY_PROBE / KEY_SHARE * (k.fx + k.fy) / 2 / max(k.width, k.height)
    middle = KEY_PROBE / 2
    kind: Lenses = "orthographic" if flat else "perspective"
    probe = Intrinsics(KEY_PROBE, KEY_PROBE, focal, focal, middle, middle, kind)
    frame = render(renderer, Camera(probe, pose))
    hit = frame.depth[(frame.accumulation > HIT) & (frame.depth > 0)]
    return cosine * float(np.median(hit)) if hit.size else float("nan")


def usual_distance(scene: Scene, renderer: Renderer) -> float:
    """How far what the photos show is from them, world units: the median over photos and pixels."""
    depths = []
    for i in np.unique(np.linspace(0, len(scene.views) - 1, MOST_VIEWS).round().astype(int)):
        view = scene.views[i]
        shrink = PROBE / max(view.intrinsics.width, view.intrinsics.height)
        sides = [max(round(side * shrink), 1) for side in (view.intrinsics.width, view.intrinsics.height)]
        frame = render(renderer, Camera(scaled(view.intrinsics, *sides), view.world_from_cam))
        hit = frame.depth[(frame.accumulation > HIT) & (frame.depth > 0)]
        depths += [float(np.median(hit))] if hit.size else []
    if depths:
        return float(np.median(depths))
    subject = subject_of(scene.views, None, scene.up)  # a crop that no photo sees
    return max(float(np.median(np.linalg.norm(subject.centres - subject.focus, axis=1))), 1e-9)
