"""Makes Gaussian splats that look like a scene's field: flat discs on its surfaces, and a shell around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.exporters.chunks import in_chunks
from nerfscene.exporters.looks import Look, looking_cameras, looks
from nerfscene.exporters.outlines import within_outlines
from nerfscene.exporters.samples import Samples, all_seen, chosen, confirmed, projected, spaced, thinned
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer, behind
from nerfscene.loading import loading
from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import C0, Splats, basis, joined, picked
from nerfscene.types import Array

PIXELS_EACH = 10  # rendered for every splat
FEWEST_PIXELS, MOST_PIXELS = 300_000, 6_000_000
WIDTH = 1.0  # a splat's standard deviation, as a share of the radius of the disc that it stands for
FLAT = 0.15  # its thickness, as a share of its width
OPACITY = 0.99  # of a surface: renderers let no splat hide more
SHARPER, BLUR = 1.0, 0.8  # splats blur: colours are read from pictures sharpened by as much, at this width
SHOWS = 0.02  # relative difference of depth up to which a picture shows a splat
STEADY = 0.03  # how strongly colours that depend on the view are held back where few pictures show a splat
SHELL = 2048  # splats of the shell behind everything, at most
FARTHEST = 50.0  # scene units from the middle of the cameras: what lies beyond is drawn in to here
BEYOND = 1.2  # the shell's radius, as a share of that


@dataclass(frozen=True)
class Seen:
    """What splats are made of: the scene and its renderer, pictures of it, and more samples than splats.

    From one such, any number of splats up to that which it was made for is soon made.
    """

    scene: Scene
    renderer: Renderer
    taken: Sequence[Look]
    known: Samples


def made_splats(scene: Scene, renderer: Renderer, count: int, degree: int, told: Told) -> Splats:
    """At most ``count`` splats in the scene's world that look like what the renderer, of this scene, shows.

    degree: of the harmonics by which their colours depend on the view, 0 to 3. None where no surface is seen.
    """
    return splats_from(seen_scene(scene, renderer, count, told), count, degree, told)


def seen_scene(scene: Scene, renderer: Renderer, count: int, told: Told) -> Seen:
    """What at most ``count`` splats take. Its samples are as dense as the pixels that show them best."""
    pixels = int(np.clip(PIXELS_EACH * count, FEWEST_PIXELS, MOST_PIXELS))
    taken = looks(renderer, looking_cameras(scene.views, pixels), told, "looking at the scene")

    def alive() -> None:
        told.progress("finding surfaces", 0.0)

    alive()
    raw = all_seen(taken)
    raw = thinned(raw, raw.footprint.astype(np.float64), 2 * count, 0.8, alive)
    return Seen(scene, renderer, taken, confirmed(raw, taken, told, "finding surfaces", renderer.threads))


def splats_from(seen: Seen, count: int, degree: int, told: Told) -> Splats:
    """At most ``count`` splats, as ``made_splats`` makes them."""

    def alive() -> None:
        told.progress("placing splats", 0.0)

    shell = shell_splats(seen.scene, seen.renderer, min(SHELL, count // 10), degree)
    known, threads = seen.known, seen.renderer.threads
    samples = thinned(known, known.footprint.astype(np.float64), count - len(shell), alive=alive)
    alive()
    samples = spaced(samples)
    plain = discs_of(samples, np.zeros((len(samples), (degree + 1) ** 2, 3), np.float32))
    trimmed, keep = within_outlines(plain, seen.taken, told, threads)
    discs, samples = picked(trimmed, keep), chosen(samples, keep)
    if not len(discs):
        return discs  # a shell around nothing is no scene
    discs = replace(discs, positions=within(discs.positions, seen.renderer.crop))
    samples = replace(samples, positions=discs.positions)
    discs = replace(discs, sh=fitted_harmonics(samples, seen.taken, degree, told, threads))
    return joined(drawn_in(discs, *_bounds(seen.scene, seen.renderer)), shell)


def within(positions: NDArray[np.float32], crop: Array | None) -> NDArray[np.float32]:
    """Positions (n, 3), with those outside a crop, world_from_box (4, 4), drawn to its sides.

    Trimming moves splats aside by half of their width, over the side of a crop too.
    """
    if crop is None:
        return positions
    inverse = np.linalg.inv(crop)
    box = np.clip(positions @ inverse[:3, :3].T + inverse[:3, 3], -1, 1)
    inside: NDArray[np.float32] = (box @ crop[:3, :3].T + crop[:3, 3]).astype(np.float32)
    return inside


def discs_of(samples: Samples, sh: NDArray[np.float32]) -> Splats:
    """A flat disc for each sample, with harmonics sh (n, k, 3)."""
    width = WIDTH * samples.radius[:, None]
    opacities = np.minimum(samples.opacity, OPACITY).astype(np.float32)
    scales = (width * np.array([1, 1, FLAT])).astype(np.float32)
    return Splats(samples.positions, _facing(samples.normals), scales, opacities, sh)


def _facing(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit quaternions (n, 4), w first, that turn +z to the normals (n, 3) the short way."""
    n = normals.astype(np.float64)
    q = np.stack([1 + n[:, 2], -n[:, 1], n[:, 0], np.zeros(len(n))], 1)
    length = np.linalg.norm(q, axis=1, keepdims=True)
    half_turn = np.array([0.0, 1.0, 0.0, 0.0])
    out: NDArray[np.float32] = np.where(length > 1e-6, q / np.maximum(length, 1e-12), half_turn).astype("f4")
    return out


