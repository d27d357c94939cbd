"""Writes a camera path for another program, in that program's format and coordinates.

``nerfstudio_path``, ``instant_ngp_path``, ``supersplat_path``, ``gltf_path`` and ``blender_path`` say what
these formats hold, and ``export_world`` in which coordinates a scene's exports lie there. Every frame
becomes a keyframe, so that no program's own curve leads elsewhere.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale, vertical_fov
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import trained_world
from nerfscene.films.camera_path_file import WRITTEN_FPS, path_data, world_from_file
from nerfscene.films.export_world import (
    SUPERSPLAT_FROM_FILE,
    Y_DOWN_FROM_Z_UP,
    Y_UP_FROM_Z_UP,
    upright_from_world,
)
from nerfscene.films.gltf_path import EXTRAS
from nerfscene.films.own_keyframes import OURS, own_part, tracks_part
from nerfscene.films.path_parts import FLIP
from nerfscene.films.path_sources import opened
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS
from nerfscene.given import instance_given, path_given
from nerfscene.loading import loading
from nerfscene.scene.atomic import write_json, writing
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

Program = Literal[
    "auto", "nerfscene", "nerfstudio", "instant-ngp", "blender", "supersplat", "splat-transform"
]
NAMED = {"base_cam.json": "instant-ngp", "settings.json": "supersplat"}  # what a name alone tells
NEAREST = 0.01  # glTF's znear, in its units
ROLLED = 0.5  # degrees of roll that a program without roll may leave out without a word
FLOAT, VECTORS = 5126, {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
# What supersplat-viewer 1.28 demands of its settings; nothing is switched on.
PLAIN_EFFECTS: dict[str, dict[str, Any]] = {
    "sharpness": {"enabled": False, "amount": 0},
    "bloom": {"enabled": False, "intensity": 1, "blurLevel": 2},
    "grading": {"enabled": False, "brightness": 1, "contrast": 1, "saturation": 1, "tint": [1, 1, 1]},
    "vignette": {"enabled": False, "intensity": 0.5, "inner": 0.3, "outer": 0.75, "curvature": 1},
    "fringing": {"enabled": False, "intensity": 0.5},
}


def program_of(file: Path, program: Program = "auto") -> Program:
    """The program that a path is written for: ``program``, or what the file's name tells.

    .glb: blender; base_cam.json: instant-ngp; settings.json: supersplat; any other .json: nerfscene.
    Raises NerfsceneError for another ending, or one that the program doesn't read.
    """
    ending = file.suffix.lower()
    if ending not in (".json", ".glb"):
        raise NerfsceneError(f"{file} is no name for a camera path: it must end in .json or .glb")
    if ending == ".glb":
        if program not in ("auto", "blender"):
            raise NerfsceneError(f"a path for {program} is a .json file, not {file.name}: give another name")
        return "blender"
    if program == "auto":
        return NAMED.get(file.name.lower(), "nerfscene")  # type: ignore[return-value]
    return program


def write_camera_path(
    path: CameraPath,
    file: Path | str,
    fps: float = WRITTEN_FPS,
    scene: Scene | None = None,
    program: Program = "auto",
    transform: Path | str | None = None,
    own: dict[str, Any] | None = None,
) -> tuple[str, ...]:
    """Writes a path for nerfscene or another program; returns sentences on what its format can't hold.

    scene: the scene that is filmed, which every program but nerfscene needs. program: as ``nerfscene paths
    --program``; auto: by the file's name.

    fps: used if the path has none. transform: for nerfstudio, the dataparser_transforms.json of the
    training in whose coordinates the path is to be, instead of the one that is found; for instant-ngp, the
    transforms.json that it trained on. own: the keyframes that the path was made of, for nerfscene; their
    film becomes the path's. A file of the same name is replaced. Raises NerfsceneError for a path that the
    format has no camera for, a name or transform that can't be used, and what can't be written.
    """
    instance_given(path, CameraPath, "path")
    file = path_given(file, "file")
    named = None if transform is None else path_given(transform, "transform")
    program = program_of(file, program)
    lens = path.cameras[0].intrinsics.lens if path.cameras else "perspective"
    if program not in ("nerfscene", "nerfstudio") and lens != "perspective":
        raise NerfsceneError(
            f"a path for {program} can't be {lens}: write it as nerfstudio's camera_path.json"
        )
    if named is not None and program not in ("nerfstudio", "instant-ngp"):
        raise NerfsceneError(
            f"a path for {program} needs no transform: leave it out, or write for nerfstudio"
        )
    fps = path.fps or fps
    data = path_data(path, file, fps)  # also checks the path
    if program == "nerfscene":
        if own is not None:
            k = path.cameras[0].intrinsics
            film = {"width": k.width, "height": k.height, "fps": fps, "seconds": len(path.cameras) / fps}
            data[OURS] = {**own, **film, **tracks_part(path.tracks)}
        write_json(data, file)
        return ()
    if scene is None:
        raise NerfsceneError(
            f"a path for {program} needs the scene that it films, for its coordinates: give scene"
        )
    notes = _lost(path, file, program)
    if program == "nerfstudio":
        return (*_for_nerfstudio(path, fps, scene, file, named), *notes)
    if program == "instant-ngp":
        undone = trained_world.of_instant_ngp(file, named, scene)
        write_json(_instant_ngp(path, fps, _inverse(world_from_file(undone, scene))), file)
    else:
        notes = [*_write_exported(path, fps, scene, file, program), *notes]
    if path.crop is not None:
        notes.append(f"{file.name}: a path for {program} holds no crop; export the scene with it instead.")
    return tuple(notes)


def _lost(path: CameraPath, file: Path, program: Program) -> list[str]:
    """A sentence on what else of a film is left out; roll and field of view are in the path's cameras."""
    names = [name for name in ("focus", "aperture", "exposure") if getattr(path.tracks, name)]
    if not names:
        return []
    words = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return [f"{file.name}: a path for {program} is written without {words}; set that there."]


