"""Which photos are panoramas, and how they are cut into views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from footage_cases import write_video
from panorama_cases import gpano, panorama, panorama_rays, photo, poses, save_with_xmp, write_panoramas
from PIL import Image
from scipy.ndimage import gaussian_filter

from nerfscene.cameras.cube import FACES, face_of, face_rays, face_size, shots
from nerfscene.capture.cutting import cut, cut_photos, cut_views
from nerfscene.capture.folder import open_capture
from nerfscene.capture.footage import take_frames
from nerfscene.capture.panoramas import Panorama, edges_meet, find_panoramas, told_area, two_circles
from nerfscene.config import FootageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.types import Intrinsics, Photo, PosedCapture, View

DEMO = Path(__file__).parents[2] / "data/demo"


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), float)


def test_the_formula_of_a_panorama_is_the_faces_directions() -> None:
    rays = panorama_rays(256)
    for face, panorama_from_face in FACES.items():
        assert np.linalg.det(panorama_from_face) == pytest.approx(1)
        column = {"front": 128, "right": 192, "back": 0, "left": 64}.get(face)
        if column is not None:  # at the horizon, between the two middle rows
            assert np.allclose(rays[63:65, column].mean(0), panorama_from_face[:, 2], atol=0.02)
    assert np.allclose(FACES["up"][:, 2], (0, -1, 0)) and rays[0, :, 1].max() < -0.99
    assert face_of(np.eye(4), np.array([[0, -1, 0], [0, 0, -2], [3.0, 1, 1]])).tolist() == [4, 2, 1]


def test_a_face_has_as_many_pixels_per_degree_as_the_panorama() -> None:
    size = face_size(4096)
    ray = face_rays("front", size, slice(size // 2 - 1, size // 2))[0]
    angle = np.arctan2(ray[size // 2, 0] - ray[size // 2 - 1, 0], 1.0)
    assert angle == pytest.approx(2 * np.pi / 4096, rel=0.01)


def test_faces_show_what_a_perspective_camera_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(panorama(poses()[3], 1024)).save(path)
    (faces,) = cut([Panorama(Photo(path, 1024, 512))], tmp_path / "cut")
    assert [face.face for face in faces] == list(FACES)
    for face in faces:
        pose = poses()[3].copy()
        pose[:3, :3] = pose[:3, :3] @ FACES[face.face]
        assert face.focal is not None and face.panorama == path and face.mask is None
        true = photo(pose, face.width, face.height, face.focal).astype(float)
        cut_out = read(face.path)
        error = np.abs(cut_out - true)
        for axis in (0, 1):
            shifted = np.abs(np.roll(cut_out, 1, axis) - true)[1:-1, 1:-1].mean()
            assert error.mean() < 0.5 * shifted, face.face
        edges = np.concatenate([error[0], error[-1], error[:, 0], error[:, -1]])
        assert edges.mean() < 2 * error.mean(), face.face


def test_large_panoramas_are_shrunk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerfscene.capture.cutting.LARGEST", 40)
    (path,) = write_panoramas(tmp_path, 512, [0])
    (faces,) = cut([Panorama(Photo(path, 512, 256))], tmp_path / "cut")
    assert {(f.width, f.focal) for f in faces} == {(40, 20.0)}
    true = photo(poses()[0], 160, 160, 80.0).reshape(40, 4, 40, 4, 3).mean((1, 3))
    error = np.abs(read(faces[0].path) - true).mean()
    assert error < 0.75 * np.abs(np.roll(read(faces[0].path), 1, 1) - true).mean()


def test_faces_are_cut_once(tmp_path: Path) -> None:
    photos = [Panorama(Photo(p, 256, 128)) for p in write_panoramas(tmp_path, 256, [0, 1])]
    stages: list[str] = []
    first = cut(photos, tmp_path / "cut", lambda stage, _: stages.append(stage))
    assert set(stages) == {"cutting 2 panoramas into perspective views"}
    stamp = first[0][0].path.stat().st_mtime_ns
    assert cut(photos, tmp_path / "cut") == first and first[0][0].path.stat().st_mtime_ns == stamp
    write_panoramas(tmp_path, 256, [2])
    (tmp_path / "R0002.JPG").replace(tmp_path / "R0001.JPG")
    assert cut(photos, tmp_path / "cut") == first and first[0][0].path.stat().st_mtime_ns != stamp


def test_a_mask_is_cut_too_and_what_it_hides_is_left_out(tmp_path: Path) -> None:
    (path,) = write_panoramas(tmp_path, 256, [0])
    mask = np.full((128, 256), 255, np.uint8)
    mask[90:] = 0  # below -36°: the tripod
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (faces,) = cut([Panorama(Photo(path, 256, 128, mask=tmp_path / "mask.png"))], tmp_path / "cut")
    assert [face.face for face in faces] == ["front", "right", "back", "left", "up"]
    front = faces[0]
    assert front.mask is not None and faces[4].mask is None
    used = read(front.mask) > 127
    assert used.shape == (front.height, front.width) and used[: front.height // 2].all()
    assert not used[-3:, front.width // 4 : -front.width // 4].any()


def test_a_panorama_that_is_masked_as_a_whole_is_left_out(tmp_path: Path) -> None:
    write_panoramas(tmp_path / "in", 256, [0, 1, 2])
    (tmp_path / "in/masks").mkdir()
    Image.new("L", (256, 128), 0).save(tmp_path / "in/masks/R0001.png")
    capture = cut_photos(open_capture(tmp_path / "in"), tmp_path / "cut")
    assert [(left.name, left.reason) for left in capture.left_out] == [("R0001.JPG", "is masked as a whole")]
    assert len(capture.photos) == 12


def test_transparent_parts_of_a_panorama_are_masked(tmp_path: Path) -> None:
    pixels = np.dstack([panorama(poses()[0], 256), np.full((128, 256), 255, np.uint8)])
    pixels[88:, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (faces,) = cut([Panorama(Photo(tmp_path / "a.png", 256, 128))], tmp_path / "cut")
    assert "down" not in [face.face for face in faces] and faces[0].mask is not None
    assert read(faces[0].path).shape[2] == 3


@pytest.mark.parametrize("elements", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_part_of_the_sphere_is_put_where_its_tags_say(tmp_path: Path, elements: bool, suffix: str) -> None:
    whole, path = panorama(poses()[0], 512), tmp_path / f"part{suffix}"
    save_with_xmp(whole[88:168], path, gpano((512, 256), (512, 80), (0, 88), elements))
    told = told_area(Photo(path, 512, 80))
    assert told is not None and (told.top, told.bottom, told.full_width) == (88 / 256, 168 / 256, 512)
    (faces,) = cut([told], tmp_path / "cut")
    assert [face.face for face in faces] == ["front", "right", "back", "left"]
    Image.fromarray(whole).save(tmp_path / "whole.png")
    (all_faces,) = cut([Panorama(Photo(tmp_path / "whole.png", 512, 256))], tmp_path / "all")
    for part, full in zip(faces, all_faces, strict=False):
        assert part.mask is not None
        used = read(part.mask) > 127
        assert 0.5 < used.mean() < 1
        assert np.abs(read(part.path) - read(full.path))[used].mean() < (3 if suffix == ".png" else 12)


def test_tags_left_by_reframing_are_not_believed(tmp_path: Path) -> None:
    pixels = photo(poses()[0], 320, 240, 300.0)
    save_with_xmp(pixels, tmp_path / "a.jpg", gpano((5376, 2688), (5376, 2688), (0, 0)))
    assert told_area(Photo(tmp_path / "a.jpg", 320, 240)) is None
    save_with_xmp(pixels, tmp_path / "b.jpg", gpano((640, 320), (320, 240), (400, 0)))  # beyond the edge
    assert told_area(Photo(tmp_path / "b.jpg", 320, 240)) is None


def test_a_panorama_that_was_shrunk_keeps_its_place(tmp_path: Path) -> None:
    save_with_xmp(panorama(poses()[0], 256), tmp_path / "a.jpg", gpano((5376, 2688), (5376, 2688), (0, 0)))
    told = told_area(Photo(tmp_path / "a.jpg", 256, 128))
    assert told is not None and (told.left, told.top, told.right, told.bottom) == (0, 0, 1, 1)


def test_panoramas_are_told_by_their_edges(tmp_path: Path) -> None:
    paths = write_panoramas(tmp_path, 512)
    found, warnings = find_panoramas([Photo(path, 512, 256) for path in paths])
    assert [panorama.photo.path for panorama in found] == paths and warnings == ()


def test_pictures_that_seldom_look_like_panoramas_are_told(tmp_path: Path) -> None:
    photos = [Photo(path, 512, 256) for path in write_panoramas(tmp_path, 512, [0, 1])]
    for i in range(2, 6):
        Image.fromarray(photo(poses()[i], 512, 256, 400.0)).save(tmp_path / f"{i}.png")
        photos.append(Photo(tmp_path / f"{i}.png", 512, 256))
    found, warnings = find_panoramas(photos)
    assert found == [] and len(warnings) == 1
    assert warnings[0].startswith("2 of 6 photos of 512×256 pixels look like panoramas and the others don't")
    marked = b'<x xmlns:GPano="g" GPano:ProjectionType="equirectangular"/>'  # as the warning says, no more
    for i in range(2):
        save_with_xmp(panorama(poses()[i], 512), photos[i].path, marked)
    found, warnings = find_panoramas(photos)
    assert [p.photo for p in found] == photos[:2] and warnings == ()


def test_ordinary_pictures_twice_as_wide_as_high_are_none(tmp_path: Path) -> None:
    photos = []
    for i, path in enumerate(sorted(DEMO.rglob("*.jpg"))[:12]):
        with Image.open(path) as image:
            image.crop((0, 20, image.width, 20 + image.width // 2)).save(tmp_path / f"{i}.png")
        photos.append(Photo(tmp_path / f"{i}.png", image.width, image.width // 2))
    assert len(photos) == 12 and find_panoramas(photos) == ([], ())


def blobs(seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(256, 512)), 4)
    return (field - field.min()) / np.ptp(field) * 255


def backdrop(noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:256, :512]
    dark = np.clip(1.2 - 0.6 * np.hypot((x - 256) / 256, (y - 128) / 128), 0, 1)
    return y * dark + noise * rng.normal(size=y.shape)


def bordered(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    out = picture.copy()
    out[:rows] = out[len(out) - rows :] = out[:, :columns] = out[:, 512 - columns :] = 0
    return out


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.full((256, 512), 255.0),
        lambda: blobs(0),
        lambda: bordered(blobs(0), 20, 20),
        lambda: bordered(blobs(0), 6, 6),
        lambda: bordered(blobs(0), 30, 0),
        lambda: backdrop(),
        lambda: backdrop(2.0),
        lambda: backdrop().round(),
        lambda: bordered(backdrop(2.0), 30, 0),
    ],
)
def test_borders_and_backdrops_make_no_panorama(make: Callable[[], np.ndarray]) -> None:
    assert not edges_meet(make())


def test_two_circles_on_black_are_to_be_stitched_first(tmp_path: Path) -> None:
    y, x = np.mgrid[:256, :512] + 0.5
    inside = np.hypot(x % 256 - 128, y - 128) < 126
    photos = []
    for i in range(3):
        picture = np.where(inside, 0.8 * blobs(i) + 40, 3)
        assert two_circles(picture) and not two_circles(blobs(i))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{i}.png")
        photos.append(Photo(tmp_path / f"{i}.png", 512, 256))
    with pytest.raises(NerfsceneError, match=r"not stitched .*0\.png.*equirectangular.*own app"):
        find_panoramas(photos)


def test_a_folder_of_unstitched_files_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001.insp").write_bytes(b"x")
    with pytest.raises(NerfsceneError, match="export these as 360° photos"):
        open_capture(tmp_path)


def test_a_capture_of_panoramas_and_photos(tmp_path: Path) -> None:
    write_panoramas(tmp_path / "in", 256, [0, 1, 2])
    Image.fromarray(photo(poses()[0], 240, 180, 200.0)).save(tmp_path / "in/a.jpg")
    capture = cut_photos(open_capture(tmp_path / "in"), tmp_path / "cut")
    assert [p.face for p in capture.photos] == ["", *FACES, *FACES, *FACES]
    assert shots(capture.photos) == [0] + 6 * [1] + 6 * [2] + 6 * [3]
    assert capture.warnings[-1].startswith("3 of 4 photos are panoramas (360° × 180°): each was cut into")


def test_frames_of_a_360_degree_video_are_panoramas(tmp_path: Path) -> None:
    def along(t: float) -> np.ndarray:
        pose = poses()[0].copy()
        pose[:3, 3] += (1.6 * t, 0.5 * t, 0.0)
        return panorama(pose, 384)

    write_video(tmp_path / "walk.mp4", [along(t) for t in np.linspace(0, 1, 16)])
    take_frames([tmp_path / "walk.mp4"], tmp_path / "frames", FootageConfig(frames=6))
    capture = cut_photos(open_capture(tmp_path / "frames"), tmp_path / "cut")
    assert len(set(shots(capture.photos))) >= 5 and len(capture.photos) == 6 * len(set(shots(capture.photos)))


def test_ordinary_photos_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        Image.fromarray(photo(poses()[i], 240, 180, 200.0)).save(tmp_path / f"in/{i}.jpg")
    capture = open_capture(tmp_path / "in")
    assert cut_photos(capture, tmp_path / "cut") is capture and not (tmp_path / "cut").exists()


def test_given_cameras_of_panoramas_become_those_of_their_faces(tmp_path: Path) -> None:
    path = write_panoramas(tmp_path, 256, [4])[0]
    focal = 256 / (2 * np.pi)
    lens = Intrinsics(256, 128, focal, focal, 128, 64, "equirectangular")
    pose = poses()[4]
    points = np.array([[2.9, 0.2, 0.1], [-1.0, -2.3, 0.3], [0.6, 0.6, -1.39], [0.0, 0.0, 0.0]])
    view = View(path, lens, pose, "test", seen=np.array([0, 2, 1]))
    ordinary = View(tmp_path / "a.jpg", Intrinsics(40, 30, 40, 40, 20, 15), np.eye(4))
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    given = PosedCapture(tmp_path, "transforms", (ordinary, view), 2, points, has_alpha=False)
    posed = cut_views(given, tmp_path / "cut")
    assert posed.views[0] == ordinary and posed.photos_given == 2
    faces = posed.views[1:]
    assert [v.face for v in faces] == list(FACES) and {v.panorama for v in faces} == {path}
    assert {v.split for v in faces} == {"test"} and {v.intrinsics.lens for v in faces} == {"perspective"}
    assert sorted(i for v in faces for i in v.seen) == [0, 1, 2]
    for v in faces:
        local = (points[v.seen] - v.world_from_cam[:3, 3]) @ v.world_from_cam[:3, :3]
        x, y = v.intrinsics.fx * local[:, 0] / local[:, 2], v.intrinsics.fy * local[:, 1] / local[:, 2]
        assert (local[:, 2] > 0).all() and (np.abs([x, y]) <= v.intrinsics.cx).all()
    assert faces[5].seen.tolist() == [2]  # the floor below
    assert posed.warnings == (
        "1 of 2 photos are panoramas (360° × 180°): each was cut into perspective views of 90°, as of the "
        "faces of a cube, and its views stay together.",
    )
