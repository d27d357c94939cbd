"""Gives a model's points the colours that the photos show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture.folder import worker_count

Seen = tuple[NDArray[np.int64], NDArray[np.uint8]]


def colour(model: pycolmap.Reconstruction, images: Path) -> None:
    """Sets the colour of each point to the mean of those at its observations in the copies in ``images``."""
    keys = sorted(model.point3D_ids())
    row = np.full(max(keys, default=0) + 1, -1)
    row[keys] = np.arange(len(keys))

    def read(key: int) -> Seen:
        image = model.image(key)
        observed = image.get_observation_points2D()
        at = np.array([point.xy for point in observed]).reshape(-1, 2).astype(int)
        points = np.array([point.point3D_id for point in observed], np.int64)
        with Image.open(images / image.name) as copy:
            pixels = np.asarray(copy.convert("RGB"))
        high = pixels.shape[0] - 1, pixels.shape[1] - 1
        return row[points], pixels[at[:, 1].clip(0, high[0]), at[:, 0].clip(0, high[1])]

    sums, counts = np.zeros((len(keys), 3)), np.zeros(len(keys))
    with ThreadPoolExecutor(worker_count()) as pool:
        for points, colours in pool.map(read, sorted(model.reg_image_ids())):
            np.add.at(sums, points, colours)
            np.add.at(counts, points, 1)
    means = np.round(sums / np.maximum(counts, 1)[:, None]).astype(np.uint8)
    for key, mean in zip(keys, means, strict=True):
        model.points3D[key].color = mean
