"""Captures with COLMAP models: where the models and photos are, and what is told of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_cases import (
    edit,
    moved,
    overwrite,
    synthetic,
    without_frames,
    write_colmap,
    write_model,
    write_photo,
)
from PIL import Image
from posed_captures import error_of, found

from nerfscene.formats.readers import find_posed, unread_cameras
from nerfscene.types import Intrinsics


@pytest.fixture(scope="module")
def model() -> pycolmap.Reconstruction:
    return synthetic()


def names(model: pycolmap.Reconstruction) -> list[str]:
    return sorted(image.name for image in model.images.values())


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0", "."])
def test_colmap_models(tmp_path: Path, model: pycolmap.Reconstruction, place: str, text: bool) -> None:
    root = tmp_path / "capture"
    folder = write_colmap(root, place, model, text)
    for given in {root, folder}:
        posed = found(given)
        assert posed.source == "colmap" and posed.warnings == ()
        assert posed.photos_given == len(posed.views) == 5
        by_name = {image.name: image for image in model.images.values()}
        for view in posed.views:
            image = by_name[view.path.relative_to(root / "images").as_posix()]
            cam_from_world = image.cam_from_world().matrix()
            np.testing.assert_allclose(np.linalg.inv(view.world_from_cam)[:3], cam_from_world, atol=1e-9)
            assert view.intrinsics == Intrinsics(
                64, 48, 60, 61, 32, 24, "perspective", (0.01, -0.02, 0.001, -0.002, 0.0)
            )
        expected = np.array([p.xyz for p in model.points3D.values()])
        assert posed.points.shape == expected.shape
        np.testing.assert_allclose(sorted(posed.points[:, 0]), sorted(expected[:, 0]), atol=1e-9)
        assert posed.point_colors.shape == expected.shape
        assert posed.reprojection_error == pytest.approx(0, abs=1e-6)
        for view in posed.views:
            image = by_name[view.path.relative_to(root / "images").as_posix()]
            shown = [model.points3D[p.point3D_id].xyz for p in image.points2D if p.has_point3D()]
            got = posed.points[view.seen]
            assert len(got) > 10
            for xyz in got:  # among those that the model says the photo shows
                assert np.abs(np.array(shown) - xyz).max(1).min() < 1e-9


def test_masks_beside_a_colmap_model_s_photos(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/0", model, False)
    first, second = found(tmp_path).views[:2]
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks" / f"{first.path.name}.png"
    Image.new("1", (first.intrinsics.width, first.intrinsics.height)).save(mask)
    views = {view.path: view for view in found(tmp_path).views}
    assert views[first.path].mask == mask and views[second.path].mask is None


def test_colmap_photos_elsewhere(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    root = tmp_path / "capture"
    folder = write_colmap(root, "sparse/0", model, images="../photos")
    message = error_of(root)
    assert "none of the 5 photos" in message and str(root / "images") in message
    posed = find_posed(root, images=tmp_path / "photos")
    assert posed is not None and len(posed.views) == 5
    shutil.move(tmp_path / "photos", root / "my photos")
    assert len(found(root).views) == 5
    shutil.move(root / "my photos", root / "images")
    (root / "images" / names(model)[0]).unlink()
    posed = found(folder)
    (warning,) = posed.warnings
    assert "1 of the 5 frames in images.bin" in warning and len(posed.views) == 4


def test_largest_colmap_model_wins(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/1", model, False)
    small = pycolmap.Reconstruction(model)
    for frame in sorted(small.reg_frame_ids())[2:]:
        small.deregister_frame(frame)
    for place in ("sparse/0", "sparse/2"):
        (tmp_path / place).mkdir()
        small.write_binary(str(tmp_path / place))
    posed = found(tmp_path)
    assert len(posed.views) == 5
    (warning,) = posed.warnings
    assert "3 COLMAP models" in warning and "took the largest" in warning and "sparse/1" in warning


def test_photos_of_the_smaller_model_are_no_surprise(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/0", model)
    frames = sorted(model.reg_frame_ids())
    for place, lost in (("sparse/0", frames[3:]), ("sparse/1", frames[:3])):
        part = pycolmap.Reconstruction(model)
        for frame in lost:
            part.deregister_frame(frame)
        write_model(tmp_path / place, part)
    posed = found(tmp_path)
    assert len(posed.views) == 3 and posed.photos_given == 5 and len(posed.warnings) == 1
    assert {lost.reason for lost in posed.left_out} == {"is in another reconstruction than most photos"}


def test_damaged_colmap_model_is_named(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model, False)
    data = (folder / "images.bin").read_bytes()
    (folder / "images.bin").write_bytes(data[: len(data) // 2])
    assert "cannot be read as a" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("place", "photos"),
    [
        ("colmap_text", "images"),  # instant-ngp
        ("colmap_sparse/0", "images"),
        ("colmap/text", "images"),
        ("colmap", "resized_images"),  # ScanNet++
        ("dense/0/sparse", "dense/0/images"),  # COLMAP's automatic_reconstructor
        ("dense/0/sparse/0", "dense/0/images"),
        ("dense/sparse", "dense/images"),
        ("distorted/sparse/0", "input"),  # convert.py of Gaussian splatting
        ("sfm_superpoint+superglue", "images"),  # hloc
        ("outputs/sfm", "images"),
        ("glomap/0", "images"),
        ("dslr_calibration_undistorted", "images/dslr_images_undistorted"),  # ETH3D
    ],
)
def test_places_of_other_programs(
    tmp_path: Path, model: pycolmap.Reconstruction, place: str, photos: str
) -> None:
    root = tmp_path / "capture"
    folder = write_colmap(root, place, model, text=True, images=photos)
    for given in (root, folder, folder / "images.txt"):
        posed = found(given)
        assert [v.path.resolve() for v in posed.views] == [root / photos / name for name in names(model)]
        assert posed.source == "colmap" and posed.warnings == ()


def undistorted(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The model as image_undistorter writes it: the same names, other lenses."""
    other = pycolmap.Reconstruction(model)
    for camera in other.cameras.values():
        camera.model, camera.width, camera.height = pycolmap.CameraModelId.PINHOLE, 60, 44
        camera.params = [60.0, 61.0, 30.0, 22.0]
    return other


