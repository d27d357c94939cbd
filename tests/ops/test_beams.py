"""Beams find out for a tile of rays what each would find out for itself: pictures are the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import SETS, Case, double, make_case, processor, random_bits
from scipy.spatial.transform import Rotation

from nerfscene.ops import reference_beams as oracle

pytest_plugins = ["kernel_cases"]

CASES = {
    "bounded": make_case(20, gain=3.0, step=0.02),
    "bounded, growing": make_case(21, step=0.01, cone=0.03, color_layers=1, gain=6.0),
    "unbounded": make_case(22, unbounded=True, near=0.05, step=0.005, cone=0.01, far=1e4),
    "unbounded, long steps": make_case(23, unbounded=True, near=0.2, step=0.04, color_layers=1),
    "unbounded, constant": make_case(24, unbounded=True, near=0.3, far=4.0, step=0.03, cone=0.0),
    "ahead": make_case(27, unbounded=True, near=0.05, step=0.005, cone=0.01, far=1e4, ahead=True),
    # More steps than a beam keeps.
    "unbounded, fine": make_case(25, unbounded=True, near=0.01, step=1e-3, cone=1e-3, far=100.0),
}


@pytest.fixture(params=SETS)
def beams(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The processor's module with each of its instruction sets, with beams, as always."""
    with processor(request.param) as module:
        yield module
        module.use_beams(True)


def blobs(rng: np.random.Generator, kind: int) -> Any:
    """Occupancy (32³ bits): some cells strewn, a few boxes, everything, or the far shell too."""
    if kind == 0:
        return random_bits(rng, 32, float(rng.choice([0.001, 0.01, 0.3, 1.0])))
    cells = np.zeros((32, 32, 32), bool)
    for _ in range(rng.integers(1, 5)):
        low = rng.integers(0, 30, 3)
        z, y, x = (slice(a, a + rng.integers(1, 8)) for a in low)
        cells[z, y, x] = True
    if kind == 2:
        cells[:, [0, 31]] = True
    return np.packbits(cells.ravel(), bitorder="little").view(np.uint32).copy()


def camera(rng: np.random.Generator) -> tuple[Any, ...]:
    """A camera anywhere and its picture's sides: narrow or wide, perspective or fisheye, often distorted."""
    width, height = (int(rng.choice([1, 3, 8, 13, 31, 40])) for _ in range(2))
    lens = int(rng.integers(2))
    focal = max(width, height) * float(rng.choice([0.2, 0.5, 1.0, 8.0]))
    distortion = rng.normal(0, 0.02, 5) * rng.integers(2)
    if lens == 1:
        distortion[4] = 0
    center = rng.normal(0, float(rng.choice([0.0, 0.3, 1.0, 3.0, 50.0])), 3)
    aim = rng.normal(0, 0.5, 3) - center
    turn = Rotation.align_vectors([aim], [[0, 0, 1]])[0] if rng.random() < 0.7 else Rotation.random(rng=rng)
    if rng.random() < 0.1:
        turn = Rotation.identity()  # rays along an axis
    pose = np.concatenate([turn.as_matrix(), center[:, None]], 1).ravel().tolist()
    numbers = [focal, focal * 1.1, width / 2, height / 2 + 0.5 * rng.integers(2), *distortion]
    return [float(x) for x in numbers], lens, width, height, pose


def random_crop(rng: np.random.Generator) -> list[float]:
    """box_from_scene of a box that stands at an angle, or none."""
    if rng.random() < 0.5:
        return []
    box = Rotation.random(rng=rng).as_matrix() * rng.uniform(0.5, 3, (3, 1))
    return [float(x) for x in np.concatenate([box, rng.normal(0, 0.3, (3, 1))], 1).ravel()]


def picture(
    module: Any, field: Any, view: Any, rect: Any, crop: list[float], use: bool, threads: int = 1
) -> list[Any]:
    module.use_beams(use)
    shape = rect[1] - rect[0], rect[3] - rect[2]
    out = [np.full((*shape, *n), np.nan, np.float32) for n in ((3,), (), ())]
    field.render(*view, [0.2, 0.4, 0.6], 1e-3, 3e-3, threads, rect, *out, crop=crop)
    return out


