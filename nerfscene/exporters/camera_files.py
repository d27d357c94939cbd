"""Writes a scene's cameras for other programs: transforms.json and COLMAP's models, with or without photos.

    OUT/transforms.json            nerfstudio, Brush, instant-ngp
    OUT/sparse_pc.ply              its points
    OUT/sparse/0/cameras.bin …     COLMAP, gsplat, Brush, the first 3D Gaussian splatting
    OUT/images, OUT/masks          photos without distortion (on demand), masks (if there are any)
    OUT/README.txt                 what is what

Or a single transforms.json, with what belongs to it in a folder beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.capture.photos import worker_count
from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.colmap_files import model_of, write_binary, write_text
from nerfscene.exporters.folders import filling
from nerfscene.exporters.placement import placed
from nerfscene.exporters.ply_file import write_ply
from nerfscene.exporters.shots import Shot, shots_shown, shots_stored
from nerfscene.exporters.sparse_points import SparsePoints, sparse_points
from nerfscene.exporters.told import Told
from nerfscene.exporters.transforms_file import transforms_of
from nerfscene.exporters.undistorted import (
    kept_share,
    undistorting,
    without_distortion,
    write_mask,
    write_photo,
)
from nerfscene.scene.atomic import remove_leftovers, telling, writing
from nerfscene.scene.scene import Scene
from nerfscene.types import Intrinsics

README, FIRST_LINE = "README.txt", "Cameras written by nerfscene"
TRANSFORMS, POINTS = "transforms.json", "sparse_pc.ply"
IMAGES, MASKS, MODEL = "images", "masks", "sparse/0"
LISTS = {"train": "train", "test": "test", "val": "test"}  # nerfstudio's, for COLMAP's models: whose names
# What an export of cameras has in its folder.
OWN = (README, TRANSFORMS, POINTS, IMAGES, MASKS, "sparse", *(f"{name}_list.txt" for name in LISTS))
NO_FOLDERS = (".txt", ".bin", ".csv", ".xml", ".zip", ".ply", ".db", ".nvm", ".out", ".abc", ".fbx", ".jsonl")
MOST_AT_ONCE = 4  # photos, as one of 12 megapixels takes about half a gigabyte
MUCH_LOST = 0.85  # of a photo's area: if less is left without distortion, that is worth a warning


@dataclass(frozen=True)
class _Written:
    """What is written: shots as they are told, the photos' folder, and the points."""

    shots: list[Shot]
    images: Path | None  # where the photos lie if they aren't written
    masked: bool
    points: SparsePoints


