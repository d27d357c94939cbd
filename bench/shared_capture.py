"""Writes a capture for comparing programs: photos at the size that is compared, and a transforms.json.

nerfstudio and nerfscene both read it, so they get the same pixels, cameras, lenses and held-out views.

    python -m bench.shared_capture PHOTOS FOLDER --downscale 4
    python -m bench.shared_capture data/demo FOLDER --drifts     # with defects of phone captures
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from bench.ablations import drifting, jittered
from nerfscene.capture.photos import read_pixels
from nerfscene.config import FootageConfig, PoseConfig
from nerfscene.formats.transforms import OPENGL_FROM_OPENCV
from nerfscene.intake import open_posed
from nerfscene.training.dataset import resized, split_views
from nerfscene.types import PosedCapture

HOLDOUT = 8
BLURRED, BLUR = 7, 1.5  # every 7th photo is blurred by this many pixels; held-out ones stay sharp


def with_drifts(posed: PosedCapture, folder: Path) -> PosedCapture:
    """The capture with cameras slightly off, drifting exposures, and some photos out of focus."""
    drifted = drifting(jittered(posed, HOLDOUT), folder)
    views = []
    for i, view in enumerate(drifted.views):
        if i % HOLDOUT and i % BLURRED == 3:
            path = view.path.with_name(f"soft-{view.path.name}")
            with Image.open(view.path) as photo:
                photo.filter(ImageFilter.GaussianBlur(BLUR)).save(path)
            view = replace(view, path=path)
        views.append(view)
    return replace(drifted, views=tuple(views))


def write(posed: PosedCapture, folder: Path, downscale: float) -> None:
    """Writes a posed capture's photos (PNG) and transforms.json; every 8th view by name is held out."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    names: dict[str, list[str]] = {"train": [], "test": []}
    for i, view in enumerate(resized(split_views(posed, HOLDOUT), downscale)):
        k = view.intrinsics
        if k.lens != "perspective":
            raise SystemExit(f"{view.path} has a fisheye lens; only perspective lenses are compared")
        name = f"images/{i:04}.png"
        Image.fromarray(read_pixels(view.path, k.width, k.height)).save(folder / name)
        lens = dict(zip(("k1", "k2", "p1", "p2", "k3"), k.distortion, strict=True))
        frames.append(
            {
                "file_path": name,
                "w": k.width, "h": k.height, "fl_x": k.fx, "fl_y": k.fy, "cx": k.cx, "cy": k.cy,
                **lens,
                "transform_matrix": np.asarray(view.world_from_cam @ OPENGL_FROM_OPENCV).tolist(),
            }
        )  # fmt: skip
        names[view.split].append(name)
    content = {
        "camera_model": "OPENCV",
        "train_filenames": names["train"],
        "val_filenames": names["test"],
        "test_filenames": names["test"],
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content, indent=1))


def main() -> None:
    """Reads a capture, poses it if it has no cameras, and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--downscale", type=float, default=1.0)
    parser.add_argument("--drifts", action="store_true", help="worse poses, drifting exposures, blur")
    asked = parser.parse_args()
    told = lambda stage, done: None  # noqa: E731
    posed = open_posed(asked.source, asked.folder / "poses", PoseConfig(), FootageConfig(), told, "read")
    with tempfile.TemporaryDirectory() as temporary:
        if asked.drifts:
            posed = with_drifts(posed, Path(temporary))
        write(posed, asked.folder, asked.downscale)
    print(f"{len(posed.views)} of {posed.photos_given} photos, {posed.source}, in {asked.folder}")


if __name__ == "__main__":
    main()
