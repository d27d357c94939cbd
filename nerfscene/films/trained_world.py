"""From the coordinates that nerfstudio or instant-ngp trained in back to the capture's.

nerfstudio turns, centres and scales a capture before it trains, and its camera paths are in these
coordinates. ``dataparser_transforms.json`` ({"transform": 3×4, "scale": s}: world → trained) undoes that. It
lies with the trained model, outputs/NAME/METHOD/DATE, while paths are written to DATA/camera_paths or, where
that can't be written, to outputs/NAME/METHOD/DATE/camera_paths (nerfstudio 1.1, ``engine/trainer.py`` and
``viewer/render_panel.py``). That "world" is the one before the ``applied_transform`` and ``applied_scale`` of
the capture's ``transforms.json``. Where a scene's cameras are that file's, these are applied again.

instant-ngp scales and moves a capture by fixed numbers or by those in its ``transforms.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films import instant_ngp_path
from nerfscene.films.path_parts import load, number, rigid
from nerfscene.formats.transforms import is_transforms
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

DATAPARSER, TRANSFORMS = "dataparser_transforms.json", "transforms.json"
CAMERA_PATHS = "camera_paths"
MOST_TRIED = 20  # .json files in a folder: more are about single photos
SMALLEST = 1e-12  # a smaller scale is a mistake
UP_TO = 3  # folders above the data in which nerfstudio's folder of outputs is looked for
# ns-process-data of before March 2023 didn't write down what it had applied to COLMAP's world.
UNWRITTEN = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Undone:
    """How a path gets to the capture's world: the similarity capture_from_file (4, 4), and its source.

    certain: whether the source was named or lies beside the path; one found elsewhere must prove to fit.
    """

    capture_from_file: Array
    source: Path
    certain: bool


def of_nerfstudio(file: Path, named: Path | None, scene: Scene | None) -> tuple[Undone | None, str]:
    """What takes a nerfstudio path to the capture's world, None if there is nothing, and a note or "".

    named: the dataparser_transforms.json that the user gave. Others are looked for beside the path, above
    its folder if that is called camera_paths, in nerfstudio's outputs for that data, and in the capture.
    Raises NerfsceneError for a file that can't be used.
    """
    beside = file.with_name(DATAPARSER)
    if named is not None or beside.is_file():
        source = beside if named is None else named
        return Undone(_world_from_trained(source, file, scene), source, True), ""
    found = _elsewhere(file, scene)
    if not found:
        return None, ""
    ways = [_world_from_trained(source, file, scene) for source in found]
    if all(np.allclose(way, ways[0], rtol=1e-4, atol=1e-6) for way in ways):
        return Undone(ways[0], found[0], False), ""
    names = " or ".join(str(source) for source in found[:3])
    return None, (
        f"{file}: nerfstudio trained on this capture in several coordinate systems, so none is undone; name "
        f"the file of the training that the path belongs to with --path-transform, such as {names}."
    )


def half_turned(undone: Undone) -> Undone:
    """The same for a path whose coordinates are turned by 180° about x from those that the file gives.

    nerfstudio (1.1.4 and 1.1.5) with the orientation pca writes such a file if the principal axes come out
    upside down.
    """
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    return replace(undone, capture_from_file=undone.capture_from_file @ turn)


def of_instant_ngp(file: Path, named: Path | None, scene: Scene | None) -> Undone:
    """What takes an instant-ngp path to the world of the transforms.json that it trained on.

    named: that file, else the one beside the path or in the scene's capture is taken, else instant-ngp's
    usual numbers. Raises NerfsceneError for a file that can't be used.
    """
    source = named or _transforms_in(file.parent)
    if source is None and scene is not None:
        source = _capture_file(file, scene)
    values: dict[str, Any] = {}
    if source is not None:
        values = load(source, f"give the {TRANSFORMS} that instant-ngp trained on")
        if "transform" in values and "frames" not in values:
            raise NerfsceneError(
                f"{source} is nerfstudio's {DATAPARSER}, but {file} is a path of instant-ngp; give the "
                f"{TRANSFORMS} that it trained on"
            )
    own_from_world = instant_ngp_path.own_from_world(values, str(source))
    capture_from_file = np.asarray(np.linalg.inv(own_from_world), np.float64)
    return Undone(capture_from_file, source or file, source is not None)


def _elsewhere(file: Path, scene: Scene | None) -> list[Path]:
    """Every dataparser_transforms.json in the places where nerfstudio or its user leaves it, newest first."""
    folder = file.resolve().parent
    datas = [folder.parent] if folder.name == CAMERA_PATHS else []
    if scene is not None and (capture := _capture_file(file, scene)) is not None:
        datas.append(capture.parent.resolve())
    found = []
    for data in dict.fromkeys(datas):
        found.append(data / DATAPARSER)
        for root in (data, *list(data.parents)[:UP_TO]):
            outputs = root / "outputs" / data.name
            found += sorted(outputs.glob(f"*/*/{DATAPARSER}"), reverse=True)  # METHOD/DATE
    return [source for source in dict.fromkeys(found) if source.is_file()]


def _capture_file(file: Path, scene: Scene | None) -> Path | None:
    """The transforms.json whose frames are in the capture's world; None if there is none.

    It is looked for in the folders of the scene's photos, beside the path, and above its folder camera_paths.
    """
    near = [file.parent, *([file.parent.parent] if file.parent.name == CAMERA_PATHS else [])]
    if scene is not None:
        if scene.figures.source not in ("transforms", "synthetic"):
            return None  # its cameras are COLMAP's own or another program's: nothing was applied to them
        near = [*list(scene.views[0].path.parents)[:UP_TO], *near]
    return next((found for folder in near if (found := _transforms_in(folder)) is not None), None)


def _transforms_in(folder: Path) -> Path | None:
    """The folder's transforms.json, or a file of that kind by another name if it is the only one."""
    for name in (TRANSFORMS, "transforms_train.json"):
        if (folder / name).is_file():
            return folder / name
    others = sorted(folder.glob("*.json"))
    found = [path for path in others if is_transforms(path)] if len(others) <= MOST_TRIED else []
    return found[0] if len(found) == 1 else None


