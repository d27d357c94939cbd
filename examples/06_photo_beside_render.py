"""Photos next to what the scene shows.

``ns.measure`` renders every photo that training kept aside and compares the two. It hands over each pair, so
that you can look at them: here, where they differ most. What masks cover is hatched. To compare the pairs by
a measure of your own, use ``seen`` in place of ``shown``. Run example 01 first.
"""

from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    sheet: Path = Path("out/06_sheet.png"),
) -> None:
    rows = {}

    def shown(figures: dict, photo: np.ndarray, render: np.ndarray, error: np.ndarray) -> None:
        difference = np.repeat(error[:, :, None], 3, axis=2)
        rows[figures["photo"]] = np.concatenate([photo, render, 3 * difference], axis=1)

    found = ns.measure(ns.load(scene_folder), shown=shown)
    for view in found["per_view"]:
        print(f"{view['photo']}: {view['psnr']:.2f} dB, SSIM {view['ssim']:.3f}")
    print(f"mean of {found['views']}: {found['psnr']:.2f} dB, SSIM {found['ssim']:.3f}")

    pixels = np.concatenate([rows[name] for name in sorted(rows)], axis=0)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels.clip(0, 1) + 0.5).astype(np.uint8)).save(sheet)
    print(f"{sheet}: photo, render, and three times their difference")


if __name__ == "__main__":
    tyro.cli(main)
