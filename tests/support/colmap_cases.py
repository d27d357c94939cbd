"""COLMAP models with known truth, written by pycolmap as COLMAP 4 does, and what programs do to them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

WIDTH, HEIGHT = 64, 48
PARAMS = [60.0, 61.0, 32.0, 24.0, 0.01, -0.02, 0.001, -0.002]  # OPENCV


def synthetic(rigs: int = 1, cameras: int = 1, frames: int = 5, points: int = 100) -> pycolmap.Reconstruction:
    """A model of ``rigs`` rigs with ``cameras`` cameras each, that take ``frames`` photos each, all exact."""
    pycolmap.set_random_seed(3)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = rigs, cameras, frames
    options.num_points3D = points
    options.camera_width, options.camera_height = WIDTH, HEIGHT
    options.camera_model_id = pycolmap.CameraModelId.OPENCV
    options.camera_params = PARAMS
    options.sensor_from_rig_rotation_stddev, options.sensor_from_rig_translation_stddev = 5.0, 0.1
    return pycolmap.synthesize_dataset(options)


def write_photo(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 100, 110)).save(path)


def write_model(folder: Path, model: pycolmap.Reconstruction, text: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_text if text else model.write_binary)(str(folder))
    return folder


def write_colmap(
    root: Path, place: str, model: pycolmap.Reconstruction, text: bool = False, images: str | Path = "images"
) -> Path:
    """A capture: the model in ``place``, and its photos in ``images``."""
    for image in model.images.values():
        write_photo(root / images / image.name)
    return write_model(root / place, model, text)


def moved(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The same model in another world, as a program aligns it: poses and points fit each other as before."""
    other = pycolmap.Reconstruction(model)
    turn = np.array([0.1, 0.2, 0.3, 0.9])
    turn /= np.linalg.norm(turn)
    other.transform(pycolmap.Sim3d(1.5, pycolmap.Rotation3d(turn), np.array([1.0, 2.0, 3.0])))
    return other


def overwrite(folder: Path, model: pycolmap.Reconstruction, text: bool, *parts: str) -> None:
    """Replaces some of a model's files, as a program that only knows these does."""
    other = write_model(folder.parent / "written by another program", model, text)
    for part in parts:
        name = f"{part}.{'txt' if text else 'bin'}"
        shutil.copy(other / name, folder / name)
    shutil.rmtree(other)


def without_frames(folder: Path) -> Path:
    """Makes a folder of COLMAP 4 one of COLMAP 3, which knows no rigs and frames."""
    for path in [*folder.glob("rigs.*"), *folder.glob("frames.*")]:
        path.unlink()
    return folder


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    """Replaces a string in a text file, where it must be."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
