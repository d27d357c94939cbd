"""Renders pictures of a field: scene and camera in, ``types.Frame`` out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import pose_in_scene, scaled, similarity_scale
from nerfscene.cameras.plausible import LARGEST_SIDE
from nerfscene.equality import equal_fields, hash_fields
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import RadianceField, kernel_field
from nerfscene.given import count_given, instance_given
from nerfscene.ops import backend
from nerfscene.types import Array, Camera, Frame, Intrinsics

LENSES = {"perspective": 0, "fisheye": 1, "equirectangular": 2, "orthographic": 3, "stereo180": 4}


@dataclass(frozen=True)
class Renderer:
    """A field and how it is shown. Making a ``Renderer`` is cheap; ``render`` does the work.

    On a GPU the first picture copies the field there, so keep the Renderer for further pictures.

    field: what is rendered
    scene_from_world: (4, 4), the similarity from cameras' coordinates to the field's
    background: 0…1, the colour behind the scene
    backend: one of ``ops.backend.BACKENDS``
    threads: CPU threads to use, 0 for all
    crop: world_from_box (4, 4), the linear map from [-1, 1]³ to the only visible part of the world; None: all
    backdrop: (rows, 2 · rows, 3), 0…1, shown by rays' directions instead of ``background``, unless ``crop``
        is set; None: the background is plain
    gain: factor by which the field's colours are multiplied, which sets the exposure at which it is shown
    """

    field: RadianceField
    scene_from_world: Array
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    backend: str = "auto"
    threads: int = 0
    crop: Array | None = None
    backdrop: NDArray[np.float32] | None = None
    gain: float = 1.0

    __eq__ = equal_fields
    __hash__ = hash_fields

    @property
    def shown_backdrop(self) -> NDArray[np.float32] | None:
        """The backdrop if it shows; None with a crop, because then the background is plain."""
        return self.backdrop if self.crop is None else None

    @cached_property
    def native(self) -> Any:
        """The kernels' ``Field`` object."""
        return kernel_field(self.field, backend.load(self.backend))


def looking(
    renderer: Renderer,
    background: tuple[float, float, float],
    crop: Array | None,
    backdrop: NDArray[np.float32] | None,
    gain: float | None = None,
) -> Renderer:
    """The renderer with another background, crop, backdrop and, if given, gain, but the same ``Field``.

    Reusing that object of the kernels means that the field isn't copied to the GPU again.
    """
    gain = renderer.gain if gain is None else gain
    changed = replace(renderer, background=background, crop=crop, backdrop=backdrop, gain=gain)
    changed.__dict__["native"] = renderer.native
    return changed


# Samples below MIN_WEIGHT get no colour, and rays stop below STOP_TRANSMITTANCE. Together they change a
# picture by less than one step of 8 bits.
MIN_WEIGHT = 1e-3
STOP_TRANSMITTANCE = 3e-3
# Samples of a ray within so many steps lie on one surface, and one colour does for them. With it go
# two layers in bfloat16, where the processor has that. Together, pictures are about 60 dB alike.
SHARED_STEPS = 4.0
OPEN = 1 / 255  # transmittance of a pixel from which on the backdrop is visible through it


def kernel_camera(
    intrinsics: Intrinsics, scene_from_cam: Array, scale: float = 1.0
) -> tuple[list[float], int, int, int, list[float]]:
    """A camera in the form that the kernels take: intrinsics (9), lens, width, height, pose (12).

    scene_from_cam (4, 4): see ``ops.reference.pixel_rays``. scale: scene units per world unit, for lenses
    that have lengths in them. Raises ValueError for a lens or pose that overflows the kernels' 32-bit
    numbers; readers have refused such cameras before.
    """
    k = _in_scene_units(intrinsics, scale)
    _check_range(k, scene_from_cam)
    numbers = [k.fx, k.fy, k.cx, k.cy, *k.distortion]
    pose = [float(x) for x in scene_from_cam[:3].ravel()]
    return [float(x) for x in numbers], LENSES[k.lens], k.width, k.height, pose