@pytest.mark.parametrize("place", ["dense/0", "dense"])
def test_undistorted_photos_where_the_originals_are_gone(
    tmp_path: Path, model: pycolmap.Reconstruction, place: str
) -> None:
    """A workspace of COLMAP whose photos were given from elsewhere: only the undistorted ones lie in it."""
    write_model(tmp_path / "sparse/0", model)
    write_model(tmp_path / place / "sparse", undistorted(model))
    for name in names(model):
        write_photo(tmp_path / place / "images" / name, 60, 44)
    for given in (tmp_path, tmp_path / place, tmp_path / place / "sparse"):
        posed = found(given)
        assert {v.intrinsics for v in posed.views} == {Intrinsics(60, 44, 60, 61, 30, 22)}
        assert posed.views[0].path == tmp_path / place / "images" / names(model)[0]
    posed = find_posed(tmp_path, tmp_path / place / "images") or posed
    assert posed.views[0].intrinsics.width == 60
    for name in names(model):
        write_photo(tmp_path / "images" / name)
    assert {v.intrinsics.width for v in found(tmp_path).views} == {64}
    assert {v.intrinsics.width for v in found(tmp_path / place).views} == {60}


def test_photos_before_they_were_undistorted_have_other_lenses(
    tmp_path: Path, model: pycolmap.Reconstruction
) -> None:
    """convert.py keeps the photos given in input, and puts undistorted ones of the same names into images."""
    folder = write_colmap(tmp_path, "distorted/sparse/0", model, images="input")
    write_model(tmp_path / "sparse/0", undistorted(model))
    for name in names(model):
        write_photo(tmp_path / "images" / name, 60, 44)
    assert {(v.path.parent.name, v.intrinsics.width) for v in found(tmp_path).views} == {("images", 60)}
    assert {(v.path.parent.name, v.intrinsics.width) for v in found(folder).views} == {("input", 64)}


