"""The parts of a mesh: cutting, closing, clipping, smoothing, unwrapping."""

from __future__ import annotations

import analytic
import mesh_cases as cases
import numpy as np
import pytest
import trimesh

from nerfscene.config import ExportConfig
from nerfscene.exporters.mesh import surface_of
from nerfscene.exporters.mesh_depths import DepthPicture, trust
from nerfscene.exporters.mesh_fusion import BLOCK, Volume, Warp
from nerfscene.exporters.mesh_raster import raster
from nerfscene.exporters.mesh_surface import (
    Surface,
    clipped,
    closed,
    cut,
    face_normals,
    simplified,
    smoothed,
    without_loose,
)
from nerfscene.exporters.mesh_texture import filled
from nerfscene.exporters.mesh_unwrap import unwrapped
from nerfscene.exporters.told import Told
from nerfscene.types import Camera


def ball(radius: float = 10.0) -> Volume:
    """Distances to a ball in the middle of the cells."""
    warp = Warp(np.eye(4), 2 / 48, 1.0)
    n = warp.blocks
    blocks = np.stack(np.meshgrid(*[np.arange(1, n - 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    local = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), -1)
    corner = blocks[:, None, None, None] * BLOCK + local - warp.middle
    distance = np.clip((np.linalg.norm(corner, axis=-1) - radius) / 4, -1, 1).astype(np.float32)
    return Volume(warp, blocks, distance, np.ones_like(distance))


def as_trimesh(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def sphere() -> Surface:
    made = trimesh.creation.icosphere(4)
    return Surface(made.vertices.astype(np.float32), made.faces.astype(np.int64))


def test_a_ball_is_cut_out_closed_and_facing_outward() -> None:
    volume = ball()
    mesh = as_trimesh(cut(volume, 0.5))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)
    assert np.allclose(mesh.vertices.mean(0), volume.warp.middle, atol=0.1)


def test_what_no_picture_saw_is_left_open() -> None:
    volume = ball()
    unseen = volume.blocks[:, 2] * BLOCK < volume.warp.middle - BLOCK
    volume.weight[unseen] = 0
    mesh = as_trimesh(cut(volume, 0.5))
    assert not mesh.is_watertight
    assert mesh.vertices[:, 2].min() >= volume.warp.middle - BLOCK


@pytest.mark.parametrize("at", [(0.3, -0.2, 0.1), (3.0, 0.5, -2.0), (-7.5, 7.5, 7.5)])
def test_the_warp_and_its_inverse(at: tuple[float, float, float]) -> None:
    m = np.eye(4)
    m[:3, :3] *= 0.5
    m[:3, 3] = 0.1, 0.2, -0.1
    warp = Warp(m, 0.01, 8.0)
    points = np.float32([at])
    assert np.allclose(warp.to_world(warp.to_cells(points)), points, atol=1e-3)
    step = np.float32([[1e-2, 0, 0]])
    moved = np.linalg.norm(warp.to_cells(points + step) - warp.to_cells(points)) / 1e-2
    assert moved >= 0.9 / warp.sides(points)[0]  # no cell is longer than said


def test_true_depths_give_the_true_surface() -> None:
    lens = analytic.intrinsics(96, 72)
    pictures = []
    for pose in analytic.ring(16):
        depth = analytic.trace(*analytic.rays(lens, pose), room=True)[1].reshape(72, 96).astype(np.float32)
        pictures.append(DepthPicture(Camera(lens, pose), depth, trust(lens, depth)))
    warp = Warp(np.eye(4), 2 / 96, 8.0)
    surface, _ = surface_of(pictures, warp, None, ExportConfig(faces=20_000, threads=1), Told())
    middles = surface.vertices[surface.faces].mean(1).astype(float)
    inner = np.linalg.norm(middles, axis=1) < 1
    assert inner.sum() > 2000
    assert np.percentile(cases.off(middles[inner]), 90) < 0.02
    normals = face_normals(surface.vertices, surface.faces)[0]
    sphere = cases.on_first_sphere(middles)
    assert ((middles[sphere] * normals[sphere]).sum(1) > 0).all()
    room = np.linalg.norm(middles, axis=1) > 4
    away = np.abs(np.linalg.norm(middles[room], axis=1) - analytic.ROOM)
    assert (
        np.median(away / warp.sides(middles[room].astype(np.float32))) < 0.6
    )  # of a cell, which are larger there


def test_holes_up_to_a_width_are_closed() -> None:
    ball = sphere()
    z = ball.vertices[ball.faces].mean(1)
    open_ = Surface(ball.vertices, ball.faces[(z[:, 2] < 0.95) & (z[:, 0] < 0.6)])  # a small and a wide hole
    mended, count = closed(open_, 0.9)
    assert count == 1
    assert closed(open_, 0.0)[1] == 0
    whole, count = closed(open_, 5.0)
    assert count == 2
    assert as_trimesh(whole).is_watertight
    assert as_trimesh(whole).is_winding_consistent
    assert not as_trimesh(mended).is_watertight


def test_a_crop_cuts_exactly() -> None:
    box = np.diag([1.0, 1.0, 2.0, 1.0])  # |z| ≤ 0.5
    part = clipped(sphere(), box)
    assert np.abs(part.vertices[:, 2]).max() == pytest.approx(0.5, abs=1e-6)
    area = as_trimesh(part).area
    assert area == pytest.approx(2 * np.pi * 1.0, rel=0.01)  # Archimedes


def ball_and_piece(subdivisions: int) -> tuple[Surface, int]:
    """A ball with a smaller one beside it, and the first's number of vertices."""
    ball = trimesh.creation.icosphere(5)
    piece = trimesh.creation.icosphere(subdivisions, 0.1)
    vertices = np.concatenate([ball.vertices, piece.vertices + 3]).astype(np.float32)
    return Surface(vertices, np.concatenate([ball.faces, piece.faces + len(ball.vertices)])), len(
        ball.vertices
    )


def test_a_crumb_goes_however_well_it_was_seen() -> None:
    ball = trimesh.creation.icosphere(6)  # 81,920 faces; a tetrahedron's four are no 0.0002 of them
    crumb = np.eye(4, 3, dtype=np.float32) + 3
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]) + len(ball.vertices)
    both = Surface(
        np.concatenate([ball.vertices.astype(np.float32), crumb]), np.concatenate([ball.faces, faces])
    )
    assert len(without_loose(both, np.ones(len(both.vertices), np.float32)).faces) == len(ball.faces)