def _in_scene_units(k: Intrinsics, scale: float) -> Intrinsics:
    """A lens with its lengths in scene units; ``scale``: scene units per world unit."""
    if k.lens == "orthographic":
        return replace(k, fx=k.fx / scale, fy=k.fy / scale)
    if k.lens == "stereo180":
        return replace(k, distortion=(k.distortion[0] * scale, 0.0, 0.0, 0.0, 0.0))
    return k


LARGEST_NUMBER = 1e30  # in a camera, so that what is computed from it stays finite in 32 bits
SHARPEST = 1e6  # focal lengths that a pixel may lie away from the principal point


def _check_range(k: Intrinsics, scene_from_cam: Array) -> None:
    """Raises ValueError unless a camera's rays are certain to be finite before distortion."""
    lens = np.array([k.fx, k.fy, k.cx, k.cy, *k.distortion])
    if not ((np.abs(lens) <= LARGEST_NUMBER).all() and (np.abs(scene_from_cam) <= LARGEST_NUMBER).all()):
        raise ValueError("intrinsics and pose must be finite")
    reach = max(abs(k.cx), abs(k.cx - k.width)), max(abs(k.cy), abs(k.cy - k.height))
    if not (reach[0] <= SHARPEST * k.fx and reach[1] <= SHARPEST * k.fy and min(k.fx, k.fy) > 0):
        raise ValueError("the focal length is too short for the picture")


def crop_in_scene(renderer: Renderer) -> list[float]:
    """The crop as box_from_scene in the form that the kernels take: 12 numbers, or none without a crop."""
    if renderer.crop is None:
        return []
    box_from_scene = np.linalg.inv(renderer.scene_from_world @ renderer.crop)
    return [float(x) for x in box_from_scene[:3].ravel()]


Rect = tuple[int, int, int, int]  # first row, last row + 1, first column, last column + 1


def new_cancel(renderer: Renderer) -> Any:
    """An object that stops ``render_part`` once another thread calls ``set``, until ``clear``."""
    return backend.load(renderer.backend).Cancel()


MOST_SAMPLES = 64
RAYS_AT_ONCE = 1 << 22  # limits the memory of a picture with several rays per pixel
# Ctrl-C and `kill` are heard between two calls of the kernels: so many rays take a core less than a second.
RAYS_A_CALL = 1 << 17
RAYS_A_SIGN = 1 << 14, 1 << 20  # on a core, or on a GPU, between two signs of life: fog takes 20 µs a ray


def render(renderer: Renderer, camera: Camera, samples: int = 1) -> Frame:
    """The picture that ``camera`` (in world coordinates) takes of the scene; depth in world units.

    ``samples``: rays along a pixel's side, evenly spread over it; ``footprint.pixel_samples`` says how many
    a picture with less detail than the photos needs.
    Raises NerfsceneError for a camera that can't be one, and if the backend can't be used or the GPU fails,
    TypeError for other arguments.
    """
    instance_given(renderer, Renderer, "renderer", ", as scene.renderer() returns")
    instance_given(camera, Camera, "camera")
    count_given(samples, "samples", 1, MOST_SAMPLES)
    k = camera.intrinsics
    _check_camera(camera, renderer)
    return render_part(renderer, camera, (0, k.height, 0, k.width), samples=samples)


def render_heard(renderer: Renderer, camera: Camera, heard: Callable[[float], None]) -> Frame:
    """The picture that ``render`` returns. ``heard`` is called often with the fraction that is done.

    What it raises ends the rendering. Raises NerfsceneError as ``render`` does.
    """
    _check_camera(camera, renderer)
    k = camera.intrinsics
    core, gpu = RAYS_A_SIGN
    on_gpu = backend.on_gpu(backend.load(renderer.backend))
    rows = max((gpu if on_gpu else core * backend.thread_count(renderer.threads)) // k.width, 1)
    parts = []
    for first in range(0, k.height, rows):
        heard(first / k.height)
        parts.append(render_part(renderer, camera, (first, min(first + rows, k.height), 0, k.width)))
    heard(1.0)
    rgb, depth, accumulation = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("rgb", "depth", "accumulation")
    )
    return Frame(rgb=rgb, depth=depth, accumulation=accumulation)