def fitted_harmonics(
    samples: Samples, taken: Sequence[Look], degree: int, told: Told, threads: int = 0
) -> NDArray[np.float32]:
    """Coefficients (n, (degree + 1)², 3): least squares over the colours in the pictures that show a sample.

    The pictures are sharpened first. One counts by how finely it shows the sample. What depends on the view
    is held back a little, so that it does not run wild where hardly a picture looked.
    """
    terms = (degree + 1) ** 2
    out = np.zeros((len(samples), terms, 3), np.float32)
    rows, columns = np.triu_indices(terms)
    held = np.full(terms, STEADY)
    held[0] = 1e-3
    sharpened = [_sharper(look) for look in taken]

    def fit(part: slice) -> None:
        positions, normals = samples.positions[part], samples.normals[part]
        products = np.zeros((len(positions), len(rows)), np.float32)
        sums = np.zeros((len(positions), terms * 3), np.float32)
        for look in sharpened:
            index, weight, colours, toward = _shown(look, positions, normals, samples.footprint[part])
            b = basis(toward.astype(np.float64), degree).astype(np.float32)
            weighted = weight[:, None] * b
            products[index] += weighted[:, rows] * b[:, columns]
            sums[index] += (weighted[:, :, None] * (colours - 0.5)[:, None, :]).reshape(len(index), 3 * terms)
        square = np.zeros((len(positions), terms, terms))
        square[:, rows, columns] = products
        square[:, columns, rows] = products
        square[:, range(terms), range(terms)] += held
        right = sums.reshape(-1, terms, 3).astype(np.float64)
        right[:, 0] += held[0] * (samples.colours[part] - 0.5) / C0
        out[part] = np.linalg.solve(square, right)

    in_chunks(len(samples), fit, told, "reading colours", threads)
    return out


def _sharper(look: Look) -> Look:
    with loading():
        from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(look.rgb, (BLUR, BLUR, 0))
    return replace(look, rgb=look.rgb + np.float32(SHARPER) * (look.rgb - blurred))


