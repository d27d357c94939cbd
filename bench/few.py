"""How captures of few photos fare: every n-th photo of a capture is trained on, and the others are held out.

    python -m bench.few                        # every fifth and every third photo of the demo and of fox
    python -m bench.few FOLDER … --photos 9    # captures with cameras: so many photos of each, evenly spread

Points come from the photos that are trained on alone. Prints, for each seed, PSNR, SSIM and FLIP of photos
held out, and the PSNR of photos trained on: what lies between the two was learned by heart.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import captures
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.formats.readers import find_posed
from nerfscene.measuring.evaluate import photo_over, photographed
from nerfscene.measuring.metrics import psnr
from nerfscene.posing.triangulation import with_points
from nerfscene.scene.folder import Scene
from nerfscene.training import loop
from nerfscene.types import PosedCapture

STEPS, SEEDS = 2000, 2
HELD_OUT, TRAINED_ON = 10, 4  # how many photos are measured

Few = tuple[str, PosedCapture, float]  # a name, the capture with its split, and a factor to downscale by


def few(posed: PosedCapture, train: Sequence[int], workdir: Path) -> PosedCapture:
    """The capture with the views ``train`` to train on, and up to HELD_OUT of the others held out."""
    others = [i for i in range(len(posed.views)) if i not in set(train)]
    held_out = [others[i] for i in spread(len(others), HELD_OUT)]
    seen = with_points(replace(posed, views=tuple(posed.views[i] for i in train)), workdir, move=False)
    views = [*(replace(v, split="train") for v in seen.views)]
    views += [replace(posed.views[i], split="test", seen=np.zeros(0, np.int64)) for i in held_out]
    return replace(seen, views=tuple(views), given_split=True)


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` of 0…count-1, evenly spread, without those at the ends."""
    if count <= most:
        return list(range(count))
    return [int((i + 0.5) * count / most) for i in range(most)]


def cases(folders: Sequence[Path], photos: int, downscale: float, kept: Path) -> Iterator[Few]:
    """The captures to train on; each is prepared only when its turn comes."""
    for i, folder in enumerate(folders):
        posed = find_posed(folder)
        if posed is None:
            raise SystemExit(f"{folder} has no cameras")
        yield (
            f"{folder.name}, {photos}",
            few(posed, spread(len(posed.views), photos), kept / f"{i}"),
            downscale,
        )
    if folders:
        return
    for name, posed, factor in (("demo", captures.demo(), 1.0), ("fox", captures.fox(), 4.0)):
        for every in (5, 3):
            if posed is None:
                print(f"{name}: not here")
                break
            train = range(0, len(posed.views), every)
            yield f"{name}, {len(train)}", few(posed, train, kept / f"{name}{every}"), factor


def trained_on(scene: Scene) -> float:
    """The mean PSNR of some photos that were trained on."""
    views = [v for v in scene.views if v.split == "train"]
    renderer = scene.photo_renderer()
    some = [views[i] for i in spread(len(views), TRAINED_ON)]
    return float(
        np.mean([psnr(np.clip(photographed(renderer, v).rgb, 0, 1), photo_over(v, (0, 0, 0))) for v in some])
    )


def trained(posed: PosedCapture, downscale: float, steps: int, seed: int) -> tuple[float, ...]:
    """PSNR, SSIM and FLIP of photos held out, PSNR of photos trained on, and the seconds of a training."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(steps=steps, downscale=downscale, seed=seed)
        scene = loop.train_posed(posed, Path(folder), config, FieldConfig())
        f = scene.figures
        assert f.psnr is not None and f.ssim is not None and f.flip is not None
        return f.psnr, f.ssim, f.flip, trained_on(scene), f.train_seconds


def main() -> None:
    """Trains on every capture with every seed, and prints each result at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--photos", type=int, default=9)
    parser.add_argument("--downscale", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args()
    print(f"{asked.steps} steps\n| capture, photos | PSNR | SSIM | FLIP | trained on | s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as kept:
        for name, posed, factor in cases(asked.folders, asked.photos, asked.downscale, Path(kept)):
            for seed in range(asked.seeds):
                a, b, c, d, e = trained(posed, factor, asked.steps, seed)
                print(f"| {name} | {a:.2f} | {b:.3f} | {c:.3f} | {d:.2f} | {e:.0f} |", flush=True)


if __name__ == "__main__":
    main()
