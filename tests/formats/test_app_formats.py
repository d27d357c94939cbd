"""Cameras that other apps exported: each format, written by its own definition, must project alike."""

from __future__ import annotations

import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from posed_captures import error_of, found
from scipy.spatial.transform import Rotation

from nerfscene import intake
from nerfscene.cameras.lens_fit import fitted, projection
from nerfscene.capture.footage import is_video
from nerfscene.errors import NerfsceneError
from nerfscene.formats.phone_apps import MOST_FRAMES
from nerfscene.formats.readers import find_posed, unread_cameras
from nerfscene.intake import open_posed
from nerfscene.types import Intrinsics, PosedCapture, View

WIDTH, HEIGHT = 400, 300
FOCAL = 380.0
COUNT = 5
POINTS = np.random.default_rng(5).uniform(-0.8, 0.8, (30, 3))  # in sight of every camera
OPENGL = np.diag([1.0, -1.0, -1.0])

Project = Callable[[np.ndarray], np.ndarray]  # (n, 3) in camera axes, OpenCV's → pixels (n, 2)


def camera(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation of cam_from_world (OpenCV axes) and centre of a camera that looks at the origin from 3 off."""
    angle = 0.5 * index
    centre = 3 * np.array([math.cos(angle), math.sin(angle), 0.2 + 0.05 * index])
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.1, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward]), centre


CAMERAS = [camera(index) for index in range(COUNT)]


def write_photos(folder: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size, (90, 100, 110)).save(folder / name)


def projected(view: View, points: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) of world points, by OpenCV's formulas."""
    lens = view.intrinsics
    cam = (points - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
    assert (cam[:, 2] > 0).all()
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    k = lens.distortion
    if lens.lens == "fisheye":
        r = np.hypot(x, y)
        t = np.arctan(r)
        s = t * (1 + k[0] * t**2 + k[1] * t**4 + k[2] * t**6 + k[3] * t**8) / r
        u, v = x * s, y * s
    else:
        r2 = x * x + y * y
        d = 1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3
        u = x * d + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x)
        v = y * d + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y
    return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)


def assert_same_pixels(
    posed: PosedCapture,
    project: Project,
    world: Callable[[np.ndarray], np.ndarray] = lambda p: p,
    within: float = 0.01,
) -> None:
    """Each view sees POINTS, moved as ``world`` says, where the app's own formulas put them."""
    assert len(posed.views) == COUNT
    for view, (rotation, centre) in zip(posed.views, CAMERAS, strict=True):
        expected = project((POINTS - centre) @ rotation.T)
        np.testing.assert_allclose(projected(view, world(POINTS)), expected, rtol=0, atol=within)
        turn = view.world_from_cam[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert (view.intrinsics.width, view.intrinsics.height) == (WIDTH, HEIGHT)


def pinhole(
    cam: np.ndarray, fx: float = FOCAL, fy: float = 385.0, cx: float = 203, cy: float = 148
) -> np.ndarray:
    return cam[:, :2] / cam[:, 2:] * [fx, fy] + [cx, cy]


# ---- phones


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


@pytest.mark.parametrize("place", [".", "keyframes"])
def test_polycam(tmp_path: Path, place: str) -> None:
    write_polycam(tmp_path / place)
    (tmp_path / "mesh_info.json").write_text("{}")
    posed = found(tmp_path)
    assert posed.source == "polycam" and posed.warnings == () and posed.photos_given == COUNT
    assert_same_pixels(posed, pinhole)


def test_polycams_corrected_cameras_are_preferred(tmp_path: Path) -> None:
    write_polycam(tmp_path / "keyframes")
    write_polycam(tmp_path / "keyframes", "corrected_")
    assert {v.path.parent.name for v in found(tmp_path).views} == {"corrected_images"}
    shutil.rmtree(tmp_path / "keyframes/corrected_images")
    assert {v.path.parent.name for v in found(tmp_path).views} == {"images"}


def test_polycam_frames_without_photo_are_left_out(tmp_path: Path) -> None:
    write_polycam(tmp_path)
    (tmp_path / "images/1001.jpg").unlink()
    posed = found(tmp_path)
    assert len(posed.views) == COUNT - 1 and posed.left_out[0].name == "1001"
    (warning,) = posed.warnings
    assert "1 of the 5" in warning


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


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_record3d(tmp_path: Path, suffix: str) -> None:
    write_record3d(tmp_path, record3d(), suffix)
    for path in (tmp_path, tmp_path / "metadata.json"):
        posed = found(path)
        assert posed.source == "record3d" and posed.warnings == () and posed.root == tmp_path
        assert_same_pixels(posed, pinhole)


def test_record3d_frames_have_lenses_of_their_own(tmp_path: Path) -> None:
    each = [[FOCAL + i, 385.0 - i, 203 + i, 148 - i] for i in range(COUNT)]
    write_record3d(tmp_path, record3d() | {"perFrameIntrinsicCoeffs": each})
    lenses = [view.intrinsics for view in found(tmp_path).views]
    assert [[k.fx, k.fy, k.cx, k.cy] for k in lenses] == each


def test_long_recordings_are_thinned_evenly(tmp_path: Path) -> None:
    write_record3d(tmp_path, record3d(MOST_FRAMES + 50))
    posed = found(tmp_path)
    numbers = [int(view.path.stem) for view in posed.views]
    assert len(numbers) == MOST_FRAMES and numbers[0] == 0 and numbers[-1] == MOST_FRAMES + 49
    assert set(np.diff(numbers)) == {1, 2}
    (warning,) = posed.warnings
    assert str(MOST_FRAMES) in warning


def test_record3d_photos_without_a_pose_are_told(tmp_path: Path) -> None:
    write_record3d(tmp_path, record3d())
    write_photos(tmp_path / "rgb", ["5.jpg", "6.jpg"])
    posed = found(tmp_path)
    assert len(posed.views) == COUNT and [left.name for left in posed.left_out] == ["5.jpg", "6.jpg"]
    assert "2 photos have no pose" in posed.warnings[0]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["walk.r3d", "download"])
