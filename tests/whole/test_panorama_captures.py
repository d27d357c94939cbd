"""Cameras of panoramas from other programs: each view shows what stands before its camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from analytic import OPENGL
from panorama_cases import photo, poses, write_panoramas
from PIL import Image
from scipy.spatial.transform import Rotation

from nerfscene.intake import open_posed

WIDTH, HEIGHT, COUNT = 512, 256, 3
ASIDE = np.eye(4)  # ten pixels to the side
ASIDE[:3, :3] = Rotation.from_euler("y", 10 / 82).as_matrix()


def colmap(folder: Path) -> None:
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    (model / "cameras.txt").write_text(f"1 EQUIRECTANGULAR {WIDTH} {HEIGHT} {WIDTH} {HEIGHT}\n")
    (model / "points3D.txt").write_text("")
    lines = []
    for i, pose in enumerate(poses()[:COUNT]):
        inverse = np.linalg.inv(pose)
        x, y, z, w = Rotation.from_matrix(inverse[:3, :3]).as_quat()
        place = " ".join(map(str, inverse[:3, 3]))
        lines += [f"{i + 1} {w} {x} {y} {z} {place} 1 R{i:04d}.JPG", ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")


def transforms(folder: Path) -> None:
    frames = [
        {"file_path": f"images/R{i:04d}.JPG", "transform_matrix": (pose @ OPENGL).tolist()}
        for i, pose in enumerate(poses()[:COUNT])
    ]
    lens = {"camera_model": "EQUIRECTANGULAR", "w": WIDTH, "h": HEIGHT}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))


def metashape(folder: Path) -> None:
    cameras = "".join(
        f'<camera id="{i}" sensor_id="0" label="R{i:04d}">'
        f"<transform>{' '.join(map(str, pose.ravel()))}</transform></camera>"
        for i, pose in enumerate(poses()[:COUNT])
    )
    (folder / "cameras.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="1" enabled="true">'
        '<sensors><sensor id="0" label="pano" type="spherical">'
        f'<resolution width="{WIDTH}" height="{HEIGHT}"/></sensor></sensors>'
        f"<cameras>{cameras}</cameras></chunk></document>"
    )


def opensfm(folder: Path) -> None:
    shots = {}
    for i, pose in enumerate(poses()[:COUNT]):
        inverse = np.linalg.inv(pose)
        turn = Rotation.from_matrix(inverse[:3, :3]).as_rotvec().tolist()
        shots[f"R{i:04d}.JPG"] = {"rotation": turn, "translation": inverse[:3, 3].tolist(), "camera": "c"}
    camera = {"projection_type": "spherical", "width": WIDTH, "height": HEIGHT}
    content = [{"cameras": {"c": camera}, "shots": shots, "points": {}}]
    (folder / "reconstruction.json").write_text(json.dumps(content))


@pytest.mark.parametrize("write", [colmap, transforms, metashape, opensfm])
def test_views_show_what_is_before_them(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write_panoramas(tmp_path / "in/images", WIDTH, range(COUNT))
    write(tmp_path / "in")
    posed = open_posed(tmp_path / "in", tmp_path / "work", given="read")
    assert len(posed.views) == 6 * COUNT and posed.photos_given == COUNT
    assert len(posed.warnings) == 1 and "panoramas" in posed.warnings[0]
    for view in posed.views:
        k = view.intrinsics
        shown = np.asarray(Image.open(view.path), float)
        true = photo(view.world_from_cam, k.width, k.height, k.fx).astype(float)
        off = photo(view.world_from_cam @ ASIDE, k.width, k.height, k.fx).astype(float)
        assert np.abs(shown - true).mean() < 0.5 * np.abs(shown - off).mean(), view.path.name
