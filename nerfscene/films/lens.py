"""Depth of field: a thin lens with an aperture, for a film of a scene that has no scale of its own.

The lens is given as photographers know it, by an f-number. Its size in the scene follows from two agreements:
the picture's longer side is that of a full-frame sensor (36 mm), and the photos were taken from a metre away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerfscene.cameras.algebra import scaled
from nerfscene.config import RenderConfig
from nerfscene.equality import equal_fields, hash_fields
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.moves import goes_round
from nerfscene.films.orbit import subject_of
from nerfscene.films.through import SUBJECT, point_to_look_at
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Intrinsics

SENSOR = 0.036  # metres, the longer side
METRES = 1.0  # how far what the photos show is taken to be from them, as the median over the photos
MOST_VIEWS, PROBE = 9, 24  # photos that distances are looked up in, and pixels along the longer side
HIT = 0.5  # accumulation above which a pixel shows something
LEAST = 0.25  # of a point's distance: it is focused on no nearer than that where it lies beside the picture


@dataclass(frozen=True)
class Lens:
    """A thin lens.

    f_number: its focal length is so many times the aperture's diameter. metre: world units in a metre.
    focus: what is sharp: a distance along the optical axis in world units, or a point (3,) in the world
    """

    f_number: float
    metre: float
    focus: float | Array

    __eq__ = equal_fields
    __hash__ = hash_fields

    def diameter(self, k: Intrinsics) -> float:
        """The aperture's diameter, world units, with the focal length that ``k`` has."""
        focal_length = SENSOR * (k.fx + k.fy) / 2 / max(k.width, k.height)
        return focal_length / self.f_number * self.metre

    def distance(self, camera: Camera) -> float:
        """How far away the plane in focus is along the camera's optical axis, world units."""
        if isinstance(self.focus, float):
            return self.focus
        toward = self.focus - camera.world_from_cam[:3, 3]
        along = float(toward @ camera.world_from_cam[:3, 2])
        return max(along, LEAST * float(np.linalg.norm(toward)), 1e-9)

    def blur(self, camera: Camera, depths: Array) -> Array:
        """Diameters (n,), pixels, of the discs as which points at these depths (n,) appear.

        depths: along the optical axis, world units. A disc is as wide as a point's picture moves while the
        camera moves across the aperture and keeps the plane in focus where it is.
        """
        k = camera.intrinsics
        pixels = self.diameter(k) * (k.fx + k.fy) / 2
        discs: Array = pixels * np.abs(1 / np.maximum(depths, 1e-9) - 1 / self.distance(camera))
        return discs


def lens_of(scene: Scene, points: Array, config: RenderConfig, renderer: Renderer) -> Lens | None:
    """The lens that ``config`` asks for; None for one without depth of field.

    points: the sparse model's, (n, 3), world units. Raises NerfsceneError for a focus that isn't there.
    """
    if config.aperture is None:
        if config.focus is not None:
            raise NerfsceneError("--focus is for films with depth of field: give --aperture too, such as 2.8")
        return None
    usual = usual_distance(scene, renderer)
    focus = config.focus
    if focus is None:
        subject = subject_of(scene.views, points, scene.up)
        found: float | Array = subject.focus if goes_round(subject) else usual
        return Lens(config.aperture, usual / METRES, found)
    distance = _number(focus)
    if distance is not None:
        return Lens(config.aperture, usual / METRES, distance)
    point = point_to_look_at(focus, scene.views, points, scene.up, renderer, "--focus")
    return Lens(config.aperture, usual / METRES, point)


def _number(text: str) -> float | None:
    """The distance that ``text`` is; None if it is none. Raises NerfsceneError for one that can't be."""
    try:
        distance = float(text)
    except ValueError:
        return None
    if not 0 < distance < 1e30:
        raise NerfsceneError(
            f"--focus takes a distance above 0, {SUBJECT}, a photo's name, or x,y,z, not {text!r:.40}"
        )
    return distance


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
