"""Grows models one photo after another: COLMAP's incremental mapping, step by step from here.

COLMAP adjusts the surroundings of every photo that it places, and tries pairs of photos to start with in the
order of their matches, of which the first show hardly any depth in a film. From many photos, placing takes a
fraction of the time without either, and is as exact after the last adjustment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.capture.folder import worker_count
from nerfscene.posing.adjusting import Model
from nerfscene.types import Array

ALL_ADJUSTED = 30  # photos: as long as the model has fewer, the surroundings of every new one are adjusted
MANY = 100  # photos: models of more are adjusted as a whole more rarely, and by one refinement at a time
RARELY = 2.0  # factor by which a model of many photos grows between two adjustments of the whole
FEWEST_TO_GO_ON = 30  # photos that may not fit one after the other before a small model is given up
STARTS = 200  # pairs of photos to start a model with that are tried, at most
FEW_STARTS = 300  # COLMAP looks through as many by itself: each takes 7 ms
FIRST_STARTS = 80  # of these are in COLMAP's order
# If none is fit, COLMAP too asks for fewer matches, then also for a smaller angle between rays.
EASIER = ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5))

Pair = tuple[int, int]  # of image ids


@dataclass(frozen=True)
class _Work:
    """What all steps need."""

    mapper: pycolmap.IncrementalMapper
    options: pycolmap.IncrementalPipelineOptions
    mapping: pycolmap.IncrementalMapperOptions
    triangulation: pycolmap.IncrementalTriangulatorOptions
    placed: Callable[[], None]

    def refine(self, photos: int) -> None:
        """Adjusts the whole model, which has this many photos."""
        adjusting = self.options.get_global_bundle_adjustment()
        adjusting.print_summary = False
        adjusting.ceres.solver_options.num_threads = worker_count()  # COLMAP takes one where one is enough
        rounds, change = self.options.ba_global_max_refinements, self.options.ba_global_max_refinement_change
        if photos > MANY:
            rounds = 1
        self.mapper.iterative_global_refinement(
            rounds, change, self.mapping, adjusting, self.triangulation, True
        )

    def refine_around(self, image: int) -> None:
        """Adjusts the surroundings of a photo."""
        adjusting = self.options.get_local_bundle_adjustment()
        adjusting.print_summary = False
        rounds, change = self.options.ba_local_max_refinements, self.options.ba_local_max_refinement_change
        self.mapper.iterative_local_refinement(
            rounds, change, self.mapping, adjusting, self.triangulation, image
        )


def grown(
    database: Path,
    options: pycolmap.IncrementalPipelineOptions,
    placed: Callable[[], None],
    start: Model | None = None,
) -> list[Model]:
    """The models that grow from the database's matches, at most ``options.max_num_models``.

    ``placed`` is called for each photo placed. With ``start``, only that model is grown, in place. Colours
    of points are left out. For photos that each have a frame of their own (no panoramas).
    """
    wanted = pycolmap.DatabaseCacheOptions()
    wanted.min_num_matches, wanted.ignore_watermarks = options.min_num_matches, options.ignore_watermarks
    with pycolmap.Database.open(database) as db:
        cache = pycolmap.DatabaseCache.create(db, wanted)
    if not cache.num_images():
        return []
    mapper = pycolmap.IncrementalMapper(cache)
    work = _Work(mapper, options, options.get_mapper(), options.get_triangulation(), placed)
    if start is not None:
        mapper.begin_reconstruction(start)
        _grow(work, start)
        mapper.end_reconstruction(False)
        return [start]
    starts: list[Pair | None] = [
        pair
        for pair in _starts(database, int(EASIER[-1][0] * options.mapper.init_min_num_inliers))
        if all(cache.exists_image(image) for image in pair)
    ]
    if len(starts) <= FEW_STARTS:
        starts = [None] * len(starts)  # COLMAP chooses them
    for matches, angle in EASIER:
        work.mapping.init_min_num_inliers = int(matches * options.mapper.init_min_num_inliers)
        work.mapping.init_min_tri_angle = angle * options.mapper.init_min_tri_angle
        models = _from_nothing(work, starts, cache.num_images())
        if models:
            return models
        mapper.reset_initialization_stats()
    return []


def _from_nothing(work: _Work, starts: list[Pair | None], total: int) -> list[Model]:
    """The models that grow from these pairs, none of which has a photo of one before; ``total`` photos."""
    mapper, options = work.mapper, work.options
    models: list[Model] = []
    taken: set[int] = set()
    tries = 0
    for pair in starts:
        if tries == STARTS or len(models) == options.max_num_models or len(taken) + 1 >= total:
            break
        if pair is not None and taken & set(pair):
            continue
        model = Model()
        mapper.begin_reconstruction(model)
        begun = _begin(work, model, pair)
        if begun:
            _grow(work, model)
        good = begun is True and model.num_reg_images() >= options.min_model_size
        mapper.end_reconstruction(not good)
        tries += 1
        if good:
            models.append(model)
            taken.update(model.reg_image_ids())
        elif begun is None:
            break
    return models


def _starts(database: Path, fewest: int) -> list[Pair]:
    """Pairs of photos with at least ``fewest`` matches, the most promising to start a model with first.

    The first FIRST_STARTS are in COLMAP's order: those of the photo with the most matches, by their number.
    In a film none of these shows any depth, so then those come whose matches moved as they can't on something
    flat.
    """
    with pycolmap.Database.open(database) as db:
        matches = {
            pycolmap.pair_id_to_image_pair(key): np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            for key, geometry in zip(*db.read_two_view_geometries(), strict=True)
        }
    of_photo: Counter[int] = Counter()
    for pair, m in matches.items():
        of_photo.update(dict.fromkeys(pair, len(m)))
    enough = {pair: m for pair, m in matches.items() if len(m) >= fewest}
    usual = sorted(enough, key=lambda p: (-max(of_photo[p[0]], of_photo[p[1]]), -len(enough[p]), p))
    if len(enough) <= FEW_STARTS:
        return usual
    with pycolmap.Database.open(database) as db:
        places = {
            image.image_id: db.read_keypoints(image.image_id)[:, :2].astype(np.float64)
            for image in db.read_all_images()
        }
    first = usual[:FIRST_STARTS]
    promise = {
        (a, b): np.sqrt(len(m)) * _depth(places[a][m[:, 0]], places[b][m[:, 1]])
        for (a, b), m in enough.items()
    }
    tried = set(first)
    return first + [p for p in sorted(promise, key=lambda p: (-promise[p], p)) if p not in tried]


def _depth(a: Array, b: Array) -> float:
    """How far these places (n, 2) moved from ``a`` to ``b`` other than by an affine map, in pixels."""
    known = np.c_[a, np.ones(len(a))]
    inverse = np.linalg.pinv(known.T @ known)
    return float(np.median(np.linalg.norm(b - known @ (inverse @ (known.T @ b)), axis=1)))


def _begin(work: _Work, model: Model, pair: Pair | None) -> bool | None:
    """Starts the model with two photos, which COLMAP chooses if ``pair`` is None.

    Returns whether they are fit for that; None if COLMAP finds no more.
    """
    mapper = work.mapper
    if pair is None:
        found = mapper.find_initial_image_pair(work.mapping, -1, -1)
        if found is None:
            return None
        pair, pose = found
    else:
        fitting = mapper.estimate_initial_two_view_geometry(work.mapping, *pair)
        if fitting is None:
            return False
        pose = fitting
    # pycolmap calls the third argument image_id1 and the fourth image_id2, but they are as in COLMAP.
    mapper.register_initial_image_pair(work.mapping, *pair, pose)
    for image in pair:
        mapper.triangulate_image(work.triangulation, image)
    adjusting = work.options.get_global_bundle_adjustment()
    adjusting.print_summary = False
    mapper.adjust_global_bundle(work.mapping, adjusting)
    model.normalize()
    mapper.filter_points(work.mapping)
    mapper.filter_frames(work.mapping)
    return model.num_reg_images() == 2 and len(model.points3D) > 0


def _grow(work: _Work, model: Model) -> None:
    """Places as many further photos as possible, and adjusts the model at last."""
    mapper, options = work.mapper, work.options
    photos, points = model.num_reg_images(), len(model.points3D)  # at the last adjustment of all
    refined, waiting = False, 0
    while mapper.num_shared_reg_images() < options.max_model_overlap:  # or it is one that there is already
        image = _place_next(work, model)
        if image is None:
            # Adjusted, the model may have room for photos that didn't fit.
            if refined:
                return
            work.refine(model.num_reg_images())
            refined, waiting = True, 0
            photos, points = model.num_reg_images(), len(model.points3D)
            continue
        refined = False
        mapper.triangulate_image(work.triangulation, image)
        work.placed()
        waiting += 1
        if waiting * ALL_ADJUSTED >= model.num_reg_images():  # its last few are among them
            work.refine_around(image)
            waiting = 0
        now = model.num_reg_images()
        rarer = options.ba_global_frames_ratio
        rarer += max(RARELY - rarer, 0.0) * min(now / MANY, 1.0)
        if now >= rarer * photos or len(model.points3D) >= rarer * points:
            work.refine(now)
            photos, points = now, len(model.points3D)
    if not refined:
        work.refine(model.num_reg_images())


def _place_next(work: _Work, model: Model) -> int | None:
    """Places the photo that fits best; returns its id, or None if none fits.

    First by points that it observes, then by its matches with photos alone.
    """
    mapper, few = work.mapper, model.num_reg_images() < work.options.min_model_size
    for by_matches in (False, True):
        if by_matches and not work.options.structure_less_registration_fallback:
            return None
        register = mapper.register_next_structure_less_image if by_matches else mapper.register_next_image
        for tried, image in enumerate(mapper.find_next_images(work.mapping, by_matches)):
            if few and tried >= FEWEST_TO_GO_ON:
                break
            if register(work.mapping, image):
                return int(image)
    return None