def _check_camera(camera: Camera, renderer: Renderer) -> None:
    """Raises NerfsceneError or TypeError for a camera with which no picture can be taken."""
    k, pose = camera.intrinsics, camera.world_from_cam
    count_given(k.width, "camera.intrinsics.width", 1, LARGEST_SIDE)
    count_given(k.height, "camera.intrinsics.height", 1, LARGEST_SIDE)
    if k.lens not in LENSES:
        raise NerfsceneError(f"camera.intrinsics.lens must be one of {', '.join(LENSES)}, not {k.lens!r:.40}")
    try:
        usable = np.shape(pose) == (4, 4) and bool(np.isfinite(pose).all())
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise NerfsceneError("camera.world_from_cam must be a 4×4 matrix of finite numbers")
    try:
        in_scene = pose_in_scene(renderer.scene_from_world, np.asarray(pose, np.float64))
        kernel_camera(k, in_scene, similarity_scale(renderer.scene_from_world))
    except (TypeError, ValueError) as error:
        raise NerfsceneError(f"no picture can be taken with camera: {error}") from error


def render_part(
    renderer: Renderer, camera: Camera, rect: Rect, cancel: Any = None, samples: int = 1
) -> Frame:
    """A rectangle of the picture that ``render`` returns.

    ``cancel`` is from ``new_cancel``: once another thread sets it, the rest of the picture stays black.
    Raises NerfsceneError as ``render`` does.
    """
    if samples > 1:
        frame = _averaged(renderer, camera, rect, cancel, samples)
    else:
        frame = _traced(renderer, camera, rect, cancel)
    if renderer.shown_backdrop is not None:
        transmittance = 1 - frame.accumulation
        if cancel is not None:
            transmittance[~frame.rgb.any(-1)] = 0  # cancelled pixels are black
        _put_behind(frame, transmittance, renderer, camera, rect)
    return frame


