"""Masks: what to ignore in photos.

A date stamp or a car's bonnet should not become part of the scene. A folder ``masks`` beside the photos has a
picture for each photo that needs one; black is ignored. This example stamps copies and masks out the stamp.
"""

import shutil
from pathlib import Path

import tyro
from PIL import Image, ImageDraw

import nerfscene as ns


def main(
    photos: Path = Path("data/demo/images"),
    stamped: Path = Path("out/10_stamped"),
    scene_folder: Path = Path("out/10_scene"),
    seconds: float = 30,
) -> None:
    shutil.copytree(photos, stamped, dirs_exist_ok=True)
    for file in [taken.path for taken in ns.open_capture(stamped).photos]:
        photo = Image.open(file).convert("RGB")
        corner = (0, photo.height * 9 // 10, photo.width // 3, photo.height)
        ImageDraw.Draw(photo).rectangle(corner, fill="orange")
        photo.save(file)
        (file.parent / "masks").mkdir(exist_ok=True)
        mask = Image.new("L", photo.size, "white")
        ImageDraw.Draw(mask).rectangle(corner, fill="black")
        mask.save(file.parent / "masks" / (file.stem + ".png"))

    scene = ns.train(stamped, scene_folder, ns.TrainConfig(time=seconds, quality="1min"), overwrite=True)
    masked = sum(view.mask is not None for view in scene.views)
    print(f"{masked} of {len(scene.views)} photos have a mask; {scene.figures.psnr:.1f} dB around the stamp")


if __name__ == "__main__":
    tyro.cli(main)
