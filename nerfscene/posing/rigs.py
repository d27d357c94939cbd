"""Rigs: the views cut from a panorama were taken at one place, in directions that are known exactly.

COLMAP calls the lenses of such views a rig, and the views taken together a frame. It poses frames, by what
all their views show. A frame of an ordinary photo has this one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.cameras.cube import FACES, shots
from nerfscene.posing.copies import copy_index
from nerfscene.posing.zooms import lenses, rewrite
from nerfscene.types import Array, Photo

Model = pycolmap.Reconstruction


def cut_from_panoramas(photos: Sequence[Photo]) -> bool:
    """Whether any of the photos is a view cut from a panorama."""
    return any(photo.panorama is not None for photo in photos)


def set_rigs(database: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]]) -> None:
    """Has the database treat the views cut from each panorama as one frame of a rig, with exact lenses.

    ``photos`` in the order of their copies, whose ``sizes`` (width, height) are given. Does nothing if none
    was cut from a panorama. Images, features and matches stay as they are.
    """
    if not cut_from_panoramas(photos):
        return
    with pycolmap.Database.open(database) as db:
        ids = {copy_index(image.name): image.image_id for image in db.read_all_images()}
    lens_of = lenses(database)
    cameras = {lens_of[ids[i]].camera_id: lens_of[ids[i]] for i, p in enumerate(photos) if p.panorama is None}
    rigs = [_rig(key, [camera]) for key, camera in cameras.items()]
    camera_of = {key: camera.camera_id for key, camera in lens_of.items()}
    cubes: dict[int, dict[str, pycolmap.Camera]] = {}  # side of a face → the lenses of the faces
    next_id = max(camera_of.values()) + 1
    for i, photo in enumerate(photos):
        if photo.panorama is None:
            continue
        side = sizes[i][0]
        if side not in cubes:
            cubes[side] = {face: _face_lens(next_id + k, side) for k, face in enumerate(FACES)}
            rigs.append(_rig(next_id, list(cubes[side].values())))
            next_id += len(FACES)
        camera_of[ids[i]] = cubes[side][photo.face].camera_id
    frames: dict[int, list[int]] = {}
    members: dict[int, list[int]] = {}
    for i, shot in enumerate(shots(photos)):
        members.setdefault(shot, []).append(ids[i])
    for images in members.values():
        frames[images[0]] = images
    used = [*cameras.values(), *(camera for cube in cubes.values() for camera in cube.values())]
    rig_of_camera = {sensor.id: rig.rig_id for rig in rigs for sensor in rig.sensor_ids()}
    rig_of = {frame: rig_of_camera[camera_of[images[0]]] for frame, images in frames.items()}
    rewrite(database, used, rigs, camera_of, frames, rig_of)


def _face_lens(key: int, side: int) -> pycolmap.Camera:
    """The lens, with this camera id, of a face that is ``side`` pixels wide."""
    camera = pycolmap.Camera.create_from_model_name(key, "PINHOLE", side / 2, side, side)
    camera.has_prior_focal_length = True
    return camera


def _rig(key: int, cameras: Sequence[pycolmap.Camera]) -> pycolmap.Rig:
    """A rig with this id of one camera, or of the lenses of the faces in the order of ``FACES``."""
    rig = pycolmap.Rig(rig_id=key)
    rig.add_ref_sensor(cameras[0].sensor_id)
    for camera, panorama_from_face in list(zip(cameras, FACES.values(), strict=False))[1:]:
        face_from_rig = pycolmap.Rigid3d(pycolmap.Rotation3d(panorama_from_face.T), np.zeros(3))
        rig.add_sensor(camera.sensor_id, face_from_rig)
    return rig


def posed_model(database: Path, world_from_cam: Mapping[int, Array]) -> Model:
    """A model of the database's lenses, rigs and images, without points.

    world_from_cam: (4, 4) by image id; those of one frame must fit its rig.
    """
    model = Model()
    with pycolmap.Database.open(database) as db:
        for camera in db.read_all_cameras():
            model.add_camera(camera)
        for rig in db.read_all_rigs():
            model.add_rig(rig)
        images = {image.image_id: image for image in db.read_all_images()}
        for frame in db.read_all_frames():
            members = [data.id for data in frame.data_ids]
            first = images[members[0]]
            pose = pycolmap.Rigid3d(np.linalg.inv(world_from_cam[first.image_id])[:3])
            frame.rig_from_world = _rig_from_cam(model.rig(frame.rig_id), first.camera_id) * pose
            model.add_frame(frame)
            for key in members:
                image = images[key]
                copied = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=key)
                copied.frame_id = frame.frame_id
                model.add_image(copied)
            model.register_frame(frame.frame_id)
    return model


def _rig_from_cam(rig: pycolmap.Rig, camera_id: int) -> pycolmap.Rigid3d:
    """The place of a lens in its rig."""
    sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera_id)
    cam_from_rig = None if rig.is_ref_sensor(sensor) else rig.sensor_from_rig(sensor)
    return pycolmap.Rigid3d() if cam_from_rig is None else cam_from_rig.inverse()


def known_lenses(cameras: Iterable[pycolmap.Camera]) -> set[int]:
    """The ids of the lenses that are never refined: those of views cut from panoramas, which are exact."""
    return {camera.camera_id for camera in cameras if camera.model == pycolmap.CameraModelId.PINHOLE}


def has_rigs(model: Model) -> bool:
    """Whether the model has rigs of several lenses, as panoramas are."""
    return any(rig.num_sensors() > 1 for rig in model.rigs.values())
