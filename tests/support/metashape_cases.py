"""What Metashape exports, written by its definition."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from app_cases import CAMERAS, COUNT, FOCAL, HEIGHT, WIDTH, write_photos
from scipy.spatial.transform import Rotation

CHUNK_TURN = Rotation.from_euler("xyz", [0.3, -0.5, 1.1]).as_matrix()
CHUNK_SCALE, CHUNK_SHIFT = 4.5, np.array([10.0, -20.0, 30.0])


def to_world(points: np.ndarray) -> np.ndarray:
    return CHUNK_SCALE * points @ CHUNK_TURN.T + CHUNK_SHIFT


def metashape_frame(cam: np.ndarray, terms: dict[str, float]) -> np.ndarray:
    """The manual's formulas for frame cameras."""
    t = dict.fromkeys(("cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "b1", "b2"), 0.0) | terms
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r = np.sqrt(x**2 + y**2)
    d = 1 + t["k1"] * r**2 + t["k2"] * r**4 + t["k3"] * r**6 + t["k4"] * r**8
    xd = x * d + (t["p1"] * (r**2 + 2 * x**2) + 2 * t["p2"] * x * y)
    yd = y * d + (t["p2"] * (r**2 + 2 * y**2) + 2 * t["p1"] * x * y)
    u = WIDTH * 0.5 + t["cx"] + xd * t["f"] + xd * t["b1"] + yd * t["b2"]
    return np.stack([u, HEIGHT * 0.5 + t["cy"] + yd * t["f"]], axis=1)


def metashape_fisheye(cam: np.ndarray, terms: dict[str, float]) -> np.ndarray:
    """The manual's formulas for equidistant fisheye cameras: as for frame cameras, from another x and y."""
    x0, y0 = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r0 = np.sqrt(x0**2 + y0**2)
    x, y = x0 * np.arctan(r0) / r0, y0 * np.arctan(r0) / r0
    return metashape_frame(np.stack([x, y, np.ones_like(x)], axis=1), terms)


def metashape_xml(
    terms: dict[str, float],
    kind: str = "frame",
    ending: str = "",
    components: bool = True,
    extra: str = "",
    count: int = COUNT,
) -> str:
    turn, shift = " ".join(map(str, CHUNK_TURN.ravel())), " ".join(map(str, CHUNK_SHIFT))
    transform = (
        f'<transform><rotation locked="true">{turn}</rotation><translation>{shift}</translation>'
        f'<scale locked="true">{CHUNK_SCALE}</scale></transform>'
    )
    cameras = ""
    for index in range(count):
        rotation, centre = CAMERAS[index]
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation.T, centre
        numbers = " ".join(map(repr, map(float, matrix.ravel())))
        cameras += (
            f'<camera id="{index}" sensor_id="0" component_id="0" label="IMG_{index}{ending}">'
            f"<transform>{numbers}</transform><orientation>1</orientation></camera>"
        )
    inside = "".join(f"<{name}>{value!r}</{name}>" for name, value in terms.items())
    calibration = f'<resolution width="{WIDTH}" height="{HEIGHT}"/>{inside}'
    parts = f'<components active_id="0"><component id="0">{transform}</component></components>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1">'
        f'<sensors next_id="1"><sensor id="0" label="X100" type="{kind}">'
        f'<resolution width="{WIDTH}" height="{HEIGHT}"/>'
        f'<calibration type="{kind}" class="initial"><f>99</f></calibration>'
        f'<calibration type="{kind}" class="adjusted">{calibration}</calibration></sensor></sensors>'
        f'{parts if components else ""}<cameras next_id="9" master_id="0">{cameras}{extra}</cameras>'
        f"{'' if components else transform}</chunk></document>"
    )


LENS = {
    "f": FOCAL,
    "cx": 3.5,
    "cy": -2.5,
    "k1": -0.1,
    "k2": 0.05,
    "k3": -0.01,
    "p1": 0.004,
    "p2": -0.003,
    "b1": 2.0,
}


def write_metashape(root: Path, text: str, place: str = ".", ending: str = ".JPG") -> Path:
    write_photos(root / place, [f"IMG_{i}{ending}" for i in range(COUNT)])
    (root / "cameras.xml").write_text(text, encoding="utf-8")
    return root / "cameras.xml"


def metashape_equisolid(cam: np.ndarray, terms: dict[str, float]) -> np.ndarray:
    """The manual's formulas for equisolid fisheye cameras (version 2.3)."""
    across = np.hypot(cam[:, 0], cam[:, 1])
    radius = 2 * np.sin(np.arctan2(across, cam[:, 2]) / 2)
    x, y = radius * cam[:, 0] / across, radius * cam[:, 1] / across
    return metashape_frame(np.stack([x, y, np.ones_like(x)], axis=1), terms)


def metashape_rig(terms: dict[str, float], bands: tuple[tuple[str, ...], ...] = ()) -> str:
    """A multi-camera system: camera 0 is the master, and every other has a sensor of its own.

    bands: the names of each sensor's colours; () for red, green and blue everywhere.
    """
    text = metashape_xml(terms, count=1)
    sensor = re.search(r"<sensor .*?</sensor>", text)
    assert sensor is not None
    master_rotation, master_centre = CAMERAS[0]
    sensors, slaves = "", ""
    for index in range(COUNT):
        rotation, centre = CAMERAS[index]
        own = sensor[0].replace('id="0"', f'id="{index}"', 1)
        names = bands[index] if bands else ("Red", "Green", "Blue")
        listed = "".join(f'<band label="{name}"/>' for name in names)
        own = own.replace("<calibration", f"<bands>{listed}</bands><calibration", 1)
        if index:
            turn = " ".join(map(repr, map(float, (master_rotation @ rotation.T).ravel())))
            place = " ".join(map(repr, map(float, master_rotation @ (centre - master_centre))))
            own = own.replace('type="frame"', 'type="frame" master_id="0"', 1)
            offset = f"<rotation>{turn}</rotation><location>{place}</location>"
            own = own.replace("</sensor>", f"{offset}</sensor>")
            ids = f'id="{index}" sensor_id="{index}" component_id="0" master_id="0"'
            slaves += f'<camera {ids} label="IMG_{index}"/>'
        sensors += own
    return text.replace(sensor[0], sensors).replace("</cameras>", f"{slaves}</cameras>")