def _write_exported(path: CameraPath, fps: float, scene: Scene, file: Path, program: Program) -> list[str]:
    """Writes a path in the coordinates of the scene's exports; returns what ``write_camera_path`` does."""
    upright = upright_from_world(scene)
    if program == "blender" and file.suffix.lower() == ".glb":
        _write_gltf(path, fps, Y_UP_FROM_Z_UP @ upright, file)
        if not _fov_changes(path):
            return []
        return [
            f"{file.name}: its changing field of view is told by KHR_animation_pointer, which some programs "
            "don't know."
        ]
    if program == "blender":
        write_json(_blender(path, fps, upright), file)
        return []
    from_world = SUPERSPLAT_FROM_FILE @ Y_DOWN_FROM_Z_UP @ upright
    if program == "splat-transform":
        write_json(_frames(path, fps, scene, from_world), file)
        return []
    made, rolled = _supersplat(path, fps, scene, from_world)
    write_json(made, file)
    if rolled <= ROLLED:
        return []
    return [f"{file.name}: SuperSplat's cameras don't roll, so a roll of up to {rolled:.0f}° is left out."]


def own_keyframes_of(config: RenderConfig) -> dict[str, Any] | None:
    """The keyframes of ``config.path``, if it is a file that the viewer saved and nothing else leads it."""
    if config.through is not None or config.look_at is not None or config.path in ("auto", *PRESETS):
        return None
    file = path_given(config.path, "path")
    data = opened(file, "give a path file")
    return own_part(data, file) if isinstance(data, dict) else None


def _for_nerfstudio(
    path: CameraPath, fps: float, scene: Scene, file: Path, transform: Path | None
) -> tuple[str, ...]:
    """Writes a path in the coordinates that nerfstudio trained in."""
    undone, note = trained_world.of_nerfstudio(file, transform, scene)
    if undone is None:
        missing = (
            f"{file} can't be written for nerfstudio without the {trained_world.DATAPARSER} of its training: "
            "name it with --write-transform, or leave out --program"
        )
        raise NerfsceneError(
            note.removesuffix(".").replace("--path-transform", "--write-transform") or missing
        )
    trained_from_world = _inverse(world_from_file(undone, scene))
    write_json(path_data(path, file, fps, trained_from_world), file)
    return ()


