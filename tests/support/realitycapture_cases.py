"""What RealityCapture exports, written by its definition."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from app_cases import CAMERAS, COUNT, HEIGHT, WIDTH, write_photos

RC_HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"
RC_LENS = {
    "f": 34.2,
    "px": 0.011,
    "py": -0.007,
    "k1": -0.08,
    "k2": 0.04,
    "k3": -0.01,
    "k4": 0.0,
    "t1": 0.002,
    "t2": -0.003,
}


def rc_rotation(heading: float, pitch: float, roll: float) -> np.ndarray:
    """cam_from_world by the makers' own formulas ("Registration export and camera orientations")."""
    cx, cy, cz = (math.cos(math.radians(a)) for a in (roll, pitch, heading))
    sx, sy, sz = (math.sin(math.radians(a)) for a in (roll, pitch, heading))
    return np.array(
        [
            [cx * cz + sx * sy * sz, -cx * sz + cz * sx * sy, -cy * sx],
            [-cy * sz, -cy * cz, -sy],
            [cx * sy * sz - cz * sx, cx * cz * sy + sx * sz, -cx * cy],
        ]
    )


def rc_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Heading, pitch, roll, read off the entries of rc_rotation."""
    pitch = math.asin(-rotation[1, 2])
    heading, roll = math.atan2(-rotation[1, 0], -rotation[1, 1]), math.atan2(-rotation[0, 2], -rotation[2, 2])
    return math.degrees(heading), math.degrees(pitch), math.degrees(roll)


def rc_project(cam: np.ndarray, lens: dict[str, float]) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r2 = x**2 + y**2
    d = 1 + lens["k1"] * r2 + lens["k2"] * r2**2 + lens["k3"] * r2**3 + lens["k4"] * r2**4
    u = x * d + lens["t1"] * (r2 + 2 * x**2) + 2 * lens["t2"] * x * y
    v = y * d + lens["t2"] * (r2 + 2 * y**2) + 2 * lens["t1"] * x * y
    shares = np.stack([u, v], axis=1) * lens["f"] / 36 + [lens["px"], lens["py"]]
    return shares * max(WIDTH, HEIGHT) + [WIDTH / 2, HEIGHT / 2]


def rc_csv(lens: dict[str, float], counted: bool = False) -> str:
    lines = [f"#cameras {COUNT}"] * counted + [RC_HEADER]
    for index, (rotation, centre) in enumerate(CAMERAS):
        numbers = [*centre, *rc_angles(rotation), *lens.values()]
        lines.append(",".join([f"IMG_{index}.jpg", *(f"{value:.15e}" for value in numbers)]))
    return "\n".join(lines) + "\n"


def write_rc(root: Path, text: str, place: str = ".") -> Path:
    write_photos(root / place, [f"IMG_{i}.jpg" for i in range(COUNT)])
    (root / "registration.csv").write_text(text, encoding="utf-8")
    return root / "registration.csv"
