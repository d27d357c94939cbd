"""A camera path of your own.

A path is a list of cameras, one for each frame of the film, and Python can make it. This one starts where the
first photo was taken, rises, and comes closer to what that photo shows. The path is saved as nerfstudio's
``camera_path.json``: ``ns.film`` reads the file, and so does ``nerfscene render``. Run example 01 first.
"""

from pathlib import Path

import numpy as np
import tyro

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    path_file: Path = Path("out/02_camera_path.json"),
    film: Path = Path("out/02_film.mp4"),
    frames: int = 48,
) -> None:
    scene = ns.load(scene_folder)
    view = scene.views[0]
    _, down, forward, start = view.world_from_cam[:3].T  # which way the camera's axes point, and where it is
    distance = np.median(ns.render(scene.renderer(), ns.Camera(view.intrinsics, view.world_from_cam)).depth)
    target = start + distance * forward
    cameras = []
    for t in np.linspace(0, 1, frames):
        position = start + 0.3 * t * distance * (forward - down)
        cameras.append(ns.Camera(view.intrinsics, ns.look_at(position, target, up=-down)))
    path_file.parent.mkdir(parents=True, exist_ok=True)
    ns.write_camera_path(ns.CameraPath(tuple(cameras)), path_file, fps=24)

    made = ns.film(scene, film, ns.RenderConfig(path=str(path_file)))
    print(f"{path_file} and {made['film']}: {made['frames']} frames, {made['seconds']:.1f} s")


if __name__ == "__main__":
    tyro.cli(main)
