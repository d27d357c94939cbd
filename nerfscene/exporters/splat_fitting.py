"""Fits splats to a scene: begun from its field's surfaces, they come to look like its photos."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.splat_making import BEYOND, FARTHEST, SHELL, made_splats
from nerfscene.exporters.splat_pictures import held_out
from nerfscene.exporters.splat_targets import check_photos, field_targets, photo_targets
from nerfscene.exporters.told import Told
from nerfscene.ops.splatting import Rasteriser
from nerfscene.scene.fitted import save_splats
from nerfscene.scene.folder import load, read_manifest
from nerfscene.scene.folder_lock import only_one
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.splatting.exposures import unchanged
from nerfscene.splatting.fitting import Fit, Target, begun, finished, gaussians_of, reviewed, step
from nerfscene.splatting.gaussians import Splats, in_space, picked

STAGE = "fitting splats"
EACH = 0.7  # splats for each pixel of a photo, of all that a scene has
FEWEST, MOST = 40_000, 400_000
BEGUN_WITH = 0.8  # of them: the rest is what reviews split
REVIEWS = (0.3, 0.45, 0.6)  # how much of the fit lies behind at each
NEW_PLACES = 0.15  # field pictures for each photo
NEW_LONG = 0.1  # of the seconds is all that making them may take
NEW_SHARE = 0.1  # of the steps is done with them


@dataclass(frozen=True)
class Budget:
    """How long to fit: seconds, or steps, which make a fit on one thread repeatable."""

    seconds: float = 60.0
    steps: int | None = None


def drawn_by(backend: str) -> str:
    """The backend that draws splats where this one renders the field: plain torch would take days."""
    return "cpu" if backend in ("torch", "tcnn") else backend


def splats_needed(scene: Scene) -> int:
    """How many splats show what a pixel of the photos does."""
    pixels = [v.intrinsics.width * v.intrinsics.height for v in scene.views if v.split == "train"]
    return int(np.clip(EACH * float(np.median(pixels)), FEWEST, MOST))


def with_fitted_splats(
    scene: Scene,
    budget: Budget,
    told: Told,
    count: int | None = None,
    degree: int = 1,
    backend: str = "auto",
    threads: int = 0,
) -> Scene:
    """The scene with splats fitted to its photos, and their figures.

    The whole scene is fitted, whatever its crop. backend: "torch" and "tcnn" render the field only; the
    processor's kernels draw splats then. count: of the splats, at most; None: as many as the photos
    need. Ctrl-C ends the fit early and keeps what there is, with a warning. Raises NerfsceneError if no
    surface is seen or a photo is gone, and whatever ``told.progress`` raises.
    """
    check_photos(scene)
    whole = in_world(replace(scene, crop=None, splats=None), scene.scene_from_world)
    renderer = whole.photo_renderer(backend, threads)
    most = splats_needed(scene) if count is None else count
    first = made_splats(whole, renderer, int(BEGUN_WITH * most), degree, told)
    if not len(first):
        raise NerfsceneError(
            "no surface was found to make splats of: look at the scene with nerfscene view, "
            "and train it longer"
        )
    photos = photo_targets(whole, told)
    fit = begun(first, shell_of(first, whole), whole.background, drawn_by(backend), threads)
    fit.exposures = unchanged(1 + max((t.photo for t in photos), default=-1))
    before = _means(held_out(fit.rows.gaussians, whole, fit.rasteriser))
    began = time.monotonic()
    new = [] if budget.steps == 0 else _new_places(whole, renderer, photos, budget, told)
    spent = run(
        fit, photos, new, replace(budget, seconds=budget.seconds - (time.monotonic() - began)), told, most
    )
    after = _means(held_out(fit.rows.gaussians, whole, fit.rasteriser))
    made = finished(fit)
    figures: dict[str, Any] = {
        "count": len(made), "degree": made.degree, "seconds": spent, **after,
        "psnr_before": before["psnr"],
    }  # fmt: skip
    return replace(scene, splats=made, figures=replace(scene.figures, splats=figures))


def saved_with_splats(
    scene: Scene, folder: Path, seconds: float, told: Told, backend: str, threads: int
) -> Scene:
    """The scene with splats fitted for some seconds, which are saved in its folder.

    Raises NerfsceneError as ``with_fitted_splats`` does, and if the folder can't be written.
    """
    made = with_fitted_splats(scene, Budget(seconds), told, backend=backend, threads=threads)
    assert made.splats is not None and made.figures.splats is not None
    save_splats(folder, made.splats, made.figures.splats)
    return made


def kept_with_splats(folder: Path, config: ExportConfig, told: Told) -> Scene:
    """The scene in a folder with splats fitted as an export wants them, which stay in the folder.

    Where that can't be written, or another process works there, a warning says that they don't stay.
    Raises NerfsceneError as ``with_fitted_splats`` does, and for a scene that can't be read.
    """
    read_manifest(folder)  # before a warning says what can't be done in a folder that is no scene
    with ExitStack() as held:
        try:
            held.enter_context(only_one(folder))
            stay = True
        except NerfsceneError as error:
            told.warn(f"the splats are fitted for this export alone: {error}")
            stay = False
        scene = load(folder)
        made = with_fitted_splats(
            scene, Budget(config.fit), told, config.count, config.degree, config.backend, config.threads
        )
        assert made.splats is not None and made.figures.splats is not None
        if stay:
            save_splats(folder, made.splats, made.figures.splats)
    return made


def splat_figures(scene: Scene, backend: str = "auto", threads: int = 0) -> dict[str, Any] | None:
    """The figures of the scene's splats, measured again; None if it has none.

    Raises NerfsceneError if a held-out photo is gone.
    """
    if scene.splats is None:
        return None
    drawn = gaussians_of(picked(scene.splats, in_space(scene.splats.positions)))
    after = _means(held_out(drawn, scene, Rasteriser(drawn_by(backend), threads)))
    usual = {"count": len(scene.splats), "degree": scene.splats.degree, "seconds": 0.0, "psnr_before": None}
    return {**usual, **(scene.figures.splats or {}), **after}


def shell_of(splats: Splats, scene: Scene) -> int:
    """How many splats at the end of those that ``made_splats`` made are the shell behind everything."""
    middle = np.mean([v.world_from_cam[:3, 3] for v in scene.views], axis=0)
    away = np.linalg.norm(splats.positions[-SHELL:] - middle, axis=1)
    return int((away > (1 + BEYOND) / 2 * FARTHEST).sum())


def _means(views: list[dict[str, float]]) -> dict[str, float | None]:
    return {name: float(np.mean([v[name] for v in views])) if views else None for name in ("psnr", "flip")}


def _new_places(
    scene: Scene, renderer: Any, photos: list[Target], budget: Budget, told: Told
) -> list[Target]:
    """Pictures of the field from new places, as many as are soon made: on a busy machine none."""
    wanted = max(int(NEW_PLACES * len(photos)), 1)
    until = time.monotonic() + NEW_LONG * budget.seconds if budget.steps is None else math.inf
    return list(field_targets(scene, renderer, wanted, told, until))


def run(fit: Fit, photos: list[Target], new: list[Target], budget: Budget, told: Told, most: int) -> float:
    """Shows the fit picture after picture until the budget is spent; returns the seconds that it took."""
    draws = np.random.default_rng(0)
    waiting: list[int] = []
    reviews = list(REVIEWS)
    began, heard, error = time.monotonic(), 0.0, 0.0
    try:
        while (done := _done(fit, budget, began)) < 1:
            if reviews and done >= reviews[0] and fit.views >= len(photos):
                reviewed(fit, most)
                reviews.pop(0)
            if new and draws.random() < NEW_SHARE:
                step(fit, new[draws.integers(len(new))], done)
                continue
            waiting = waiting or draws.permutation(len(photos)).tolist()
            found = step(fit, photos[waiting.pop()], done)
            error = found if not error else 0.95 * error + 0.05 * found
            if time.monotonic() - heard > 0.25:
                heard = time.monotonic()
                told.note(
                    STAGE,
                    done,
                    f"{len(fit.rows.stays):,} splats  PSNR {-10 * np.log10(max(error, 1e-10)):.1f} dB",
                )
    except KeyboardInterrupt:
        told.warn("the fit was interrupted; the splats are kept as they are")
    told.progress(STAGE, 1.0)
    return time.monotonic() - began


def _done(fit: Fit, budget: Budget, began: float) -> float:
    if budget.steps is not None:
        return fit.steps / max(budget.steps, 1)
    return (time.monotonic() - began) / max(budget.seconds, 1e-9)