def test_record3ds_own_files(tmp_path: Path, packing: int, name: str) -> None:
    values = record3d(12)  # more than nine, so that 10 must come after 9
    write_photos(tmp_path, ["photo.jpg"])
    with zipfile.ZipFile(tmp_path / name, "w", packing) as packed:
        for index in range(len(values["poses"])):
            packed.write(tmp_path / "photo.jpg", f"rgbd/{index}.jpg")
            packed.writestr(f"rgbd/{index}.depth", b"depth")
            packed.writestr(f"rgbd/{index}.conf", b"confidence")
        packed.writestr("metadata", json.dumps(values))
        packed.write(tmp_path / "photo.jpg", "icon")
    assert not is_video(tmp_path / name)
    posed = open_posed(tmp_path / name, tmp_path / "work")
    assert posed.source == "record3d" and posed.warnings == () and len(posed.views) == 12
    assert_same_pixels(replace(posed, views=posed.views[:COUNT]), pinhole)
    assert not [*posed.root.rglob("*.depth"), *posed.root.rglob("*.conf")]
    assert len(found(posed.root / "metadata").views) == 12


def test_record3d_cameras_without_their_photos(tmp_path: Path) -> None:
    (tmp_path / "rgbd").mkdir()
    (tmp_path / "metadata").write_text(json.dumps(record3d()))
    message = error_of(tmp_path)
    assert str(tmp_path / "rgbd") in message and ".r3d" in message


# ---- Metashape

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
    """The manual's formulas for (equidistant) fisheye cameras: those of frame, of another x and y."""
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


@pytest.mark.parametrize("components", [True, False])
@pytest.mark.parametrize("ending", ["", ".JPG"])
@pytest.mark.parametrize("place", [".", "images", "images/100CANON"])
def test_metashape_frame_cameras(tmp_path: Path, place: str, ending: str, components: bool) -> None:
    path = write_metashape(tmp_path, metashape_xml(LENS, ending=ending, components=components), place)
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "metashape" and posed.warnings == () and posed.photos_given == COUNT
        assert_same_pixels(posed, lambda cam: metashape_frame(cam, LENS), to_world)


