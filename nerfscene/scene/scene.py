"""A trained scene in memory, and the figures of how it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.equality import equal_fields, hash_fields
from nerfscene.field.hash_grid import RadianceField
from nerfscene.field.rendering import Renderer
from nerfscene.splatting.gaussians import Splats
from nerfscene.types import Array, Intrinsics, View

# The free camera's near plane, as a fraction of training's: it lets the camera get closer to the subject, and
# costs held-out photos at most 0.06 dB.
NEAR_TO_LOOK = 0.7
WORTH_MENTIONING = 0.3  # dB by which psnr_matched must exceed psnr to be shown too


@dataclass(frozen=True)
class Figures:
    """What is known about how a scene was made; None for what was not measured."""

    photos: int = 0  # given
    photos_posed: int = 0  # of them, with a camera
    source: str = ""  # where the cameras came from
    reprojection_error: float | None = None  # pixels of a photo whose longer side is reprojection_size
    reprojection_size: int | None = None  # pixels; None: the photos' own (scenes of older versions, too)
    downscale: float = 1.0  # factor by which photos were downscaled for training
    train_seconds: float = 0.0  # spent in training steps
    steps: int = 0  # training steps
    rays: int = 0  # trained on, in all steps
    samples: int = 0  # along these rays, that were trained on
    finished: bool = False  # whether the budget was spent
    psnr: float | None = None  # dB, mean over held-out photos
    ssim: float | None = None  # 0…1, mean over held-out photos
    flip: float | None = None  # 0 (alike) to 1, mean over held-out photos: see measuring.flip
    psnr_matched: float | None = None  # after fitting each held-out photo's exposure and camera
    flip_matched: float | None = None  # likewise
    views: int = 0  # held-out photos measured
    per_view: tuple[dict[str, Any], ...] = ()  # see measuring.evaluate
    history: tuple[dict[str, float], ...] = ()  # {"fraction", "seconds", "step", "psnr"} during training
    taken_in: tuple[dict[str, int], ...] = ()  # {"photos", "width", "height", "focal"}: see training.record
    left_out: tuple[dict[str, str], ...] = ()  # {"name", "reason"}: photos not used, and why
    warnings: tuple[str, ...] = ()  # about the photos, from when they were read
    posing: dict[str, Any] | None = None  # fields of types.PoseReport, if COLMAP was run here
    cameras_moved: float | None = None  # pixels, by training; None if cameras were not refined
    # Photos in which something moved: {"photo", "share", "boxes"}, see training.moving.moved_parts
    moved: tuple[dict[str, Any], ...] = ()
    device: str = ""  # what computed, in words
    # Of the scene's fitted splats: {"count", "degree", "seconds", "psnr", "psnr_before", "flip"}: PSNR in dB,
    # all three means over held-out photos or None; None: there are none
    splats: dict[str, Any] | None = None
    # {"train", "field"}: the fields of TrainConfig as given, and of FieldConfig as used
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    __hash__ = hash_fields

    def __str__(self) -> str:
        """How close the scene comes to its held-out photos, as a sentence."""
        return figures_in_words(vars(self))

    def reprojection_side(self, trained: Intrinsics) -> int:
        """The longer side, pixels, of the photos in whose pixels ``reprojection_error`` is.

        trained: a lens of the photos as trained on.
        """
        return self.reprojection_size or round(max(trained.width, trained.height) * self.downscale)


@dataclass(frozen=True)
class Scene:
    """A trained scene.

    field: the radiance field
    views: all photos' cameras, with the intrinsics of the photos as trained on (downscaled)
    scene_from_world: (4, 4), the similarity from cameras' coordinates to the field's
    background: 0…1, the colour behind the scene
    has_alpha: whether the photos were cut-outs (photos with a transparent background)
    figures: what is known about how the scene was made
    points: the sparse model's points, (n, 3), scene units
    crop: world_from_box (4, 4), which maps [-1, 1]³ to the part of the scene that the viewer and films
        show; None: all of it. Measuring against photos ignores it.
    world_from_capture: the similarity (4, 4) from the cameras' original coordinates to the scene's world;
        None: nobody has set one
    up: (3,), the world's upward direction; None: to be guessed from the cameras
    backdrop: (rows, 2 · rows, 3), see ``field.rendering.Renderer``; None: plain
    splats: Gaussian splats in the field's coordinates, fitted to the whole scene, those that show
        most first; None: none were fitted
    gain: factor by which the field's colours are multiplied wherever the scene is shown: its exposure, see
        ``training.exposures``. The views' exposures, the backdrop and the splats go with it
    """

    field: RadianceField
    views: tuple[View, ...]
    scene_from_world: Array
    background: tuple[float, float, float]
    has_alpha: bool
    figures: Figures
    points: NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.zeros((0, 3), np.float32))
    crop: Array | None = None
    world_from_capture: Array | None = None
    up: Array | None = None
    backdrop: NDArray[np.float32] | None = None
    splats: Splats | None = None
    gain: float = 1.0

    __eq__ = equal_fields
    __hash__ = hash_fields

    def renderer(self, backend: str = "auto", threads: int = 0) -> Renderer:
        """A Renderer (for ``rendering.render``) to look at the scene from anywhere.

        In an unbounded scene, its near plane is nearer than in training. That one was set by what the photos'
        cameras see, and a camera between them may be closer to the subject.
        """
        field, space = self.field, self.field.space
        if space.unbounded:
            field = replace(field, space=replace(space, near=NEAR_TO_LOOK * space.near))
        return Renderer(
            field,
            self.scene_from_world,
            self.background,
            backend,
            threads,
            self.crop,
            self.backdrop,
            self.gain,
        )

    def photo_renderer(self, backend: str = "auto", threads: int = 0) -> Renderer:
        """A Renderer for the photos' own cameras, as used for measuring.

        It shows the whole scene, without the crop, with the near plane used in training.
        """
        return replace(self.renderer(backend, threads), field=self.field, crop=None)


def figures_in_words(d: dict[str, Any]) -> str:
    """PSNR, SSIM and FLIP as a sentence; ``d``: psnr, psnr_matched, ssim, flip, views and train_seconds."""
    if d.get("psnr") is None:
        return "no photos were held out, so nothing was measured"
    matched = d.get("psnr_matched") or d["psnr"]
    one = d["views"] == 1
    corrected = ""
    if matched > d["psnr"] + WORTH_MENTIONING:
        whose = "this photo's" if one else "these photos'"
        corrected = f" ({matched:.2f} dB corrected for {whose} exposure and camera)"
    return (
        f"{d['views']} held-out photo{'' if one else 's'}: PSNR {d['psnr']:.2f} dB{corrected}, "
        f"SSIM {d['ssim']:.3f}{flip_in_words(d)} after {d['train_seconds']:.0f} s of training"
    )


def flip_in_words(d: dict[str, Any]) -> str:
    """FLIP after other figures, "" where it was not measured: in scenes of older versions."""
    return "" if d.get("flip") is None else f", FLIP {d['flip']:.3f}"


def splats_in_words(d: dict[str, Any]) -> str:
    """How good fitted splats are, as a sentence; ``d``: ``Figures.splats``."""
    said = f"{d['count']:,} splats, fitted for {d['seconds']:.0f} s"
    if d["psnr"] is None:
        return f"{said}; no photos were held out, so they were not measured"
    before = "" if d["psnr_before"] is None else f" ({d['psnr_before']:.2f} dB before the fit)"
    return f"{said}: PSNR {d['psnr']:.2f} dB{before}{flip_in_words(d)}"


def quality_in_words(d: dict[str, Any]) -> str:
    """``figures_in_words``, and a line each about what moved and about the scene's splats, if there are any.

    ``d``: may also have "moved" and "splats", as ``Figures`` has them.
    """
    said = [figures_in_words(d)]
    if d.get("moved"):
        said.append(moved_in_words(d["moved"]))
    if d.get("splats") is not None:
        said.append(splats_in_words(d["splats"]))
    return "\n".join(said)


def moved_in_words(moved: Sequence[dict[str, Any]]) -> str:
    """In how many photos something moved, and how much of them is left out, as a sentence."""
    mean = 100 * sum(part["share"] for part in moved) / len(moved)
    where, whose = ("a photo", "its") if len(moved) == 1 else (f"{len(moved)} photos", "their")
    return f"in {where} something moved; {mean:.1f} % of {whose} pixels were left out"


def error_in_words(error: float, side: int) -> str:
    """A reprojection error with the photos' longer side, pixels, without which it says little."""
    return f"{error:.2f} px at {side:,} px"


def with_figures(scene: Scene, **changes: Any) -> Scene:
    """The same scene with some figures replaced."""
    return replace(scene, figures=replace(scene.figures, **changes))
