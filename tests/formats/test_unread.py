"""Cameras beside photos in forms that no reader takes are named, with the way to use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import write_photos

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed, unread_cameras

ROW = " ".join(["0.5"] * 3)
# A file's name, how the program begins it, and a word of the sentence about it.
FORMS = {
    "scene.nvm": (b"NVM_V3 \n\n2\nIMG_0.jpg\t950.2 0.99 0.01 0 0 1 2 3 0.01 0\n", "VisualSFM"),
    "bundle.out": (b"# Bundle file v0.3\n2 0\n950.2 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 0\n", "Bundler"),
    "cameras.sfm": (b'{"version": ["1", "2", "8"], "views": [{"viewId": "1", "poseId": "1"}]}', "Meshroom"),
    "blocks.xml": (
        b'<?xml version="1.0"?>\n<BlocksExchange version="2.1"><Block/></BlocksExchange>',
        "Blocks",
    ),
    "cameras.xml": (
        b'<?xml version="1.0"?>\n<document version="2.0.0"><chunk label="a"><cameras/></chunk></document>',
        "none has a pose",
    ),
    "site.psx": (
        b'<document version="1.2.0" path="{projectname}.files/project.zip"/>',
        "project of Metashape",
    ),
    "site.rsproj": (b"<RealityScanProject/>", "RealityScan"),
    "a_calibrated_external_camera_parameters.txt": (b"imageName X Y Z Omega Phi Kappa\n", "Pix4D"),
    "cameras.csv": (
        b"#cameras 2\n#name,X/Lon,Y/Lat,Z/Alt,yaw,pitch,roll\nIMG_0.jpg,1,2,3,4,5,6\n",
        "no lenses",
    ),
    "opk.txt": (
        b"# Cameras (2)\n# PhotoID, X, Y, Z, Omega, Phi, Kappa, r11\nIMG_0\t1\t2\t3\n",
        "Agisoft XML",
    ),
    "odm_report/shots.geojson": (b'{"type": "FeatureCollection"}', "reconstruction.json"),
    "project.opf": (b'{"format": "application/opf-project+json"}', "opf2colmap"),
    "cams/00000000_cam.txt": (b"extrinsic\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n\nintrinsic\n", "MVSNet"),
    "pose/0.txt": (b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "transforms.json"),
    "frame-000000.pose.txt": (b"1.0e+00\t 0\t 0\t 0\t \n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "transforms.json"),
    "lowres_wide.traj": (f"12.5 {ROW} {ROW}\n".encode(), "ARKitScenes"),
    "groundtruth.txt": (f"# timestamp tx ty tz qx qy qz qw\n1.25 {ROW} {ROW} 1\n".encode(), "each pose"),
    "Barn_COLMAP_SfM.log": (b"0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "each pose"),
    "iphone/pose_intrinsic_imu.json": (b'{"frame_000000": {"pose": [[1, 0, 0, 0]]}}', "ScanNet"),
    "scan.jsonl": (b'{"timestamp": 1.5, "intrinsics": [1], "transform": [1]}\n', "MultiScan"),
    "data.jsonl": (b'{"time": 0.1, "sensor": {"type": "gyroscope"}}\n', "Spectacular AI"),
    "log.csv": (b"timestamp_ns, tx, ty, tz, qx, qy, qz, qw, fx\n1, 2\n", "log of poses"),
    "poses.csv": (b"filename,tx,ty,tz,qw,qx,qy,qz\nIMG_0.jpg,0,0,0,1,0,0,0\n", "table of poses"),
    "cameras.json": (
        b'[{"id": 0, "img_name": "IMG_0", "width": 40, "position": [0, 0, 1], "rotation": [[1, 0, 0]]}]',
        "sparse/0",
    ),
    "camera/IMG_0.json": (b'{"orientation": [[1, 0, 0]], "position": [0], "focal_length": 5}', "Nerfies"),
    "arkit.json": (b'{"items": [{"cameraTransform": [1, 0], "intrinsics": [1]}]}', "list of poses"),
    "shot.chan": (b"1 0 0 0 0 0 0\n2 0 0 0 0 0 0\n", "Nuke"),
    "CameraKeyframes.csv": (b"frame,x,y\n", "CamTrackAR"),
    "scan_poses.txt": (f"{ROW} 0 {ROW} 0 {ROW} 0\n".encode(), "each pose"),
    "bundle/bundle.out": (b"# Bundle file v0.3\n2 0\n950.2 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 0\n", "Bundler"),
    "metadata.json": (b'{"train": {"file_path": ["train/r_0.png"], "cam2world": []}}', "multi-scale"),
    "sensors/trajectories.txt": (b"# kapture format: 1.1\n# timestamp, device_id, qw\n", "kapture"),
}


@pytest.mark.parametrize("name", FORMS)
def test_cameras_in_a_form_that_is_not_read_are_named(tmp_path: Path, name: str) -> None:
    content, word = FORMS[name]
    write_photos(tmp_path / "images", ["IMG_0.jpg", "IMG_1.jpg"])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert find_posed(tmp_path) is None
    (warning,) = unread_cameras(tmp_path)
    assert name in warning and word in warning and "posed anew" in warning
    if path.suffix != ".xml":  # by itself too
        with pytest.raises(NerfsceneError, match=word):
            find_posed(path)


def test_cameras_in_a_folder_beside_the_photos_are_named_too(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", ["IMG_0.jpg", "IMG_1.jpg"])
    (tmp_path / "vsfm").mkdir()
    (tmp_path / "vsfm" / "scene.nvm").write_bytes(FORMS["scene.nvm"][0])
    (warning,) = unread_cameras(tmp_path)
    assert "VisualSFM" in warning


def test_other_files_beside_photos_are_passed_over_without_a_word(tmp_path: Path) -> None:
    write_photos(tmp_path, ["IMG_0.jpg", "IMG_1.jpg"])
    (tmp_path / "notes.txt").write_text("1 2 3 4\n")
    (tmp_path / "poses.txt").write_text("standing, sitting, lying\n")
    (tmp_path / "trajectory.txt").write_text("")
    (tmp_path / "gps.csv").write_text("timestamp,lat,lon,alt\n1,2,3,4\n")
    (tmp_path / "log.jsonl").write_text('{"level": "info"}\n')
    (tmp_path / "settings.json").write_text('{"iso": 100}')
    path = '{"camera_path": [{"camera_to_world": [1, 0], "fov": 50}], "keyframes": []}'
    (tmp_path / "camera_path.json").write_text(path)
    (tmp_path / "files.csv").write_text("filename,width,height\nIMG_0.jpg,40,30\n")
    (tmp_path / "page.xml").write_text("<html/>")
    (tmp_path / "control points.csv").write_text("Name,X,Y,Z\nP1,1,2,3\n")
    np.savez(tmp_path / "depth.npz", a=np.zeros(3))
    np.savez(tmp_path / "cameras_used.npz", a=np.zeros(3))
    assert find_posed(tmp_path) is None and unread_cameras(tmp_path) == ()
