"""Finds photos that a model has placed wrongly, because their own matches contradict it.

Removed from the model, they can be placed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.posing.pairs import Pair, groups

# A photo should observe at least this fraction of the points that its matches lead to; well placed ones
# observe 0.9.
SEEN_OF_MATCHED = 0.5
FEWEST_MATCHED = 50  # least number of such points, or of matches, for a fraction to be meaningful
FITS = 0.002  # largest distance of a fitting match from its epipolar line, as a fraction of the longer side
TIGHT = 0.9  # least fraction of a pair's matches that fit if both photos are placed well
TIGHT_FROM = 30  # least number of fitting matches for that to count
CHANCE = 15  # fewer matches of a pair may agree by chance
AGREE = 0.4  # least fraction of fitting matches between two groups; at least 0.6 if both are placed well

Model = pycolmap.Reconstruction


@dataclass(frozen=True)
class _Matches:
    """The verified matches of two photos: indices (n,) into the features of the first and of the second."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]


def without_misplaced(model: Model, database: Path) -> Model:
    """The model without the photos whose matches contradict their poses; the model itself if there are none.

    Two kinds of photos are removed. A repeating pattern can place a photo wrongly, on the few points that fit
    there by chance; its matches with the photos around it then lead to points that it doesn't observe. And a
    few photos can fit each other, but not the rest of the model.
    """
    pairs = _verified_matches(model, database)
    wrong = _observing_little(model, pairs)
    left = _without(model, wrong)
    rest = {k: m for k, m in pairs.items() if not wrong & set(k)}
    return _without(left, _inconsistent(left, database, rest))


def agreement(model: Model, database: Path) -> float:
    """The fraction (0…1) of the matches between posed photos that fit their poses; 1 without any matches."""
    pairs = _meaningful(_verified_matches(model, database))
    return sum(_fitting(model, database, pairs)) / sum(len(m.first) for m in pairs.values()) if pairs else 1.0


def _meaningful(pairs: dict[Pair, _Matches]) -> dict[Pair, _Matches]:
    """The pairs with too many matches to agree by chance."""
    return {pair: m for pair, m in pairs.items() if len(m.first) >= CHANCE}


def _without(model: Model, wrong: set[int]) -> Model:
    """A copy of the model without the poses of these images; the model itself if there are none."""
    if not wrong:
        return model
    left = Model(model)
    for frame in sorted({left.image(key).frame_id for key in wrong}):
        left.deregister_frame(frame)
    return left


def _verified_matches(model: Model, database: Path) -> dict[Pair, _Matches]:
    """The geometrically verified matches of every two posed photos that have any, by image ids."""
    posed, found = set(model.reg_image_ids()), {}
    with pycolmap.Database.open(database) as db:
        for pair, geometry in zip(*db.read_two_view_geometries(), strict=True):
            a, b = pycolmap.pair_id_to_image_pair(pair)
            if a in posed and b in posed and len(geometry.inlier_matches):
                found[a, b] = _Matches(*np.asarray(geometry.inlier_matches, np.int64).T)
    return found


def _observing_little(model: Model, pairs: dict[Pair, _Matches]) -> set[int]:
    """The photos that observe hardly any of the points to which their matches lead.

    The views of a panorama are judged together, because they are posed together.
    """
    posed = sorted(model.reg_image_ids())
    observed = {}
    for key in posed:
        image = model.image(key)
        observed[key] = np.zeros(image.num_points2D(), bool)
        observed[key][image.get_observation_point2D_idxs()] = True
    matched = {key: np.zeros(len(observed[key]), bool) for key in posed}
    for (a, b), m in pairs.items():
        matched[a][m.first[observed[b][m.second]]] = True
        matched[b][m.second[observed[a][m.first]]] = True
    counts: dict[int, NDArray[np.int64]] = {}  # by frame: points that matches lead to, and those observed
    for key in posed:
        both = np.array([matched[key].sum(), (observed[key] & matched[key]).sum()])
        frame = model.image(key).frame_id
        counts[frame] = counts.get(frame, np.zeros(2, np.int64)) + both
    wrong = {f for f, (n, seen) in counts.items() if n >= FEWEST_MATCHED and seen < SEEN_OF_MATCHED * n}
    return {key for key in posed if model.image(key).frame_id in wrong}


