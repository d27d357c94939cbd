"""A picture from any camera, as numpy arrays.

``ns.render`` takes any camera, a lens and a 4×4 matrix, and returns its picture: colours between 0 and 1, how
far away each pixel's surface is, and how solid it is. Run example 01 first.
"""

from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    picture: Path = Path("out/03_picture.png"),
    width: int = 640,
    height: int = 360,
) -> None:
    scene = ns.load(scene_folder)
    one, next_one = (view.world_from_cam for view in scene.views[:2])
    pose = one.copy()  # its columns: right, down, forward and the position, all in the world
    pose[:3, 3] = (one[:3, 3] + next_one[:3, 3]) / 2  # halfway between two photos
    lens = ns.Intrinsics(width, height, fx=0.8 * width, fy=0.8 * width, cx=width / 2, cy=height / 2)

    renderer = scene.renderer()  # one renderer serves any number of pictures
    frame = ns.render(renderer, ns.Camera(lens, pose))
    print(f"rgb {frame.rgb.shape}, depth {frame.depth.shape}, {frame.rgb.dtype}")
    print(f"in the middle: {frame.depth[height // 2, width // 2]:.2f} units away")

    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * frame.rgb.clip(0, 1) + 0.5).astype(np.uint8)).save(picture)
    print(f"{picture}: {width}×{height}")


if __name__ == "__main__":
    tyro.cli(main)
