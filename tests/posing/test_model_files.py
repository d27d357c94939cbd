"""COLMAP models on disk: names, rigs and frames, stale files, and files that are damaged or were edited."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_cases import edit, moved, overwrite, synthetic, without_frames, write_model

from nerfscene.errors import NerfsceneError
from nerfscene.posing.model_files import read_model
from nerfscene.posing.model_place import is_model
from nerfscene.posing.sparse import SparseModel
from nerfscene.types import Array

BOTH = pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
OLD = ("cameras", "images", "points3D")  # the files that COLMAP 3 knows


@pytest.fixture(scope="module")
def single() -> pycolmap.Reconstruction:
    return synthetic()


@pytest.fixture(scope="module")
def rigs() -> pycolmap.Reconstruction:
    return synthetic(rigs=2, cameras=3, frames=2)


def error_of(folder: Path) -> str:
    with pytest.raises(NerfsceneError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert (
        "\n" not in message and len(message) < 600 and str(folder) in message and "/nerfscene-" not in message
    )
    return message


def assert_poses(got: SparseModel, model: pycolmap.Reconstruction, atol: float = 1e-9) -> None:
    """The model has all poses of pycolmap's."""
    poses: dict[str, Array] = {i.name: i.cam_from_world().matrix() for i in model.images.values()}
    assert sorted(got.names) == sorted(poses)
    for name, world_from_cam in zip(got.names, got.world_from_cam, strict=True):
        np.testing.assert_allclose(np.linalg.inv(world_from_cam)[:3], poses[name], atol=atol)


@BOTH
def test_rigs_of_several_cameras(tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool) -> None:
    folder = write_model(tmp_path, rigs, text)
    got = read_model(folder)
    assert (
        len(got.names) == 12 and got.warnings == () and got.reprojection_error == pytest.approx(0, abs=1e-6)
    )
    assert_poses(got, rigs)
    without_frames(folder)
    assert_poses(read_model(folder), rigs)


@BOTH
def test_frames_that_only_some_cameras_of_a_rig_have_photos_of(tmp_path: Path, text: bool) -> None:
    """As where one camera of a rig missed a shot: COLMAP's frames then hold fewer images than the rig has."""
    full = synthetic(rigs=1, cameras=3, frames=4, points=0)
    model = pycolmap.Reconstruction()
    for camera in full.cameras.values():
        model.add_camera(camera)
    for rig in full.rigs.values():
        model.add_rig(rig)
    for frame in full.frames.values():
        shot = sorted(data.id for data in frame.image_ids)
        kept = [i for i in shot if (frame.frame_id, i % 3) not in {(2, 2), (3, 1)}]
        part = pycolmap.Frame(frame_id=frame.frame_id, rig_id=frame.rig_id)
        part.rig_from_world = frame.rig_from_world
        for i in kept:
            part.add_data_id(full.images[i].data_id)
        model.add_frame(part)
        for i in kept:
            image = full.images[i]
            new = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=i)
            new.frame_id = frame.frame_id
            model.add_image(new)
    folder = write_model(tmp_path, model, text)
    got = read_model(folder)
    assert len(got.names) == 10 and got.warnings == ()
    poses = {i.name: i.cam_from_world().matrix() for i in full.images.values()}
    for name, world_from_cam in zip(got.names, got.world_from_cam, strict=True):
        np.testing.assert_allclose(np.linalg.inv(world_from_cam)[:3], poses[name], atol=1e-9)


@BOTH
def test_stale_frames_beside_new_images(tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool) -> None:
    """An older program moved the model and wrote the three files that it knows."""
    folder = write_model(tmp_path / "0", rigs, text)
    new = moved(rigs)
    overwrite(folder, new, text, *OLD)
    got = read_model(folder)
    assert_poses(got, new)
    assert got.reprojection_error == pytest.approx(0, abs=1e-6) and all(len(seen) > 10 for seen in got.seen)
    (warning,) = got.warnings
    assert "frames" in warning and "not used" in warning and "fit its points better" in warning


@BOTH
def test_stale_images_beside_new_frames(tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool) -> None:
    folder = write_model(tmp_path / "0", rigs, text)
    new = moved(rigs)
    overwrite(folder, new, text, "points3D", "frames", "rigs")
    got = read_model(folder)
    assert_poses(got, new)
    (warning,) = got.warnings
    assert "the poses in images" in warning and "not used" in warning


