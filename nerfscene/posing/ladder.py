"""The steps of posing, from cheap to thorough: a ladder that is climbed only as far as needed.

A step runs only if the steps before it left photos out, or placed them against their own matches. It builds
on their results: new matches are added to those in the database, and photos are added to the best model
before a new model is started.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

from nerfscene.posing import begun, mapping, matching, zooms
from nerfscene.posing.adjusting import refined
from nerfscene.posing.climb import ENOUGH, Climb, Job, report
from nerfscene.posing.mapping import LITTLE, SOME, USUAL, Evidence, Model
from nerfscene.posing.matching import Effort
from nerfscene.posing.misplaced import agreement
from nerfscene.posing.pairs import groups
from nerfscene.posing.rigs import cut_from_panoramas, set_rigs
from nerfscene.types import PoseReport

# The slowest step is worth it below MANY_ENOUGH with MANY_PHOTOS or more; with fewer, this rises to ENOUGH.
MANY_PHOTOS = 100
MANY_ENOUGH = 0.6
FITS_WELL = 0.5  # px: with a larger reprojection error, the photos may have different zooms
NEGLIGIBLE = 0.1  # px
WORSE = 1.3  # a shared lens doesn't fit if it gives more than this times the error of separate lenses
NEARLY = 0.95  # a rough fit with less than this fraction of the error is worth a thorough one
CLOSER = 0.8  # a model fits clearly better if its error is below this fraction of the other's
DOUBTFUL = 0.86  # if less than this fraction of the matches fits a model, it may be wrong as a whole
NEARER = 4.0  # degrees between the rays of the first two photos, for a new start

# The steps in words, for the report; after "placing cameras", for progress.
USUALLY = "one photo after another"
FURTHER = "adding photos on less evidence"
EXACTLY = "adjusted more often and more exactly"
ANEW = "started with photos nearer to each other"
EACH_LENS = "with a lens for each photo"
BY_ZOOM = "with a lens for each zoom"
NO_FOCALS = "without the focal lengths in EXIF"
AT_ONCE = "all cameras at once"
MORE_PAIRS = "with more pairs of photos compared"
CAREFULLY = "again, more carefully"


def climb(job: Job) -> tuple[Model | None, PoseReport]:
    """The best model that the steps find, None if they find none, and a report.

    Leaves the database that the model was made from in ``job.folder``/database.db.
    """
    state = Climb(job)
    most = job.config.max_features // (2 if cut_from_panoramas(job.photos) else 1)  # in each of six views
    begun.features(job.folder, lambda: _find_features(job, matching.usual_effort(job.sizes, most), ""))
    _match(state, broad=False, stage="matching photos")
    _map(state, USUAL, USUALLY, "placing cameras")
    _extend(state, SOME)
    _start_anew(state)
    if not state.enough() and _map_exactly(state, USUAL, USUALLY, "placing cameras"):
        _extend(state, SOME)
    begun.forget(job.folder)  # these steps change the lenses or the matches
    if not state.enough():
        _without_focals(state)
    _separate_zooms(state)
    if not state.enough():
        _at_once(state)
    if not state.enough():
        _more_pairs(state)
    if mapping.count(state.best) < _worth_care(state.total) * state.total:
        _carefully(state, Effort(-1, 2 * most, 0.004, 2))
    return state.best, report(state)


def _worth_care(total: int) -> float:
    """The fraction of posed photos below which the slowest step, slower with more photos, is worth it."""
    return ENOUGH - (ENOUGH - MANY_ENOUGH) * min(total / MANY_PHOTOS, 1.0)


def _find_features(job: Job, effort: Effort, suffix: str) -> None:
    named = f"finding features{suffix}"
    matching.find_features(job.folder, job.photos, job.sizes, effort, named, job.progress)
    set_rigs(job.folder / "database.db", job.photos, job.sizes)


def _match(state: Climb, broad: bool, stage: str) -> bool:
    """Matches the promising pairs that were not matched before; returns whether there were any."""
    job, database = state.job, state.database
    wanted = matching.pairs_to_match(database, job.shots, job.config.matcher, broad, job.progress)
    new = [pair for pair in wanted if pair not in state.pairs]
    if new:
        still = cut_from_panoramas(job.photos)
        matching.match(database, new, broad, job.config.seed, stage, job.progress, still)
    state.pairs.update(new)
    return bool(new)


def _placed_counter(job: Job, stage: str, already: int) -> Callable[[], None]:
    """A function to call for each photo placed, which reports progress; ``already`` are placed at the start.

    Capped at 99 %, because mapping may try several models and so place a photo more than once.
    """
    placed = already

    def one_more() -> None:
        nonlocal placed
        placed += 1
        job.progress(stage, min(placed / len(job.photos), 0.99))

    job.progress(stage, 0.0)
    return one_more


def _models(job: Job, evidence: Evidence, stage: str, roughly: bool = True) -> list[Model]:
    """The models that incremental mapping builds from nothing."""
    placed = _placed_counter(job, stage, 2)
    models = mapping.incremental_mapping(job.folder, evidence, job.config.seed, placed, roughly=roughly)
    job.progress(stage, 1.0)
    return models


def _map(state: Climb, evidence: Evidence, step: str, stage: str, closer: float = 0.0) -> bool:
    """Builds models from nothing and considers them; returns whether one is better than the best so far."""
    return state.consider(_models(state.job, evidence, stage), step, closer)


def _map_exactly(state: Climb, evidence: Evidence, step: str, stage: str) -> bool:
    """The same again with the growing model adjusted better, if matches connect photos that were left out.

    Of an office, photographed from within, that poses all 68 photos instead of 63.
    """
    if not _mappable(state):
        return False
    models = _models(state.job, evidence, f"{stage}, {EXACTLY}", roughly=False)
    return state.consider(models, f"{step}, {EXACTLY}")


def _extend(state: Climb, evidence: Evidence) -> None:
    """Adds the remaining photos to the best model, on less evidence than it was started with."""
    job = state.job
    if state.best is None or state.complete() or not _connected(state):
        return
    stage = "placing the remaining photos"
    placed = _placed_counter(job, stage, mapping.count(state.best))
    models = mapping.incremental_mapping(job.folder, evidence, job.config.seed, placed, state.best)
    job.progress(stage, 1.0)
    found_by = state.found_by
    if state.consider(models, FURTHER) and found_by != FURTHER:
        state.found_by = f"{found_by.split(', then ')[0]}, then {FURTHER}"


def _connected(state: Climb) -> bool:
    """Whether any remaining photo shares matches with a posed one."""
    posed = state.posed()
    return any((a in posed) != (b in posed) for a, b in state.links(matching.FEWEST_RELAXED))


def _start_anew(state: Climb) -> None:
    """If many matches contradict the model: starts with two other photos, then places all cameras at once.

    Mapping refines the poses of the first two photos but seldom corrects them. Two photos of something flat
    have two equally likely solutions, and a model that starts with the wrong one bends or breaks in two.
    """
    job = state.job

    def doubtful() -> bool:
        return state.best is not None and agreement(state.best, state.database) < DOUBTFUL

    if not doubtful():
        return
    models = _models(job, replace(USUAL, first_angle=NEARER), f"placing cameras, {ANEW}")
    better = state.consider_fitting(models, ANEW)
    if doubtful():
        better |= state.consider_fitting(_global_mapping(state), AT_ONCE)
    if better:
        _extend(state, SOME)


def _without_focals(state: Climb) -> None:
    """Maps with COLMAP's guess instead of EXIF's focal lengths, which crops and digital zoom make wrong."""
    job, database = state.job, state.database
    if cut_from_panoramas(job.photos) or not any(photo.focal for photo in job.photos) or not _mappable(state):
        return
    lenses = matching.forget_focal_lengths(database)
    if _map(state, USUAL, NO_FOCALS, f"placing cameras, {NO_FOCALS}"):
        _extend(state, SOME)
    else:
        matching.set_lenses(database, lenses)


def _separate_zooms(state: Climb) -> None:
    """Maps with a lens for each photo to find out their zooms; then gives photos of one zoom a common lens.

    Only if photos are left out, or if the model fits badly with shared lenses and well with separate ones.
    """
    database = state.database
    if cut_from_panoramas(state.job.photos):  # and their lens is known
        return
    shared = zooms.lenses(database)
    known = all(camera.has_prior_focal_length for camera in shared.values())
    one_photo_each = len({camera.camera_id for camera in shared.values()}) == len(shared)
    slow = state.enough() and state.total >= MANY_PHOTOS
    if one_photo_each or slow or (known and state.enough()) or not _zooms_may_differ(state):
        return
    before = database.with_name("shared.db")
    shutil.copyfile(database, before)
    zooms.set_lenses_of(database, zooms.one_each(shared))
    stage = f"placing cameras, {EACH_LENS}"
    if _map(state, USUAL, EACH_LENS, stage, CLOSER):
        before.unlink()
        assert state.best is not None
        found = zooms.by_zoom(state.best, shared)
        grouped = refined(zooms.with_lenses(state.best, found))
        if mapping.believable(grouped) is not None and not _worse(grouped, state.best):
            state.best, state.found_by = grouped, BY_ZOOM
            zooms.set_lenses_of(database, found)
        _extend(state, SOME)
    else:
        before.replace(database)


def _zooms_may_differ(state: Climb) -> bool:
    """Whether separate lenses might be better than shared ones."""
    if state.best is None or not state.complete():
        return _mappable(state)
    error = state.best.compute_mean_reprojection_error()
    if error < FITS_WELL:
        return False
    own = zooms.with_lenses(state.best, zooms.own_lenses(state.best))
    worth = refined(own, roughly=True).compute_mean_reprojection_error() < NEARLY * error
    return bool(worth and refined(own).compute_mean_reprojection_error() < CLOSER * error)


def _worse(grouped: Model, separate: Model) -> bool:
    """Whether the model with shared lenses fits clearly worse than the one with a lens for each photo."""
    least = max(separate.compute_mean_reprojection_error(), NEGLIGIBLE)
    return bool(grouped.compute_mean_reprojection_error() > WORSE * least)


def _at_once(state: Climb) -> None:
    """Global mapping, if the matches can give more photos."""
    if _mappable(state) and state.consider(_global_mapping(state), AT_ONCE):
        _extend(state, SOME)


def _global_mapping(state: Climb) -> list[Model]:
    """The models of global mapping, which calibrates focal lengths unless all come from EXIF."""
    job, stage = state.job, f"placing {AT_ONCE}"
    job.progress(stage, 0.0)
    known = all(photo.focal for photo in job.photos) and state.found_by != NO_FOCALS
    models = mapping.global_mapping(job.folder, not known, job.config.seed, cut_from_panoramas(job.photos))
    job.progress(stage, 1.0)
    return models


def _mappable(state: Climb) -> bool:
    """Whether matches connect more photos than are posed so far."""
    largest = groups(state.total, state.links())[0]
    return len(largest) > max(mapping.count(state.best), 2)


def _more_pairs(state: Climb) -> None:
    """Matches more pairs, then extends the best model; starts a new one if that is not enough."""
    if not _match(state, broad=True, stage="matching more photos"):
        return
    _extend(state, LITTLE)
    stage = f"placing cameras, {MORE_PAIRS}"
    if not state.enough():
        _map(state, LITTLE, MORE_PAIRS, stage)
    if not state.enough():
        _map_exactly(state, LITTLE, MORE_PAIRS, stage)


def _carefully(state: Climb, effort: Effort) -> None:
    """Starts over with finer features; restores the previous database if this poses no more photos."""
    folder = state.job.folder
    database, before = folder / "database.db", folder / "before.db"
    database.rename(before)
    usual_pairs, state.pairs = state.pairs, set()
    _find_features(state.job, effort, f" ({CAREFULLY})")
    _match(state, broad=True, stage=f"matching photos ({CAREFULLY})")
    stage = f"placing cameras ({CAREFULLY})"
    better = _map(state, LITTLE, CAREFULLY, stage)
    better |= _map_exactly(state, LITTLE, CAREFULLY, stage)
    if not state.enough() and _mappable(state):
        stage = f"placing {AT_ONCE} ({CAREFULLY})"
        state.job.progress(stage, 0.0)
        rigs = cut_from_panoramas(state.job.photos)
        models = mapping.global_mapping(folder, True, state.job.config.seed, rigs)
        better |= state.consider(models, f"{AT_ONCE}, {CAREFULLY}")
        state.job.progress(stage, 1.0)
    if better or state.best is None:
        before.unlink()
    else:
        before.replace(database)
        state.pairs = usual_pairs