def test_metashape_fisheye_cameras(tmp_path: Path) -> None:
    terms = {"f": 300.0, "cx": -4.0, "cy": 2.0, "k1": 0.05, "k2": -0.02, "k3": 0.01, "k4": -0.004}
    write_metashape(tmp_path, metashape_xml(terms, "fisheye"))
    posed = found(tmp_path)
    assert posed.warnings == () and {v.intrinsics.lens for v in posed.views} == {"fisheye"}
    assert_same_pixels(posed, lambda cam: metashape_fisheye(cam, terms), to_world)


@pytest.mark.parametrize(
    ("kind", "more", "within"),
    [("frame", {"k4": 0.02}, 0.3), ("frame", {"b2": 0.4}, 0.5), ("fisheye", {"p1": 1e-4}, 0.3)],
)
def test_small_foreign_terms_are_approximated(
    tmp_path: Path, kind: str, more: dict[str, float], within: float
) -> None:
    terms = ({"f": FOCAL, "k1": -0.05} if kind == "fisheye" else LENS) | more
    write_metashape(tmp_path, metashape_xml(terms, kind))
    posed = found(tmp_path)
    formula = metashape_fisheye if kind == "fisheye" else metashape_frame
    assert posed.warnings == ()
    assert_same_pixels(posed, lambda cam: formula(cam, terms), to_world, within)


def test_large_foreign_terms_are_told(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml(LENS | {"b2": 9.0}))
    (warning,) = found(tmp_path).warnings
    assert "off by up to" in warning and "undistorted" in warning


def test_a_lens_that_folds_is_refused(tmp_path: Path) -> None:
    write_metashape(tmp_path, metashape_xml({"f": FOCAL, "k1": -3.0, "k4": 0.5}))
    assert "folds" in error_of(tmp_path)


@pytest.mark.parametrize("kind", ["spherical", "cylindrical", "equisolid_fisheye"])
def test_other_metashape_sensors_are_refused(tmp_path: Path, kind: str) -> None:
    write_metashape(tmp_path, metashape_xml(LENS, kind))
    message = error_of(tmp_path)
    assert kind in message and "frame" in message


def test_metashape_cameras_without_a_pose_are_left_out(tmp_path: Path) -> None:
    extra = '<group id="0" label="more"><camera id="8" sensor_id="0" label="IMG_8"/></group>'
    write_metashape(tmp_path, metashape_xml(LENS, extra=extra))
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "1 of the 6 cameras" in warning and "IMG_8" in warning
    assert [left.name for left in posed.left_out] == ["IMG_8"] and len(posed.views) == COUNT


def test_the_largest_of_metashapes_parts_is_taken(tmp_path: Path) -> None:
    text = metashape_xml(LENS)
    other = text.replace('component_id="0"', 'component_id="1"', 2)
    write_metashape(tmp_path, other)
    posed = found(tmp_path)
    assert len(posed.views) == 3 and "2 components" in posed.warnings[0]
    assert {left.name for left in posed.left_out} == {"IMG_0", "IMG_1"}
    small = metashape_xml(LENS, count=2)
    chunk = small[small.index("<chunk") : small.index("</document>")]
    (tmp_path / "cameras.xml").write_text(text.replace("</document>", chunk + "</document>"))
    posed = found(tmp_path)
    assert len(posed.views) == COUNT and "2 chunks" in posed.warnings[0]


def test_photos_may_be_elsewhere(tmp_path: Path) -> None:
    path = write_metashape(tmp_path / "export", metashape_xml(LENS))
    shutil.copytree(tmp_path / "export", tmp_path / "photos", ignore=shutil.ignore_patterns("*.xml"))
    for photo in (tmp_path / "export").glob("*.JPG"):
        photo.unlink()
    assert "none of the 5 photos" in error_of(path)
    posed = found(path, tmp_path / "photos")
    assert {view.path.parent for view in posed.views} == {tmp_path / "photos"}


