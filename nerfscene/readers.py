"""Captures that come with cameras → PosedCapture: COLMAP models and NeRF-synthetic folders.

``find_posed`` recognises them; ``transforms.json`` itself is read in transforms.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from nerfscene.capture import find_photos, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.listing import Listed, finish, locate, with_masks
from nerfscene.poses import read_model
from nerfscene.sparse import SparseModel
from nerfscene.transforms import read_synthetic, read_transforms
from nerfscene.types import PosedCapture

MODEL_PLACES = ("sparse", "colmap/sparse", ".")


def find_posed(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> PosedCapture | None:
    """The capture with its cameras if ``path`` is one of a kind we know, else None.

    Known are: a ``transforms.json`` (instant-ngp, nerfstudio) or a folder that holds one; a folder
    with ``transforms_train.json`` (NeRF-synthetic), or that file; a COLMAP model folder, or a
    folder that holds one in ``sparse/0``, ``sparse`` or ``colmap/sparse/0``. The first of these
    wins. ``images`` is where a COLMAP model's photos are, if not in ``images`` beside it.
    Raises NerfsceneError when it is of such a kind but cannot be used.
    """
    root = Path(path).expanduser()
    if root.is_file():
        if root.suffix.lower() != ".json":
            return None
        synthetic = root.name in ("transforms_train.json", "transforms_test.json")
        return read_synthetic(root.parent) if synthetic else read_transforms(root)
    if (root / "transforms.json").is_file():
        return read_transforms(root / "transforms.json")
    if (root / "transforms_train.json").is_file():
        return read_synthetic(root)
    if find_models(root):
        return read_colmap(root, None if images is None else Path(images))
    return None


def find_models(root: Path) -> list[Path]:
    """COLMAP model folders of a capture, from the first of the usual places that has any."""
    for place in MODEL_PLACES:
        base = root / place
        if not base.is_dir():
            continue
        numbered = [p for p in base.iterdir() if p.is_dir() and p.name.isdigit()]
        numbered.sort(key=lambda p: natural_key(p.name))
        found = [p for p in [*numbered, base] if _is_model(p)]
        if found:
            return found
    return []


def read_colmap(root: Path, images: Path | None = None) -> PosedCapture:
    """A COLMAP sparse model, text or binary, and its photos; the model with most images wins.

    ``root`` is the capture's folder or the model's own. Images without a pose are left out, and
    listed images that aren't on disk with one warning that counts them.
    Raises NerfsceneError when there is no readable model, or its photos aren't found or don't fit.
    """
    folders = find_models(root)
    if not folders:
        raise NerfsceneError(f"{root} holds no COLMAP model: give the folder that has sparse/0.")
    models = [(folder, read_model(folder)) for folder in folders]
    folder, model = max(models, key=lambda item: len(item[1].names))
    if not model.names:
        raise NerfsceneError(f"{folder} holds a COLMAP model with no posed images: run it again.")
    photos = images or _photo_folder(root, folder, model)
    order = sorted(range(len(model.names)), key=lambda i: natural_key(model.names[i]))
    listed = [
        Listed(
            model.names[i],
            locate(photos, model.names[i]),
            model.intrinsics[i],
            model.world_from_cam[i],
        )
        for i in order
    ]
    listed = with_masks(photos, with_masks(root, listed))
    warnings: tuple[str, ...] = ()
    if len(models) > 1:
        warnings = (
            f"{root} holds {len(models)} COLMAP models that don't connect: took the largest, "
            f"{folder.name}, with {len(model.names)} images.",
        )
    return finish(
        folder,
        root,
        "colmap",
        listed,
        warnings=warnings,
        photos_given=len(find_photos(photos)),
        points=model.points,
        point_colors=model.point_colors,
        reprojection_error=model.reprojection_error,
    )


def _is_model(folder: Path) -> bool:
    return any(
        all((folder / f"{part}{suffix}").is_file() for part in ("cameras", "images", "points3D"))
        for suffix in (".bin", ".txt")
    )


def _photo_folder(root: Path, folder: Path, model: SparseModel) -> Path:
    """Where most of the model's photos are: ``images`` at or above the model, or just there."""
    bases = list(dict.fromkeys([root, folder, *folder.parents[:3]]))
    places = [place for base in bases for place in (base / "images", base)]
    counts = [sum(locate(p, name) is not None for name in model.names) for p in places]
    best = max(range(len(places)), key=lambda i: counts[i])  # the first of equals
    if counts[best] == 0:
        raise NerfsceneError(
            f"none of the {len(model.names)} photos that the COLMAP model {folder} lists (such as "
            f"{model.names[0]}) is there: put them into {root / 'images'}."
        )
    return places[best]