def _similarity(data: dict[str, Any], names: tuple[str, str], file: Path) -> tuple[Array, float]:
    """A rigid transform (4, 4) and a scale from a file; each is the identity if the file lacks it."""
    where = f"{file}: its {names[0]}"
    try:
        m = np.asarray(data.get(names[0], np.eye(4)[:3]), np.float64)
    except (TypeError, ValueError, OverflowError):
        m = np.zeros(0)
    scale = number(data.get(names[1], 1.0))
    if m.shape not in ((3, 4), (4, 4)) or not np.isfinite(m).all() or scale is None or scale < SMALLEST:
        raise NerfsceneError(
            f"{where} or {names[1]} is not nerfstudio's 3×4 numbers and a scale above 0; remove the "
            "file, or export it again"
        )
    return rigid(m[:3], where, any_scale=False), scale


def _world_from_trained(source: Path, file: Path, scene: Scene | None) -> Array:
    """The similarity (4, 4) from nerfstudio's trained coordinates to the capture's world."""
    data = load(source, f"give nerfstudio's {DATAPARSER}")
    if "transform" not in data:
        raise NerfsceneError(f"{source} has no transform; give nerfstudio's {DATAPARSER}")
    transform, scale = _similarity(data, ("transform", "scale"), source)
    capture = _capture_file(file, scene)
    if capture is not None:
        values = load(capture, "remove it")
        applied, applied_scale = _similarity(values, ("applied_transform", "applied_scale"), capture)
        # nerfstudio multiplies the matrices of both, and separately the scales, so the file holds
        # T @ applied and s · applied_scale; here its own T and s are recovered.
        own, scale = transform @ np.linalg.inv(applied), scale / applied_scale
        if "applied_transform" not in values and (capture.parent / "colmap/sparse/0").exists():
            own = _centring([own, transform @ np.linalg.inv(UNWRITTEN)], values.get("frames"))
        transform = own
    world_from_trained = np.asarray(np.linalg.inv(transform), np.float64)
    world_from_trained[:3, :3] /= scale
    return world_from_trained


def _centring(transforms: Sequence[Array], frames: Any) -> Array:
    """The transform that moves the frames' middle nearest to 0, as nerfstudio does; else the first."""
    try:
        places = np.array([np.array(f["transform_matrix"], np.float64)[:3, 3] for f in frames])
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        return transforms[0]
    if not (len(places) and np.isfinite(places).all()):
        return transforms[0]
    return min(transforms, key=lambda t: float(np.linalg.norm(t[:3, :3] @ places.mean(0) + t[:3, 3])))