def _traced(renderer: Renderer, camera: Camera, rect: Rect, cancel: Any) -> Frame:
    """A rectangle of a picture with one ray per pixel, in front of the plain background.

    It is rendered in strips, so that a large one can be interrupted.
    """
    pose = pose_in_scene(renderer.scene_from_world, camera.world_from_cam)
    scale = similarity_scale(renderer.scene_from_world)
    k, lens, width, height, flat = kernel_camera(camera.intrinsics, pose, scale)
    shape = (rect[1] - rect[0], rect[3] - rect[2])
    new = np.empty if cancel is None else np.zeros
    rgb, depth, accumulation = (new(s, np.float32) for s in ((*shape, 3), shape, shape))
    threads = backend.thread_count(renderer.threads)
    at_once = RAYS_AT_ONCE if backend.on_gpu(backend.load(renderer.backend)) else RAYS_A_CALL * threads
    rows = max(at_once // max(shape[1], 1), 1)
    with backend.device_errors():
        for first in range(0, shape[0], rows):
            strip = slice(first, min(first + rows, shape[0]))
            renderer.native.render(
                k,
                lens,
                width,
                height,
                flat,
                list(dimmed(renderer, np.asarray(renderer.background))),
                MIN_WEIGHT,
                STOP_TRANSMITTANCE,
                threads,
                (rect[0] + strip.start, rect[0] + strip.stop, rect[2], rect[3]),
                rgb[strip],
                depth[strip],
                accumulation[strip],
                cancel=cancel,
                crop=crop_in_scene(renderer),
                shared_steps=SHARED_STEPS,
            )
    brighten(renderer, rgb)
    depth /= np.float32(scale)
    return Frame(rgb=rgb, depth=depth, accumulation=accumulation)


def dimmed(renderer: Renderer, behind: NDArray[Any]) -> NDArray[Any]:
    """Colours behind rays as the kernels get them: ``brighten`` makes them what they are."""
    return behind if renderer.gain == 1 else behind / behind.dtype.type(renderer.gain)


def brighten(renderer: Renderer, rgb: NDArray[np.float32]) -> None:
    """Gives colours from the kernels, in place, the exposure at which the scene is shown."""
    if renderer.gain != 1:
        rgb *= np.float32(renderer.gain)


BACKDROP_ROWS = 32  # cells of 5.6° from straight up to straight down; twice as many around the horizon


def cell_directions() -> Array:
    """Unit vectors (rows, 2 · rows, 3), in scene axes, towards the centres of a backdrop's cells."""
    polar = (np.arange(BACKDROP_ROWS) + 0.5) / BACKDROP_ROWS * np.pi
    around = (np.arange(2 * BACKDROP_ROWS) + 0.5) / BACKDROP_ROWS * np.pi
    sine, cosine = np.sin(polar)[:, None], np.cos(polar)[:, None]
    x, y, z = np.broadcast_arrays(sine * np.cos(around), sine * np.sin(around), cosine)
    return np.stack([x, y, z], 2)


def _put_behind(
    frame: Frame, transmittance: NDArray[np.float32], renderer: Renderer, camera: Camera, rect: Rect
) -> None:
    """Adds the backdrop behind a frame's pixels; as it is smooth, one direction per pixel is enough."""
    assert renderer.backdrop is not None
    rows = max(RAYS_AT_ONCE // 8 // max(transmittance.shape[1], 1), 1)
    pose = pose_in_scene(renderer.scene_from_world, camera.world_from_cam)
    plain = np.asarray(renderer.background, np.float32)
    for first in range(0, len(transmittance), rows):
        strip = transmittance[first : first + rows]
        mask = strip > OPEN
        if mask.any():
            part = (rect[0] + first, rect[0] + first + len(mask), rect[2], rect[3])
            toward = ray_directions(renderer, camera.intrinsics, pose, mask, part)
            change = strip[mask][:, None] * (behind(renderer.backdrop, toward) - plain)
            frame.rgb[first : first + rows][mask] += change


def behind(backdrop: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """A backdrop's colours (n, 3) in unit directions (n, 3), in scene axes, interpolated bilinearly."""
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
    mask: NDArray[np.bool_],
    rect: Rect | None = None,
) -> NDArray[np.float32]:
    """The directions (n, 3) that ``rays_through`` returns."""
    return rays_through(renderer, intrinsics, scene_from_cam, mask, rect)[1]


def rays_through(
    renderer: Renderer,
    intrinsics: Intrinsics,
    scene_from_cam: Array,
    mask: NDArray[np.bool_],
    rect: Rect | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Origins and unit directions (n, 3), in scene axes and units, through the pixels where ``mask`` is set.

    ``mask`` (height, width) covers the whole picture, or only ``rect`` of it. Raises NerfsceneError if the
    GPU fails.
    """
    rows, columns = np.nonzero(mask)
    top, left = (rect[0], rect[2]) if rect is not None else (0, 0)
    pixels = np.stack([columns + left + 0.5, rows + top + 0.5], 1).astype(np.float32)
    origins, directions = np.empty((2, len(pixels), 3), np.float32)
    with backend.device_errors():
        camera = kernel_camera(intrinsics, scene_from_cam, similarity_scale(renderer.scene_from_world))
        backend.load(renderer.backend).pixel_rays(*camera, pixels, origins, directions)
    return origins, directions


def _averaged(renderer: Renderer, camera: Camera, rect: Rect, cancel: Any, samples: int) -> Frame:
    """The mean over ``samples``² rays per pixel; each ray's depth counts by its accumulation."""
    k, n = camera.intrinsics, samples
    fine = Camera(scaled(k, k.width * n, k.height * n), camera.world_from_cam)
    width = rect[3] - rect[2]
    rows = max(RAYS_AT_ONCE // max(width * n * n, 1), 1)
    shape = (rect[1] - rect[0], width)
    rgb, depth, accumulation = (np.empty(s, np.float32) for s in ((*shape, 3), shape, shape))
    for first in range(rect[0], rect[1], rows):
        last = min(first + rows, rect[1])
        traced = _traced(renderer, fine, (first * n, last * n, rect[2] * n, rect[3] * n), cancel)
        split = (last - first, n, width, n)
        opaque = traced.accumulation.reshape(split)
        weight = opaque.sum((1, 3))
        part = slice(first - rect[0], last - rect[0])
        depth[part] = (traced.depth.reshape(split) * opaque).sum((1, 3)) / np.maximum(weight, 1e-9)
        rgb[part] = traced.rgb.reshape(*split, 3).mean((1, 3))
        accumulation[part] = weight / (n * n)
    return Frame(rgb, depth, accumulation)
