"""Photos that share a size but not a zoom, and say nothing of it: which were taken through which lens.

Messengers strip EXIF from photos, and phones change lenses. One focal length for all then puts the zoomed
photos closer to what they show, or leaves them out. With a focal length of its own for each photo mapping
finds them all, and the focal lengths it comes to tell the lenses apart.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.posing.matching import guessed_focal

Model = pycolmap.Reconstruction

SAME_ZOOM = 1.06  # ratio of neighbouring focal lengths; phones' lenses differ by 1.5 and more
TABLES = ("keypoints", "descriptors", "matches", "two_view_geometries")  # what knows nothing of lenses


def lenses(database: Path) -> dict[int, pycolmap.Camera]:
    """The lens of each image, by the image's id."""
    with pycolmap.Database.open(database) as db:
        cameras = {camera.camera_id: camera for camera in db.read_all_cameras()}
        return {image.image_id: cameras[image.camera_id] for image in db.read_all_images()}


def set_lenses_of(database: Path, lens_of: Mapping[int, pycolmap.Camera]) -> None:
    """Writes the database anew with these lenses of its images, equal ids for one that is shared."""
    made = database.with_name("lenses.db")
    made.unlink(missing_ok=True)
    with pycolmap.Database.open(database) as old, pycolmap.Database.open(made) as new:
        for camera in {c.camera_id: c for c in lens_of.values()}.values():
            new.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig(rig_id=camera.camera_id)
            rig.add_ref_sensor(camera.sensor_id)
            new.write_rig(rig, use_rig_id=True)
        for image in old.read_all_images():
            camera_id = lens_of[image.image_id].camera_id
            moved = pycolmap.Image(name=image.name, camera_id=camera_id, image_id=image.image_id)
            new.write_image(moved, use_image_id=True)
            frame = pycolmap.Frame(frame_id=image.image_id, rig_id=camera_id)
            frame.add_data_id(moved.data_id)
            new.write_frame(frame, use_frame_id=True)
    with sqlite3.connect(made) as both:
        both.execute("ATTACH ? AS old", (str(database),))
        for table in TABLES:
            both.execute(f"DELETE FROM main.{table}")
            both.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
    both.close()
    made.replace(database)


def one_each(lens_of: Mapping[int, pycolmap.Camera]) -> dict[int, pycolmap.Camera]:
    """A lens for each image, as it is where its focal length is known, else from COLMAP's guess."""
    own = {}
    for key, camera in lens_of.items():
        known = camera.has_prior_focal_length
        focal = camera.params[0] if known else guessed_focal(camera)
        own[key] = _lens(key, camera, focal, known)
    return own


def by_zoom(model: Model, lens_of: Mapping[int, pycolmap.Camera]) -> dict[int, pycolmap.Camera]:
    """The lenses of ``lens_of``, split by the focal lengths that a model with a lens for each image came to.

    Images that the model lacks get the lens that most of those like them have.
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
            made = _lens(next_id, camera, float(np.median(known)) if known else camera.params[0], bool(known))
            split |= dict.fromkeys(group, made)
            next_id += 1
    return split


def zooms(focal: Mapping[int, float]) -> list[list[int]]:
    """Keys by focal length, a new group wherever the next longer one differs by more than SAME_ZOOM.

    The largest group first.
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
    """A copy of a model through these lenses, by image id; equal ids for one that is shared."""
    made = Model()
    for camera in {c.camera_id: c for c in lens_of.values()}.values():
        made.add_camera_with_trivial_rig(camera)
    for key in sorted(model.reg_image_ids()):
        image = model.image(key)
        features = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        like = pycolmap.Image(image.name, features, lens_of[key].camera_id, key)
        made.add_image_with_trivial_frame(like, image.cam_from_world())
    for point in model.points3D.values():
        made.add_point3D(point.xyz, pycolmap.Track(list(point.track.elements)), point.color)
    return made


def own_lenses(model: Model) -> dict[int, pycolmap.Camera]:
    """A lens for each photo of a model, equal to the one that it shares there."""
    own = {}
    for key in model.reg_image_ids():
        camera = copy.copy(model.camera(model.image(key).camera_id))
        camera.camera_id = key
        own[key] = camera
    return own


def _lens(camera_id: int, like: pycolmap.Camera, focal: float, known: bool) -> pycolmap.Camera:
    made = pycolmap.Camera.create_from_model_id(camera_id, like.model, focal, like.width, like.height)
    made.has_prior_focal_length = known
    return made
