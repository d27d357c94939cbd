"""Photos that a model has in a wrong place, as their own matches tell. They may be placed once more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.posing.pairs import Pair, groups

SEEN_OF_MATCHED = 0.5  # share of the points its matches lead to that a photo sees; in the right place 0.9
FEWEST_MATCHED = 50  # of such points, or matches, from which on a share tells anything
FITS = 0.002  # of a photo's longer side: how near a match lies to the line on which it must
TIGHT = 0.9  # share of a pair's matches that fit where both photos are well placed
TIGHT_FROM = 30  # such matches, for that to count
CHANCE = 15  # matches of a pair, below which they may agree by chance
AGREE = 0.4  # share of the matches between two groups that fit; in the right places 0.6 at least

Model = pycolmap.Reconstruction


@dataclass(frozen=True)
class _Matches:
    """Features (n,) of one photo and of the other that were found to be the same, by their numbers."""

    ours: NDArray[np.int64]
    theirs: NDArray[np.int64]


def without_misplaced(model: Model, database: Path) -> Model:
    """The model without the photos whose matches speak against where it has them; itself where none do.

    A pattern that repeats can put a photo in a wrong place, on the few points that fit there by chance: its
    matches with the photos around it then lead to points that it does not see. And a few photos can come
    to fit each other in one place, and all others in another.
    """
    pairs = _matched(model, database)
    wrong = _seeing_little(model, pairs)
    left = _without(model, wrong)
    return _without(left, _apart(left, {k: m for k, m in pairs.items() if not wrong & set(k)}))


def agreement(model: Model, database: Path) -> float:
    """Share of the matches between its photos that fit where the model has them; 1 where there are none."""
    pairs = _telling(_matched(model, database))
    return sum(_fitting(model, pairs)) / sum(len(m.ours) for m in pairs.values()) if pairs else 1.0


def _telling(pairs: dict[Pair, _Matches]) -> dict[Pair, _Matches]:
    return {pair: m for pair, m in pairs.items() if len(m.ours) >= CHANCE}


def _without(model: Model, wrong: set[int]) -> Model:
    if not wrong:
        return model
    left = Model(model)
    for key in sorted(wrong):
        left.deregister_frame(left.image(key).frame_id)
    return left


def _matched(model: Model, database: Path) -> dict[Pair, _Matches]:
    """Of each two posed photos that have any, those that agree on the pair's geometry."""
    posed, found = set(model.reg_image_ids()), {}
    with pycolmap.Database.open(database) as db:
        for pair, geometry in zip(*db.read_two_view_geometries(), strict=True):
            a, b = pycolmap.pair_id_to_image_pair(pair)
            if a in posed and b in posed and len(geometry.inlier_matches):
                found[a, b] = _Matches(*np.asarray(geometry.inlier_matches, np.int64).T)
    return found


def _seeing_little(model: Model, pairs: dict[Pair, _Matches]) -> set[int]:
    """Photos that see hardly anything of what their matches say they see."""
    posed = sorted(model.reg_image_ids())
    seen = {key: np.array([p.has_point3D() for p in model.image(key).points2D], bool) for key in posed}
    matched = {key: np.zeros(len(seen[key]), bool) for key in posed}
    for (a, b), m in pairs.items():
        matched[a][m.ours[seen[b][m.theirs]]] = True
        matched[b][m.theirs[seen[a][m.ours]]] = True
    return {
        key
        for key in posed
        if matched[key].sum() >= FEWEST_MATCHED
        and (seen[key] & matched[key]).sum() < SEEN_OF_MATCHED * matched[key].sum()
    }


def _apart(model: Model, pairs: dict[Pair, _Matches]) -> set[int]:
    """Photos that fit each other but not the largest group of photos, with which they have matches."""
    pairs = _telling(pairs)
    keys = sorted(model.reg_image_ids())
    number = {key: i for i, key in enumerate(keys)}
    links = [(number[a], number[b]) for a, b in pairs]
    counts = np.array(
        [(len(m.ours), fit) for m, fit in zip(pairs.values(), _fitting(model, pairs), strict=True)]
    )
    joined = [link for link, (n, fit) in zip(links, counts, strict=True) if fit >= max(TIGHT * n, TIGHT_FROM)]
    while True:
        found = groups(len(keys), joined)  # the largest first
        group = {i: g for g, members in enumerate(found) for i in members}
        between = np.zeros((len(found), len(found), 2))
        for (a, b), count in zip(links, counts, strict=True):
            one, other = sorted((group[a], group[b]))
            if one != other:
                between[one, other] += count
        matched, fit = between[..., 0], between[..., 1]
        agreeing = np.argwhere((matched >= FEWEST_MATCHED) & (fit >= AGREE * matched))
        if not len(agreeing):
            break
        joined += [(found[g][0], found[h][0]) for g, h in agreeing]
    if not found or 2 * len(found[0]) <= len(
        keys
    ):  # nothing tells which are right: the whole is to be doubted
        return set()
    return {keys[i] for g in np.flatnonzero(matched[0] >= FEWEST_MATCHED) for i in found[g]}


def _fitting(model: Model, pairs: dict[Pair, _Matches]) -> list[int]:
    """How many of each pair's matches lie where the model's cameras let them: near their epipolar lines.

    The distance is Sampson's (Hartley and Zisserman, Multiple View Geometry, 11.4.3), in photos whose focal
    length is 1.
    """
    rays, near, cam_from_world = {}, {}, {}
    for key in sorted(model.reg_image_ids()):
        image = model.image(key)
        camera = model.camera(image.camera_id)
        flat = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        rays[key] = np.c_[np.asarray(camera.cam_from_img(flat)).reshape(-1, 2), np.ones(len(flat))]
        near[key] = FITS * max(camera.width, camera.height) / camera.mean_focal_length()
        cam_from_world[key] = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
    counts = []
    for (a, b), m in pairs.items():
        b_from_a = cam_from_world[b] @ np.linalg.inv(cam_from_world[a])
        x, y, z = b_from_a[:3, 3]
        essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ b_from_a[:3, :3]
        here, there = rays[a][m.ours], rays[b][m.theirs]
        lines, others = here @ essential.T, there @ essential
        steep = np.sqrt((lines[:, :2] ** 2).sum(1) + (others[:, :2] ** 2).sum(1))
        off = np.abs((there * lines).sum(1))
        counts.append(int((off < (near[a] + near[b]) / 2 * steep).sum()))
    return counts