@BOTH
def test_frames_and_images_that_nothing_decides_between(
    tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool
) -> None:
    folder = write_model(tmp_path / "0", rigs, text)
    overwrite(folder, moved(rigs), text, "images")
    overwrite(folder, moved(moved(rigs)), text, "points3D")
    message = error_of(folder)
    assert "neither fits" in message and "delete frames" in message
    empty = pycolmap.Reconstruction(rigs)
    for key in list(empty.points3D):
        empty.delete_point3D(key)
    write_model(folder, empty, text)
    overwrite(folder, moved(empty), text, "images")
    assert "no points that show which are right" in error_of(folder)
    without_frames(folder)
    assert_poses(read_model(folder), moved(empty))  # the message's way out


@BOTH
def test_images_that_an_older_program_removed(
    tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool
) -> None:
    folder = write_model(tmp_path / "0", rigs, text)
    fewer = pycolmap.Reconstruction(rigs)
    fewer.deregister_frame(min(fewer.reg_frame_ids()))
    overwrite(folder, fewer, text, *OLD)
    got = read_model(folder)
    assert len(got.names) == 9 and got.reprojection_error == pytest.approx(0, abs=1e-6)
    (warning,) = got.warnings
    assert "frames" in warning and "other images" in warning


def test_stale_frames_of_a_few_images(tmp_path: Path) -> None:
    """An older program moved one camera only: nearly all points fit both poses equally well."""
    new = synthetic(frames=40)
    folder = write_model(tmp_path / "0", new)
    old = pycolmap.Reconstruction(new)
    key = min(old.images)
    pose = old.images[key].cam_from_world()
    shifted = pycolmap.Rigid3d(pose.rotation, pose.translation + np.array([0.0, 0.05, 0.0]))
    old.frames[old.images[key].frame_id].rig_from_world = shifted
    overwrite(folder, old, False, "rigs", "frames")
    got = read_model(folder)
    assert_poses(got, new)
    assert "the poses in frames.bin" in got.warnings[0]


@BOTH
def test_images_that_an_older_program_added(
    tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool
) -> None:
    fewer = pycolmap.Reconstruction(rigs)
    fewer.deregister_frame(min(fewer.reg_frame_ids()))
    folder = write_model(tmp_path / "0", fewer, text)
    overwrite(folder, rigs, text, *OLD)
    got = read_model(folder)
    assert_poses(got, rigs)
    (warning,) = got.warnings
    assert "frames" in warning and "other images" in warning


@BOTH
@pytest.mark.parametrize("part", ["rigs", "frames"])
def test_rigs_without_frames(tmp_path: Path, rigs: pycolmap.Reconstruction, text: bool, part: str) -> None:
    folder = write_model(tmp_path, rigs, text)
    next(folder.glob(f"{part}.*")).unlink()
    assert_poses(read_model(folder), rigs)


@BOTH
@pytest.mark.parametrize("told", [0.0, -1.0, 3.5])
def test_the_error_is_computed_whatever_the_file_says(tmp_path: Path, text: bool, told: float) -> None:
    model = synthetic()
    for point in model.points3D.values():
        point.error = told
    for camera in model.cameras.values():
        camera.params = [*camera.params[:2], camera.params[2] + 2.0, *camera.params[3:]]
    got = read_model(write_model(tmp_path, model, text))
    assert got.reprojection_error == pytest.approx(2, abs=1e-6)


