"""BlocksExchange XML, written by its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from app_cases import CAMERAS, COUNT, HEIGHT, WIDTH

PIXEL = 0.006  # mm
LENS = {"K1": -0.1, "K2": 0.05, "K3": -0.01, "P1": 0.002, "P2": -0.003}
FOCAL, CENTRE = 380.0, (203.0, 148.0)  # CENTRE from the picture's corner
# The camera's axes by the names of CameraOrientation, in terms of right, down and forward.
ORIENTATIONS = {
    "XRightYDown": np.eye(3),
    "XRightYUp": np.diag([1.0, -1, -1]),
    "XUpYRight": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
}
Place = Callable[[np.ndarray], np.ndarray | tuple[float, float, float]]


def project(cam: np.ndarray) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r2 = x**2 + y**2
    d = 1 + LENS["K1"] * r2 + LENS["K2"] * r2**2 + LENS["K3"] * r2**3
    u = x * d + LENS["P1"] * (r2 + 2 * x**2) + 2 * LENS["P2"] * x * y
    v = y * d + LENS["P2"] * (r2 + 2 * y**2) + 2 * LENS["P1"] * x * y
    return FOCAL * np.stack([u, v], axis=1) + CENTRE


FISHEYE = {"P0": 0.0, "P1": 1.0, "P2": 0.02, "P3": -0.05, "P4": 0.01}


def project_fisheye(cam: np.ndarray) -> np.ndarray:
    """Angles count quarter turns."""
    across = np.hypot(cam[:, 0], cam[:, 1])
    angle = np.arctan2(across, cam[:, 2]) * 2 / np.pi
    radius = sum(FISHEYE[f"P{i}"] * angle**i for i in range(5))
    return 500.0 * (radius / across)[:, None] * cam[:, :2] + CENTRE


def tags(values: dict[str, float]) -> str:
    return "".join(f"<{key}>{float(value)!r}</{key}>" for key, value in values.items())


def lens(kind: str = "pixels", orientation: str = "XRightYDown") -> str:
    """A photogroup's lens. kind: "pixels", "mm" or "fisheye"."""
    size = f"<ImageDimensions><Width>{WIDTH}</Width><Height>{HEIGHT}</Height></ImageDimensions>"
    axes = ORIENTATIONS[orientation]
    head = f"<CameraOrientation>{orientation}</CameraOrientation>"
    point = tags({"x": CENTRE[0] - 0.5, "y": CENTRE[1] - 0.5})
    if kind == "mm":
        shift = axes.T[:2, :2] @ (np.array(CENTRE) - [WIDTH / 2, HEIGHT / 2]) * PIXEL
        point = tags({"xmm": shift[0], "ymm": shift[1]})
        optics = tags({"SensorSize": PIXEL * WIDTH, "FocalLength": FOCAL * PIXEL})
    elif kind == "fisheye":
        matrix = tags({"M_00": 500.0, "M_01": 0.0, "M_10": 0.0, "M_11": 500.0})
        optics = "<CameraModelType>Fisheye</CameraModelType>"
        optics += f"<FisheyeFocalMatrix>{matrix}</FisheyeFocalMatrix>"
        optics += f"<FisheyeDistortion>{tags(FISHEYE)}</FisheyeDistortion>"
    else:
        optics = tags({"FocalLengthPixels": FOCAL})
    return (
        f"{size}{optics}{head}<PrincipalPoint>{point}</PrincipalPoint><Distortion>{tags(LENS)}</Distortion>"
    )


def photo(
    index: int, orientation: str = "XRightYDown", place: Place = lambda centre: centre, more: str = ""
) -> str:
    rotation, centre = CAMERAS[index]
    matrix = ORIENTATIONS[orientation].T @ rotation
    entries = tags({f"M_{i}{j}": matrix[i, j] for i in range(3) for j in range(3)})
    position = tags(dict(zip("xyz", map(float, place(centre)), strict=True)))
    pose = f"<Pose><Rotation>{entries}</Rotation><Center>{position}</Center></Pose>"
    path = f"D:\\flight\\images\\IMG_{index}.jpg"
    return f"<Photo><Id>{index}</Id><ImagePath>{path}</ImagePath>{more}{pose}</Photo>"


def block(lens_: str, photos: list[str], bulk: bool = False) -> str:
    """A block with one photogroup. bulk: whether its photos are listed beside it, as since version 3.2."""
    inside, beside = ("", f"<BulkPhotos>{''.join(photos)}</BulkPhotos>") if bulk else ("".join(photos), "")
    group = f"<Photogroup><Name>A</Name>{lens_}{inside}</Photogroup>"
    return f"<Block><Photogroups>{group}</Photogroups>{beside}</Block>"


def xml(*blocks: str) -> str:
    head = '<?xml version="1.0" encoding="utf-8"?>\n<BlocksExchange version="3.2">'
    return f"{head}{''.join(blocks)}</BlocksExchange>"


def every_photo(orientation: str = "XRightYDown", place: Place = lambda centre: centre) -> list[str]:
    return [photo(i, orientation, place) for i in range(COUNT)]
