"""Writes a scene as Gaussian splats, for splat viewers, game engines and web pages.

Axes. A scene that leaves the program upright has +z up in its own world. Viewers of .ply, .spz and .sog files
take +y as down and +z as forward, as the photos' cameras have it, and turn them over (SuperSplat and
PlayCanvas by themselves, three.js with Spark by the half turn about x of its examples): so these files are
written with y down. glTF and USD say that +y is up, and their files have that. In the capture's world nothing
is turned in any of them. Positions, orientations and harmonics turn together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import splats_glb, splats_ply, splats_sog, splats_spz, splats_usd
from nerfscene.exporters.placement import placed
from nerfscene.exporters.splat_choice import fitted_splats
from nerfscene.exporters.splat_fitting import Budget, with_fitted_splats
from nerfscene.exporters.splat_making import made_splats
from nerfscene.exporters.told import Told
from nerfscene.films.export_world import Y_DOWN_FROM_Z_UP, Y_UP_FROM_Z_UP
from nerfscene.scene.atomic import remove_leftovers, writing
from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import Splats, moved
from nerfscene.types import Array

COUNT = 500_000  # splats at most, if the config says nothing
SMALL, LARGE = 0.05, 1000.0  # world units: subjects beyond these lose precision in many viewers
# What writes splats to a file; the third argument: whether they were fitted under the filter that keeps their
# weight (Mip-Splatting), which programs must then draw them with too. glTF and USD have no word for that.
Writer = Callable[..., None]
WRITERS: dict[str, tuple[Array, Writer]] = {
    ".ply": (Y_DOWN_FROM_Z_UP, splats_ply.write),
    ".spz": (Y_DOWN_FROM_Z_UP, splats_spz.write),
    ".sog": (Y_DOWN_FROM_Z_UP, splats_sog.write),
    ".glb": (Y_UP_FROM_Z_UP, lambda splats, file, _=False: splats_glb.write(splats, file)),
    ".usdz": (
        Y_UP_FROM_Z_UP,
        lambda splats, file, _=False: splats_usd.write(splats, file, package=True),
    ),
    ".usdc": (
        Y_UP_FROM_Z_UP,
        lambda splats, file, _=False: splats_usd.write(splats, file, package=False),
    ),
}


def write_splats(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
    """Writes splats in the format of ``file``'s ending: .ply, .spz, .sog, .glb, .usdz, .usdc.

    They are fitted for ``config.fit`` seconds; without that they are those that were fitted to the scene
    before, and, if it has none, made of its surfaces alone.
    Returns {"file", "splats", "degree", "bytes", "up", "fitted"}: "up" is the axis that is up, "" in the
    capture's world, and "fitted" the figures of fitted splats (``Figures.splats``), None for others.
    Raises NerfsceneError for another ending, a scene of which nothing can be seen, and what can't be
    written; whatever ``told.progress`` raises. No half-written file stays.
    """
    turn, write = writer_for(file)
    upright = config.world == "upright"
    remove_leftovers(file.parent, file.name)
    with writing(file) as temporary:  # opened first, so that a folder that can't be written is told at once
        made, fitted = _made(scene, config, told)
        if not len(made):
            raise NerfsceneError(
                "no surface was found to make splats of: look at the scene with nerfscene view, and reset "
                "its crop if that leaves nothing"
            )
        _warn_of_size(made, told)
        told.progress(f"writing {file.name}", 0.0)
        splats = moved(made, turn) if upright else made
        write(splats, temporary, fitted is not None)
        size = temporary.stat().st_size
    told.progress(f"writing {file.name}", 1.0)
    up = ("-y" if turn is Y_DOWN_FROM_Z_UP else "+y") if upright else ""
    counts = {"splats": len(splats), "degree": splats.degree, "bytes": size}
    return {"file": str(file), **counts, "up": up, "fitted": fitted}


def _made(scene: Scene, config: ExportConfig, told: Told) -> tuple[Splats, dict[str, Any] | None]:
    """The splats in the world of the export, and their figures if they are fitted."""
    if config.fit:
        scene = with_fitted_splats(
            scene, Budget(config.fit), told, config.count, config.degree, config.backend, config.threads
        )
    world = placed(scene, config.world)
    fitted = fitted_splats(world, config.count, config.degree)
    if fitted is not None:
        if fitted.degree < config.degree:
            told.warn(f"the scene's splats were fitted with degree {fitted.degree}; --fit fits them anew")
        return fitted, scene.figures.splats
    renderer = world.renderer(config.backend, config.threads)
    return made_splats(world, renderer, config.count or COUNT, config.degree, told), None


def writer_for(file: Path) -> tuple[Array, Writer]:
    """How the axes turn (4, 4), from an upright world, and what writes a file with this ending.

    Raises NerfsceneError for another ending, and for USD if usd-core is missing or too old.
    """
    found = WRITERS.get(file.suffix.lower())
    if found is None:
        raise NerfsceneError(
            f"splats can't be written as {file.name}: the name must end in one of {', '.join(WRITERS)}"
        )
    if file.suffix.lower().startswith(".usd"):
        splats_usd.check_installed()
    return found


def _warn_of_size(splats: Splats, told: Told) -> None:
    """Warns of a world whose size many viewers can't hold: they compute with half floats."""
    side = float(np.median(np.abs(splats.positions - np.median(splats.positions, axis=0)).max(1)))
    if not SMALL <= side <= LARGE:
        told.warn(
            f"the scene is about {2 * side:.3g} units wide in this world, and splat viewers lose detail "
            f"outside {SMALL} to {LARGE:g}: set a scale under World in the viewer, or export upright"
        )
