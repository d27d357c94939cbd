"""Valid inputs of every kind, for the fuzzer to damage: captures, scenes and camera paths."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import analytic
import app_cases
import blocks_exchange_cases
import colmap_cases
import metashape_cases
import numpy as np
import open_sfm_cases
import path_file_cases
import phone_app_cases
import photo_cases
import realitycapture_cases
import track_cases
import transforms_cases
from archives import pack_folder
from PIL import Image

from nerfscene import api
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.scene import folder
from nerfscene.viewer import keyframes, path_files
from nerfscene.viewer.film_settings import FilmSettings

SMALL = FieldConfig(occupancy_resolution=32, log2_table=12, finest_resolution=64)


_TRAINED: list[Path] = []


@dataclass(frozen=True)
class Kind:
    """A kind of input. write: makes it in a folder. damaged: patterns of the files to damage.

    given: what is given to a command, relative to that folder. use: "read", "train", "scene", "again",
    "path" or "keyframes".
    """

    write: Callable[[Path], object]
    damaged: tuple[str, ...]
    use: str = "read"
    given: str = "."


def _room(root: Path) -> Path:
    return analytic.write_room(root, 6, (32, 24))


def _pictures(root: Path) -> None:
    """A capture with photos in five formats, and masks."""
    _room(root)
    values = json.loads((root / "transforms.json").read_text())
    for frame, ending in zip(values["frames"], ("jpg", "webp", "heic", "tiff", "avif"), strict=False):
        old = root / frame["file_path"]
        frame["file_path"] = str(Path(frame["file_path"]).with_suffix(f".{ending}"))
        with Image.open(old) as image:
            image.save(root / frame["file_path"])
        old.unlink()
        (root / "masks").mkdir(exist_ok=True)
        Image.new("L", (32, 24), 255).save(root / "masks" / f"{old.stem}.png")
    (root / "transforms.json").write_text(json.dumps(values))


def _photos(root: Path) -> None:
    """Photos without cameras that share nothing, so that posing them ends soon."""
    photo_cases.write_photos(root / "images", [f"{i}.{end}" for i, end in enumerate(("jpg", "png", "heic"))])


def _video(root: Path) -> None:
    phone_app_cases.write_grey_video(root / "walk.mp4", {stamp: 8 * stamp for stamp in range(30)})


def _archive(root: Path) -> None:
    inside = _room(root / "inside")
    pack_folder(root / "capture.zip", inside, "room/")
    for path in sorted(inside.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    inside.rmdir()


def _opensfm(lens: int) -> Callable[[Path], object]:
    values = open_sfm_cases.opensfm(open_sfm_cases.OPENSFM_LENSES[lens])
    return lambda root: app_cases.write_json(root, "reconstruction.json", [values])


def _openmvg(root: Path) -> None:
    app_cases.write_photos(root / "images", app_cases.NAMES)
    open_sfm_cases.write_openmvg(root)


def _llff(root: Path) -> None:
    app_cases.write_photos(root / "images", app_cases.NAMES)
    size = [app_cases.HEIGHT, app_cases.WIDTH, app_cases.FOCAL]
    rows = []
    for rotation, centre in app_cases.CAMERAS:
        right, down, forward = rotation
        matrix = np.stack([down, right, -forward, centre, size], axis=1)
        rows.append(np.concatenate([matrix.ravel(), [1.5, 8.0]]))
    np.save(root / "poses_bounds.npy", np.stack(rows))


def _pix4d(root: Path) -> None:
    app_cases.write_photos(root / "images", app_cases.NAMES)
    kinds = ("camera matrix K [3x3]", "radial distortion [3x1]", "tangential distortion [2x1]")
    text = "\n".join(["fileName imageWidth imageHeight", *kinds, "camera position t [3x1]"])
    text += "\ncamera rotation R [3x3]\ncamera model m = K [R|-Rt] X\n\n"
    for name, (rotation, centre) in zip(app_cases.NAMES, app_cases.CAMERAS, strict=True):
        text += f"{name} {app_cases.WIDTH} {app_cases.HEIGHT}\n380.5 0 203.25\n0 380.5 148.5\n0 0 1\n"
        for row in ((-0.09, 0.05, -0.01), (0.002, -0.003), centre, *rotation):
            text += " ".join(f"{value:.12f}" for value in row) + "\n"
    (root / "site_calibrated_camera_parameters.txt").write_text(text)


def _colmap(text: bool, rigs: bool = False) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        model = colmap_cases.synthetic(2, 2, 2) if rigs else colmap_cases.synthetic()
        colmap_cases.write_colmap(root, "sparse/0", model, text)
        if not rigs:
            colmap_cases.without_frames(root / "sparse/0")

    return write


def _blocks(kind: str) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        app_cases.write_photos(root / "images", app_cases.NAMES)
        cases = blocks_exchange_cases
        (root / "block.xml").write_text(cases.xml(cases.block(cases.lens(kind), cases.every_photo())))

    return write


def _metashape(kind: str) -> Callable[[Path], object]:
    text = metashape_cases.metashape_xml(metashape_cases.LENS, kind)
    return lambda root: metashape_cases.write_metashape(root, text)


def _csv(write: Callable[[dict[str, float]], str]) -> Callable[[Path], object]:
    return lambda root: realitycapture_cases.write_rc(root, write(realitycapture_cases.RC_LENS))


def _xmp(root: Path) -> None:
    lens = realitycapture_cases.RC_LENS
    texts = [realitycapture_cases.xmp(index, lens) for index in range(app_cases.COUNT)]
    realitycapture_cases.write_xmp(root, texts)


def _scene(root: Path) -> None:
    """A scene and the capture that it was made of; trained once, and then copied."""
    if not (_TRAINED and _TRAINED[-1].is_dir()):
        _room(root / "capture")
        config = TrainConfig(steps=30, holdout=3, threads=1, refine_cameras=False)
        api.train(root / "capture", root / "scene", config, SMALL)
        _TRAINED.append(root)
        return
    for part in ("capture", "scene"):
        shutil.copytree(_TRAINED[-1] / part, root / part)


def _path(root: Path) -> None:
    _scene(root)
    crop = {"crop_center": [0.0, 0, 0], "crop_scale": [2.0, 2, 2], "crop_rot": [0.0, 0, 0.1]}
    path_file_cases.save(root, crop=crop | {"crop_bg_color": {"r": 38, "g": 42, "b": 55}})
    values = {"transform": np.eye(4)[:3].tolist(), "scale": 0.5}
    (root / "dataparser_transforms.json").write_text(json.dumps(values))


def _keyframes(root: Path) -> None:
    """A path as the page saves it; its frames are few, so that most of the damage is to its keyframes."""
    _scene(root)
    poses = [view.world_from_cam for view in folder.load(root / "scene").views[:4]]
    frames = tuple(keyframes.Keyframe(pose, 50.0, 1.0 + i, 5.0, 2.0, -1.0) for i, pose in enumerate(poses))
    film = FilmSettings(aperture=4.0, focus=(0.0, 0.0, 1.0), motion_blur=90.0, passes="depth")
    look = keyframes.LookAt((0.0, 0.0, 0.5), (0.0, 0.0, 1.0))
    plan = keyframes.Plan(frames, width=64, height=48, seconds=0.1, look_at=look, film=film)
    path_files.save(plan, root / "camera_path.json")


def _instant_ngp(root: Path) -> None:
    _scene(root)
    keys = [
        {"R": [0.0, 0.1 * i, 0.0, 1.0], "T": [0.5, 0.5, 0.1 * i], "fov": 50.0, "scale": 1.0, "slice": 0.0}
        for i in range(4)
    ]
    (root / "camera_path.json").write_text(json.dumps({"loop": False, "path": keys, "time": 0.0}))
    values = {"scale": 0.4, "offset": [0.5, 0.5, 0.4], "aabb_scale": 4}
    capture = json.loads((root / "capture/transforms.json").read_text())
    (root / "transforms.json").write_text(json.dumps(capture | values))


def _supersplat(as_project: bool) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        _scene(root)
        seen = [([0.0, 1.0, 0.1 * i], [0.0, 0.0, -1.0]) for i in range(3)]
        file = root / "camera_path.json"
        if as_project:
            track_cases.write_json(file, track_cases.document([0, 1, 2], seen, [50.0] * 3, frames=3))
        else:
            track_cases.write_json(file, track_cases.settings([0, 1, 2], seen, [50.0] * 3, duration=0.1))

    return write


def _gltf(binary: bool) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        _scene(root)
        parts = track_cases.GltfParts()
        times, turns = np.arange(3) / 24, np.tile([0.0, 0, 0, 1], (9, 1))
        moves = [
            (1, "translation", times, np.eye(3), "LINEAR"),
            (0, "rotation", times, turns, "CUBICSPLINE"),
        ]
        nodes = [{"children": [1]}, {"camera": 0}]
        data = parts.data(nodes, [parts.animation("A", moves)])
        file = root / "camera_path.json"
        if binary:
            track_cases.write_glb(file, data, parts.content)
        else:
            track_cases.write_gltf(file, data, parts.content, True)

    return write


def _blender(root: Path) -> None:
    _scene(root)
    frames = [{"matrix_world": np.eye(4).tolist(), "lens": 40.0 + i} for i in range(3)]
    track_cases.write_json(
        root / "camera_path.json", {"fps": 24, "width": 64, "height": 48, "frames": frames}
    )


KINDS: dict[str, Kind] = {
    "transforms.json": Kind(_room, ("transforms.json",)),
    "NeRF-synthetic": Kind(lambda root: transforms_cases.write_synthetic(root, 255), ("*.json",)),
    "COLMAP, binary": Kind(_colmap(False), ("sparse/0/*.bin",)),
    "COLMAP, text": Kind(_colmap(True), ("sparse/0/*.txt",)),
    "COLMAP, rigs": Kind(_colmap(False, True), ("sparse/0/*.bin",)),
    "COLMAP, rigs, text": Kind(_colmap(True, True), ("sparse/0/*.txt",)),
    "Polycam": Kind(
        lambda root: phone_app_cases.write_polycam(root / "keyframes"), ("keyframes/cameras/*.json",)
    ),
    "Record3D": Kind(
        lambda root: phone_app_cases.write_record3d(root, phone_app_cases.record3d()), ("metadata.json",)
    ),
    "Stray Scanner": Kind(
        lambda root: phone_app_cases.write_stray(root / "walk", lenses=True),
        ("walk/odometry.csv", "walk/camera_matrix.csv", "walk/rgb.mp4"),
        given="walk",
    ),
    "3D Scanner App": Kind(phone_app_cases.write_scanner_3d_app, ("frame_*.json",)),
    "NeRFCapture": Kind(phone_app_cases.write_nerf_capture, ("transforms.json",)),
    "Metashape": Kind(_metashape("frame"), ("cameras.xml",)),
    "Metashape, fisheye": Kind(_metashape("equidistant_fisheye"), ("cameras.xml",)),
    "BlocksExchange": Kind(_blocks("mm"), ("block.xml",)),
    "BlocksExchange, fisheye": Kind(_blocks("fisheye"), ("block.xml",)),
    "RealityCapture": Kind(_csv(realitycapture_cases.rc_csv), ("registration.csv",)),
    "RealityScan": Kind(_csv(realitycapture_cases.rs_csv), ("registration.csv",)),
    "RealityScan, OpenCV": Kind(_csv(realitycapture_cases.opencv_csv), ("registration.csv",)),
    "RealityCapture, XMP": Kind(_xmp, ("*.xmp",)),
    "OpenSfM": Kind(_opensfm(3), ("reconstruction.json",)),
    "OpenSfM, fisheye": Kind(_opensfm(5), ("reconstruction.json",)),
    "OpenMVG": Kind(_openmvg, ("sfm_data.json",)),
    "LLFF": Kind(_llff, ("poses_bounds.npy",)),
    "Pix4D": Kind(_pix4d, ("*.txt",)),
    "archive": Kind(_archive, ("capture.zip",), given="capture.zip"),
    "photos": Kind(_photos, ("images/*",)),
    "video": Kind(_video, ("walk.mp4",), given="walk.mp4"),
    "pictures": Kind(_pictures, ("images/*", "masks/*"), "train"),
    "training": Kind(_room, ("transforms.json",), "train"),
    "scene": Kind(_scene, ("scene/scene.json",), "scene", "scene"),
    "scene, arrays": Kind(_scene, ("scene/field.safetensors",), "scene", "scene"),
    "scene, left over": Kind(_scene, ("scene/source.json", "scene/scene.json"), "again", "scene"),
    "scene, training": Kind(_scene, ("scene/training.safetensors",), "again", "scene"),
    "camera path": Kind(_path, ("*.json",), "path", "scene"),
    "camera path, keyframes": Kind(_keyframes, ("camera_path.json",), "keyframes", "scene"),
    "camera path, instant-ngp": Kind(_instant_ngp, ("*.json",), "path", "scene"),
    "camera path, SuperSplat": Kind(_supersplat(True), ("camera_path.json",), "path", "scene"),
    "camera path, its viewer": Kind(_supersplat(False), ("camera_path.json",), "path", "scene"),
    "camera path, .glb": Kind(_gltf(True), ("camera_path.json",), "path", "scene"),
    "camera path, .gltf": Kind(_gltf(False), ("camera_path.json",), "path", "scene"),
    "camera path, Blender": Kind(_blender, ("camera_path.json",), "path", "scene"),
}