def test_two_photos_of_a_name_are_told_apart_by_their_folders_or_refused(tmp_path: Path) -> None:
    text = metashape_xml(LENS)
    write_metashape(tmp_path, text, "images/a")
    write_photos(tmp_path / "images/b", ["IMG_3.JPG"])
    message = error_of(tmp_path)
    assert "IMG_3" in message and "2 of that name" in message
    (tmp_path / "cameras.xml").write_text(text.replace('"IMG_3"', '"a/IMG_3.JPG"'))
    assert [v.path.parent.name for v in found(tmp_path).views] == ["a"] * COUNT


def test_cameras_of_one_name_are_not_told_apart_by_how_deep_their_photos_lie(tmp_path: Path) -> None:
    text = metashape_xml(LENS).replace('"IMG_4"', '"IMG_3"')
    write_metashape(tmp_path, text, "images")
    write_photos(tmp_path / "images/second card", ["IMG_3.JPG"])
    assert "2 of that name" in error_of(tmp_path)


def test_metashape_files_without_a_pose(tmp_path: Path) -> None:
    """The file itself is refused with a reason; beside photos it is passed over, and these can be posed."""
    path = write_metashape(tmp_path, re.sub("<transform>[-0-9. e]+</transform>", "", metashape_xml(LENS)))
    message = error_of(path)
    assert "no camera with a pose" in message and str(path) in message
    assert find_posed(tmp_path) is None


def test_a_doctype_is_refused_before_it_can_grow(tmp_path: Path) -> None:
    lines = "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE document [<!ENTITY x0 "ha">{lines}]>'
    text = metashape_xml(LENS, extra="<note>&x11;</note>").replace("<document", f"{bomb}<document", 1)
    write_metashape(tmp_path, text)
    assert "DOCTYPE" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[: len(t) // 2], "cannot be read"),
        (lambda t: t.replace("</chunk>", "", 1), "cannot be read"),
        (lambda t: t.replace('encoding="UTF-8"', 'encoding="klingon"'), "cannot be read"),
        (lambda t: t.replace("<f>380.0</f>", "<f>long</f>"), "no f"),
        (lambda t: t.replace("<f>380.0</f>", "<f>nan</f>"), "not finite"),
        (lambda t: t.replace("<f>380.0</f>", "<f>-1</f>"), "focal length"),
        (lambda t: t.replace("<f>380.0</f>", ""), "focal length"),
        (lambda t: t.replace("<cx>3.5</cx>", "<cx>3000</cx>"), "principal point"),
        (lambda t: t.replace(f'width="{WIDTH}"', 'width="wide"'), "picture of 0"),
        (lambda t: t.replace('<scale locked="true">4.5', "<scale>-4.5"), "scale"),
        (lambda t: t.replace("<transform>", "<transform>1 ", 2), "16 numbers"),
        (lambda t: t.replace('sensor_id="0"', 'sensor_id="7"'), "sensor 7"),
        (lambda t: t.replace("calibration", "kalibration"), "no calibration"),
    ],
)
def test_malformed_metashape_files(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    good = metashape_xml(LENS, components=False)
    changed = change(good)
    assert changed != good
    path = write_metashape(tmp_path, changed)
    message = error_of(path)
    assert said in message and str(path) in message


# ---- RealityCapture

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
    """cam_from_world as the makers write it out (Registration export and camera orientations)."""
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
    u = x * d + lens["t2"] * (r2 + 2 * x**2) + 2 * lens["t1"] * x * y
    v = y * d + lens["t1"] * (r2 + 2 * y**2) + 2 * lens["t2"] * x * y
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


# ---- OpenSfM, OpenMVG


def opensfm(camera_: dict[str, Any], count: int = COUNT) -> dict[str, Any]:
    shots = {}
    for index, (rotation, centre) in enumerate(CAMERAS[:count]):
        shots[f"IMG_{index}.jpg"] = {
            "rotation": Rotation.from_matrix(rotation).as_rotvec().tolist(),
            "translation": (-rotation @ centre).tolist(),
            "camera": "v2 phone",
            "orientation": 1,
        }
    points = {str(i): {"coordinates": p.tolist(), "color": [10.0, 20, 30 + i]} for i, p in enumerate(POINTS)}
    sized = {"width": WIDTH, "height": HEIGHT} | camera_
    return {"cameras": {"v2 phone": sized}, "shots": shots, "points": points}


def opensfm_pixels(shares: np.ndarray) -> np.ndarray:
    """The documentation's matrix, whose pixels count from the middle of the first; ours from its corner."""
    return shares * max(WIDTH, HEIGHT) + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2] + 0.5


