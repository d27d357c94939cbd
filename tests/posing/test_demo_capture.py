"""The capture in data/demo: complete, consistent, and posed correctly from its pictures alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pose_errors import extent, pose_errors

from nerfscene.capture.folder import open_capture
from nerfscene.formats.readers import find_posed
from nerfscene.posing.poses import pose

DEMO = Path(__file__).parents[2] / "data/demo"


def test_lists_exactly_its_pictures_at_their_size() -> None:
    data = json.loads((DEMO / "transforms.json").read_text())
    listed = {f["file_path"] for f in data["frames"]}
    assert listed == {f"images/{p.name}" for p in (DEMO / "images").iterdir()}
    assert 40 <= len(listed) <= 60
    for name in listed:
        with Image.open(DEMO / name) as picture:
            assert picture.size == (data["w"], data["h"]) == (640, 480)


def test_is_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in DEMO.parent.rglob("*") if p.is_file()) < 15e6


def test_cameras_are_rigid_and_look_at_one_place() -> None:
    posed = find_posed(DEMO)
    assert posed is not None
    subject = np.array([0, 0, 0.9])
    for view in posed.views:
        r, centre = view.world_from_cam[:3, :3], view.world_from_cam[:3, 3]
        assert np.allclose(r.T @ r, np.eye(3), atol=1e-6)
        assert np.linalg.det(r) > 0
        towards = (subject - centre) / np.linalg.norm(subject - centre)
        assert towards @ r[:, 2] > np.cos(np.radians(20))
        assert 0.6 < np.linalg.norm(subject - centre) < 2.0


@pytest.mark.long
def test_posed_with_every_other_picture_and_wrong_focal_lengths_in_a_third(tmp_path: Path) -> None:
    some = open_capture(DEMO / "images").photos[:18:2]
    focal = 577.5
    given = tuple(replace(p, focal=focal * (2 if i % 3 == 0 else 1)) for i, p in enumerate(some))
    truth = find_posed(DEMO)
    assert truth is not None
    found = pose(replace(open_capture(DEMO / "images"), photos=given), tmp_path)
    assert len(found.views) == len(given)
    true = {v.path.name: v for v in truth.views}
    pairs = [(v, true[v.path.name]) for v in found.views]
    poses = [v.world_from_cam for v, _ in pairs], [t.world_from_cam for _, t in pairs]
    distances, degrees, _ = pose_errors(*poses)
    assert np.median(distances) < 0.01 * extent(poses[1])
    assert distances.max() < 0.025 * extent(poses[1])
    assert degrees.max() < 1.0
    for v, t in pairs:
        assert v.intrinsics.fx == pytest.approx(t.intrinsics.fx, rel=0.02)
