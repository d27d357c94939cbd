"""RealityCapture's cameras: read back, they project as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import COUNT, HEIGHT, WIDTH, assert_same_pixels, projected
from posed_captures import error_of, found
from realitycapture_cases import RC_HEADER, RC_LENS, rc_csv, rc_project, write_rc


@pytest.mark.parametrize("place", [".", "images"])
@pytest.mark.parametrize("counted", [False, True])
def test_realitycapture(tmp_path: Path, place: str, counted: bool) -> None:
    path = write_rc(tmp_path, rc_csv(RC_LENS, counted), place)
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "realitycapture" and posed.warnings == () and posed.photos_given == COUNT
        assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS))


def test_realitycapture_angles_give_the_matrix_it_writes_itself(tmp_path: Path) -> None:
    # One camera's row of the CSV and the matrix in its XMP, as a user of the program published them.
    angles = "163.736597399311,83.4154313461628,174.386496244756"
    expected = [
        [0.982594073038806, 0.185426733553445, -0.0112166890261935],
        [-0.032113633044729, 0.11008102707942, -0.993403685341366],
    ]
    lines = [RC_HEADER, *(f"IMG_{i}.jpg,{i},0,0,{angles},35,0,0,0,0,0,0,0,0" for i in range(COUNT))]
    write_rc(tmp_path, "\n".join(lines))
    np.testing.assert_allclose(found(tmp_path).views[0].world_from_cam[:3, :3].T[:2], expected, atol=1e-9)


def test_realitycapture_looks_straight_down_at_zero(tmp_path: Path) -> None:
    lines = ["#name,x,y,alt,heading,pitch,roll,f", *(f"IMG_{i}.jpg,{i},0,9,0,0,0,35" for i in range(COUNT))]
    write_rc(tmp_path, "\n".join(lines))
    view = found(tmp_path).views[0]
    middle, north, east = projected(view, np.array([[0.0, 0, 0], [0, 1, 0], [1, 0, 0]]))
    np.testing.assert_allclose(middle, [WIDTH / 2, HEIGHT / 2], atol=1e-9)
    assert north[1] < middle[1] and east[0] > middle[0]
    assert view.intrinsics.distortion == (0,) * 5


def test_realitycaptures_fourth_term(tmp_path: Path) -> None:
    lens = RC_LENS | {"k4": 0.02}
    write_rc(tmp_path, rc_csv(lens))
    posed = found(tmp_path)
    assert posed.warnings == ()
    assert_same_pixels(posed, lambda cam: rc_project(cam, lens), within=0.3)
    write_rc(tmp_path, rc_csv(RC_LENS | {"f": 20.0, "k1": 0.0, "k2": 0.0, "k3": 0.0, "k4": 0.5}))
    assert "k4" in found(tmp_path).warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",3.42", ",nan,", "not finite"),
        (",3.42", ",wide", "has no f"),
        (",3.42", ",-3.42", "focal length"),
        (",3.42", ",0.000", "focal length"),
        (",1.1", ",9.9", "principal point"),
        ("e-03", "e+99", "not finite"),
        ("IMG_3.jpg,", "IMG_3.jpg,,", "has no x"),
        ("IMG_3.jpg,", '"IMG_3.jpg,', "has no x"),
    ],
)
def test_malformed_realitycapture_files(tmp_path: Path, old: str, new: str, said: str) -> None:
    good = rc_csv(RC_LENS | {"px": 1.1} if old == ",1.1" else RC_LENS)
    assert old in good
    path = write_rc(tmp_path, good.replace(old, new))
    message = error_of(path)
    assert said in message and str(path) in message


def test_realitycapture_files_without_cameras(tmp_path: Path) -> None:
    path = write_rc(tmp_path, RC_HEADER + "\n")
    assert "no cameras" in error_of(path)
    write_rc(tmp_path, RC_HEADER + "\nIMG_0.jpg,1,2\n")
    assert "IMG_0.jpg" in error_of(path)
    path.write_bytes(RC_HEADER.encode() + b"\n\xff\xfe\x00,1")
    assert "cannot be read" in error_of(path)
