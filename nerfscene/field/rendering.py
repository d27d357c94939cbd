"""Scene + camera → frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.field.hash_grid import RadianceField, kernel_field
from nerfscene.ops import backend
from nerfscene.types import Array, Camera, Frame, Intrinsics

LENSES = {"perspective": 0, "fisheye": 1}


@dataclass(frozen=True)
class Renderer:
    """A field made ready to be looked at: ``Renderer(...)`` is cheap, ``render`` does the work.

    Its first picture on a GPU brings the field there; keep the Renderer for the next.

    ``scene_from_world`` (4, 4) is the similarity that cameras' poses go through; ``background`` is
    what shows where rays end nowhere, 0…1; ``crop``: world_from_box (4, 4), the linear map that takes
    [-1, 1]³ to the only part of the world that is seen. ``backdrop`` (rows, 2 · rows, 3), 0…1: what shows
    instead of ``background``, by the direction of the ray, unless something is cropped.
    """

    field: RadianceField
    scene_from_world: Array
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    backend: str = "auto"
    threads: int = 0
    crop: Array | None = None
    backdrop: NDArray[np.float32] | None = None

    @property
    def shown_backdrop(self) -> NDArray[np.float32] | None:
        """The backdrop, where it shows: behind what is cropped the background is plain."""
        return self.backdrop if self.crop is None else None

    @cached_property
    def native(self) -> Any:
        """The kernels' view of the field."""
        return kernel_field(self.field, backend.load(self.backend))


def looking(
    renderer: Renderer,
    background: tuple[float, float, float],
    crop: Array | None,
    backdrop: NDArray[np.float32] | None,
) -> Renderer:
    """The renderer with another background, crop and backdrop, and the same kernels' view of the field.

    On a GPU that is the field itself, which is not to be brought there again.
    """
    changed = replace(renderer, background=background, crop=crop, backdrop=backdrop)
    changed.__dict__["native"] = renderer.native
    return changed


# Samples lighter than this are not worth a colour, and a ray this dark is over: together they change a
# picture by less than one step of 8 bits.
MIN_WEIGHT = 1e-3
STOP_TRANSMITTANCE = 3e-3
OPEN = 1 / 255  # of a pixel that must be left for what is behind to matter


def kernel_camera(
    intrinsics: Intrinsics, scene_from_cam: Array
) -> tuple[list[float], int, int, int, list[float]]:
    """A camera as the kernels take it: intrinsics (9), lens, width, height, pose (12)."""
    k = intrinsics
    numbers = [k.fx, k.fy, k.cx, k.cy, *k.distortion]
    pose = [float(x) for x in scene_from_cam[:3].ravel()]
    return [float(x) for x in numbers], LENSES[k.lens], k.width, k.height, pose


def crop_in_scene(renderer: Renderer) -> list[float]:
    """box_from_scene as the kernels take it (12 numbers), empty where nothing is cropped."""
    if renderer.crop is None:
        return []
    box_from_scene = np.linalg.inv(renderer.scene_from_world @ renderer.crop)
    return [float(x) for x in box_from_scene[:3].ravel()]


Rect = tuple[int, int, int, int]  # first row, row after the last, first column, column after the last


def new_cancel(renderer: Renderer) -> Any:
    """What stops a picture under way: ``set`` it from another thread, ``clear`` it before the next."""
    return backend.load(renderer.backend).Cancel()


RAYS_AT_ONCE = 1 << 22  # of a picture with several rays a pixel: bounds its memory


def render(renderer: Renderer, camera: Camera, samples: int = 1) -> Frame:
    """The picture that ``camera`` (in world coordinates) takes of the scene.

    ``samples``: rays along a pixel's side, evenly spread over it; ``footprint.pixel_samples`` says how many
    a picture needs that shows less detail than the photos do.
    """
    k = camera.intrinsics
    return render_part(renderer, camera, (0, k.height, 0, k.width), samples=samples)


def render_part(
    renderer: Renderer, camera: Camera, rect: Rect, cancel: Any = None, samples: int = 1
) -> Frame:
    """A rectangle of that picture. Where ``cancel`` is set from another thread, the rest stays black."""
    if samples > 1:
        frame = _averaged(renderer, camera, rect, cancel, samples)
    else:
        frame = _traced(renderer, camera, rect, cancel)
    if renderer.shown_backdrop is not None:
        left = 1 - frame.accumulation
        if cancel is not None:
            left[~frame.rgb.any(-1)] = 0  # what was cancelled has no colour
        _put_behind(frame, left, renderer, camera, rect)
    return frame


def _traced(renderer: Renderer, camera: Camera, rect: Rect, cancel: Any) -> Frame:
    """One ray a pixel, the plain background behind."""
    pose = pose_in_scene(renderer.scene_from_world, camera.world_from_cam)
    k, lens, width, height, flat = kernel_camera(camera.intrinsics, pose)
    shape = (rect[1] - rect[0], rect[3] - rect[2])
    new = np.empty if cancel is None else np.zeros
    rgb, depth, accumulation = (new(s, np.float32) for s in ((*shape, 3), shape, shape))
    with backend.device_errors():
        renderer.native.render(
            k,
            lens,
            width,
            height,
            flat,
            list(renderer.background),
            MIN_WEIGHT,
            STOP_TRANSMITTANCE,
            backend.thread_count(renderer.threads),
            rect,
            rgb,
            depth,
            accumulation,
            cancel=cancel,
            crop=crop_in_scene(renderer),
        )
    depth /= np.float32(similarity_scale(renderer.scene_from_world))
    return Frame(rgb=rgb, depth=depth, accumulation=accumulation)