def _shown(
    look: Look, positions: NDArray[np.float32], normals: NDArray[np.float32], finest: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Which positions (n, 3) a picture shows: indices (m,), weights (m,), colours and directions (m, 3)."""
    index, column, row, z = projected(look, positions)
    seen = np.abs(z - look.z[row, column]) < SHOWS * z
    index, z = index[seen], z[seen]
    k, pose = look.camera.intrinsics, look.camera.world_from_cam.astype(np.float32)
    toward = positions[index] - pose[:3, 3]
    local = toward @ pose[:3, :3]
    u = local[:, 0] / z * np.float32(k.fx) + np.float32(k.cx - 0.5)
    v = local[:, 1] / z * np.float32(k.fy) + np.float32(k.cy - 0.5)
    colours = _between(look.rgb, u, v)
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    slant = np.clip(-(toward * normals[index]).sum(1), 0.1, 1)
    weight = slant * (finest[index] / (z / np.float32(k.fx))) ** 2
    return index, weight.astype(np.float32), colours, toward


def _between(
    picture: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A picture's colours (n, 3) between pixels' centres, bilinear."""
    h, w = picture.shape[:2]
    u, v = np.clip(u, 0, w - 1.001), np.clip(v, 0, h - 1.001)
    i, j = u.astype(np.intp), v.astype(np.intp)
    a, b = (u - i)[:, None], (v - j)[:, None]
    flat, first = picture.reshape(-1, 3), j * w + i
    upper = flat[first] * (1 - a) + flat[first + 1] * a
    lower = flat[first + w] * (1 - a) + flat[first + w + 1] * a
    mixed: NDArray[np.float32] = (upper * (1 - b) + lower * b).astype(np.float32)
    return mixed


def _bounds(scene: Scene, renderer: Renderer) -> tuple[Array, float]:
    """The middle of the cameras (3,), world coordinates, and the distance from it to which splats reach."""
    middle = np.mean([v.world_from_cam[:3, 3] for v in scene.views], axis=0)
    return middle, FARTHEST / similarity_scale(renderer.scene_from_world)


def drawn_in(splats: Splats, middle: Array, reach: float) -> Splats:
    """Splats farther from ``middle`` (3,) than ``reach`` at that distance, smaller by as much: from the
    middle they look the same."""
    away = splats.positions - middle
    shrink = np.minimum(reach / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12), 1)
    positions = np.where(shrink < 1, middle + away * shrink, splats.positions).astype(np.float32)
    scales = (splats.scales * shrink).astype(np.float32)
    return Splats(positions, splats.quaternions, scales, splats.opacities, splats.sh)


def shell_splats(scene: Scene, renderer: Renderer, count: int, degree: int) -> Splats:
    """A closed shell about everything in the backdrop's colours, as our pictures show behind the scene.

    Cut-outs, cropped scenes and those whose field ends have none: around them a viewer shows its own.
    """
    if scene.has_alpha or renderer.crop is not None or not scene.field.space.unbounded:
        count = 0
    i = np.arange(count)
    z = 1 - (2 * i + 1) / max(count, 1)
    around = i * np.pi * (3 - np.sqrt(5))  # a sunflower's spiral: evenly over the sphere
    across = np.sqrt(1 - z**2)
    toward = np.stack([across * np.cos(around), across * np.sin(around), z], 1)
    colours = np.broadcast_to(np.asarray(renderer.background, np.float32), (count, 3))
    if renderer.shown_backdrop is not None:
        axes = renderer.scene_from_world[:3, :3] / similarity_scale(renderer.scene_from_world)
        colours = behind(renderer.shown_backdrop, (toward @ axes.T).astype(np.float32))
    middle, reach = _bounds(scene, renderer)
    radius = BEYOND * reach
    width = 0.8 * np.sqrt(4 * np.pi / max(count, 1)) * radius
    sh = np.zeros((count, (degree + 1) ** 2, 3), np.float32)
    sh[:, 0] = (colours - 0.5) / C0
    return Splats(
        (middle + radius * toward).astype(np.float32),
        _facing(-toward.astype(np.float32)),
        np.tile(np.array([width, width, FLAT * width], np.float32), (count, 1)),
        np.full(count, OPACITY, np.float32),
        sh,
    )
