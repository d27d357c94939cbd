"""Photos to film.

A folder of photos becomes a 3D scene, and the scene becomes a film. ``ns.train`` finds where each photo was
taken, fits the scene for as long as you allow, and measures it on photos that it kept aside. A scene is a
folder: several of the other examples open the one that is made here.
"""

from pathlib import Path

import tyro

import nerfscene as ns


def main(
    photos: Path = Path("data/demo/images"),
    scene_folder: Path = Path("out/example-scene"),
    film: Path = Path("out/01_film.mp4"),
    seconds: float = 60,
    film_seconds: float = 2,
) -> None:
    scene = ns.train(photos, scene_folder, ns.TrainConfig(time=seconds, quality="1min"), warn=print)
    figures = scene.figures
    print(f"{figures.photos_posed} of {figures.photos} photos posed")
    print(figures)  # how close the scene comes to photos kept aside

    width = scene.views[0].intrinsics.width
    made = ns.film(scene, film, ns.RenderConfig(path="orbit", seconds=film_seconds, fps=24, width=width))
    print(f"{made['film']}: {made['frames']} frames of {made['width']}×{made['height']}")


if __name__ == "__main__":
    tyro.cli(main)