def test_photos_where_colmap_found_them(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    """COLMAP notes in project.ini where the photos were; they need not be anywhere near the model."""
    folder = write_colmap(tmp_path / "workspace", "sparse/0", model, images=tmp_path / "camera card")
    message = error_of(tmp_path / "workspace")
    assert "none of the 5 photos" in message
    lines = (
        f"log_level=0\ndatabase_path=\nimage_path={tmp_path / 'camera card'}\n[Mapper]\nmin_num_matches=15\n"
    )
    (folder / "project.ini").write_text(lines)
    assert {v.path.parent for v in found(tmp_path / "workspace").views} == {tmp_path / "camera card"}


def test_ids_may_be_0(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    """Other programs count from 0."""
    folder = without_frames(write_colmap(tmp_path, "sparse/0", model, text=True))
    edit(folder / "cameras.txt", "\n1 OPENCV", "\n0 OPENCV")
    edit(folder / "images.txt", " 1 camera", " 0 camera")
    edit(folder / "images.txt", "\n5 ", "\n0 ")
    text = (folder / "points3D.txt").read_text().splitlines()
    words = [line.split() for line in text if not line.startswith("#")]
    tracks = [["0" if i % 2 == 0 and w == "5" else w for i, w in enumerate(line[8:])] for line in words]
    lines = [" ".join([*line[:8], *track]) for line, track in zip(words, tracks, strict=True)]
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")
    posed = found(tmp_path)
    assert (
        len(posed.views) == 5
        and posed.warnings == ()
        and posed.reprojection_error == pytest.approx(0, abs=1e-6)
    )


def test_several_models_in_unusual_places(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    first = write_colmap(tmp_path, "runs/first", model)
    write_model(tmp_path / "runs/second", model)
    message = error_of(tmp_path)
    assert "2 folders" in message and "runs/first" in message and "runs/second" in message
    assert len(found(first).views) == 5  # the message's way out


def test_models_of_scenes_are_not_read(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    """nerfscene keeps its own COLMAP models in the scenes that it makes; these may lie beside the photos."""
    write_colmap(tmp_path, "my-scene/poses/run", model, images="photos")
    (tmp_path / "my-scene/scene.json").write_text("{}")
    assert find_posed(tmp_path) is None


def test_photos_that_colmap_could_not_place_are_told(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    write_colmap(tmp_path, "sparse/0", model)
    write_photo(tmp_path / "images/extra.png")
    posed = found(tmp_path)
    (warning,) = posed.warnings
    assert "1 photo has no pose in images.bin" in warning and "extra.png" in warning
    assert posed.photos_given == 6 and [lost.name for lost in posed.left_out] == ["extra.png"]


@pytest.mark.parametrize("text", [False, True])
def test_a_rig_s_photos_lie_in_folders_of_its_cameras(tmp_path: Path, text: bool) -> None:
    """As COLMAP's rig_configurator wants them: the same file names in a folder for each camera."""
    model = synthetic(rigs=1, cameras=3, frames=4)
    for image in model.images.values():
        camera, frame = image.name.removesuffix(".png").split("_")
        image.name = f"{camera}/{frame}.png"
    write_colmap(tmp_path, "sparse/0", model, text)
    shutil.rmtree(tmp_path / "images/camera000002")
    posed = found(tmp_path)
    assert len(posed.views) == 8 and "4 of the 12 frames" in posed.warnings[0]
    poses = {i.name: i.cam_from_world().matrix() for i in model.images.values()}
    for view in posed.views:
        name = view.path.relative_to(tmp_path / "images").as_posix()
        np.testing.assert_allclose(np.linalg.inv(view.world_from_cam)[:3], poses[name], atol=1e-9)


def test_names_as_other_systems_write_them(tmp_path: Path) -> None:
    model = synthetic()
    for key, image in model.images.items():
        write_photo(tmp_path / f"images/Left/IMG {key}.JPG")
        image.name = f"left\\IMG {key}.jpg"
    write_model(tmp_path / "sparse/0", model, text=True)
    assert [v.path.name for v in found(tmp_path).views] == [f"IMG {key}.JPG" for key in sorted(model.images)]


def test_stale_frames_are_told_of(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model)
    new = moved(model)
    overwrite(folder, new, False, "cameras", "images", "points3D")
    posed = found(tmp_path)
    assert any("frames.bin" in warning for warning in posed.warnings)
    expected = next(i for i in new.images.values() if i.name == posed.views[0].path.name)
    np.testing.assert_allclose(
        np.linalg.inv(posed.views[0].world_from_cam)[:3], expected.cam_from_world().matrix(), atol=1e-9
    )


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_turned_by_exif(tmp_path: Path, model: pycolmap.Reconstruction, orientation: int) -> None:
    """COLMAP takes the pixels as stored; the lens and pose are turned to the photo as shown."""
    write_colmap(tmp_path, "sparse/0", model, images="plain")
    plain = found(tmp_path)
    shutil.rmtree(tmp_path / "plain")
    exif = Image.Exif()
    exif[0x0112] = orientation
    for image in model.images.values():
        image_path = tmp_path / "images" / image.name
        image_path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (90, 100, 110)).save(image_path, exif=exif.tobytes())
    turned = found(tmp_path)
    for before, after in zip(plain.views, turned.views, strict=True):
        wide = orientation == 3
        assert (after.intrinsics.width, after.intrinsics.height) == ((64, 48) if wide else (48, 64))
        np.testing.assert_allclose(after.world_from_cam[:, 2:], before.world_from_cam[:, 2:], atol=1e-12)
        assert not np.allclose(after.world_from_cam[:, :2], before.world_from_cam[:, :2])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("OPENCV 64 48 60 61", "OPENCV 64 48 -60 61", "focal length"),
        ("OPENCV 64 48 60 61 32 24", "OPENCV 64 48 60 61 3200 24", "principal point"),
        ("OPENCV 64 48 60 61 32 24", "PANORAMIC 64 48 60 61 32 24", "PANORAMIC"),
        ("OPENCV 64 48 60 61 32 24", "OPENCV 64 48 60 61", "cannot be read as a COLMAP model"),
    ],
)
def test_impossible_lenses_are_refused(
    tmp_path: Path, model: pycolmap.Reconstruction, old: str, new: str, said: str
) -> None:
    folder = without_frames(write_colmap(tmp_path, "sparse/0", model, text=True))
    edit(folder / "cameras.txt", old, new)
    assert said in error_of(tmp_path)


def test_a_pose_without_a_rotation_is_refused(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = without_frames(write_colmap(tmp_path, "sparse/0", model, text=True))
    lines = (folder / "images.txt").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("000001.png"))
    words = lines[at].split(" ")
    lines[at] = " ".join([words[0], "0", "0", "0", "0", *words[5:]])
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    message = error_of(tmp_path)
    assert "NaN" in message and words[-1] in message


def test_a_model_without_images_or_points(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model)
    write_model(folder, pycolmap.Reconstruction())
    assert "no posed images" in error_of(tmp_path)
    overwrite(folder, model, False, "cameras", "images")
    without_frames(folder)
    posed = found(tmp_path)
    assert len(posed.views) == 5 and posed.points.shape == (0, 3) and posed.reprojection_error is None


def test_panoramas(tmp_path: Path, model: pycolmap.Reconstruction) -> None:
    other = pycolmap.Reconstruction(model)
    for camera in other.cameras.values():
        camera.model, camera.width, camera.height = pycolmap.CameraModelId.EQUIRECTANGULAR, 64, 32
        camera.params = [64.0, 32.0]
    write_model(tmp_path / "sparse/0", other)
    for name in names(model):
        write_photo(tmp_path / "images" / name, 64, 32)
    assert {v.intrinsics.lens for v in found(tmp_path).views} == {"equirectangular"}
    for camera in other.cameras.values():
        camera.height = 48
        camera.params = [64.0, 48.0]
    write_model(tmp_path / "sparse/0", other)
    assert "64×48 pixels are not twice as wide as high" in error_of(tmp_path)


@pytest.mark.parametrize("text", [True, False])
def test_a_model_without_its_cameras_is_told(
    tmp_path: Path, model: pycolmap.Reconstruction, text: bool
) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model, text)
    (folder / f"cameras{'.txt' if text else '.bin'}").unlink()
    assert find_posed(tmp_path) is None
    (told,) = unread_cameras(tmp_path)
    assert "lacks cameras." in told and str(folder) in told
    assert "lacks cameras." in error_of(folder / f"images{'.txt' if text else '.bin'}")


def test_a_text_model_beside_another_binary_one_is_told(
    tmp_path: Path, model: pycolmap.Reconstruction
) -> None:
    folder = write_colmap(tmp_path, "sparse/0", model)
    write_model(folder, model, text=True)
    assert found(tmp_path).warnings == ()
    lines = (folder / "images.txt").read_text().splitlines(keepends=True)
    (folder / "images.txt").write_text("".join(lines[:-2]))
    (warning,) = found(tmp_path).warnings
    assert "images.txt" in warning and "other images than images.bin" in warning
    for path in folder.glob("*.bin"):  # the way out
        path.unlink()
    assert len(found(tmp_path).views) == 4