def opensfm_project(cam: np.ndarray, c: dict[str, Any]) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    k1, k2, k3, k4, p1, p2 = (c.get(k, 0.0) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    focal = [c.get("focal_x", c.get("focal")), c.get("focal_y", c.get("focal"))]
    if "fisheye" in c["projection_type"]:
        r = np.hypot(x, y)
        t = np.arctan(r)
        d = t / r * (1 + k1 * t**2 + k2 * t**4 + k3 * t**6 + k4 * t**8)
        uv = np.stack([d * x, d * y], axis=1)
    else:
        r2 = x**2 + y**2
        d = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        u = d * x + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        uv = np.stack([u, d * y + 2 * p2 * x * y + p1 * (r2 + 2 * y**2)], axis=1)
    return opensfm_pixels(uv * focal + [c.get("c_x", 0.0), c.get("c_y", 0.0)])


def write_json(root: Path, name: str, values: Any) -> Path:
    write_photos(root / "images", [f"IMG_{i}.jpg" for i in range(COUNT)])
    (root / name).write_text(json.dumps(values))
    return root / name


TWO = {"focal_x": 0.95, "focal_y": 0.96, "c_x": 0.01, "c_y": -0.02}
OPENSFM_LENSES: list[dict[str, Any]] = [
    {"projection_type": "perspective", "focal": 0.95, "k1": -0.1, "k2": 0.03},
    {"projection_type": "simple_radial", **TWO, "k1": -0.1},
    {"projection_type": "radial", **TWO, "k1": -0.1, "k2": 0.03},
    {"projection_type": "brown", **TWO, "k1": -0.1, "k2": 0.03, "k3": 0.01, "p1": 0.002, "p2": -0.003},
    {"projection_type": "fisheye", "focal": 0.8, "k1": -0.05, "k2": 0.01},
    {"projection_type": "fisheye_opencv", **TWO, "k1": -0.05, "k2": 0.01, "k3": 0.002, "k4": -0.001},
]


@pytest.mark.parametrize("lens", OPENSFM_LENSES, ids=lambda lens: lens["projection_type"])
def test_opensfm(tmp_path: Path, lens: dict[str, Any]) -> None:
    path = write_json(tmp_path, "reconstruction.json", [opensfm(lens, 2), opensfm(lens)])
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "opensfm" and posed.photos_given == COUNT
        assert_same_pixels(posed, lambda cam: opensfm_project(cam, lens))
        np.testing.assert_allclose(posed.points, POINTS, atol=1e-12)
        assert posed.point_colors[4].tolist() == [10, 20, 34]
        (warning,) = posed.warnings
        assert "2 reconstructions" in warning and "5 of 7" in warning


def test_opensfm_refuses_what_has_no_such_lens(tmp_path: Path) -> None:
    write_json(tmp_path, "reconstruction.json", [opensfm({"projection_type": "spherical"})])
    assert "spherical" in error_of(tmp_path)


def test_photos_that_are_in_no_reconstruction_are_told(tmp_path: Path) -> None:
    whole = opensfm(OPENSFM_LENSES[0])
    small = whole | {"shots": {f"IMG_{i}.jpg": whole["shots"].pop(f"IMG_{i}.jpg") for i in (0, 1)}}
    write_json(tmp_path, "reconstruction.json", [small, whole])
    write_photos(tmp_path / "images", ["IMG_7.JPG", "IMG_8.jpg"])
    write_photos(tmp_path / "images/thumbs", ["IMG_2.jpg", "IMG_9.jpg"])
    posed = found(tmp_path)
    assert [view.path.name for view in posed.views] == ["IMG_2.jpg", "IMG_3.jpg", "IMG_4.jpg"]
    assert posed.photos_given == 7
    reasons = {left.name: left.reason for left in posed.left_out}
    assert reasons.keys() == {"IMG_0.jpg", "IMG_1.jpg", "IMG_7.JPG", "IMG_8.jpg"}
    assert "another reconstruction" in reasons["IMG_1.jpg"] and "no pose" in reasons["IMG_7.JPG"]
    assert "3 of 5 photos" in posed.warnings[0]
    assert posed.warnings[1].startswith("2 photos have no pose in reconstruction.json")
    assert "IMG_0" not in posed.warnings[1]


def write_openmvg(root: Path, values: dict[str, Any] | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "sfm_data.json").write_text(json.dumps(values or openmvg("pinhole", "", [], False)))
    return root / "sfm_data.json"


NAMES = [f"IMG_{i}.jpg" for i in range(COUNT)]


@pytest.mark.parametrize("place", [".", "shots"])
def test_photos_themselves_go_before_what_was_made_of_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "reconstruction.json").write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / place, NAMES)
    write_photos(tmp_path / "undistorted/images", [f"{name}.jpg" for name in NAMES[:3]] + NAMES[3:])
    assert {view.path.parent for view in found(tmp_path).views} == {tmp_path / place}


