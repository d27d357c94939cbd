"""What holds for every app's file of cameras: how it is found, what is refused, and in which words."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import (
    CAMERAS,
    COUNT,
    FOCAL,
    HEIGHT,
    POINTS,
    WIDTH,
    Project,
    projected,
    write_json,
    write_photos,
)
from metashape_cases import LENS, metashape_frame, metashape_xml, to_world, write_metashape
from open_sfm_cases import OPENSFM_LENSES, openmvg, openmvg_project, opensfm, opensfm_project
from phone_app_cases import record3d, write_polycam, write_record3d
from PIL import Image
from posed_captures import error_of, found
from realitycapture_cases import RC_LENS, rc_csv, rc_project, write_rc

from nerfscene.cameras.lens_fit import fitted, projection
from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.types import Intrinsics


def every_format(root: Path) -> dict[str, Path]:
    """Writes a capture in each format into a folder of its own; returns its JSON file, or else the folder."""
    write_polycam(root / "polycam")
    (root / "record3d").mkdir()
    write_record3d(root / "record3d", record3d())
    write_metashape(root / "metashape", metashape_xml(LENS))
    write_rc(root / "realitycapture", rc_csv(RC_LENS))
    write_json(root / "opensfm", "reconstruction.json", [opensfm(OPENSFM_LENSES[3])])
    write_json(root / "openmvg", "sfm_data.json", openmvg("pinhole_radial_k3", "disto_k3", [0.0] * 3, False))
    return {
        "polycam": root / "polycam/cameras/1002.json",
        "record3d": root / "record3d/metadata.json",
        "opensfm": root / "opensfm/reconstruction.json",
        "openmvg": root / "openmvg/sfm_data.json",
    }


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of keys to everything in nested values; of long lists only to the first items."""
    out = [at] if at else []
    if isinstance(value, dict):
        for key, inner in list(value.items())[:20]:
            out += leaves(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            out += leaves(inner, (*at, index))
    return out


WRONG = (None, "x", math.nan, "gone", math.inf, -1, 10**400, [], {}, [[1], 2])


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((kind, wrong) for kind in ("polycam", "record3d", "openmvg") for wrong in WRONG),
        # OpenSfM's is the file with most values.
        *(pytest.param("opensfm", w, marks=[pytest.mark.long] * (i > 3)) for i, w in enumerate(WRONG)),
    ],
)
def test_any_wrong_value_in_json_leads_to_a_clear_sentence_at_worst(
    tmp_path: Path, kind: str, wrong: Any
) -> None:
    """Any one value replaced or missing: the capture is read, or one sentence says why not."""
    path = every_format(tmp_path)[kind]
    good = path.read_text()
    refused = 0
    for place in leaves(json.loads(good)):
        values = json.loads(good)
        inner = values
        for key in place[:-1]:
            inner = inner[key]
        if wrong == "gone":
            del inner[place[-1]]
        else:
            inner[place[-1]] = wrong
        path.write_text(json.dumps(values))
        try:
            posed = find_posed(tmp_path / kind)
        except NerfsceneError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error), place
        else:
            for view in posed.views if posed else ():
                assert np.isfinite(view.world_from_cam).all() and view.intrinsics.fx > 0, place
    assert refused > 3


@pytest.mark.parametrize("kind", ["polycam", "record3d", "opensfm", "openmvg"])
def test_json_that_is_cut_off(tmp_path: Path, kind: str) -> None:
    path = every_format(tmp_path)[kind]
    text = path.read_text()
    path.write_text(text[:-5])
    message = error_of(tmp_path / kind)
    assert "is not valid JSON" in message and str(path) in message


