"""What each part of training is worth: the default settings, and the same without one part at a time.

    python -m bench.ablations             # fox and the demo, with their published cameras
    python -m bench.ablations PHOTOS …    # folders of photos alone, which are posed here

All train for the same number of steps, so a busy machine changes only the seconds. fox and the demo are also
trained with two defects of phone captures: exposures that drift, and cameras that are slightly off. Those
cameras are once left as they are, and once moved to fit before training (``nerfscene.posing.triangulation``).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.posing.triangulation import with_points
from nerfscene.training import loop as training
from nerfscene.types import PosedCapture

STEPS = 4000
JITTER = 0.004  # radians; also a fraction of the cameras' spread. Held-out cameras keep their poses
NEAREST = 0.02  # scene units. Cameras are 1.5 from the subject, so nothing is this near
WANDER = 0.22  # standard deviation of the log-gains along their random walk


def faint_too(o: Any) -> None:
    """Trains samples down to a weight of 1e-4, and ends rays at a transmittance of 0.3 %."""
    o.min_weight, o.stop_transmittance = 1e-4, 3e-3


WITHOUT_DEPTHS = "no depths from sparse points"
ONE_BACKGROUND = "the photos' mean colour behind every ray, not random"  # cut-outs still get a random one
FROM_THE_CAMERA = "rays from the cameras themselves on"
# For each variant: a function that changes the step's options, and the changes to TrainConfig.
VARIANTS: dict[str, tuple[Callable[[Any], None] | None, dict[str, Any]]] = {
    "the default": (None, {}),
    "cameras stay where they are": (None, {"refine_cameras": False}),
    "no exposure per photo": (lambda o: setattr(o, "exposure_rate", 0.0), {}),
    WITHOUT_DEPTHS: (lambda o: setattr(o, "depth_pull", 0.0), {}),
    "no pull of skies": (lambda o: setattr(o, "sky_pull", 0.0), {}),
    "no loss against fog": (lambda o: setattr(o, "distortion", 0.0), {}),
    "rows not pulled towards zero": (lambda o: setattr(o, "table_pull", 0.0), {}),
    "gradients near cameras scaled down": (lambda o: setattr(o, "full_gradient_distance", 1.0), {}),
    ONE_BACKGROUND: (None, {}),  # changed in the data: see start_with
    FROM_THE_CAMERA: (None, {}),  # changed in the field: see start_with
    "faint samples trained too": (faint_too, {}),
    "fine steps from the start": (lambda o: setattr(o, "coarseness", 1.0), {}),
}

PHOTOS_ALONE = ("the default", WITHOUT_DEPTHS, "cameras stay where they are", "no exposure per photo")
AGAINST_DRIFTS = ("the default", "cameras stay where they are", "no exposure per photo")
MOVED_BEFORE = ("the default",)


def jittered(posed: PosedCapture, every: int = 8) -> PosedCapture:
    """The capture with its cameras randomly turned and shifted, except every n-th, which are held out."""
    rng = np.random.default_rng(0)
    centres = np.stack([v.world_from_cam[:3, 3] for v in posed.views])
    spread = float(np.linalg.norm(centres - centres.mean(0), axis=1).mean())
    views = []
    for i, view in enumerate(posed.views):
        turn, shift = JITTER * rng.normal(size=3), JITTER * spread * rng.normal(size=3)
        pose = view.world_from_cam.copy()
        if i % every:
            pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ pose[:3, :3]
            pose[:3, 3] += shift
        views.append(replace(view, world_from_cam=pose))
    return replace(posed, views=tuple(views))


def drifting(posed: PosedCapture, folder: Path) -> PosedCapture:
    """The capture with exposures that drift from photo to photo; writes the changed photos to ``folder``."""
    rng = np.random.default_rng(1)
    n = len(posed.views)
    gains = np.cumsum(rng.normal(0, 1, (n, 1)) + 0.3 * rng.normal(0, 1, (n, 3)), 0)
    gains = WANDER * (gains - gains.mean(0)) / gains.std() - 0.2
    views = []
    for view, gain in zip(posed.views, gains, strict=True):
        with Image.open(view.path) as photo:
            pixels = np.asarray(photo.convert("RGB"), np.float32) * np.exp(gain)
        path = folder / view.path.with_suffix(".png").name
        Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).save(path)
        views.append(replace(view, path=path))
    return replace(posed, views=tuple(views))


@contextmanager
def changed(name: str) -> Iterator[dict[str, Any]]:
    """Replaces functions of the training loop inside the context; yields the changes to TrainConfig."""
    before, start = training.options_at, training.start
    change, config = VARIANTS[name]

    def options_at(*arguments: Any) -> Any:
        o = before(*arguments)
        if change is not None:
            change(o)
        return o

    def start_with(run: Any, data: Any, config: Any) -> None:
        if name == ONE_BACKGROUND:
            data = replace(data, space=replace(data.space, unbounded=False))
        else:
            run.field = replace(run.field, space=replace(run.field.space, near=NEAREST))
        start(run, data, config)

    training.options_at = options_at  # type: ignore[assignment]
    if name in (ONE_BACKGROUND, FROM_THE_CAMERA):
        training.start = start_with
    try:
        yield config
    finally:
        training.options_at, training.start = before, start


# A name, the capture, the factor by which its photos are downscaled, and the variants to train.
Source = tuple[str, PosedCapture | None, float | None, Iterable[str]]


def with_drifts(name: str, posed: PosedCapture | None, downscale: float, kept: Path) -> Iterator[Source]:
    """A capture as it is, then with cameras that are off, then with exposures that drift."""
    if posed is None:
        yield name, None, downscale, ()
        return
    (kept / "photos").mkdir(parents=True)
    yield name, with_points(posed, kept, move=False), downscale, VARIANTS
    off, wandering = jittered(posed), drifting(posed, kept / "photos")
    yield f"{name}, cameras off", off, downscale, AGAINST_DRIFTS
    yield f"{name}, cameras off, moved before", with_points(off, kept / "off"), downscale, MOVED_BEFORE
    yield f"{name}, exposures wander", with_points(wandering, kept / "e"), downscale, AGAINST_DRIFTS


def sources(folders: Sequence[Path], kept: Path) -> Iterator[Source]:
    """The captures to train on; each is prepared only when its turn comes."""
    for i, photos in enumerate(folders):
        name = photos.parent.name if photos.name == "images" else photos.name
        yield f"{name}, photos alone", captures.photos_alone(photos, kept / f"{i}"), None, PHOTOS_ALONE
    if not folders:
        yield from with_drifts("fox", captures.fox(), 4, kept / "fox")
        yield from with_drifts("demo", captures.demo(), 1, kept / "demo")


def table(steps: int = STEPS, folders: Sequence[Path] = ()) -> None:
    """Trains every variant on every capture, or on ``folders`` of photos, and prints each result at once."""
    print(f"{steps} steps; PSNR, PSNR with each held-out photo's exposure and camera fitted, SSIM, seconds")
    with tempfile.TemporaryDirectory() as kept:
        for name, posed, downscale, variants in sources(folders, Path(kept)):
            if posed is None:
                print(f"\n{name}: not here")
                continue
            print(f"\n| {name} | PSNR | matched | SSIM | seconds |\n|---|---|---|---|---|")
            for variant in variants:
                with tempfile.TemporaryDirectory() as folder, changed(variant) as more:
                    config = TrainConfig(steps=steps, downscale=downscale, quality="1min", **more)
                    f = training.train_posed(posed, Path(folder), config, FieldConfig()).figures
                print(
                    f"| {variant} | {f.psnr:.2f} | {f.psnr_matched:.2f} | {f.ssim:.3f} | "
                    f"{f.train_seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    table(folders=[Path(folder) for folder in sys.argv[1:]])