def test_openmvgs_folder_of_photos_tells_those_of_a_name_apart(tmp_path: Path) -> None:
    path = write_openmvg(tmp_path, openmvg("pinhole", "", [], False) | {"root_path": "D:\\castle\\originals"})
    for folder in ("a", "originals", "z"):
        write_photos(tmp_path / folder, NAMES)
    assert {view.path.parent.name for view in found(tmp_path).views} == {"originals"}
    write_openmvg(tmp_path)
    assert "3 of that name" in error_of(path)


def test_openmvgs_pipelines_leave_cameras_in_a_folder_beside_the_photos(tmp_path: Path) -> None:
    write_openmvg(tmp_path / "matches", openmvg("pinhole", "", [], False) | {"extrinsics": []})
    path = write_openmvg(tmp_path / "reconstruction_sequential")
    write_photos(tmp_path / "images", NAMES)
    write_photos(tmp_path / "masks", ["IMG_2.jpg.png"])
    for given in (tmp_path, path.parent, path):
        posed = found(given)
        assert posed.source == "openmvg" and posed.root == tmp_path and posed.photos_given == COUNT
        assert {view.path.parent for view in posed.views} == {tmp_path / "images"}
        assert sum(view.mask is not None for view in posed.views) == 1
    (tmp_path / "images").rename(tmp_path / "shots")
    for given in (tmp_path, path.parent, path):
        assert {view.path.parent for view in found(given).views} == {tmp_path / "shots"}
    shutil.rmtree(tmp_path / "shots")
    assert "put them into a folder images beside it" in error_of(path)
    write_openmvg(tmp_path / "reconstruction_global")
    message = error_of(tmp_path)
    assert "reconstruction_global/sfm_data.json, reconstruction_sequential/sfm_data.json" in message


@pytest.mark.parametrize("undistorted", ["{}.tif", "{}.jpg", "{}"])
@pytest.mark.parametrize("photos", ["images", "photos"])
def test_opendronemaps_cameras_are_found_with_the_photos_they_are_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undistorted: str, photos: str
) -> None:
    (tmp_path / "opensfm").mkdir()
    path = tmp_path / "opensfm/reconstruction.json"
    path.write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / photos, NAMES)
    made = tmp_path / "opensfm/undistorted/images"
    write_photos(made, [undistorted.format(name) for name in NAMES])
    monkeypatch.chdir(path.parent)
    for given in (tmp_path, path.parent, path, Path(".")):
        posed = found(given)
        assert posed.source == "opensfm" and posed.warnings == ()
        assert {view.path.parent.resolve() for view in posed.views} == {tmp_path / photos}
    assert {view.path.parent for view in found(path, made).views} == {made}
    shutil.rmtree(tmp_path / photos)
    assert "none of the 5 photos" in error_of(path)
    shutil.move(path, tmp_path / "opensfm/undistorted")
    assert {view.path.parent for view in found(made.parent).views} == {made}


