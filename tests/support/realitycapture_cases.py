"""What RealityCapture exports, written by its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from app_cases import CAMERAS, COUNT, HEIGHT, WIDTH, write_photos
from scipy.spatial.transform import Rotation

Place = Callable[[np.ndarray], np.ndarray | tuple[float, float, float]]

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


RS_HEADER = "#name,x,y,alt,yaw,pitch,roll,f_35mm,px_norm,py_norm,k1,k2,k3,k4,t1,t2"
# Axes north, east, down in terms of east, north, up; and an aircraft's (nose, right wing, down) in terms of
# those of a camera in its floor whose picture has the nose at its top.
NED = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
BODY = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def rs_angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll: turns about z, y and x, in that order, of the aircraft from north, east, down."""
    yaw, pitch, roll = Rotation.from_matrix(NED @ rotation.T @ BODY.T).as_euler("ZYX", degrees=True)
    return float(yaw), float(pitch), float(roll)


def rs_csv(lens: dict[str, float], place: Place = lambda centre: centre, header: str = RS_HEADER) -> str:
    """RealityScan 2's "Internal/External camera parameters"; place: the export's coordinates of a centre."""
    lines = [header]
    for index, (rotation, centre) in enumerate(CAMERAS):
        numbers = [*place(centre), *rs_angles(rotation), *lens.values()]
        lines.append(",".join([f"IMG_{index}.jpg", *(f"{value:.15e}" for value in numbers)]))
    return "\n".join(lines) + "\n"


def opencv_csv(lens: dict[str, float]) -> str:
    """RealityScan's "OpenCV-compliant Internal/External camera parameters"."""
    entries = ",".join(f"R{i}{j}" for i in range(3) for j in range(3))
    lines = [
        f"#name,tx,ty,tz,{entries},f_pix,px_pix,py_pix,k1,k2,t2,t1,k3,k4 (R = [Rij] is row by row, "
        "t = (tx,ty,tz))"
    ]
    longer = max(WIDTH, HEIGHT)
    pixels = [
        lens["f"] / 36 * longer,
        lens["px"] * longer + WIDTH / 2,
        lens["py"] * longer + HEIGHT / 2,
    ]
    for index, (rotation, centre) in enumerate(CAMERAS):
        terms = [lens[term] for term in ("k1", "k2", "t2", "t1", "k3", "k4")]
        numbers = [*(-rotation @ centre), *rotation.ravel(), *pixels, *terms]
        lines.append(",".join([f"IMG_{index}.jpg", *(f"{value:.15e}" for value in numbers)]))
    return "\n".join(lines) + "\n"


ZURICH = 8.54, 47.37, 450.0  # longitude, latitude, height


def degrees(centre: np.ndarray) -> tuple[float, float, float]:
    """Longitude, latitude and height of a point near ZURICH, by the ellipsoid's radii of curvature there."""
    e2 = 0.00669437999014
    sine = math.sin(math.radians(ZURICH[1]))
    normal = 6378137 / math.sqrt(1 - e2 * sine**2)
    meridian = normal * (1 - e2) / (1 - e2 * sine**2)
    east = (normal + ZURICH[2]) * math.cos(math.radians(ZURICH[1]))
    x, y, z = (float(v) for v in centre)
    return (
        ZURICH[0] + math.degrees(x / east),
        ZURICH[1] + math.degrees(y / (meridian + ZURICH[2])),
        ZURICH[2] + z,
    )


def xmp(index: int, lens: dict[str, float], model: str = "brown3t2", more: str = "") -> str:
    """A photo's XMP file."""
    rotation, centre = CAMERAS[index]
    terms = " ".join(repr(lens[term]) for term in ("k1", "k2", "k3", "k4", "t1", "t2"))
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
  <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description xcr:Version="3" xcr:PosePrior="initial" xcr:Coordinates="absolute" {more}
       xcr:DistortionModel="{model}" xcr:FocalLength35mm="{lens["f"]!r}" xcr:Skew="0" xcr:AspectRatio="1"
       xcr:PrincipalPointU="{lens["px"]!r}" xcr:PrincipalPointV="{lens["py"]!r}"
       xcr:CalibrationPrior="initial"
       xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">
      <xcr:Rotation>{" ".join(map(repr, map(float, rotation.ravel())))}</xcr:Rotation>
      <xcr:Position>{" ".join(map(repr, map(float, centre)))}</xcr:Position>
      <xcr:DistortionCoeficients>{terms}</xcr:DistortionCoeficients>
    </rdf:Description>
  </rdf:RDF>
</x:xmpmeta>
"""


def write_xmp(root: Path, texts: list[str], place: str = ".") -> None:
    write_photos(root / place, [f"IMG_{i}.jpg" for i in range(COUNT)])
    for index, text in enumerate(texts):
        (root / place / f"IMG_{index}.xmp").write_text(text)
