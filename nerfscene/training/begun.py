"""The capture that a training was begun with, kept beside its arrays so that resuming uses the same one.

Poses that are found again, because ``poses/`` was deleted, are never quite the same: COLMAP's threads add up
in any order, and its world's origin, directions and scale are arbitrary. A field trained further with them
would be shifted against its cameras. So cameras, lenses and points are saved, exactly.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from nerfscene.cameras.algebra import Placement, pose_in_scene
from nerfscene.capture.folder import name_some
from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.training.saved_arrays import check_views, damaged, lens_of, seen_points
from nerfscene.types import Array, Intrinsics, PosedCapture, View

VIEWS = "views"  # the note in training.safetensors
CAMERAS, POINTS, SEEN, COUNTS = "begun_cameras", "begun_points", "begun_seen", "begun_seen_counts"
FEWEST_FOUND = 0.5  # fraction of the photos that must be among those given; with fewer, others were given
APART = 2e-3  # scene units, most by which the cameras of a scene that kept none may differ: a pixel or so


def begun_notes(posed: PosedCapture) -> dict[str, str]:
    """What ``scene.folder.save`` takes as notes: the photos and lenses of the capture, as JSON."""
    names = _names(posed)
    views = [
        {
            "name": name,
            "path": os.path.abspath(view.path),
            "mask": None if view.mask is None else os.path.abspath(view.mask),
            "mask_turns": view.mask_turns,
            "panorama": None if view.panorama is None else os.path.abspath(view.panorama),
            "face": view.face,
            "split": view.split,
            "intrinsics": asdict(view.intrinsics),
        }
        for name, view in zip(names, posed.views, strict=True)
    ]
    return {VIEWS: json.dumps(views)}


def begun_arrays(posed: PosedCapture) -> dict[str, NDArray[Any]]:
    """What is saved with the training's arrays: the cameras' poses, and the points with who sees them."""
    return {
        CAMERAS: np.stack([view.world_from_cam for view in posed.views]),
        POINTS: np.asarray(posed.points, np.float64).reshape(-1, 3),
        SEEN: np.concatenate([view.seen for view in posed.views]).astype(np.int64),
        COUNTS: np.array([len(view.seen) for view in posed.views], np.int64),
    }


def as_begun(posed: PosedCapture, folder: Path) -> PosedCapture:
    """The capture with the cameras, lenses and points that the training in ``folder`` was begun with.

    A warning says so if those of ``posed`` differ, or if it has other photos. Scenes that kept none, of
    older versions, are left to ``refuse_moved``.
    Raises NerfsceneError if photos that were trained on are missing or have another size.
    """
    saved = _read(folder)
    if saved is None:
        return posed
    entries, cameras, points, seen = saved
    views = _same_photos(posed, entries, folder)
    used = [view for view in views if view is not None]
    if len(used) < max(FEWEST_FOUND * len(entries), 1):
        raise NerfsceneError(
            f"{folder} was trained on other photos ({name_some([e['name'] for e in entries])}), so its "
            "training can't continue with these; give the same photos, or choose another folder with -o"
        )
    out = []
    for view, entry, camera, points_seen in zip(views, entries, cameras, seen, strict=True):
        intrinsics = lens_of(entry)
        base = view or _from_entry(entry, intrinsics, camera, folder)
        size = (base.intrinsics.width, base.intrinsics.height)
        if size != (intrinsics.width, intrinsics.height):
            raise NerfsceneError(
                f"{base.path} has another size than when {folder} was trained on it; give the same photos, "
                "or start again with --overwrite"
            )
        out.append(
            replace(
                base, intrinsics=intrinsics, world_from_cam=camera, seen=points_seen, split=entry["split"]
            )
        )
    unused = len(posed.views) - len(used)
    if not unused and all(map(_same_camera, out, views)) and np.array_equal(points, posed.points):
        return replace(posed, views=tuple(out))
    return replace(
        posed, views=tuple(out), points=points, warnings=(*posed.warnings, _difference(unused, len(out)))
    )


def _difference(unused: int, count: int) -> str:
    """The warning about cameras that are not those found now; ``unused``: views that are new."""
    more = f", and {unused} views that it didn't have are not used" if unused else ""
    return (
        "the cameras found now are not exactly those that the training was begun with: it goes on with its "
        f"own {count}{more}; --overwrite starts again with the new ones"
    )


def refuse_moved(placement: Placement, posed: PosedCapture, saved: Scene, folder: Path) -> None:
    """Raises NerfsceneError if the capture isn't placed in the field as when the scene was trained."""
    world_from_capture = np.eye(4) if saved.world_from_capture is None else saved.world_from_capture
    before = saved.scene_from_world @ world_from_capture
    apart = [
        np.linalg.norm(
            pose_in_scene(before, pose)[:3, 3] - pose_in_scene(placement.scene_from_world, pose)[:3, 3]
        )
        for pose in (view.world_from_cam for view in posed.views)
    ]
    if max(apart) > APART:
        raise NerfsceneError(
            f"the cameras are not those that {folder} was trained with (its poses were found again, or "
            "others were given), so its training can't continue with them; start again with --overwrite"
        )


def _names(posed: PosedCapture) -> list[str]:
    """Each photo's path below the capture's folder, which is the same after the capture was moved."""
    root = posed.root if posed.root.is_dir() else posed.root.parent
    return [Path(os.path.relpath(view.path, root)).as_posix() for view in posed.views]


def _same_photos(posed: PosedCapture, entries: Sequence[dict[str, Any]], folder: Path) -> list[View | None]:
    """For each saved entry the capture's view of the same photo, by its name below the root or, if only one
    photo is called so, by its file name; None: it has none.
    """
    by_name = dict(zip(_names(posed), posed.views, strict=True))
    files = Counter(view.path.name for view in posed.views)
    by_file = {view.path.name: view for view in posed.views if files[view.path.name] == 1}
    return [by_name.get(e["name"]) or by_file.get(Path(e["name"]).name) for e in entries]


def _from_entry(entry: dict[str, Any], intrinsics: Intrinsics, camera: Array, folder: Path) -> View:
    """The view of a photo that was not posed this time. Raises NerfsceneError if the photo is gone."""
    optional = {key: Path(entry[key]) if entry.get(key) else None for key in ("mask", "panorama")}
    if not Path(entry["path"]).is_file():
        raise NerfsceneError(
            f"{folder} was trained on {entry['path']}, which is not there any more, so its training can't "
            "continue; give the same photos, or start again with --overwrite"
        )
    return View(
        Path(entry["path"]),
        intrinsics,
        camera,
        mask=optional["mask"],
        mask_turns=int(entry.get("mask_turns", 0)),
        panorama=optional["panorama"],
        face=str(entry.get("face", "")),
    )


def _same_camera(ours: View, found: View | None) -> bool:
    return (
        found is not None
        and ours.intrinsics == found.intrinsics
        and np.array_equal(ours.world_from_cam, found.world_from_cam)
    )


def _read(
    folder: Path,
) -> tuple[list[dict[str, Any]], Array, Array, list[NDArray[np.int64]]] | None:
    """The saved views' entries, poses (n, 4, 4), points (p, 3), and which of them each view sees.

    None if none were saved. Raises NerfsceneError if they are damaged.
    """
    text = scenes.read_notes(folder).get(VIEWS)
    if text is None:
        return None
    try:
        entries = parsed(text)
        cameras, points, seen, counts = scenes.training_arrays(folder, (CAMERAS, POINTS, SEEN, COUNTS))
        check_views(entries, cameras)
        parts = list(seen_points(points, seen, counts, len(entries)))
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, error) from error
    return entries, cameras, points, parts