@pytest.mark.parametrize(("place", "taken"), [(".", "opensfm"), ("small", "images")])
def test_images_beside_go_before_folders_within(tmp_path: Path, place: str, taken: str) -> None:
    (tmp_path / "opensfm").mkdir()
    path = tmp_path / "opensfm/reconstruction.json"
    path.write_text(json.dumps([opensfm(OPENSFM_LENSES[0])]))
    write_photos(tmp_path / "images", NAMES)
    write_photos(tmp_path / "opensfm" / place, NAMES)
    assert {view.path.parent for view in found(path).views} == {tmp_path / taken}


def test_a_file_is_named_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_openmvg(tmp_path / "reconstruction_global")
    write_photos(tmp_path / "images", NAMES)
    monkeypatch.chdir(tmp_path / "reconstruction_global")
    assert len(found(Path("sfm_data.json")).views) == COUNT


def test_a_folder_that_holds_but_one_folder(tmp_path: Path) -> None:
    (tmp_path / "2024/EXR_RGBD").mkdir(parents=True)
    write_record3d(tmp_path / "2024/EXR_RGBD", record3d())
    (tmp_path / ".DS_Store").write_text("")
    assert found(tmp_path).root == tmp_path / "2024/EXR_RGBD"
    write_photos(tmp_path, ["more.jpg"])
    assert find_posed(tmp_path) is None
    (tmp_path / "round").mkdir()
    (tmp_path / "round/again").symlink_to(tmp_path / "round")
    assert find_posed(tmp_path / "round") is None


@pytest.mark.parametrize("place", [".", "reconstruction_sequential"])
def test_openmvgs_binary_file_is_to_be_converted(tmp_path: Path, place: str) -> None:
    root = tmp_path / "wrapper/project"
    path = root / place / "sfm_data.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(40))
    command_ = "openMVG_main_ConvertSfM_DataFormat -i sfm_data.bin -o sfm_data.json"
    for given in (path, path.parent):
        message = error_of(given)
        assert command_ in message and str(path) in message
    assert unread_cameras(path) == ()
    write_photos(root / "photos", NAMES)
    assert find_posed(root) is None
    (warning,) = unread_cameras(root)
    assert command_ in warning and str(path.relative_to(root)) in warning
    assert find_posed(root.parent) is None
    assert unread_cameras(root.parent) == (warning,)


def test_openmvgs_binary_file_beside_videos_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sfm_data.bin").write_bytes(bytes(40))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/.walk.mp4").write_bytes(b"")
    assert "can't be read here" in error_of(tmp_path)
    (tmp_path / "clips/walk.MP4").write_bytes(b"")
    assert intake.find_videos(tmp_path) and find_posed(tmp_path) is None
    assert "sfm_data.bin are not used" in unread_cameras(tmp_path)[0]


def test_photos_posed_anew_beside_cameras_that_were_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"IMG_{index}.jpg")
    (tmp_path / "sfm_data.bin").write_bytes(bytes(40))
    monkeypatch.setattr(intake, "pose", lambda capture, *_: capture)
    assert "sfm_data.bin are not used" in open_posed(tmp_path, tmp_path / "work").warnings[0]


def test_lists_of_photos_without_poses_are_passed_over_beside_photos(tmp_path: Path) -> None:
    values = openmvg("pinhole", "", [], False) | {"extrinsics": []}
    assert "no views with poses" in error_of(write_json(tmp_path / "a", "sfm_data.json", values))
    assert find_posed(tmp_path / "a") is None and unread_cameras(tmp_path / "a") == ()
    path = write_json(tmp_path / "b", "reconstruction.json", [opensfm(OPENSFM_LENSES[0], 0)])
    assert "no shots with poses" in error_of(path)
    assert find_posed(tmp_path / "b") is None


