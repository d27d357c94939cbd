"""Exported cameras: other programs' readings of them give the same pixels as ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import analytic
import export_cameras as cases
import numpy as np
import pycolmap
import pytest
import trimesh
from export_cameras import BARREL, FISHEYE, LENSES, PLAIN, scene_of, silent, views_of
from PIL import Image

from nerfscene.cameras.cube import FACES
from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.camera_files import write_cameras
from nerfscene.exporters.placement import placed
from nerfscene.exporters.shots import copy_names
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import render
from nerfscene.formats.colmap import read_colmap
from nerfscene.formats.transforms import read_transforms
from nerfscene.scene import folder
from nerfscene.scene.scene import Figures, Scene
from nerfscene.types import Array, Camera, Intrinsics, View

CAPTURE = ExportConfig(world="capture")


def capture(folder: Path, lens: Intrinsics, **options: object) -> Scene:
    """A scene of photos trained on at half size."""
    views = views_of(folder / "photos", lens, **options)  # type: ignore[arg-type]
    return scene_of(views, figures=Figures(source="transforms", downscale=2.0))


def some_pixels(lens: Intrinsics) -> Array:
    return np.random.default_rng(1).uniform([0, 0], [lens.width, lens.height], (50, 2))


def unit(directions: Array) -> Array:
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.mark.parametrize("name", LENSES)
def test_nerfstudio_looks_along_the_same_rays(tmp_path: Path, name: str) -> None:
    lens, scene = LENSES[name], capture(tmp_path, LENSES[name])
    write_cameras(scene, tmp_path / "cams.json", CAPTURE, Told())
    top, frames = cases.read_json(tmp_path / "cams.json")
    assert (top["w"], top["h"]) == (lens.width, lens.height), "the size of the photos, not of training"
    pixels = some_pixels(lens)
    for view, frame in zip(scene.views, frames, strict=True):
        origins, directions = cases.nerfstudio_rays(frame, top, pixels)
        assert origins[0] == pytest.approx(view.world_from_cam[:3, 3])
        assert directions == pytest.approx(
            unit(cases.directions_of(lens, view.world_from_cam, pixels)), abs=1e-7
        )
        assert tmp_path / frame["file_path"] == view.path


@pytest.mark.parametrize("form", ["colmap", "colmap-text"])
@pytest.mark.parametrize("name", LENSES)
def test_pycolmap_sees_points_at_the_same_pixels(tmp_path: Path, name: str, form: str) -> None:
    lens, scene = LENSES[name], capture(tmp_path, LENSES[name])
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, cameras=form), Told())  # type: ignore[arg-type]
    model = pycolmap.Reconstruction(str(tmp_path / "out/sparse/0"))
    assert (model.num_images(), model.num_cameras(), model.num_rigs(), model.num_frames()) == (5, 1, 1, 5)
    pixels = some_pixels(lens)
    by_name = {image.name: image for image in model.images.values()}
    for view in scene.views:
        image = by_name[view.path.name]
        ahead = view.world_from_cam[:3, 3] + 3 * unit(cases.directions_of(lens, view.world_from_cam, pixels))
        seen = [image.project_point(point) for point in ahead]
        assert np.stack(seen) == pytest.approx(pixels, abs=1e-6)


def test_older_readers_find_what_they_know(tmp_path: Path) -> None:
    scene = capture(tmp_path, BARREL)
    write_cameras(scene, tmp_path / "out", CAPTURE, Told())
    folder = tmp_path / "out/sparse/0"
    (camera,) = cases.old_cameras(folder / "cameras.bin").values()
    k = BARREL
    assert camera == (4, 160, 120, (k.fx, k.fy, k.cx, k.cy, *k.distortion[:4])), "OPENCV"
    for view in scene.views:
        pose, _, features = cases.old_images(folder / "images.bin")[view.path.name]
        w, x, y, z = pose[:4]
        row = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
        inverse = np.linalg.inv(view.world_from_cam)
        assert row == pytest.approx(inverse[0, :3]) and pose[4:] == pytest.approx(inverse[:3, 3])
        assert len(features) == 0
    assert cases.old_points(folder / "points3D.bin") == {}


def test_a_third_radial_term_stays_and_is_told_of(tmp_path: Path) -> None:
    lens = replace(PLAIN, distortion=(-0.1, 0.02, 0.0, 0.0, 0.01))
    told, said = silent()
    write_cameras(capture(tmp_path, lens), tmp_path / "out", CAPTURE, told)
    (camera,) = cases.old_cameras(tmp_path / "out/sparse/0/cameras.bin").values()
    assert camera[0] == 6 and camera[3][8] == 0.01, "FULL_OPENCV"
    assert json.loads((tmp_path / "out/transforms.json").read_text())["k3"] == 0.01
    assert any("k3" in line and "--photos" in line for line in said)


def test_lenses_that_differ_stand_in_the_frames(tmp_path: Path) -> None:
    views = [*views_of(tmp_path / "a", BARREL, 3), *views_of(tmp_path / "b", PLAIN, 2)]
    write_cameras(scene_of(views), tmp_path / "out", CAPTURE, Told())
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    assert not {"fl_x", "w", "cx", "k1"} & set(top), "nerfstudio would ignore the frames' own"
    assert [frame["k1"] for frame in frames] == [-0.15] * 3 + [0.0] * 2
    names = cases.old_images(tmp_path / "out/sparse/0/images.bin")
    assert set(names) == {f"a/00{i}.png" for i in range(3)} | {f"b/00{i}.png" for i in range(2)}
    told, said = silent()
    mixed = [*views[:2], *views_of(tmp_path / "c", FISHEYE, 2)]
    write_cameras(scene_of(mixed), tmp_path / "mixed.json", CAPTURE, told)
    assert any("of one kind" in line for line in said)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_cameras_are_those_of_the_photo_as_stored(tmp_path: Path, orientation: int) -> None:
    lens = replace(PLAIN, cx=70.0, cy=66.0, distortion=(-0.1, 0.0, 0.003, -0.002, 0.0))
    scene = capture(tmp_path, lens, orientation=orientation)
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, cameras="both"), Told())
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    with Image.open(scene.views[0].path) as stored:  # without EXIF, as other programs read it
        assert (top["w"], top["h"]) == stored.size
        pixels = np.asarray(stored)
    centres = cases.centres(top["w"], top["h"])
    _, directions = cases.nerfstudio_rays(frames[0], top, centres)
    assert np.abs(cases.pattern(directions).reshape(pixels.shape).astype(int) - pixels).max() <= 1
    back = read_transforms(tmp_path / "out/transforms.json")
    again = read_colmap(tmp_path / "out/sparse/0", scene.views[0].path.parent)
    for one, other in zip(scene.views, back.views, strict=True):
        assert other.world_from_cam == pytest.approx(one.world_from_cam, abs=1e-9)
        assert other.intrinsics.distortion == pytest.approx(lens.distortion)
    assert again.views[0].world_from_cam == pytest.approx(scene.views[0].world_from_cam, abs=1e-9)


@pytest.mark.parametrize("name", ["barrel", "fisheye"])
def test_photos_without_distortion_are_what_a_pinhole_takes(tmp_path: Path, name: str) -> None:
    scene = capture(tmp_path, LENSES[name])
    told, said = silent()
    made = write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), told)
    assert made["photos"] == 5 and (name == "fisheye") == any("is left" in line for line in said)
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    (camera,) = cases.old_cameras(tmp_path / "out/sparse/0/cameras.bin").values()
    width, height = top["w"], top["h"]
    assert camera == (1, width, height, (top["fl_x"], top["fl_y"], width / 2, height / 2)), "PINHOLE"
    assert [top[key] for key in ("k1", "k2", "p1", "p2")] == [0, 0, 0, 0]
    for frame in frames:
        pixels = np.asarray(Image.open(tmp_path / "out" / frame["file_path"]))
        assert pixels.shape == (height, width, 3)
        _, directions = cases.nerfstudio_rays(frame, top, cases.centres(width, height))
        off = np.abs(cases.pattern(directions).reshape(pixels.shape).astype(int) - pixels)
        assert off.mean() < 0.6 and off.max() <= 6


def test_photos_that_need_no_change_are_copied(tmp_path: Path) -> None:
    scene = capture(tmp_path, replace(PLAIN, cx=75.0))
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told())
    for view in scene.views:
        assert (tmp_path / "out/images" / view.path.name).read_bytes() == view.path.read_bytes()
    assert json.loads((tmp_path / "out/transforms.json").read_text())["cx"] == 75.0


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_are_written_as_they_are_viewed(tmp_path: Path, orientation: int) -> None:
    scene = capture(tmp_path, PLAIN, orientation=orientation)
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told())
    with Image.open(tmp_path / "out/images/000.png") as written:
        assert written.size == (160, 120) and written.getexif().get(274, 1) == 1
        assert (np.asarray(written) == cases.picture(PLAIN, scene.views[0].world_from_cam)).all()


def test_transparency_stays_where_it_means_something(tmp_path: Path) -> None:
    scene = replace(capture(tmp_path, BARREL, alpha=True), has_alpha=True)
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told())
    pixels = np.asarray(Image.open(tmp_path / "out/images/000.png"))
    assert pixels.shape[2] == 4
    share = (pixels[..., 3] > 127).mean()
    assert share == pytest.approx(0.5, abs=0.05)
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    _, directions = cases.nerfstudio_rays(frames[0], top, cases.centres(top["w"], top["h"]))
    clear = pixels[..., 3] == 255
    off = np.abs(cases.pattern(directions).reshape(*clear.shape, 3).astype(int) - pixels[..., :3])[clear]
    assert off.mean() < 1 and np.percentile(off, 99) <= 6, "no colour of transparent pixels bleeds in"
    opaque = capture(tmp_path / "b", PLAIN, alpha=True)  # a scene that was trained on colours alone
    write_cameras(opaque, tmp_path / "opaque", replace(CAPTURE, photos=True), Told())
    assert Image.open(tmp_path / "opaque/images/000.png").mode == "RGB"


def with_mask(view: View, folder: Path, lens: Intrinsics) -> View:
    """The view with a mask that ignores what lies left of the middle column."""
    mask = np.full((lens.height, lens.width), 255, np.uint8)
    mask[:, : lens.width // 2] = 0
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(folder / f"{view.path.stem}.png")
    return replace(view, mask=folder / f"{view.path.stem}.png")


@pytest.mark.parametrize("photos", [False, True])
def test_masks_lie_like_their_pictures_and_all_have_one(tmp_path: Path, photos: bool) -> None:
    scene = capture(tmp_path, BARREL, orientation=6)
    masked = with_mask(scene.views[0], tmp_path / "masks", BARREL)
    scene = replace(scene, views=(masked, *scene.views[1:]))
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=photos), Told())
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    size = top["w"], top["h"]
    masks = [Image.open(tmp_path / "out" / frame["mask_path"]) for frame in frames]
    assert all(mask.mode == "L" and mask.size == size for mask in masks), "nerfstudio wants one for each"
    assert all((np.asarray(mask) == 255).all() for mask in masks[1:])
    black = np.asarray(masks[0]) == 0
    # Left of the middle of what the photo shows: by the same rays in the photo's own picture.
    _, directions = cases.nerfstudio_rays(frames[0], top, cases.centres(*size))
    local = directions @ masked.world_from_cam[:3, :3]
    middle = cases.directions_of(BARREL, np.eye(4), np.array([[80.0, 60.0]]))[0]
    left = (local[:, 0] / local[:, 2] < middle[0]).reshape(black.shape)
    assert (black == left).mean() > 0.98
    assert frames[0]["mask_path"].endswith("000.png.png"), "as COLMAP names masks"


def test_the_split_stays(tmp_path: Path) -> None:
    scene = capture(tmp_path, PLAIN)
    write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told())
    top, _ = cases.read_json(tmp_path / "out/transforms.json")
    assert top["test_filenames"] == top["val_filenames"] == ["images/001.png"]
    assert len(top["train_filenames"]) == 4
    assert (tmp_path / "out/test_list.txt").read_text() == "001.png\n"
    assert (tmp_path / "out/sparse/0/test.txt").read_text() == "001.png\n"
    assert [v.split for v in read_transforms(tmp_path / "out/transforms.json").views].count("test") == 1
    none = replace(scene, views=tuple(replace(v, split="train") for v in scene.views))
    write_cameras(none, tmp_path / "none", CAPTURE, Told())
    assert not [key for key in cases.read_json(tmp_path / "none/transforms.json")[0] if "filenames" in key]


def panorama_views(folder: Path, turn: Array) -> list[View]:
    views = []
    for n, place in enumerate(([0.0, 0, 0], [1.0, 0.5, 0.2])):
        for face, rotation in list(FACES.items())[n:]:  # the second lacks the front
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turn @ rotation, place
            lens = Intrinsics(64, 64, 32.0, 32.0, 32.0, 32.0)
            path = folder / "faces" / f"pano{n}-{face}.jpg"
            cases.write_photo(path, lens, pose)
            views.append(View(path, lens, pose, panorama=folder / f"street/pano{n}.jpg", face=face))
    return views


def test_views_cut_from_panoramas_are_a_rig(tmp_path: Path) -> None:
    views = panorama_views(tmp_path, cases.scene_of([]).scene_from_world[:3, :3] * 2)
    for form in ("colmap", "colmap-text"):
        out = tmp_path / form
        made = write_cameras(scene_of(views), out, replace(CAPTURE, cameras=form, photos=True), Told())  # type: ignore[arg-type]
        assert made["from_panoramas"] == 11
        model = pycolmap.Reconstruction(str(out / "sparse/0"))
        assert (model.num_rigs(), model.num_cameras(), model.num_frames()) == (1, 6, 2)
        by_name = {image.name: image for image in model.images.values()}
        for view in views:
            image = by_name[f"{view.panorama.stem}-{view.face}.jpg"]  # type: ignore[union-attr]
            assert image.cam_from_world().matrix() == pytest.approx(
                np.linalg.inv(view.world_from_cam)[:3], abs=1e-9
            )
    moved = [replace(views[0], world_from_cam=views[3].world_from_cam), *views[1:]]
    write_cameras(scene_of(moved), tmp_path / "moved", CAPTURE, Told())
    model = pycolmap.Reconstruction(str(tmp_path / "moved/sparse/0"))
    assert model.num_frames() == 7, "views that don't lie on a cube are told of one by one"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/0.jpg", "b/0.jpg"], ["a/0.jpg", "b/0.jpg"]),
        (["a/0.jpg", "a/0.heic", "a/0.HEIC"], ["0.jpg", "0-2.jpg", "0-3.jpg"]),
        (["a/x.JPG", "a/X.jpg"], ["x.JPG", "X-2.jpg"]),
        (["a/my photo.tif", "a/b/c.webp"], ["my photo.png", "b/c.jpg"]),
    ],
)
def test_copies_keep_their_names_and_folders(
    paths: Sequence[str], names: Sequence[str], tmp_path: Path
) -> None:
    views = [View(tmp_path / path, PLAIN, np.eye(4)) for path in paths]
    assert copy_names(views) == list(names)


def test_what_others_put_there_is_never_replaced(tmp_path: Path) -> None:
    scene = capture(tmp_path, PLAIN)
    with pytest.raises(NerfsceneError, match="holds other things"):
        write_cameras(scene, tmp_path / "photos", CAPTURE, Told())
    out = tmp_path / "out"
    write_cameras(scene, out, replace(CAPTURE, photos=True), Told())
    write_cameras(scene, out, CAPTURE, Told())
    assert not (out / "images").exists(), "an export of ours is replaced as a whole"
    (out / "images_2").mkdir()
    with pytest.raises(NerfsceneError, match="holds other things"):
        write_cameras(scene, out, CAPTURE, Told())
    with pytest.raises(NerfsceneError, match=r"transforms\.json only"):
        write_cameras(scene, tmp_path / "a.json", replace(CAPTURE, cameras="colmap"), Told())


def test_backups_beside_the_folder_and_hidden_files_in_it_stay(tmp_path: Path) -> None:
    scene = capture(tmp_path, PLAIN)
    for name in ("out/.DS_Store", "out.old/transforms.json", "out.partial/transforms.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for _ in range(2):
        write_cameras(scene, tmp_path / "out", CAPTURE, Told())
    assert [p.read_text() for p in sorted(tmp_path.glob("out*/*")) if p.is_file()].count("mine") == 3


def test_the_cameras_beside_the_photos_are_not_replaced(tmp_path: Path) -> None:
    """They may be what the scene was trained with, in other coordinates."""
    scene = capture(tmp_path, PLAIN)
    (tmp_path / "transforms.json").write_text("{}")
    with pytest.raises(NerfsceneError, match="may be where their cameras came from"):
        write_cameras(scene, tmp_path / "transforms.json", CAPTURE, Told())
    (tmp_path / "elsewhere").mkdir()
    for _ in range(2):
        write_cameras(scene, tmp_path / "elsewhere/transforms.json", CAPTURE, Told())


def test_a_cancelled_export_leaves_what_was_there(tmp_path: Path) -> None:
    scene = capture(tmp_path, BARREL)
    write_cameras(scene, tmp_path / "out", CAPTURE, Told())
    before = sorted(tmp_path.rglob("*"))

    def cancel(stage: str, fraction: float) -> None:
        if stage == "writing photos" and fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told(progress=cancel))
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_that_are_gone_or_changed_are_told_of(tmp_path: Path) -> None:
    scene = capture(tmp_path, PLAIN)
    scene.views[2].path.unlink()
    told, said = silent()
    write_cameras(scene, tmp_path / "cams.json", CAPTURE, told)
    assert any("002.png" in line for line in said)
    assert cases.read_json(tmp_path / "cams.json")[0]["w"] == 160
    with pytest.raises(NerfsceneError, match=r"002\.png does not exist"):
        write_cameras(scene, tmp_path / "out", replace(CAPTURE, photos=True), Told())
    Image.new("RGB", (100, 100)).save(scene.views[2].path)
    with pytest.raises(NerfsceneError, match="other proportions"):
        write_cameras(scene, tmp_path / "cams.json", CAPTURE, Told())


# --- with a field -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_points(trained: Path) -> Scene:
    """A trained scene with points on the large sphere, one of them hidden within it."""
    scene = folder.load(trained)
    draws = np.random.default_rng(0).normal(size=(40, 3)) * [1, 1, 0.5] + [0, 0, 1.0]
    points = 0.5 * unit(draws)
    points[0] = 0
    m = scene.scene_from_world
    return replace(scene, points=(points @ m[:3, :3].T + m[:3, 3]).astype(np.float32))


def test_points_are_seen_where_the_field_shows_them(with_points: Scene, tmp_path: Path) -> None:
    write_cameras(with_points, tmp_path / "out", CAPTURE, Told())
    points = cases.old_points(tmp_path / "out/sparse/0/points3D.bin")
    images = list(cases.old_images(tmp_path / "out/sparse/0/images.bin").values())
    assert len(points) == 40 and np.linalg.norm(points[2][0]) == pytest.approx(0.5, abs=1e-5)
    assert points[1][2] == (), "none looks into the sphere"
    lengths = [len(track) // 2 for _, _, track in points.values()]
    assert 6 <= np.median(lengths) <= 20, "about half of 24 photos see a point on a ball"
    for key, (_, _, track) in points.items():
        for image, feature in zip(track[::2], track[1::2], strict=True):
            assert images[image - 1][2][feature][2] == key
    (_, _, one, other) = analytic.SPHERES[0]
    colours = np.array([points[key][1] for key in range(2, 41)]) / 255
    nearest = np.minimum(*(np.abs(colours - c).max(1) for c in (one, other)))
    assert np.median(nearest) < 0.25
    model = pycolmap.Reconstruction(str(tmp_path / "out/sparse/0"))
    seen = [(im, p) for im in model.images.values() for p in im.points2D if p.has_point3D()]
    assert all(
        im.project_point(model.points3D[p.point3D_id].xyz) == pytest.approx(p.xy, abs=1e-6) for im, p in seen
    )
    cloud = trimesh.load(tmp_path / "out/sparse_pc.ply")
    assert np.asarray(cloud.vertices)[5] == pytest.approx(points[6][0], abs=1e-5)
    assert tuple(np.asarray(cloud.visual.vertex_colors)[5, :3]) == points[6][1]


def test_points_outside_the_crop_are_left_out_and_told_of(with_points: Scene, tmp_path: Path) -> None:
    told, said = silent()
    crop = np.diag([1.0, 1.0, 0.3, 1.0])
    crop[2, 3] = 0.55
    made = write_cameras(replace(with_points, crop=crop), tmp_path / "a.json", CAPTURE, told)
    assert 0 < made["points"] < 40 and any("outside the crop" in line for line in said)
    top, _ = cases.read_json(tmp_path / "a.json")
    assert top["ply_file_path"] == "a_files/sparse_pc.ply" and (tmp_path / "a_files/sparse_pc.ply").is_file()


def test_renders_from_what_others_read_are_the_same(with_points: Scene, tmp_path: Path) -> None:
    config = ExportConfig(threads=1)
    write_cameras(with_points, tmp_path / "out", config, Told())
    world = placed(with_points)
    renderer = world.renderer(threads=1)
    top, frames = cases.read_json(tmp_path / "out/transforms.json")
    model = pycolmap.Reconstruction(str(tmp_path / "out/sparse/0"))
    by_name = {image.name: image for image in model.images.values()}
    assert top["orientation_override"] == "none"
    for view, frame in list(zip(world.views, frames, strict=True))[:3]:
        ours = render(renderer, Camera(view.intrinsics, view.world_from_cam)).rgb
        image = by_name[view.path.name]
        pose = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
        fx, fy, cx, cy = image.camera.params
        lens = Intrinsics(image.camera.width, image.camera.height, fx, fy, cx, cy)
        assert np.abs(render(renderer, Camera(lens, pose)).rgb - ours).max() < 2e-3
        flipped = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])
        lens = Intrinsics(top["w"], top["h"], top["fl_x"], top["fl_y"], top["cx"], top["cy"])
        assert np.abs(render(renderer, Camera(lens, flipped)).rgb - ours).max() < 2e-3
    ups = [-np.array(frame["transform_matrix"])[2, 2] for frame in frames]
    assert max(ups) < 0, "the cameras, which look down on the ground, do so in a world whose +z is up"