@pytest.mark.parametrize("name", CASES)
def test_pictures_with_beams_are_the_same_to_the_bit(beams: Any, name: str) -> None:
    rng = np.random.default_rng(7)
    seen = 0
    for turn in range(40):
        case = replace(CASES[name], occupancy=blobs(rng, turn % 3))
        field, view, crop = case.field(beams), camera(rng), random_crop(rng)
        width, height = view[2:4]
        rows, columns = (sorted(rng.integers(0, n + 1, 2).tolist()) for n in (height, width))
        row = min(rows[0], height - 1)
        for rect in ((0, height, 0, width), (*rows, *columns), (row, row + 1, 0, width)):
            plain = picture(beams, field, view, rect, crop, False)
            for a, b in zip(plain, picture(beams, field, view, rect, crop, True, 1 + turn % 2), strict=True):
                assert np.array_equal(a, b), (turn, rect)
            seen += bool(plain[2].size and plain[2].max() > 0.1)
    assert seen > 15


@pytest.mark.parametrize("name", ["bounded", "unbounded"])
def test_films_lenses_are_the_same_to_the_bit(beams: Any, name: str) -> None:
    # A tile of an orthographic picture, or with pixels of both eyes, has rays from many points, and no beam.
    rng = np.random.default_rng(11)
    seen = 0
    for turn in range(30):
        field = replace(CASES[name], occupancy=blobs(rng, turn % 3)).field(beams)
        _, _, width, height, pose = camera(rng)
        lens = 2 + turn % 3
        focal = width / (2 * np.pi) if lens != 3 else max(width, height) / 3
        middle = width / 4 if lens == 4 else width / 2
        numbers = [focal, focal, middle, height / 2, 0.4 if lens == 4 else 0.0, 0.0, 0.0, 0.0, 0.0]
        view, rect = (numbers, lens, width, height, pose), (0, height, 0, width)
        crop = random_crop(rng)
        plain = picture(beams, field, view, rect, crop, False)
        for a, b in zip(plain, picture(beams, field, view, rect, crop, True), strict=True):
            assert np.array_equal(a, b), turn
        seen += bool(plain[2].max() > 0.1)
    assert seen > 10


@pytest.mark.parametrize("name", CASES)
def test_a_part_is_cut_from_the_whole_to_the_bit(beams: Any, name: str) -> None:
    rng = np.random.default_rng(9)
    field = replace(CASES[name], occupancy=blobs(rng, 1)).field(beams)
    view = [30.0, 30.0, 20.0, 15.0, 0, 0, 0, 0, 0], 0, 40, 31, [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, -2.0]
    whole = picture(beams, field, view, (0, 31, 0, 40), [], True)
    for rect in ((5, 20, 3, 30), (30, 31, 0, 40), (0, 31, 39, 40), (7, 8, 9, 10)):
        for a, b in zip(whole, picture(beams, field, view, rect, [], True), strict=True):
            assert np.array_equal(a[rect[0] : rect[1], rect[2] : rect[3]], b)