def _inverse(m: Array) -> Array:
    return np.asarray(np.linalg.inv(m), np.float64)


def _poses(path: CameraPath, file_from_world: Array) -> list[Array]:
    """The path's poses (4, 4), OpenCV axes, in a file's coordinates."""
    return [pose_in_scene(file_from_world, camera.world_from_cam) for camera in path.cameras]


def _fovs(path: CameraPath) -> list[float]:
    """The vertical fields of view, in degrees."""
    return [math.degrees(vertical_fov(camera.intrinsics)) for camera in path.cameras]


def _fov_changes(path: CameraPath) -> bool:
    return float(np.ptp(_fovs(path))) > 1e-6


def _instant_ngp(path: CameraPath, fps: float, ngp_from_world: Array) -> dict[str, Any]:
    with loading():
        from scipy.spatial.transform import Rotation

    keys = []
    for i, (pose, fov) in enumerate(zip(_poses(path, ngp_from_world), _fovs(path), strict=True)):
        keys.append(
            {
                "R": Rotation.from_matrix(pose[:3, :3]).as_quat().tolist(),  # x, y, z, w
                "T": pose[:3, 3].tolist(),
                "aperture_size": 0.0,
                "fov": fov,
                "glow_mode": 0,
                "glow_y_cutoff": 0.0,
                "scale": 1.0,
                "slice": 0.0,
                # When the step to the next key ends. Times that end at 1 mean that nothing was recorded.
                "timestamp": (i + 1) / fps * (1 + 1e-9),
            }
        )
    return {
        "duration_seconds": len(keys) / fps,
        "loop": path.loop,
        "path": keys,
        "spline_order": 1,
        "time": 0.0,
    }


def _blender(path: CameraPath, fps: float, blender_from_world: Array) -> dict[str, Any]:
    k = path.cameras[0].intrinsics
    frames = [
        {"matrix_world": (pose @ FLIP).tolist(), "fov": fov}
        for pose, fov in zip(_poses(path, blender_from_world), _fovs(path), strict=True)
    ]
    return {"fps": fps, "width": k.width, "height": k.height, "loop": path.loop, "frames": frames}


def _targets(path: CameraPath, scene: Scene, poses: list[Array], scale: float) -> list[Array]:
    """What each camera looks at (3,): as far ahead as the subject's middle, but never too near.

    poses, scale: in a file's coordinates, and the length of a world unit there.
    """
    middle = np.linalg.inv(scene.scene_from_world)[:3, 3]
    least = 0.25 / similarity_scale(scene.scene_from_world)
    made = []
    for camera, pose in zip(path.cameras, poses, strict=True):
        ahead = float((middle - camera.world_from_cam[:3, 3]) @ camera.world_from_cam[:3, 2])
        made.append(pose[:3, 3] + scale * max(ahead, least) * pose[:3, 2])
    return made


def _frames(path: CameraPath, fps: float, scene: Scene, from_world: Array) -> dict[str, Any]:
    poses = _poses(path, from_world)
    targets = _targets(path, scene, poses, similarity_scale(from_world))
    frames = [
        {
            "position": pose[:3, 3].tolist(),
            "target": target.tolist(),
            "up": (-pose[:3, 1]).tolist(),
            "fov": fov,
        }
        for pose, target, fov in zip(poses, targets, _fovs(path), strict=True)
    ]
    return {"frameRate": fps, "loop": path.loop, "frames": frames}


