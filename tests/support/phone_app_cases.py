"""What phone apps export, written by their definitions: Polycam, Record3D, Stray Scanner and others."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from app_cases import CAMERAS, COUNT, FOCAL, HEIGHT, OPENGL, WIDTH, write_photos
from PIL import Image
from scipy.spatial.transform import Rotation


def polycam_camera(index: int) -> dict[str, Any]:
    rotation, centre = CAMERAS[index]
    values: dict[str, Any] = {
        "fx": FOCAL,
        "fy": 385.0,
        "cx": 203,
        "cy": 148,
        "width": WIDTH,
        "height": HEIGHT,
    }
    values |= {"blur_score": 120.5, "manual_keyframe": False, "timestamp": 1000 + index}
    # ARKit: columns are the camera's right, up and backward axes, and its place, in the world.
    right, down, forward = rotation
    for column, vector in enumerate((right, -down, -forward, centre)):
        values |= {f"t_{row}{column}": float(vector[row]) for row in range(3)}
    return values


def write_polycam(base: Path, kind: str = "", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    (base / f"{kind}cameras").mkdir(parents=True)
    write_photos(base / f"{kind}images", [f"{1000 + i}.jpg" for i in range(COUNT)], size)
    for index in range(COUNT):
        (base / f"{kind}cameras/{1000 + index}.json").write_text(json.dumps(polycam_camera(index)))


def record3d(count: int = COUNT) -> dict[str, Any]:
    poses = []
    for index in range(count):
        rotation, centre = CAMERAS[index % COUNT]
        q = Rotation.from_matrix(rotation.T @ OPENGL).as_quat()  # x y z w
        poses.append([*q.tolist(), *(centre + 0.001 * (index // COUNT)).tolist()])
    k = [FOCAL, 0, 0, 0, 385.0, 0, 203, 148, 1]  # by columns
    return {"K": k, "poses": poses, "w": WIDTH, "h": HEIGHT, "dw": 192, "dh": 256, "fps": 60}


def write_record3d(root: Path, values: dict[str, Any], suffix: str = ".jpg") -> None:
    write_photos(root / "rgb", [f"{i}{suffix}" for i in range(len(values["poses"]))])
    (root / "metadata.json").write_text(json.dumps(values))


STRAY_HEADER = "timestamp, frame, x, y, z, qx, qy, qz, qw"
STRAY_LENS = ", fx, fy, cx, cy, distortion_center_x, distortion_center_y"
LEVEL = 10  # of grey, from one frame to the next: tells which frame a picture is


def write_stray(root: Path, count: int = 20, stamps: list[int] | None = None, lenses: bool = False) -> Path:
    """A recording of Stray Scanner whose frame i is grey of LEVEL·i, and whose camera i is at x = i.

    ``stamps``: of the frames in the video, in sixtieths of a second; the app's own begin before 0.
    """
    root.mkdir(parents=True)
    stamps = list(range(-1, count - 1)) if stamps is None else stamps
    write_grey_video(root / "rgb.mp4", {stamp: LEVEL * (stamp - min(-1, stamps[0])) for stamp in stamps})
    rows = [STRAY_HEADER + STRAY_LENS * lenses]
    for index in range(count):
        rotation, _ = CAMERAS[index % COUNT]
        # ARKit's axes, turned by 180° about x by the app: OpenCV's.
        q = Rotation.from_matrix(rotation.T).as_quat()
        cells = [f"{5000 + index / 60:.9f}", f"{index:06d}", f"{float(index)}", "0.5", "0.0", *map(str, q)]
        if lenses:
            cells += [f"{FOCAL + index}", f"{FOCAL + index}", "65.0", "47.0", "", ""]
        rows.append(", ".join(cells))
    (root / "odometry.csv").write_text("\n".join(rows) + "\n")
    (root / "camera_matrix.csv").write_text(f"{FOCAL}, 0.0, 66.0\n0.0, {FOCAL}, 46.0\n0.0, 0.0, 1.0")
    (root / "imu.csv").write_text("timestamp, a_x, a_y, a_z, alpha_x, alpha_y, alpha_z\n")
    for index in range(count):
        write_map(root / f"depth/{index:06d}.png", 16)
        write_map(root / f"confidence/{index:06d}.png", 8)
    return root


def write_grey_video(path: Path, levels: dict[int, int]) -> None:
    """A video of 128 × 96 pixels; ``levels``: time stamp in sixtieths of a second → grey of the frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=60)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.options = {"crf": "5", "bf": "2"}
        stream.codec_context.time_base = Fraction(1, 60)
        for stamp, level in levels.items():
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 60)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_map(path: Path, bits: int = 16) -> None:
    """A depth map (16 bits) or a confidence map (8 bits)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 100 if bits == 16 else np.ones((6, 8), np.uint8)
    Image.fromarray(values).save(path)


def arkit_matrix(index: int) -> np.ndarray:
    """world_from_cam (4, 4) of CAMERAS[index] in ARKit's axes."""
    rotation, centre = CAMERAS[index]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.T @ OPENGL, centre
    return matrix


def write_scanner_3d_app(root: Path, extra: int = 3) -> Path:
    """An "All Data" export of 3D Scanner App; ``extra``: frames that have a camera but no photo."""
    write_photos(
        root, [*(f"frame_{i:05d}.jpg" for i in range(COUNT)), "thumb_00000.jpg", "textured_output.jpg"]
    )
    for index in range(COUNT + extra):
        values = {
            "cameraPoseARFrame": arkit_matrix(index % COUNT).flatten().tolist(),
            "intrinsics": [FOCAL, 0, 203, 0, 385.0, 148, 0, 0, 1],
            "projectionMatrix": [0.0] * 16,
            "time": 33.5 + index,
            "frame_index": index,
            "motionQuality": 0.9,
            "exposureDuration": 0.01,
        }
        (root / f"frame_{index:05d}.json").write_text(json.dumps(values))
        write_map(root / f"depth_{index:05d}.png", 16)
        write_map(root / f"conf_{index:05d}.png", 8)
    (root / "info.json").write_text(json.dumps({"device": "iPhone13,3", "appVersion": "2.1"}))
    (root / "annotations.json").write_text("{}")
    (root / "export.obj").write_text("v 0 0 0\n")
    return root


def write_nerf_capture(root: Path) -> Path:
    """NeRFCapture's offline data set: names without endings, a depth map beside each photo."""
    write_photos(root / "images", [f"{i}.png" for i in range(COUNT)])
    lens = {"fl_x": FOCAL, "fl_y": 385.0, "cx": 203.0, "cy": 148.0, "w": WIDTH, "h": HEIGHT}
    frames = []
    for index in range(COUNT):
        write_map(root / f"images/{index}.depth.png", 16)
        frames.append(
            lens
            | {
                "file_path": f"images/{index}",
                "depth_path": f"images/{index}.depth.png",
                "timestamp": 1.5 + index,
                "transform_matrix": arkit_matrix(index).tolist(),
            }
        )
    (root / "transforms.json").write_text(json.dumps(lens | {"depth_integer_scale": 1.0, "frames": frames}))
    return root


def zipped(folder: Path, archive: Path) -> Path:
    """A .zip of a folder, with the folder itself in it, as phones share it."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return archive
