"""Finds out which photos of one size share a lens, if they differ in zoom and have no EXIF.

Messengers strip EXIF from photos, and phones switch lenses. With one focal length for all, mapping places the
zoomed photos too close to the subject, or not at all. With a focal length for each photo, it places them all,
and the focal lengths that it estimates tell the lenses apart.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.posing.matching import guessed_focal

Model = pycolmap.Reconstruction

SAME_ZOOM = (
    1.06  # largest ratio of neighbouring focal lengths in a group; phones' lenses differ by 1.5 and more
)
TABLES = ("keypoints", "descriptors", "matches", "two_view_geometries")  # don't depend on the lenses


def lenses(database: Path) -> dict[int, pycolmap.Camera]:
    """The lens of each image, by image id."""
    with pycolmap.Database.open(database) as db:
        cameras = {camera.camera_id: camera for camera in db.read_all_cameras()}
        return {image.image_id: cameras[image.camera_id] for image in db.read_all_images()}


def set_lenses_of(database: Path, lens_of: Mapping[int, pycolmap.Camera]) -> None:
    """Gives the images of the database these lenses. Images that share a lens have cameras of one camera_id.

    The database is written anew, with the same image ids, features and matches.
    """
    cameras = {c.camera_id: c for c in lens_of.values()}
    rigs = []
    for camera in cameras.values():
        rigs.append(pycolmap.Rig(rig_id=camera.camera_id))
        rigs[-1].add_ref_sensor(camera.sensor_id)
    camera_of = {key: camera.camera_id for key, camera in lens_of.items()}
    rewrite(database, list(cameras.values()), rigs, camera_of, {key: [key] for key in lens_of}, camera_of)


def rewrite(
    database: Path,
    cameras: Sequence[pycolmap.Camera],
    rigs: Sequence[pycolmap.Rig],
    camera_of: Mapping[int, int],
    frames: Mapping[int, Sequence[int]],
    rig_of: Mapping[int, int],
) -> None:
    """Writes the database anew with these lenses and rigs, and the same image ids, features and matches.

    camera_of: image id → camera id; frames: frame id → ids of the images taken together; rig_of: frame id →
    rig id.
    """
    rewritten = database.with_name("lenses.db")
    rewritten.unlink(missing_ok=True)
    with pycolmap.Database.open(database) as old, pycolmap.Database.open(rewritten) as new:
        for camera in cameras:
            new.write_camera(camera, use_camera_id=True)
        for rig in rigs:
            new.write_rig(rig, use_rig_id=True)
        copies = {}
        for image in old.read_all_images():
            camera_id = camera_of[image.image_id]
            copied = pycolmap.Image(name=image.name, camera_id=camera_id, image_id=image.image_id)
            new.write_image(copied, use_image_id=True)
            copies[image.image_id] = copied
        for frame_id, members in frames.items():
            frame = pycolmap.Frame(frame_id=frame_id, rig_id=rig_of[frame_id])
            for key in members:
                frame.add_data_id(copies[key].data_id)
            new.write_frame(frame, use_frame_id=True)
    with sqlite3.connect(rewritten) as connection:
        connection.execute("ATTACH ? AS old", (str(database),))
        for table in TABLES:
            connection.execute(f"DELETE FROM main.{table}")
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
    connection.close()
    rewritten.replace(database)


def one_each(lens_of: Mapping[int, pycolmap.Camera]) -> dict[int, pycolmap.Camera]:
    """A separate lens for each image, with its known focal length or else COLMAP's guess."""
    own = {}
    for key, camera in lens_of.items():
        known = camera.has_prior_focal_length
        focal = camera.params[0] if known else guessed_focal(camera)
        own[key] = _lens(key, camera, focal, known)
    return own


def by_zoom(model: Model, lens_of: Mapping[int, pycolmap.Camera]) -> dict[int, pycolmap.Camera]:
    """The lenses of ``lens_of``, split by the focal lengths in ``model``, which has a lens for each image.

    Images that the model lacks get the lens of the largest group of images with which they shared one.
    """
    posed = set(model.reg_image_ids())
    focal = {key: model.camera(model.image(key).camera_id).params[0] for key in sorted(posed)}
    split: dict[int, pycolmap.Camera] = {}
    next_id = 1
    for shared in sorted({camera.camera_id for camera in lens_of.values()}):
        members = [key for key, camera in sorted(lens_of.items()) if camera.camera_id == shared]
        groups = zooms({key: focal[key] for key in members if key in focal})
        groups = groups or [members]
        groups[0] = groups[0] + [key for key in members if key not in focal and key not in groups[0]]
        for group in groups:
            known = [focal[key] for key in group if key in focal]
            camera = lens_of[group[0]]
            lens = _lens(next_id, camera, float(np.median(known)) if known else camera.params[0], bool(known))
            split |= dict.fromkeys(group, lens)
            next_id += 1
    return split


def zooms(focal: Mapping[int, float]) -> list[list[int]]:
    """The keys grouped by focal length (pixels), the largest group first.

    A new group begins where a focal length is more than SAME_ZOOM times the next shorter one.
    """
    groups: list[list[int]] = []
    before = 0.0
    for key in sorted(focal, key=lambda k: (focal[k], k)):
        if focal[key] > SAME_ZOOM * before:
            groups.append([])
        groups[-1].append(key)
        before = focal[key]
    return sorted(groups, key=len, reverse=True)


def with_lenses(model: Model, lens_of: Mapping[int, pycolmap.Camera]) -> Model:
    """A copy of the model with these lenses of its images, by image id; not refined yet."""
    result = Model()
    for camera in {c.camera_id: c for c in lens_of.values()}.values():
        result.add_camera_with_trivial_rig(camera)
    for key in sorted(model.reg_image_ids()):
        image = model.image(key)
        features = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        copied = pycolmap.Image(image.name, features, lens_of[key].camera_id, key)
        result.add_image_with_trivial_frame(copied, image.cam_from_world())
    for point in model.points3D.values():
        result.add_point3D(point.xyz, pycolmap.Track(list(point.track.elements)), point.color)
    return result


def own_lenses(model: Model) -> dict[int, pycolmap.Camera]:
    """A separate lens for each posed image of the model, a copy of the one that it has."""
    own = {}
    for key in model.reg_image_ids():
        camera = copy.copy(model.camera(model.image(key).camera_id))
        camera.camera_id = key
        own[key] = camera
    return own


def _lens(camera_id: int, like: pycolmap.Camera, focal: float, known: bool) -> pycolmap.Camera:
    """A new lens of the model and size of ``like``; ``known``: whether to trust ``focal`` (pixels)."""
    lens = pycolmap.Camera.create_from_model_id(camera_id, like.model, focal, like.width, like.height)
    lens.has_prior_focal_length = known
    return lens