@pytest.mark.parametrize(("seen", "stays"), [(0.5, True), (0.05, False)])
def test_a_loose_piece_stays_if_it_was_seen_about_as_well_as_the_rest(seen: float, stays: bool) -> None:
    both, of_ball = ball_and_piece(1)
    weights = np.ones(len(both.vertices), np.float32)
    weights[of_ball:] = seen
    left = without_loose(both, weights)
    assert len(left.faces) == (len(both.faces) if stays else len(both.faces) - 80)


def test_a_large_piece_stays_however_little_it_was_seen() -> None:
    both, of_ball = ball_and_piece(4)
    weights = np.ones(len(both.vertices), np.float32)
    weights[of_ball:] = 0.01
    assert len(without_loose(both, weights).faces) == len(both.faces)


def test_smoothing_keeps_the_size() -> None:
    ball = sphere()
    rng = np.random.default_rng(0)
    rough = Surface(ball.vertices + rng.normal(0, 0.01, ball.vertices.shape).astype(np.float32), ball.faces)
    smooth = smoothed(rough, 8, np.zeros(len(ball.vertices), bool), 0)
    radius = np.linalg.norm(smooth.vertices, axis=1)
    assert radius.std() < 0.5 * np.linalg.norm(rough.vertices, axis=1).std()
    assert radius.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("faces", [100, 1000, 5000])
def test_no_more_faces_are_left_than_asked_for(faces: int) -> None:
    ball = sphere()
    rng = np.random.default_rng(0)
    ragged = Surface(ball.vertices, ball.faces[rng.random(len(ball.faces)) < 0.6])
    made = simplified(ragged, faces)
    assert 0.9 * min(faces, len(ragged.faces)) < len(made.faces) <= faces
    assert np.linalg.norm(made.vertices, axis=1).mean() == pytest.approx(1, abs=0.1)


def test_faces_that_hang_together_nowhere_become_fewer_too() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-1, 1, (3000, 1, 3)) + rng.normal(0, 0.01, (3000, 3, 3))
    apart = Surface(corners.reshape(-1, 3).astype(np.float32), np.arange(9000).reshape(-1, 3))
    made = simplified(apart, 100)
    assert 90 < len(made.faces) <= 100


@pytest.mark.parametrize("kind", ["sphere", "torus", "spiral"])
def test_no_two_faces_share_a_texel(kind: str) -> None:
    if kind == "spiral":  # a ramp that winds over itself, all of it facing up
        a = np.linspace(0, 6 * np.pi, 400)
        edge = [np.stack([r * np.cos(a), r * np.sin(a), 0.05 * a], 1) for r in (0.5, 1.0)]
        i = np.arange(399)
        faces = np.concatenate([np.stack([i, i + 400, i + 401], 1), np.stack([i, i + 401, i + 1], 1)])
        mesh = trimesh.Trimesh(np.concatenate(edge), faces, process=False)
    else:
        mesh = trimesh.creation.icosphere(4) if kind == "sphere" else trimesh.creation.torus(1.0, 0.3)
    vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int64)
    atlas = unwrapped(vertices, faces, np.ones(len(faces), np.float32), 1024)
    assert np.allclose(atlas.vertices[atlas.faces], vertices[faces])
    assert (atlas.texels >= 1).all()
    assert (atlas.texels <= 1023).all()
    texel, face, _ = raster(atlas.texels[atlas.faces], 1024)
    counts = np.bincount(texel)
    assert (counts > 1).sum() < 0.01 * (counts > 0).sum()  # only along common edges
    assert (counts > 0).mean() > 0.25
    corners = atlas.texels[atlas.faces].astype(float)
    (ux, uy), (vx, vy) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    assert (np.sign(ux * vy - uy * vx) == np.sign(ux * vy - uy * vx)[0]).all()  # none lies mirrored
    assert len(np.unique(face)) == len(faces)


def test_gaps_between_charts_take_colours_beside_them() -> None:
    picture, known = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    picture[:, :20], known[:, :20] = (200, 10, 10), True
    out = filled(picture, known)
    assert (out[:, :20] == (200, 10, 10)).all()
    assert (out == (200, 10, 10)).all()