def _supersplat(
    path: CameraPath, fps: float, scene: Scene, from_world: Array
) -> tuple[dict[str, Any], float]:
    """The settings of SuperSplat's viewer with the path, and the largest roll, in degrees, that it loses."""
    poses = _poses(path, from_world)
    targets = _targets(path, scene, poses, similarity_scale(from_world))
    fovs = []
    for camera in path.cameras:
        k = camera.intrinsics
        fovs.append(math.degrees(2 * math.atan(0.5 * max(k.width, k.height) / k.fy)))
    rolls = [abs(math.degrees(math.atan2(pose[1, 0], -pose[1, 1]))) for pose in poses if _has_roll(pose)]
    places = [pose[:3, 3].tolist() for pose in poses]
    track = {
        "name": "cameraAnim",
        "duration": len(poses) / fps,
        "frameRate": fps,
        "loopMode": "repeat" if path.loop else "none",
        "interpolation": "spline",
        "smoothness": 1,
        "keyframes": {
            "times": list(range(len(poses))),
            "values": {
                "position": [x for place in places for x in place],
                "target": [x for target in targets for x in target.tolist()],
                "fov": fovs,
            },
        },
    }
    first = {"position": places[0], "target": targets[0].tolist(), "fov": fovs[0]}
    settings = {
        "version": 2,
        "tonemapping": "none",
        "highPrecisionRendering": False,
        "background": {"color": [float(c) for c in path.background or scene.background]},
        "postEffectSettings": PLAIN_EFFECTS,
        "animTracks": [track],
        "cameras": [{"initial": first}],
        "annotations": [],
        "startMode": "animTrack",
    }
    return settings, max(rolls, default=0.0)


def _has_roll(pose: Array) -> bool:
    """Whether a pose with +y up is far enough from straight up and down to have a roll."""
    return abs(float(pose[1, 2])) < 0.999


def _write_gltf(path: CameraPath, fps: float, gltf_from_world: Array, file: Path) -> None:
    """Writes a .glb with one animated camera, a key a frame."""
    with loading():
        from scipy.spatial.transform import Rotation

    poses = np.stack(_poses(path, gltf_from_world)) @ FLIP
    turns = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    turned = np.sign((turns[1:] * turns[:-1]).sum(1))  # q and -q are the same; the shorter way is meant
    turns[1:] *= np.cumprod(np.where(turned == 0, 1.0, turned))[:, None]
    angles = np.radians(_fovs(path))
    k = path.cameras[0].intrinsics
    lens = {"yfov": float(angles[0]), "aspectRatio": k.width / k.height, "znear": NEAREST}
    ours = {"fps": fps, "width": k.width, "height": k.height, "loop": path.loop}
    columns: list[tuple[dict[str, Any], Array]] = [
        ({"node": 0, "path": "translation"}, poses[:, :3, 3]),
        ({"node": 0, "path": "rotation"}, turns),
    ]
    used: dict[str, Any] = {}
    if _fov_changes(path):
        pointer = {"pointer": "/cameras/0/perspective/yfov"}
        columns.append(
            ({"path": "pointer", "extensions": {"KHR_animation_pointer": pointer}}, angles[:, None])
        )
        used = {"extensionsUsed": ["KHR_animation_pointer"]}
    arrays = [np.arange(len(poses))[:, None] / fps, *(values for _, values in columns)]
    content, views, accessors = _packed(arrays)
    data = {
        "asset": {"version": "2.0", "generator": "nerfscene", "extras": {EXTRAS: ours}},
        **used,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "Camera", "camera": 0}],
        "cameras": [{"name": "Camera", "type": "perspective", "perspective": lens}],
        "animations": [
            {
                "name": "CameraAction",
                "samplers": [{"input": 0, "output": i + 1} for i in range(len(columns))],
                "channels": [{"sampler": i, "target": target} for i, (target, _) in enumerate(columns)],
            }
        ],
        "buffers": [{"byteLength": len(content)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(data, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    with writing(file) as temporary, temporary.open("wb") as out:
        out.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(content)))
        out.write(struct.pack("<I4s", len(text), b"JSON") + text)
        out.write(struct.pack("<I4s", len(content), b"BIN\0") + content)


def _packed(arrays: list[Array]) -> tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    """glTF's buffer, views and accessors of arrays (n, k), as 32-bit floats."""
    content, views, accessors = b"", [], []
    for i, values in enumerate(arrays):
        floats = np.ascontiguousarray(values, "<f4")
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": floats.nbytes})
        accessor: dict[str, Any] = {
            "bufferView": i,
            "componentType": FLOAT,
            "count": len(floats),
            "type": VECTORS[floats.shape[1]],
        }
        if i == 0:  # of times, their range must be told
            accessor |= {"min": [float(floats.min())], "max": [float(floats.max())]}
        accessors.append(accessor)
        content += floats.tobytes()
    return content, views, accessors