def _inconsistent(model: Model, database: Path, pairs: dict[Pair, _Matches]) -> set[int]:
    """The photos that fit each other but not the largest group of photos, with which they have matches.

    Groups grow from pairs that fit tightly; groups whose matches agree are merged.
    """
    pairs = _meaningful(pairs)
    frame_of = {key: model.image(key).frame_id for key in sorted(model.reg_image_ids())}
    frames = list(dict.fromkeys(frame_of.values()))
    position = {frame: i for i, frame in enumerate(frames)}
    index = {key: position[frame] for key, frame in frame_of.items()}
    links = [(index[a], index[b]) for a, b in pairs]
    fitting = _fitting(model, database, pairs)
    counts = np.array([(len(m.first), fit) for m, fit in zip(pairs.values(), fitting, strict=True)])
    joined = [link for link, (n, fit) in zip(links, counts, strict=True) if fit >= max(TIGHT * n, TIGHT_FROM)]
    while True:
        found = groups(len(frames), joined)  # the largest first
        group = {i: g for g, members in enumerate(found) for i in members}
        between = np.zeros((len(found), len(found), 2))  # matches, and those that fit
        for (a, b), count in zip(links, counts, strict=True):
            g, h = sorted((group[a], group[b]))
            if g != h:
                between[g, h] += count
        matched, fit = between[..., 0], between[..., 1]
        agreeing = np.argwhere((matched >= FEWEST_MATCHED) & (fit >= AGREE * matched))
        if not len(agreeing):
            break
        joined += [(found[g][0], found[h][0]) for g, h in agreeing]
    # Without a majority, nothing shows which photos are right, and the whole model is doubtful.
    if not found or 2 * len(found[0]) <= len(frames):
        return set()
    wrong = {frames[i] for g in np.flatnonzero(matched[0] >= FEWEST_MATCHED) for i in found[g]}
    return {key for key, frame in frame_of.items() if frame in wrong}


def _fitting(model: Model, database: Path, pairs: dict[Pair, _Matches]) -> list[int]:
    """How many of each pair's matches fit the model's cameras, that is, lie near their epipolar lines.

    The distance is Sampson's (Hartley and Zisserman, Multiple View Geometry, 11.4.3), in pictures scaled to a
    focal length of 1.
    """
    rays, limit, cam_from_world = {}, {}, {}
    posed = sorted(model.reg_image_ids())
    with pycolmap.Database.open(database) as db:  # far quicker than asking the model
        places = {key: db.read_keypoints(key)[:, :2].astype(np.float64) for key in posed}
    for key in posed:
        image = model.image(key)
        camera = model.camera(image.camera_id)
        pixels = places[key]
        rays[key] = np.c_[np.asarray(camera.cam_from_img(pixels)).reshape(-1, 2), np.ones(len(pixels))]
        limit[key] = FITS * max(camera.width, camera.height) / camera.mean_focal_length()
        cam_from_world[key] = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
    counts = []
    for (a, b), m in pairs.items():
        b_from_a = cam_from_world[b] @ np.linalg.inv(cam_from_world[a])
        x, y, z = b_from_a[:3, 3]
        essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ b_from_a[:3, :3]
        rays_a, rays_b = rays[a][m.first], rays[b][m.second]
        lines_b, lines_a = rays_a @ essential.T, rays_b @ essential
        gradient = np.sqrt((lines_b[:, :2] ** 2).sum(1) + (lines_a[:, :2] ** 2).sum(1))
        residual = np.abs((rays_b * lines_b).sum(1))
        counts.append(int((residual < (limit[a] + limit[b]) / 2 * gradient).sum()))
    return counts