def write_cameras(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
    """Writes the cameras of all photos, and the sparse points, to a .json or into a folder.

    The world is ``placed`` in: +z is up unless the capture's own coordinates are asked for. transforms.json
    has cameras that look along -z with y up, COLMAP's models cameras that look along +z with y down. Cameras
    are those of the photos at full size, as stored; with ``config.photos``, of pictures without distortion.
    Views cut from panoramas are written as the perspective photos that they are, in COLMAP as rigs.
    Raises NerfsceneError if a photo is needed and can't be read, or ``file`` can't be written.
    """
    single = file.suffix.lower() == ".json"
    _check_target(scene, file, single, config)
    world = placed(scene, config.world)
    shots, images = (shots_shown(world, told), None) if config.photos else shots_stored(world, told)
    pinholes = _pinholes(shots) if config.photos else None
    final = _undistorted(shots, pinholes, told) if pinholes is not None else shots
    masked = any(shot.view.mask is not None for shot in shots)
    points = sparse_points(world, final, world.photo_renderer(config.backend, config.threads), told)
    if not len(world.points):
        told.warn(
            "the scene has no sparse points, with which some programs begin (gsplat, splatfacto): "
            "--to points writes a point cloud in the same world"
        )
    written = _Written(final, images, masked, points)
    folder = file.with_name(f"{file.stem}_files") if single else file
    remove_leftovers(file.parent, file.name)
    with telling(folder):
        if single and not (pinholes or masked or len(points.positions)):
            folder = file.parent
            with writing(file) as temporary:
                temporary.write_text(_json(world, written, config, "", folder, told), encoding="utf-8")
        else:
            with filling(folder, OWN) as partial:
                _write_pictures(shots, pinholes, masked, scene.has_alpha, partial, told)
                _write_files(world, written, config, partial, folder, single, told)
                if single:
                    with writing(file) as temporary:
                        text = _json(world, written, config, f"{folder.name}/", file.parent, told)
                        temporary.write_text(text, encoding="utf-8")
    told.progress("writing cameras", 1.0)
    return _result(written, config, single)


def _check_target(scene: Scene, file: Path, single: bool, config: ExportConfig) -> None:
    """Raises NerfsceneError for a file that isn't ours to replace, or settings that contradict its ending."""
    if single and config.cameras not in ("both", "transforms"):
        raise NerfsceneError(f"{file} can hold a transforms.json only; give a folder for COLMAP's files")
    if file.suffix.lower() in NO_FOLDERS and not file.is_dir():
        raise NerfsceneError(f"{file} must end in .json, or be a folder, to hold cameras")
    folder = file.with_name(f"{file.stem}_files") if single else file
    usual = file.name.lower().startswith("transforms")  # as captures' own are named
    if single and usual and file.exists() and not folder.exists() and _holds_photos(file.parent, scene):
        raise NerfsceneError(
            f"{file} is there already, beside the photos, and may be where their cameras came from; give "
            "another name or folder"
        )
    if folder.is_dir():
        inside = {name for name in os.listdir(folder) if not name.startswith(".")}  # as .DS_Store
        try:
            first = (folder / README).read_text(encoding="utf-8").splitlines()[:1]
        except (OSError, ValueError):
            first = []
        if inside and (first != [FIRST_LINE] or inside - set(OWN)):
            raise NerfsceneError(
                f"{folder} is there already and holds other things than an export of cameras; give another"
            )
    elif folder.exists():
        raise NerfsceneError(f"{folder} is a file; give another name")


def _holds_photos(folder: Path, scene: Scene) -> bool:
    """Whether the scene's photos lie in a folder or below it."""
    above = Path(os.path.realpath(folder))
    return any(above in Path(os.path.realpath(view.path)).parents for view in scene.views)


def _pinholes(shots: Sequence[Shot]) -> list[Intrinsics]:
    """The lens of each shot's picture as it is written without distortion."""
    plain = {lens: undistorting(shot) for lens, shot in {shot.lens: shot for shot in shots}.items()}
    return [plain[shot.lens] for shot in shots]


def _undistorted(shots: Sequence[Shot], pinholes: Sequence[Intrinsics], told: Told) -> list[Shot]:
    pairs = dict(zip((shot.lens for shot in shots), pinholes, strict=True))
    least = min(kept_share(lens, pinhole) for lens, pinhole in pairs.items())
    if least < MUCH_LOST:
        told.warn(
            f"without distortion, {least:.0%} of a photo is left, its middle: the rest of so wide a lens "
            "does not fit a plain picture"
        )
    return [without_distortion(shot, k) for shot, k in zip(shots, pinholes, strict=True)]


def _write_pictures(
    shots: Sequence[Shot],
    pinholes: Sequence[Intrinsics] | None,
    masked: bool,
    alpha: bool,
    folder: Path,
    told: Told,
) -> None:
    """Writes photos and masks, several at once. If one photo has a mask, all get one, for nerfstudio."""

    if pinholes is None and not masked:
        return

    def write(i: int) -> None:
        shot, pinhole = shots[i], None if pinholes is None else pinholes[i]
        if pinhole is not None:
            write_photo(shot, pinhole, folder / IMAGES / shot.name, alpha)
        if masked:
            write_mask(shot, pinhole, folder / MASKS / f"{shot.name}.png")

    with ThreadPoolExecutor(min(worker_count(), MOST_AT_ONCE)) as pool:
        jobs = [pool.submit(write, i) for i in range(len(shots))]
        try:
            for i, job in enumerate(jobs):
                told.progress("writing photos" if pinholes else "writing masks", i / len(jobs))
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_files(
    scene: Scene,
    written: _Written,
    config: ExportConfig,
    partial: Path,
    folder: Path,
    single: bool,
    told: Told,
) -> None:
    """Writes all but pictures into ``partial``, which will be ``folder``."""
    points = written.points
    if len(points.positions) and (single or config.cameras in ("both", "transforms")):
        write_ply(partial / POINTS, points.positions, points.colours)
    if not single and config.cameras in ("both", "transforms"):
        text = _json(scene, written, config, "", folder, told)
        (partial / TRANSFORMS).write_text(text, encoding="utf-8")
    if not single and config.cameras != "transforms":
        told.progress("writing COLMAP's model", 0.5)
        (partial / MODEL).mkdir(parents=True)
        text_form = config.cameras == "colmap-text"
        (write_text if text_form else write_binary)(model_of(written.shots, points), partial / MODEL)
        if text_form and any(" " in shot.name for shot in written.shots):
            told.warn(
                "some photos have a space in their names, at which some readers of COLMAP's text files cut "
                "them: --cameras colmap writes the binary files"
            )
        _write_lists(written.shots, partial)
    (partial / README).write_text(_readme(written, config, single), encoding="utf-8")


def _write_lists(shots: Sequence[Shot], folder: Path) -> None:
    """The split, which COLMAP's format lacks: nerfstudio's lists, and the first 3D Gaussian splatting's."""
    names = {split: [s.name for s in shots if s.view.split == split] for split in ("train", "test")}
    if all(names.values()):
        for name, split in LISTS.items():
            (folder / f"{name}_list.txt").write_text("\n".join(names[split]) + "\n", encoding="utf-8")
        (folder / MODEL / "test.txt").write_text("\n".join(names["test"]) + "\n", encoding="utf-8")


def _json(scene: Scene, written: _Written, config: ExportConfig, prefix: str, home: Path, told: Told) -> str:
    """transforms.json. prefix: of what was written, from ``home``, the folder where it will lie."""
    if written.images is None:
        files = [f"{prefix}{IMAGES}/{shot.name}" for shot in written.shots]
    else:
        files = [_path_from(home, shot.view.path) for shot in written.shots]
    masks = [f"{prefix}{MASKS}/{shot.name}.png" for shot in written.shots] if written.masked else None
    points = f"{prefix}{POINTS}" if len(written.points.positions) else None
    data = transforms_of(written.shots, files, masks, points, told, config.world == "upright", _reach(scene))
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _reach(scene: Scene) -> float:
    """The largest coordinate of the subject's box, or, where the scene goes on beyond it, many times that."""
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), -1).reshape(-1, 3)
    m = np.linalg.inv(scene.scene_from_world)
    reach = float(np.abs(corners @ m[:3, :3].T + m[:3, 3]).max())
    return reach * (16 if scene.field.space.unbounded else 1)