BACKDROP_ROWS = 32  # cells of 5.6°, from straight up to straight down; twice as many round the horizon


def cell_directions() -> Array:
    """Unit vectors (rows, 2 · rows, 3), in scene axes, to the centres of a backdrop's cells."""
    polar = (np.arange(BACKDROP_ROWS) + 0.5) / BACKDROP_ROWS * np.pi
    around = (np.arange(2 * BACKDROP_ROWS) + 0.5) / BACKDROP_ROWS * np.pi
    sine, cosine = np.sin(polar)[:, None], np.cos(polar)[:, None]
    x, y, z = np.broadcast_arrays(sine * np.cos(around), sine * np.sin(around), cosine)
    return np.stack([x, y, z], 2)


def _put_behind(
    frame: Frame, left: NDArray[np.float32], renderer: Renderer, camera: Camera, rect: Rect
) -> None:
    """Shows the backdrop through what is left of a frame's pixels; one colour a pixel, as it is smooth."""
    assert renderer.backdrop is not None
    rows = max(RAYS_AT_ONCE // 8 // max(left.shape[1], 1), 1)
    pose = pose_in_scene(renderer.scene_from_world, camera.world_from_cam)
    plain = np.asarray(renderer.background, np.float32)
    for first in range(0, len(left), rows):
        which = left[first : first + rows] > OPEN
        if which.any():
            part = (rect[0] + first, rect[0] + first + len(which), rect[2], rect[3])
            toward = ray_directions(renderer, camera.intrinsics, pose, which, part)
            more = left[first : first + rows][which][:, None] * (behind(renderer.backdrop, toward) - plain)
            frame.rgb[first : first + rows][which] += more


def behind(backdrop: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """A backdrop's colours (n, 3) in unit directions (n, 3), in scene axes: between cells bilinear."""
    rows, columns = backdrop.shape[:2]
    down = np.clip(np.arccos(np.clip(directions[:, 2], -1, 1)) / np.pi * rows - 0.5, 0, rows - 1)
    along = np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) * columns - 0.5
    row, column = np.floor(down).astype(np.intp), np.floor(along).astype(np.intp)
    v, u = ((x - x0).astype(np.float32)[:, None] for x, x0 in ((down, row), (along, column)))
    below = np.minimum(row + 1, rows - 1)
    left, right = column % columns, (column + 1) % columns
    upper = backdrop[row, left] * (1 - u) + backdrop[row, right] * u
    lower = backdrop[below, left] * (1 - u) + backdrop[below, right] * u
    mixed: NDArray[np.float32] = upper * (1 - v) + lower * v
    return mixed


def ray_directions(
    renderer: Renderer,
    intrinsics: Intrinsics,
    scene_from_cam: Array,
    which: NDArray[np.bool_],
    rect: Rect | None = None,
) -> NDArray[np.float32]:
    """Unit directions (n, 3), in scene axes, of the rays of those pixels of a picture, or of its ``rect``."""
    rows, columns = np.nonzero(which)
    top, left = (rect[0], rect[2]) if rect is not None else (0, 0)
    pixels = np.stack([columns + left + 0.5, rows + top + 0.5], 1).astype(np.float32)
    origins, directions = np.empty((2, len(pixels), 3), np.float32)
    with backend.device_errors():
        camera = kernel_camera(intrinsics, scene_from_cam)
        backend.load(renderer.backend).pixel_rays(*camera, pixels, origins, directions)
    return directions


def _averaged(renderer: Renderer, camera: Camera, rect: Rect, cancel: Any, samples: int) -> Frame:
    """The mean over several rays a pixel; depth is that of the rays that met something."""
    k, n = camera.intrinsics, samples
    fine = Camera(scaled(k, k.width * n, k.height * n), camera.world_from_cam)
    width = rect[3] - rect[2]
    rows = max(RAYS_AT_ONCE // max(width * n * n, 1), 1)
    parts = []
    for first in range(rect[0], max(rect[1], rect[0] + 1), rows):
        last = min(first + rows, rect[1])
        one = _traced(renderer, fine, (first * n, last * n, rect[2] * n, rect[3] * n), cancel)
        shape = (last - first, n, width, n)
        seen = one.accumulation.reshape(shape)
        weight = seen.sum((1, 3))
        depth = (one.depth.reshape(shape) * seen).sum((1, 3)) / np.maximum(weight, 1e-9)
        rgb = one.rgb.reshape(*shape, 3).mean((1, 3))
        parts.append((rgb, depth, weight / (n * n)))
    return Frame(*(np.concatenate(arrays).astype(np.float32) for arrays in zip(*parts, strict=True)))
