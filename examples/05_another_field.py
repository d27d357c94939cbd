"""Another radiance field.

The field is a grid of features and small networks, and ``ns.FieldConfig`` sets their sizes. This example
trains the default field, and then one like instant-ngp's: more levels, and a network for colour. Both train
for the same time. The photos are posed once: ``overwrite`` starts the training anew and keeps the cameras.
"""

from pathlib import Path

import tyro

import nerfscene as ns


def main(
    photos: Path = Path("data/demo/images"),
    scene_folder: Path = Path("out/05_scene"),
    seconds: float = 30,
) -> None:
    fields = {
        "default": ns.FieldConfig(),
        "like instant-ngp": ns.FieldConfig(levels=8, features=4, hidden=64, color="network"),
    }
    for name, field in fields.items():
        config = ns.TrainConfig(time=seconds, quality="1min")
        figures = ns.train(photos, scene_folder, config, field, overwrite=True).figures
        parameters = ns.info(scene_folder)["parameters"]
        print(f"{name}: {parameters / 1e6:.1f} million parameters, {figures.steps} steps")
        print(f"  {figures}")


if __name__ == "__main__":
    tyro.cli(main)