def test_stray_files_beside_photos_are_passed_over(tmp_path: Path) -> None:
    write_photos(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    (tmp_path / "images").mkdir()
    (tmp_path / "cameras").mkdir()
    (tmp_path / "rgb").mkdir()
    marker = '<document><chunk><cameras><camera id="0" label="a"/></cameras></chunk></document>'
    strays = {
        "markers.xml": marker,
        "project.xml": '<document><chunks><chunk id="0" path="0/chunk.zip"/></chunks></document>',
        "a.xml": "<rss><item>&nonsense;</item></rss>",
        "broken.xml": "<document><chunk",
        "empty.xml": "",
        "ground_control.csv": "#name,x,y,alt\na,1,2,3\n",
        "log.csv": "time,x,y,alt,heading,pitch,roll,f\n1,2,3,4,5,6,7,8\n",
        "empty.csv": "",
        "metadata.json": '{"title": "a holiday"}',
        "reconstruction.json": "[1, 2]",
        "sfm_data.json": "{}",
        "cameras/a.json": '{"lens": 1}',
    }
    for name, text in strays.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.xml").write_bytes(bytes(range(256)) * 300)
    (tmp_path / "folder.xml").mkdir()
    assert find_posed(tmp_path) is None
    for name in ("a.xml", "log.csv", "binary.xml", "a.jpg"):
        assert find_posed(tmp_path / name) is None


def test_what_was_known_before_is_preferred(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml(LENS))
    frames = [
        {"file_path": f"IMG_{i}.JPG", "transform_matrix": np.diag([1.0, 1, 1, 1]).tolist()}
        for i in range(COUNT)
    ]
    for index, frame in enumerate(frames):
        frame["transform_matrix"][0][3] = index  # type: ignore[index]
    values = {"fl_x": 300.0, "w": WIDTH, "h": HEIGHT, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    assert found(tmp_path).source == "transforms"


def test_two_exports_of_a_kind_are_not_chosen_among(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml(LENS))
    shutil.copy(tmp_path / "cameras.xml", tmp_path / "old.xml")
    message = error_of(tmp_path)
    assert "cameras.xml" in message and "old.xml" in message
    assert found(tmp_path / "old.xml").source == "metashape"


def test_photos_shrunk_after_the_export_take_their_lens_along(tmp_path: Path) -> None:
    write_polycam(tmp_path / "phone", size=(WIDTH // 2, HEIGHT // 2))
    assert found(tmp_path / "phone").views[0].intrinsics.fx == pytest.approx(FOCAL / 2)
    write_polycam(tmp_path / "turned", size=(HEIGHT, WIDTH))
    assert "turned on its side" in error_of(tmp_path / "turned")


def stored(kind: str, root: Path) -> Project:
    """Writes a capture whose cameras see the pixels as stored; returns the app's own projection."""
    if kind == "metashape":
        write_metashape(root, metashape_xml(LENS, ending=".jpg"), "images", ".jpg")
        return lambda cam: metashape_frame(cam, LENS)
    if kind == "opensfm":
        write_json(root, "reconstruction.json", [opensfm(OPENSFM_LENSES[3])])
        return lambda cam: opensfm_project(cam, OPENSFM_LENSES[3])
    if kind == "realitycapture":
        write_rc(root, rc_csv(RC_LENS), "images")
        return lambda cam: rc_project(cam, RC_LENS)
    terms = [-0.1, 0.03, 0.01, 0.002, -0.003]
    write_json(root, "sfm_data.json", openmvg("pinhole_brown_t2", "disto_t2", terms, True))
    return lambda cam: openmvg_project(cam, "pinhole_brown_t2", terms)


@pytest.mark.parametrize("kind", ["metashape", "realitycapture", "opensfm", "openmvg"])
@pytest.mark.parametrize(("orientation", "size"), [(6, (300, 400)), (3, (400, 300)), (8, (300, 400))])
def test_cameras_of_stored_pixels_follow_the_photo(
    tmp_path: Path, kind: str, orientation: int, size: tuple[int, int]
) -> None:
    """Some apps ignore EXIF's orientation; points must follow photos that are turned upright."""
    project = stored(kind, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for photo in sorted((tmp_path / "images").iterdir()):
        Image.new("RGB", (WIDTH, HEIGHT)).save(photo, exif=exif)
    world = to_world if kind == "metashape" else np.array
    for view, (rotation, centre) in zip(found(tmp_path).views, CAMERAS, strict=True):
        u, v = project((POINTS - centre) @ rotation.T).T
        shown = {6: (HEIGHT - v, u), 3: (WIDTH - u, HEIGHT - v), 8: (v, WIDTH - u)}[orientation]
        np.testing.assert_allclose(projected(view, world(POINTS)), np.stack(shown, axis=1), atol=0.01)
        assert (view.intrinsics.width, view.intrinsics.height) == size


def test_names_in_messages_stay_on_one_line(tmp_path: Path) -> None:
    values = opensfm(OPENSFM_LENSES[0])
    values["shots"]["a\nb" * 500] = values["shots"]["IMG_0.jpg"] | {"rotation": None}
    write_json(tmp_path, "reconstruction.json", [values])
    assert "rotation" in error_of(tmp_path)
    values["shots"]["a\nb" * 500] = values["shots"]["IMG_0.jpg"]
    write_json(tmp_path, "reconstruction.json", [values])
    (warning,) = found(tmp_path).warnings
    assert "\n" not in warning and len(warning) < 300


def test_masks_are_found(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml(LENS), "images")
    (tmp_path / "masks").mkdir()
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "masks/IMG_1.png")
    assert [view.mask is not None for view in found(tmp_path).views] == [False, True, False, False, False]


def test_a_fit_of_a_lens_of_ours_is_that_lens() -> None:
    for kind, terms in (
        ("perspective", (-0.1, 0.05, 0.002, -0.001, 0.01)),
        ("fisheye", (0.05, -0.02, 0.01, 0.003, 0)),
    ):
        truth = Intrinsics(WIDTH, HEIGHT, 300, 305, 210, 140, kind, terms)  # type: ignore[arg-type]
        start = Intrinsics(WIDTH, HEIGHT, 300, 305, 210, 140, kind)  # type: ignore[arg-type]
        best, off = fitted(start, projection(truth))
        assert off < 1e-6
        np.testing.assert_allclose(best.distortion, terms, atol=1e-5)
