"""Pix4D's calibrated camera parameters: read back, they project as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, HEIGHT, WIDTH, assert_same_pixels, write_photos
from posed_captures import error_of, found

from nerfscene.formats.readers import find_posed

HEAD = """fileName imageWidth imageHeight
camera matrix K [3x3]
radial distortion [3x1]
tangential distortion [2x1]
camera position t [3x1]
camera rotation R [3x3]
camera model m = K [R|-Rt] X

"""
MATRIX = np.array([[380.5, 0, 203.25], [0, 380.5, 148.5], [0, 0, 1]])
RADIAL, TANGENTIAL = (-0.09, 0.05, -0.01), (0.002, -0.003)


def row(values: np.ndarray | tuple[float, ...]) -> str:
    return " ".join(f"{value:.20f}" for value in values)


def parameters(name: str = "IMG_{}.jpg") -> str:
    text = HEAD
    for index, (rotation, centre) in enumerate(CAMERAS):
        lines = [f"{name.format(index)} {WIDTH} {HEIGHT}", *map(row, MATRIX), row(RADIAL), row(TANGENTIAL)]
        text += "\n".join([*lines, row(centre), *map(row, rotation)]) + "\n"
    return text


def project(cam: np.ndarray) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    (k1, k2, k3), (t1, t2) = RADIAL, TANGENTIAL
    r2 = x**2 + y**2
    d = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * d + 2 * t1 * x * y + t2 * (r2 + 2 * x**2)
    v = y * d + 2 * t2 * x * y + t1 * (r2 + 2 * y**2)
    return np.stack([u, v], axis=1) * [MATRIX[0, 0], MATRIX[1, 1]] + MATRIX[:2, 2]


def write(root: Path, text: str, place: str = ".", name: str = "IMG_{}.jpg") -> Path:
    write_photos(root / "images", [name.format(i) for i in range(COUNT)])
    path = root / place / "site_calibrated_camera_parameters.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["IMG_{}.jpg", "IMG {} 2.jpg"])
@pytest.mark.parametrize("place", [".", "1_initial/params"])
def test_pix4d(tmp_path: Path, place: str, name: str) -> None:
    path = write(tmp_path, parameters(name), place, name)
    for given in (tmp_path, path) if place == "." else (tmp_path,):
        posed = found(given)
        assert posed.source == "pix4d" and posed.warnings == () and posed.photos_given == COUNT
        assert_same_pixels(posed, project)


def test_pix4d_beside_photos_that_it_does_not_list(tmp_path: Path) -> None:
    write(tmp_path, parameters())
    write_photos(tmp_path / "images", ["IMG_9.jpg"])
    (warning,) = found(tmp_path).warnings
    assert "IMG_9.jpg" in warning


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.00200000000000000004 ", "0.002x ", "camera matrix"),
        ("380.5", "-380.5", "focal length"),
        ("0.00200000000000000004 ", "", "rotation"),
    ],
)
def test_malformed_pix4d_files(tmp_path: Path, old: str, new: str, said: str) -> None:
    good = parameters()
    assert old in good
    assert said in error_of(write(tmp_path, good.replace(old, new)))


def test_a_head_alone_is_passed_over_beside_photos(tmp_path: Path) -> None:
    write(tmp_path, HEAD)
    assert find_posed(tmp_path) is None