def openmvg(kind: str, key: str, terms: list[float], nested: bool) -> dict[str, Any]:
    base = {"width": WIDTH, "height": HEIGHT, "focal_length": FOCAL, "principal_point": [203.0, 148.0]}
    disto = {key: terms} if key else {}
    data: dict[str, Any] = {"value0": base, **disto} if nested else {**base, **disto}
    lenses = [
        {
            "key": 0,
            "value": {
                "polymorphic_id": (1 << 31) + 1,
                "polymorphic_name": kind,
                "ptr_wrapper": {"data": data},
            },
        },
        {"key": 1, "value": {"polymorphic_id": 1, "ptr_wrapper": {"data": data}}},
    ]
    views, poses = [], []
    for index, (rotation, centre) in enumerate(CAMERAS):
        view = {"filename": f"IMG_{index}.jpg", "local_path": "", "width": WIDTH, "height": HEIGHT}
        view |= {"id_view": index, "id_intrinsic": index % 2, "id_pose": index}  # type: ignore[dict-item]
        views.append({"key": index, "value": {"polymorphic_id": 1 << 30, "ptr_wrapper": {"data": view}}})
        poses.append({"key": index, "value": {"rotation": rotation.tolist(), "center": centre.tolist()}})
    lost = {"filename": "IMG_9.jpg", "id_view": 9, "id_intrinsic": 0, "id_pose": 9}
    views.append({"key": 9, "value": {"polymorphic_id": 1 << 30, "ptr_wrapper": {"data": lost}}})
    points = [{"key": i, "value": {"X": p.tolist(), "observations": []}} for i, p in enumerate(POINTS)]
    named = {"sfm_data_version": "0.3", "root_path": "/elsewhere", "views": views, "intrinsics": lenses}
    return {**named, "extrinsics": poses, "structure": points, "control_points": []}


def openmvg_project(cam: np.ndarray, kind: str, terms: list[float]) -> np.ndarray:
    x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
    r2 = x**2 + y**2
    k = [*terms, 0.0, 0.0, 0.0, 0.0, 0.0]
    if kind == "fisheye":
        t = np.arctan(np.sqrt(r2))
        d = (t + k[0] * t**3 + k[1] * t**5 + k[2] * t**7 + k[3] * t**9) / np.sqrt(r2)
        tx = ty = 0 * x
    else:
        d = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3
        tx = k[4] * (r2 + 2 * x**2) + 2 * k[3] * x * y
        ty = k[3] * (r2 + 2 * y**2) + 2 * k[4] * x * y
    return FOCAL * np.stack([x * d + tx, y * d + ty], axis=1) + [203.0, 148.0]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("kind", "key", "terms"),
    [
        ("pinhole", "", []),
        ("pinhole_radial_k1", "disto_k1", [-0.1]),
        ("pinhole_radial_k3", "disto_k3", [-0.1, 0.03, 0.01]),
        ("pinhole_brown_t2", "disto_t2", [-0.1, 0.03, 0.01, 0.002, -0.003]),
        ("fisheye", "fisheye", [-0.05, 0.01, 0.002, -0.001]),
    ],
)
def test_openmvg(tmp_path: Path, kind: str, key: str, terms: list[float], nested: bool) -> None:
    path = write_json(tmp_path, "sfm_data.json", openmvg(kind, key, terms, nested))
    for given in (tmp_path, path):
        posed = found(given)
        assert posed.source == "openmvg" and posed.warnings == ()
        assert_same_pixels(posed, lambda cam: openmvg_project(cam, kind, terms))
        np.testing.assert_allclose(posed.points, POINTS)


# ---- all of them


def every_format(root: Path) -> dict[str, Path]:
    """A capture in each format, as a folder of its own, and the JSON file to spoil, or the folder."""
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
    """Where everything in nested values is, first children of long lists alone."""
    out = [at] if at else []
    if isinstance(value, dict):
        for key, inner in list(value.items())[:20]:
            out += leaves(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            out += leaves(inner, (*at, index))
    return out


@pytest.mark.parametrize("kind", ["polycam", "record3d", "opensfm", "openmvg"])
@pytest.mark.parametrize("wrong", [None, "x", math.nan, math.inf, -1, 10**400, [], {}, [[1], 2], "gone"])
def test_nothing_in_json_can_do_worse_than_a_clear_sentence(tmp_path: Path, kind: str, wrong: Any) -> None:
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
    assert "is broken" in message and str(path) in message


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
    """A capture whose pixels are as stored in kind's files; returns that app's formulas."""
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
    """Apps that pass over EXIF's orientation: points stay on what they show when viewers turn the photo."""
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