def test_a_crowded_tile_is_the_same_to_the_bit(beams: Any) -> None:
    # Thin fog everywhere: a tile's samples overflow its memory, and it is traced again with fewer rays.
    case = make_case(26, unbounded=True, near=0.05, step=1e-3, cone=5e-3, far=3.0, gain=0.01)
    field = case.field(beams)
    view = [16.0, 16.0, 8.0, 8.0, 0, 0, 0, 0, 0], 0, 16, 16, [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    pictures = []
    for use in (False, True):
        beams.use_beams(use)
        out = [np.full((16, 16, *n), np.nan, np.float32) for n in ((3,), (), ())]
        field.render(*view, [0.2, 0.4, 0.6], 0.0, 0.0, 1, (0, 16, 0, 16), *out)
        pictures.append(out)
    for a, b in zip(*pictures, strict=True):
        assert np.isfinite(a).all() and np.array_equal(a, b)


def test_a_cancelled_picture_stays_as_it_was(beams: Any) -> None:
    cancel = beams.Cancel()
    cancel.set()
    out = [np.full((20, 20, *n), 7, np.float32) for n in ((3,), (), ())]
    view = [16.0, 16.0, 8.0, 8.0, 0, 0, 0, 0, 0], 0, 20, 20, [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, -2]
    CASES["bounded"].field(beams).render(*view, [0.0] * 3, 1e-3, 3e-3, 1, (0, 20, 0, 20), *out, cancel=cancel)
    assert all((x == 7).all() for x in out)


# --- against the oracle ---------------------------------------------------------------------------


def bundle(rng: np.random.Generator, spread: float) -> tuple[Any, Any]:
    """A point (3,) and directions (n, 3) that are ``spread`` apart."""
    center = rng.normal(0, float(rng.choice([0.3, 1.5])), 3)
    n = int(rng.integers(1, 65))
    d = rng.normal(0, 0.5, 3) - center
    d = d / np.linalg.norm(d) + rng.uniform(-spread, spread, (n, 3))
    return center.astype(np.float32), (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)


def found_steps(module: Any, case: Case, center: Any, d: Any) -> tuple[Any, Any] | None:
    live, offset = np.full(4096, 7, np.uint8), np.full(len(d), -1, np.int32)
    there = module.live_steps(case.field(module), center, d, live, offset)
    return (torch.from_numpy(live == 1), torch.from_numpy(offset).long().clamp(min=0)) if there else None


@pytest.mark.parametrize("spread", (0.001, 0.02, 0.3))
@pytest.mark.parametrize("name", ("bounded", "unbounded", "unbounded, long steps", "unbounded, constant"))
def test_live_steps_are_the_oracles(beams: Any, name: str, spread: float) -> None:
    rng = np.random.default_rng(11)
    met = empty = 0
    for turn in range(30):
        case = replace(CASES[name], occupancy=blobs(rng, turn % 3))
        center, d = bundle(rng, spread)
        found = found_steps(beams, case, center, d)
        if found is None:  # every ray misses the box
            continue
        live, offset = found
        o, directions = double(np.broadcast_to(center, d.shape).copy(), d)
        points, sampled = oracle.sampled_points(o, directions, case.space)
        bits = np.unpackbits(case.occupancy.view(np.uint8), bitorder="little").astype(bool)
        cells = torch.from_numpy(bits.reshape(32, 32, 32))
        # Every sample in an occupied cell is at a live step, unless rounding may move it to another cell.
        certain = (points * 32 - (points * 32).round()).abs().amin(-1) > 1e-3
        x, y, z = (points * 32).clamp(0, 31.5).long().unbind(-1)
        ray, k = torch.nonzero(sampled & certain & cells[z, y, x], as_tuple=True)
        assert live[k + offset[ray]].all()
        # A live step has an occupied cell at least near the box around the rays' samples.
        possible = oracle.live_steps(points, sampled, offset, cells, 2.5 / 32)
        assert not live[len(possible) :].any()
        if spread < 0.1:  # of far-flung rays, some are not yet in the box where others are sampled
            assert possible[live[: len(possible)]].all()
        met += len(ray)
        empty += int((~live[: len(possible)]).sum())
    assert met > 100 and empty > 100


def test_rays_whose_steps_grow_from_their_own_beginning_have_no_beam(beams: Any) -> None:
    center, d = bundle(np.random.default_rng(1), 0.01)
    assert found_steps(beams, CASES["bounded, growing"], center, d) is None


def test_wrong_beams_are_refused(beams: Any) -> None:
    field = CASES["bounded"].field(beams)
    live = np.zeros(10, np.uint8)
    for n, rows in ((0, 0), (65, 65), (3, 2)):
        with pytest.raises(ValueError):
            beams.live_steps(
                field, np.zeros(3, np.float32), np.ones((rows, 3), np.float32), live, np.zeros(n, np.int32)
            )
    with pytest.raises(ValueError, match="finite"):
        beams.live_steps(
            field, np.full(3, np.nan, np.float32), np.ones((1, 3), np.float32), live, np.zeros(1, np.int32)
        )
