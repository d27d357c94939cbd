"""RealityCapture's cameras: read back, they project as they were written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from app_cases import CAMERAS, COUNT, HEIGHT, WIDTH, assert_same_pixels, projected, write_photos
from posed_captures import error_of, found
from realitycapture_cases import (
    RC_HEADER,
    RC_LENS,
    RS_HEADER,
    degrees,
    opencv_csv,
    rc_csv,
    rc_project,
    rs_csv,
    write_rc,
    write_xmp,
    xmp,
)

from nerfscene.formats.earth import are_degrees, are_geocentric, geocentric, geodetic
from nerfscene.formats.readers import find_posed
from nerfscene.formats.realitycapture import is_realitycapture


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


def test_realityscan_calls_its_columns_otherwise_and_means_the_same(tmp_path: Path) -> None:
    # Its yaw, pitch and roll are defined by other axes than RealityCapture's heading, pitch and roll.
    old = [line.split(",")[4:7] for line in rc_csv(RC_LENS).splitlines()[1:]]
    new = [line.split(",")[4:7] for line in rs_csv(RC_LENS).splitlines()[1:]]
    np.testing.assert_allclose(np.array(new, float), np.array(old, float), atol=1e-9)
    for header in (RS_HEADER, RS_HEADER.lstrip("#"), RS_HEADER.replace(",", ", ").upper()):
        path = write_rc(tmp_path, rs_csv(RC_LENS, header=header))
        for given in (tmp_path, path):
            posed = found(given)
            assert posed.source == "realitycapture" and posed.warnings == ()
            assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS))


def test_realityscans_matrices(tmp_path: Path) -> None:
    lens = RC_LENS | {"k4": 0.01}
    path = write_rc(tmp_path, opencv_csv(lens))
    for given in (tmp_path, path):
        assert_same_pixels(found(given), lambda cam: rc_project(cam, lens), within=0.3)
    (tmp_path / "IMG_4.jpg").unlink()
    assert len(found(tmp_path).views) == COUNT - 1


def test_longitudes_and_latitudes_become_metres(tmp_path: Path) -> None:
    write_rc(tmp_path, rs_csv(RC_LENS, degrees))
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "registration.csv" in warning and "longitudes and latitudes" in warning and "47.37" in warning
    middle = np.mean([centre for _, centre in CAMERAS], axis=0)
    assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS), lambda p: p - middle, within=0.05)


def test_geocentric_positions_become_metres_in_axes_that_the_angles_refer_to(tmp_path: Path) -> None:
    write_rc(tmp_path, rs_csv(RC_LENS, lambda centre: geocentric(np.array([degrees(centre)]))[0]))
    posed = found(tmp_path)
    assert "geocentric" in posed.warnings[0]
    middle = np.mean([centre for _, centre in CAMERAS], axis=0)
    assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS), lambda p: p - middle, within=0.05)


def test_metres_of_a_map_stay_as_they_are(tmp_path: Path) -> None:
    offset = np.array([465432.1, 5246789.2, 450.0])  # UTM zone 32
    write_rc(tmp_path, rs_csv(RC_LENS, lambda centre: centre + offset))
    posed = found(tmp_path)
    assert posed.warnings == ()
    assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS), lambda p: p + offset)


def test_the_ellipsoid() -> None:
    corners = geocentric(np.array([[0.0, 0, 0], [90, 0, 10], [0, 90, 0], [-120, -45, 100]]))
    np.testing.assert_allclose(
        corners[:3], [[6378137, 0, 0], [0, 6378147, 0], [0, 0, 6356752.3142]], atol=1e-3
    )
    np.testing.assert_allclose(geodetic(corners[3]), [-120, -45], atol=1e-12)


def test_what_is_taken_for_degrees() -> None:
    rng = np.random.default_rng(3)
    room = rng.uniform(-2, 2, (20, 3))
    flight = np.array([8.5, 47.4, 500]) + rng.uniform(-1, 1, (50, 3)) * [3e-3, 2e-3, 40]
    level = flight * [1, 1, 0] + [0, 0, 500.0]
    assert are_degrees(flight) and are_degrees(level) and are_degrees(flight[:, [1, 0, 2]])
    assert not are_geocentric(flight) and are_geocentric(geocentric(flight))
    # From a map's origin as far as the ground is from the earth's centre.
    northern_map = np.array([500000.0, 6350000.0, 100.0])
    for metres in (room, room * 0.01, room + np.array([50, 30, 0]), room + northern_map, flight * 1e3):
        assert not are_degrees(metres) and not are_geocentric(metres)


def test_a_lens_with_one_term_may_be_of_another_model(tmp_path: Path) -> None:
    write_rc(tmp_path, rs_csv(dict.fromkeys(RC_LENS, 0.0) | {"f": 34.2, "k1": 0.1}))
    (warning,) = found(tmp_path).warnings
    assert "k1 alone" in warning and "division model" in warning


@pytest.mark.parametrize("point", [".", ","])
def test_a_csv_that_a_spreadsheet_wrote_again(tmp_path: Path, point: str) -> None:
    names = {f"IMG_{i}{point}jpg": f"IMG_{i}.jpg" for i in range(COUNT)}
    text = rc_csv(RC_LENS).replace(",", ";").replace(".", point)
    for changed, name in names.items():
        text = text.replace(changed, name)
    write_rc(tmp_path, text)
    assert_same_pixels(found(tmp_path), lambda cam: rc_project(cam, RC_LENS))


def test_positions_without_lenses_are_no_cameras(tmp_path: Path) -> None:
    path = write_rc(tmp_path, "#name,X/Lon,Y/Lat,Z/Alt,yaw,pitch,roll\nIMG_0.jpg,1,2,3,4,5,6\n")
    assert not is_realitycapture(path) and find_posed(tmp_path) is None
    path.write_text(RS_HEADER)
    assert is_realitycapture(path)


@pytest.mark.parametrize("place", [".", "images", "photos/2"])
def test_xmp_files_beside_the_photos(tmp_path: Path, place: str) -> None:
    write_xmp(tmp_path, [xmp(i, RC_LENS) for i in range(COUNT)], place)
    posed = found(tmp_path)
    assert posed.source == "realitycapture" and posed.warnings == () and posed.photos_given == COUNT
    assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS))


def test_xmp_files_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write_xmp(tmp_path, [xmp(i, RC_LENS) for i in range(COUNT)], "images")
    (tmp_path / "poses").mkdir()
    for path in (tmp_path / "images").glob("*.xmp"):
        path.rename(tmp_path / "poses" / path.name)
    posed = found(tmp_path)
    assert len(posed.views) == COUNT and posed.warnings == ()
    assert_same_pixels(posed, lambda cam: rc_project(cam, RC_LENS))


def test_xmp_files_say_which_model_a_lens_is_of(tmp_path: Path) -> None:
    lens = RC_LENS | {"k1": 0.05}
    write_xmp(tmp_path, [xmp(i, lens, "division") for i in range(COUNT)])

    def divided(cam: np.ndarray) -> np.ndarray:
        plain = dict.fromkeys(RC_LENS, 0.0) | {k: RC_LENS[k] for k in ("f", "px", "py")}
        r2 = ((cam[:, :2] / cam[:, 2:]) ** 2).sum(axis=1)
        return rc_project(np.column_stack([cam[:, :2], cam[:, 2] * (1 + 0.05 * r2)]), plain)

    assert_same_pixels(found(tmp_path), divided, within=0.1)
    write_xmp(tmp_path, [xmp(i, RC_LENS, "perspective") for i in range(COUNT)])
    assert {v.intrinsics.distortion for v in found(tmp_path).views} == {(0,) * 5}
    write_xmp(tmp_path, [xmp(i, RC_LENS, "rationalP2D1") for i in range(COUNT)])
    assert "rationalP2D1" in error_of(tmp_path)


def test_xmp_files_that_are_none_of_realitycaptures(tmp_path: Path) -> None:
    plain = '<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    write_xmp(tmp_path, [plain] * COUNT)
    assert find_posed(tmp_path) is None
    write_xmp(tmp_path, [xmp(0, RC_LENS), plain, xmp(2, RC_LENS), xmp(3, RC_LENS)])
    (tmp_path / "IMG_4.xmp").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == 3 and "2 photos have no pose" in posed.warnings[0]


def test_xmp_files_with_longitudes_and_latitudes_are_refused(tmp_path: Path) -> None:
    texts = [xmp(i, RC_LENS) for i in range(COUNT)]
    for index, (_, centre) in enumerate(CAMERAS):
        position = " ".join(map(repr, degrees(centre)))
        texts[index] = re.sub(r"(<xcr:Position>)[^<]*", rf"\g<1>{position}", texts[index])
    write_xmp(tmp_path, texts)
    assert "longitudes and latitudes" in error_of(tmp_path)


def test_the_largest_component_of_xmp_files_is_taken(tmp_path: Path) -> None:
    parts = ['xcr:ComponentId="{A}"'] * 3 + ['xcr:ComponentId="{B}"'] * 2
    write_xmp(tmp_path, [xmp(i, RC_LENS, more=parts[i]) for i in range(COUNT)])
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert len(posed.views) == 3 and "3 of 5 photos" in warning
    assert {left.name for left in posed.left_out} == {"IMG_3.jpg", "IMG_4.jpg"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</xcr:Position>", " 7</xcr:Position>", "Position"),
        ('Length35mm="34.2"', 'Length35mm="long"', "FocalLength35mm"),
        ("</rdf:RDF>", "", "cannot be read"),
        ("<xcr:Rotation>", "<xcr:Rotation>9 ", "9 numbers"),
        ("<xcr:Rotation>", "<xcr:Rotation>x", "no Rotation"),
    ],
)
def test_malformed_xmp_files(tmp_path: Path, old: str, new: str, said: str) -> None:
    texts = [xmp(i, RC_LENS) for i in range(COUNT)]
    assert old in texts[2]
    write_xmp(tmp_path, [*texts[:2], texts[2].replace(old, new), *texts[3:]])
    assert said in error_of(tmp_path)


@pytest.mark.parametrize("name", ["IMG_{}.jpg.mask.png", "IMG_{}_mask.png", ".mask/IMG_{}.png"])
def test_masks_as_photogrammetry_programs_name_them_are_no_photos(tmp_path: Path, name: str) -> None:
    """Layers of RealityCapture, and masks that Metashape exports beside the photos."""
    write_rc(tmp_path, rs_csv(RC_LENS))
    masks = [tmp_path / name.format(i) for i in range(COUNT)]
    write_photos(masks[0].parent, [mask.name for mask in masks])
    posed = found(tmp_path)
    assert posed.warnings == () and posed.photos_given == COUNT
    assert [view.mask for view in posed.views] == masks