def _path_from(home: Path, photo: Path) -> str:
    """A photo's path in a file in ``home``: from there if it lies within, so that both can be moved."""
    path, root = Path(os.path.abspath(photo)), Path(os.path.abspath(home))
    return (path.relative_to(root) if root in path.parents else path).as_posix()


def _readme(written: _Written, config: ExportConfig, single: bool) -> str:
    """What is in the folder, for people."""
    up = "+z is up" if config.world == "upright" else "the world is that of the cameras as they came"
    lines = [FIRST_LINE, "", f"{len(written.shots)} cameras; {up}."]
    if not single and config.cameras in ("both", "transforms"):
        lines.append("transforms.json: cameras look along -z, with y up (nerfstudio, Brush, instant-ngp).")
    if not single and config.cameras != "transforms":
        lines.append("sparse/0: COLMAP's model, with rigs and frames; cameras look along +z, with y down.")
    if written.images is None:
        lines.append("images: the photos without lens distortion, upright, in sRGB.")
    else:
        lines.append(f"The photos lie in {written.images}; the cameras are those of their pixels as stored.")
    if written.masked:
        lines.append("masks: black where a photo is to be ignored.")
    return "\n".join(lines) + "\n"


def _result(written: _Written, config: ExportConfig, single: bool) -> dict[str, Any]:
    shots = written.shots
    return {
        "format": "transforms" if single else config.cameras,
        "cameras": len(shots),
        "held_out": sum(shot.view.split == "test" for shot in shots),
        "photos": len(shots) if written.images is None else 0,
        "photos_in": IMAGES if written.images is None else str(written.images),
        "masks": len(shots) if written.masked else 0,
        "points": len(written.points.positions),
        "from_panoramas": sum(shot.view.panorama is not None for shot in shots),
    }
