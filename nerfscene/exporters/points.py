"""Writes a scene's surface as a point cloud: .ply, .las or .laz.

Points lie evenly over what the photos saw, each with its colour and the surface's normal. +z is up, as in
survey data, unless the capture's own coordinates are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.even import evenly, without_strays
from nerfscene.exporters.placement import placed
from nerfscene.exporters.ply_file import write_ply
from nerfscene.exporters.samples import Samples, away_from_middle, chosen, seen_surface
from nerfscene.exporters.told import Told, needed
from nerfscene.scene.atomic import remove_leftovers, telling, writing
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.types import Array

ENDINGS = (".ply", ".las", ".laz")
USUAL_COUNT = 1_000_000
SURE = 0.5  # least share of the pictures looking at a point that show it
SPARE = 1.7  # samples for each point, of which the most even are chosen
LAS_RANGE = 2**30  # steps on each side of the offset; a LAS coordinate is a whole number of 32 bits
FINEST_LAS = 1e-4  # of the points' spacing: a step of a LAS coordinate


def write_points(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
    """Writes at most ``config.count`` points of what the photos saw; colours are sRGB as in the photos.

    .ply: binary, float, with normals. .las and .laz: LAS 1.4, point format 7, colours of 16 bits, normals as
    extra dimensions NormalX, NormalY and NormalZ.
    Raises NerfsceneError for another ending, a missing package, a scene without surfaces (or nothing of it in
    the crop), or if ``file`` can't be written.
    """
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise NerfsceneError(f"{file} must end in .ply, .las or .laz to hold points")
    if ending != ".ply":
        needed("laspy", "export", "a .las or .laz file")
    if ending == ".laz":
        needed("lazrs", "export", "a .laz file")
    world = placed(scene, config.world)
    middle = np.linalg.inv(world.scene_from_world)[:3, 3]
    # Samples are floats, which would round coordinates far from the origin, as on a map.
    around = in_world(world, _shift(-middle))
    samples = _even_samples(around, config, told)
    positions = samples.positions + middle
    remove_leftovers(file.parent, file.name)
    told.progress("writing points", 0.5)
    with writing(file) as temporary, telling(file):
        if ending == ".ply":
            write_ply(temporary, positions, _bytes(samples.colours), samples.normals)
        else:
            _write_las(temporary, positions, samples, ending == ".laz")
    told.progress("writing points", 1.0)
    box = [positions.min(0).tolist(), positions.max(0).tolist()]
    return {"points": len(samples), "box": box, "spacing": _spacing(samples)}


def _even_samples(world: Scene, config: ExportConfig, told: Told) -> Samples:
    """The points that are written. Raises NerfsceneError if there are none."""
    count = config.count or USUAL_COUNT
    samples = seen_surface(world, world.renderer(config.backend, config.threads), int(SPARE * count), told)
    samples = chosen(samples, samples.confidence >= SURE)
    samples = without_strays(samples, away_from_middle(samples, world.scene_from_world), told)
    if not len(samples):
        where = "within the crop" if world.crop is not None else "where the photos look"
        raise NerfsceneError(f"there is no surface {where}, so there are no points to write")
    samples = evenly(samples, away_from_middle(samples, world.scene_from_world), count, told)
    if len(samples) < 0.9 * count:
        told.warn(f"the photos show no more than {len(samples):,} points apart from each other")
    return samples


def _shift(by: NDArray[np.floating]) -> Array:
    """The translation (4, 4) by a vector (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def _bytes(colours: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (np.clip(colours, 0, 1) * 255).round().astype(np.uint8)


def _spacing(samples: Samples) -> float:
    """How far apart the points are, by the median of the discs that they stand for."""
    return float(np.sqrt(np.pi) * np.median(samples.radius))


def _write_las(path: Path, positions: Array, samples: Samples, compressed: bool) -> None:
    import laspy

    # Not 1.4, which says nothing more of such points, and which fewer programs read.
    header = laspy.LasHeader(version="1.2", point_format=2)
    header.generating_software = "nerfscene"
    for axis in "XYZ":
        header.add_extra_dim(laspy.ExtraBytesParams(f"Normal{axis}", "float32", "surface normal"))
    low, high = positions.min(0), positions.max(0)
    header.offsets = _round_numbers((low + high) / 2, float((high - low).max()))
    reach = float(np.abs(positions - header.offsets).max())
    header.scales = np.full(3, _las_scale(_spacing(samples), reach))
    las = laspy.LasData(header)
    las.x, las.y, las.z = positions.T
    colours = _bytes(samples.colours).astype(np.uint16) * 257  # 255 becomes 65535
    las.red, las.green, las.blue = colours.T
    for i, axis in enumerate("XYZ"):
        las[f"Normal{axis}"] = samples.normals[:, i]
    las.return_number = las.number_of_returns = np.ones(len(positions), np.uint8)
    with path.open("wb") as stream:  # the temporary file's ending says nothing of compression
        las.write(stream, do_compress=compressed)


def _las_scale(spacing: float, reach: float) -> float:
    """The step of coordinates: a power of ten, much finer than the spacing, that can hold them all."""
    finest = max(FINEST_LAS * spacing, reach / LAS_RANGE, 1e-12)
    return float(10.0 ** np.ceil(np.log10(finest)))


def _round_numbers(values: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """The values rounded to a power of ten well below ``size``, so that a file's header reads well."""
    step = 10.0 ** np.floor(np.log10(max(size, 1e-9) / 10))
    return np.asarray(np.round(values / step) * step)