def test_points_of_another_run_are_told(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    folder = without_frames(write_model(tmp_path / "0", single))
    overwrite(folder, moved(single), False, "points3D")
    got = read_model(folder)
    (warning,) = got.warnings
    assert "miss its photos by" in warning and not any(map(len, got.seen))


NAMES = [
    "DJI_0002 map plan (001).jpg",
    "a  b.jpg",  # two spaces
    "# 3.jpg",
    "Straße/été 4.jpg",
    "IMG 5 7.5",
]


@BOTH
def test_names_are_the_rest_of_the_line(tmp_path: Path, text: bool) -> None:
    model = synthetic()
    for name, key in zip(NAMES, sorted(model.images), strict=True):
        model.images[key].name = name
    assert read_model(write_model(tmp_path, model, text)).names == tuple(NAMES)


def test_a_name_with_a_tab_and_numbers_between_tabs(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    folder = without_frames(write_model(tmp_path, single, True))
    lines = (folder / "images.txt").read_text().splitlines()
    lines = [line.replace(" ", "\t") for line in lines]
    (folder / "images.txt").write_text("\n".join(lines).replace("camera000001_", "camera\t1_"))
    got = read_model(folder)
    assert got.names[0] == "camera\t1_frame000000.png" and got.reprojection_error == pytest.approx(
        0, abs=1e-6
    )


def test_names_in_another_alphabet_than_utf8(tmp_path: Path) -> None:
    model = synthetic()
    model.images[2].name = "xx_1.jpg"
    folder = write_model(tmp_path, model)
    data = (folder / "images.bin").read_bytes()
    (folder / "images.bin").write_bytes(data.replace(b"xx_1", "图_1".encode("gbk")))
    names = read_model(folder).names
    assert len(names) == 5 and names[0] == "camera000001_frame000000.png" and names[1].endswith("_1.jpg")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_text_of_other_programs(tmp_path: Path, single: pycolmap.Reconstruction, ending: str) -> None:
    """With a byte-order mark, Windows' line endings, and no lines for the points of images."""
    folder = without_frames(write_model(tmp_path, single, True))
    for part in OLD:
        path = folder / f"{part}.txt"
        lines = path.read_text().splitlines()
        if part == "images":
            lines = [line for line in lines if line.startswith("#") or line.endswith(".png")]
        if part == "points3D":
            lines = [" ".join(line.split()[:8]) for line in lines if line[0] != "#"]  # no tracks
        mark = "" if part == "points3D" else "\ufeff"
        path.write_text(mark + "\n".join(lines) + "\n", newline=ending)
    got = read_model(folder)
    assert_poses(got, single)
    assert len(got.points) == 100 and got.reprojection_error is None and got.warnings == ()


@BOTH
def test_points_may_be_missing(tmp_path: Path, single: pycolmap.Reconstruction, text: bool) -> None:
    folder = without_frames(write_model(tmp_path, single, text))
    next(folder.glob("points3D.*")).unlink()
    assert is_model(folder)
    got = read_model(folder)
    assert_poses(got, single)
    assert got.points.shape == (0, 3) and got.reprojection_error is None


def test_other_files_of_these_names_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "cameras.txt").write_text("left\nright\n")
    assert not is_model(tmp_path)


def test_tracks_without_the_photos_features(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    """Some programs list in which photos a point was seen, but not where."""
    folder = without_frames(write_model(tmp_path, single, True))
    lines = (folder / "images.txt").read_text().splitlines()
    lines = [line if line.startswith("#") or line.endswith(".png") else "" for line in lines]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    got = read_model(folder)
    assert_poses(got, single)
    assert len(got.points) == 100 and got.reprojection_error is None


def test_an_image_that_was_deleted_by_hand(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    """From images.txt alone: the points still name it."""
    folder = without_frames(write_model(tmp_path, single, True))
    lines = (folder / "images.txt").read_text().splitlines()
    (folder / "images.txt").write_text("\n".join(lines[:-2]) + "\n")
    got = read_model(folder)
    assert len(got.names) == 4 and len(got.points) == 100 and got.reprojection_error is None
    (warning,) = got.warnings
    assert "points" in warning and "images.txt lacks" in warning


@BOTH
def test_points_that_are_not_numbers_are_dropped(tmp_path: Path, text: bool) -> None:
    model = synthetic()
    model.points3D[min(model.points3D)].xyz = [np.nan, 0, 0]
    got = read_model(write_model(tmp_path, model, text))
    assert np.isfinite(got.points).all() and len(got.points) == 99
    assert len(got.warnings) == 1 and "points" in got.warnings[0]


def test_poses_that_are_not_numbers(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    folder = without_frames(write_model(tmp_path, single, True))
    line = next(x for x in (folder / "images.txt").read_text().splitlines() if x.endswith("000001.png"))
    words = line.split(" ")
    edit(folder / "images.txt", line, " ".join([*words[:5], "nan", *words[6:]]))
    assert "NaN" in error_of(folder) and "line " in error_of(folder)
    edit(folder / "images.txt", " nan ", " x ")
    assert "does not describe an image" in error_of(folder)


def test_a_rotation_of_zeros_is_no_rotation(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    folder = without_frames(write_model(tmp_path, single, True))
    line = next(x for x in (folder / "images.txt").read_text().splitlines() if x.endswith("000001.png"))
    words = line.split(" ")
    edit(folder / "images.txt", line, " ".join([words[0], "0", "0", "0", "0", *words[5:]]))
    got = read_model(folder)
    assert np.isnan(got.world_from_cam[got.names.index(words[-1])]).all()


def test_cameras_that_no_image_has_and_images_without_one(
    tmp_path: Path, single: pycolmap.Reconstruction
) -> None:
    folder = without_frames(write_model(tmp_path, single, True))
    with (folder / "cameras.txt").open("a") as file:
        file.write("9 EQUIRECTANGULAR 64 32 64 32\n")
    assert {lens.lens for lens in read_model(folder).intrinsics} == {"perspective"}
    edit(folder / "images.txt", " 1 camera", " 7 camera", 1)
    assert "camera 7 that cameras.txt lacks" in error_of(folder)


def test_lens_models_that_pycolmap_does_not_know(tmp_path: Path, single: pycolmap.Reconstruction) -> None:
    folder = write_model(tmp_path / "text", single, True)
    edit(folder / "cameras.txt", "OPENCV", "PINHOLE_OF_2030")
    assert "lens model PINHOLE_OF_2030, which COLMAP" in error_of(folder)
    folder = write_model(tmp_path / "binary", single)
    data = bytearray((folder / "cameras.bin").read_bytes())
    data[12:16] = struct.pack("<i", 99)
    (folder / "cameras.bin").write_bytes(data)
    assert "lens model number 99, which COLMAP" in error_of(folder)


def test_a_lens_that_is_visibly_off_is_told(tmp_path: Path) -> None:
    model = synthetic()
    camera = model.cameras[1]
    camera.model = pycolmap.CameraModelId.FULL_OPENCV
    camera.width, camera.height = 1600, 1200
    camera.params = [900, 905, 800, 600, 0.1, 0.05, 0.001, 0.001, 0.01, 0.2, 0.1, 0.01]
    (warning,) = (w for w in read_model(write_model(tmp_path, model)).warnings if "lens model" in w)
    assert "FULL_OPENCV" in warning and "pixels" in warning


@pytest.mark.parametrize("part", OLD)
def test_damaged_files(tmp_path: Path, single: pycolmap.Reconstruction, part: str) -> None:
    folder = without_frames(write_model(tmp_path, single))
    data = (folder / f"{part}.bin").read_bytes()
    (folder / f"{part}.bin").write_bytes(data[: len(data) // 2])
    assert "cannot be read as a" in error_of(folder)


@pytest.mark.parametrize("part", ["rigs", "frames"])
def test_rigs_that_end_too_early_are_not_used(tmp_path: Path, part: str) -> None:
    """pycolmap would look for the rest of them for hours."""
    folder = write_model(tmp_path, synthetic(2, 2, 3))
    whole = read_model(folder)
    data = (folder / f"{part}.bin").read_bytes()
    for damaged in ((2**40).to_bytes(8, "little") + data[8:], data[:-5]):
        (folder / f"{part}.bin").write_bytes(damaged)
        model = read_model(folder)
        assert model.names == whole.names and "is damaged" in model.warnings[0]
    (folder / f"{part}.bin").write_bytes(data)
    assert read_model(folder).warnings == whole.warnings


@pytest.mark.parametrize("length", [2**34, 2**61, 2**63])
def test_tracks_longer_than_their_file(tmp_path: Path, length: int) -> None:
    folder = without_frames(write_model(tmp_path, synthetic()))
    data = (folder / "points3D.bin").read_bytes()
    at = 8 + 43  # of the first point's length
    (folder / "points3D.bin").write_bytes(data[:at] + length.to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(NerfsceneError, match=r"points3D\.bin .* is cut off"):
        read_model(folder)


def test_a_model_that_contradicts_itself_is_told_without_the_librarys_words(tmp_path: Path) -> None:
    folder = without_frames(write_model(tmp_path, synthetic(), text=True))
    cameras = (folder / "cameras.txt").read_text()
    last = cameras.splitlines()[-1]
    (folder / "cameras.txt").write_text(cameras + last + "\n")
    with pytest.raises(NerfsceneError) as caught:
        read_model(folder)
    said = str(caught.value)
    assert "damaged or contradict each other" in said and ".cc" not in said and "\n" not in said
