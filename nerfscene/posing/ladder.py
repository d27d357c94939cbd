"""The steps by which photos are posed: from the cheap and usual to the slow and patient.

Each is taken only where those before it left photos out, or put them where their own matches say that they
are not, and builds on what they found: more matches join those there are, and photos are added to the best
model before one is begun anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nerfscene.capture.folder import Progress, short_names
from nerfscene.config import PoseConfig
from nerfscene.posing import mapping, matching, zooms
from nerfscene.posing.copies import copy_index
from nerfscene.posing.mapping import LITTLE, SOME, USUAL, Evidence, Model
from nerfscene.posing.matching import Effort
from nerfscene.posing.misplaced import agreement, without_misplaced
from nerfscene.posing.pairs import Pair, groups
from nerfscene.types import Photo, PoseReport

ENOUGH = 0.9  # share of photos posed, under which slower steps are worth it
MANY_PHOTOS = 100  # of so many, the slowest step is taken only
MANY_ENOUGH = 0.6  # below this share; of fewer, below one between the two
FITS_WELL = 0.5  # px, of error, from which on photos are suspected of different zooms
NEGLIGIBLE = 0.1  # px
WORSE = 1.3  # of the error with a lens for each photo, above which one for several doesn't fit
CLOSER = 0.8  # of the error, below which a model fits clearly better
DOUBTFUL = 0.86  # share of the matches that fit a model, under which it may be wrong as a whole
NEARER = 4.0  # degrees between the rays of the two photos that another beginning is made from

# Steps in words, for reports; with "placing cameras" before them, for progress.
USUALLY = "one photo after another"
FURTHER = "adding photos on less evidence"
ANEW = "begun with photos nearer each other"
EACH_LENS = "with a lens for each photo"
BY_ZOOM = "with a lens for each zoom"
NO_FOCALS = "without the focal lengths in EXIF"
AT_ONCE = "all cameras at once"
MORE_PAIRS = "with more pairs of photos compared"
CAREFULLY = "again, more carefully"


@dataclass(frozen=True)
class Job:
    """What is posed, in which folder, and who is told."""

    folder: Path  # holds the copies in images/
    photos: tuple[Photo, ...]
    sizes: list[tuple[int, int]]  # of the copies: width, height
    config: PoseConfig
    progress: Progress


@dataclass
class _Climb:
    """What was found so far. The one mutable thing here: every step adds to it."""

    job: Job
    best: Model | None = None
    found_by: str = "nothing"
    models: int = 0
    tried: list[str] = field(default_factory=list)
    pairs: set[Pair] = field(default_factory=set)

    @property
    def total(self) -> int:
        return len(self.job.photos)

    @property
    def database(self) -> Path:
        return self.job.folder / "database.db"

    def whole(self) -> bool:
        return mapping.count(self.best) == self.total

    def enough(self) -> bool:
        return mapping.count(self.best) >= ENOUGH * self.total

    def consider(self, models: list[Model], step: str, closer: float = 0.0) -> bool:
        """Keeps the best of ``models`` if it beats what there is; whether it does.

        That is by a photo more, or with ``closer`` by an error of less than so much of the one before.
        """
        photos, error = mapping.rank(self.best)
        # A photo more is an improvement at any error; an error alone is hardly ever worth a change.
        return self._take(
            models, step, lambda count, now, _: count > photos or (count == photos and now < closer * -error)
        )

    def consider_fitting(self, models: list[Model], step: str) -> bool:
        """Keeps the best of ``models`` if it has as many photos, and fits their matches better; whether."""
        assert self.best is not None
        photos, fits = mapping.count(self.best), agreement(self.best, self.database)
        return self._take(
            models, step, lambda count, _, model: count >= photos and agreement(model, self.database) > fits
        )

    def _take(self, models: list[Model], step: str, better: Callable[[int, float, Model], bool]) -> bool:
        """Keeps the best of ``models`` where it is ``better``, by its photos, its error and itself."""
        self.tried.append(step)
        placed = [without_misplaced(model, self.database) for model in models]
        sound = [model for model in map(mapping.believable, placed) if model is not None]
        for model in mapping.joined(sound)[:1]:
            count, error = mapping.rank(model)
            if better(count, -error, model):
                self.best, self.found_by, self.models = model, step, len(models)
                return True
        return False


def climb(job: Job) -> tuple[Model | None, PoseReport]:
    """The best model that the steps come to, None where none found any; and how.

    Leaves the database that the model was made from in ``job.folder``/database.db.
    """
    state = _Climb(job)
    most = job.config.max_features
    _find(job, matching.usual_effort(job.sizes, most), "")
    _compare(state, broad=False, stage="matching photos")
    _map(state, USUAL, USUALLY, "placing cameras")
    _go_on(state, SOME)
    _begin_anew(state)
    if not state.enough():
        _without_focals(state)
    _tell_zooms_apart(state)
    if not state.enough():
        _at_once(state)
    if not state.enough():
        _more_pairs(state)
    if mapping.count(state.best) < _worth_care(state.total) * state.total:
        _carefully(state, Effort(-1, 2 * most, 0.004))
    return state.best, _report(state)


def _worth_care(total: int) -> float:
    """Share of photos posed, under which the slowest step is worth it: with each photo it takes longer."""
    return ENOUGH - (ENOUGH - MANY_ENOUGH) * min(total / MANY_PHOTOS, 1.0)


def _find(job: Job, effort: Effort, suffix: str) -> None:
    stage = "finding features" + suffix
    matching.find_features(job.folder, job.photos, job.sizes, effort, stage, job.progress)


def _compare(state: _Climb, broad: bool, stage: str) -> bool:
    """Matches what is worth it and was not matched yet; whether there was any."""
    job, database = state.job, state.database
    wanted = matching.pairs_to_match(database, job.config.matcher, broad, job.progress)
    new = [pair for pair in wanted if pair not in state.pairs]
    if new:
        matching.match(database, new, broad, job.config.seed, stage, job.progress)
    state.pairs.update(new)
    return bool(new)


def _told(job: Job, stage: str, already: int) -> Callable[[], None]:
    """Counts placed photos into progress; several models may be tried, so it can pass all."""
    placed = already

    def one_more() -> None:
        nonlocal placed
        placed += 1
        job.progress(stage, min(placed / len(job.photos), 0.99))

    job.progress(stage, 0.0)
    return one_more


def _map(state: _Climb, evidence: Evidence, step: str, stage: str, closer: float = 0.0) -> bool:
    job = state.job
    models = mapping.one_after_another(job.folder, evidence, job.config.seed, _told(job, stage, 2))
    job.progress(stage, 1.0)
    return state.consider(models, step, closer)


def _go_on(state: _Climb, evidence: Evidence) -> None:
    """Adds photos to the best model, on less evidence than it was begun with."""
    job = state.job
    if state.best is None or state.whole() or not _connected(state):
        return
    stage = "placing the photos left"
    told = _told(job, stage, mapping.count(state.best))
    models = mapping.one_after_another(job.folder, evidence, job.config.seed, told, state.best)
    job.progress(stage, 1.0)
    found_by = state.found_by
    if state.consider(models, FURTHER) and found_by != FURTHER:
        state.found_by = f"{found_by.split(', then ')[0]}, then {FURTHER}"


def _connected(state: _Climb) -> bool:
    """Whether any photo left shares matches with one that is posed."""
    posed = _posed(state.best)
    links = matching.connections(state.database, matching.FEWEST_RELAXED)
    return any((a in posed) != (b in posed) for a, b in links)


def _begin_anew(state: _Climb) -> None:
    """From two other photos, then all at once, where many matches speak against what was found.

    What a scene begins with is refined but seldom put right: of two photos of something flat there are two
    stories that are as likely, and a model that began with the wrong one bends, or breaks in two.
    """
    job = state.job

    def doubtful() -> bool:
        return state.best is not None and agreement(state.best, state.database) < DOUBTFUL

    if not doubtful():
        return
    stage = f"placing cameras, {ANEW}"
    evidence = replace(USUAL, first_angle=NEARER)
    models = mapping.one_after_another(job.folder, evidence, job.config.seed, _told(job, stage, 2))
    job.progress(stage, 1.0)
    better = state.consider_fitting(models, ANEW)
    if doubtful():
        better |= state.consider_fitting(_all_at_once(state), AT_ONCE)
    if better:
        _go_on(state, SOME)


def _without_focals(state: _Climb) -> None:
    """From COLMAP's guess at focal lengths, where EXIF says some: crops and zooms make it wrong."""
    job, database = state.job, state.database
    if not any(photo.focal for photo in job.photos) or not _mappable(state):
        return
    lenses = matching.forget_focal_lengths(database)
    if _map(state, USUAL, NO_FOCALS, f"placing cameras, {NO_FOCALS}"):
        _go_on(state, SOME)
    else:
        matching.set_lenses(database, lenses)


def _tell_zooms_apart(state: _Climb) -> None:
    """A lens for each photo, to see through which it was taken; then one for those that agree.

    Where photos are left out, or where what was found fits badly and fits well with a lens for each.
    """
    database = state.database
    shared = zooms.lenses(database)
    known = all(camera.has_prior_focal_length for camera in shared.values())
    one_photo_each = len({camera.camera_id for camera in shared.values()}) == len(shared)
    slow = state.enough() and state.total >= MANY_PHOTOS
    if one_photo_each or slow or (known and state.enough()) or not _may_hide_zooms(state):
        return
    before = database.with_name("shared.db")
    shutil.copyfile(database, before)
    zooms.set_lenses_of(database, zooms.one_each(shared))
    stage = f"placing cameras, {EACH_LENS}"
    if _map(state, USUAL, EACH_LENS, stage, CLOSER):
        before.unlink()
        assert state.best is not None
        found = zooms.by_zoom(state.best, shared)
        grouped = mapping.refined(zooms.with_lenses(state.best, found))
        if mapping.believable(grouped) is not None and not _worse(grouped, state.best):
            state.best, state.found_by = grouped, BY_ZOOM
            zooms.set_lenses_of(database, found)
        _go_on(state, SOME)
    else:
        before.replace(database)


def _may_hide_zooms(state: _Climb) -> bool:
    """Whether a lens for each photo could be better than those they share."""
    if state.best is None or not state.whole():
        return _mappable(state)
    error = state.best.compute_mean_reprojection_error()
    if error < FITS_WELL:
        return False
    own = mapping.refined(zooms.with_lenses(state.best, zooms.own_lenses(state.best)))
    return bool(own.compute_mean_reprojection_error() < CLOSER * error)


def _worse(model: Model, than: Model) -> bool:
    """Whether lenses that are shared fit clearly worse than one for each photo."""
    least = max(than.compute_mean_reprojection_error(), NEGLIGIBLE)
    return bool(model.compute_mean_reprojection_error() > WORSE * least)


def _at_once(state: _Climb) -> None:
    if _mappable(state) and state.consider(_all_at_once(state), AT_ONCE):
        _go_on(state, SOME)


def _all_at_once(state: _Climb) -> list[Model]:
    job, stage = state.job, f"placing {AT_ONCE}"
    job.progress(stage, 0.0)
    known = all(photo.focal for photo in job.photos) and state.found_by != NO_FOCALS
    models = mapping.all_at_once(job.folder, not known, job.config.seed)
    job.progress(stage, 1.0)
    return models


def _mappable(state: _Climb) -> bool:
    """Whether the matches can give more photos than are posed."""
    largest = groups(state.total, matching.connections(state.database))[0]
    return len(largest) > max(mapping.count(state.best), 2)


def _more_pairs(state: _Climb) -> None:
    if not _compare(state, broad=True, stage="matching more photos"):
        return
    _go_on(state, LITTLE)
    if not state.enough():
        _map(state, LITTLE, MORE_PAIRS, f"placing cameras, {MORE_PAIRS}")


def _carefully(state: _Climb, effort: Effort) -> None:
    """All anew from finer features; the database before is kept where this finds no more photos."""
    folder = state.job.folder
    database, before = folder / "database.db", folder / "before.db"
    database.rename(before)
    usual_pairs, state.pairs = state.pairs, set()
    _find(state.job, effort, f" ({CAREFULLY})")
    _compare(state, broad=True, stage=f"matching photos ({CAREFULLY})")
    better = _map(state, LITTLE, CAREFULLY, f"placing cameras ({CAREFULLY})")
    if not state.enough() and _mappable(state):
        stage = f"placing {AT_ONCE} ({CAREFULLY})"
        state.job.progress(stage, 0.0)
        models = mapping.all_at_once(folder, calibrate=True, seed=state.job.config.seed)
        better |= state.consider(models, f"{AT_ONCE}, {CAREFULLY}")
        state.job.progress(stage, 1.0)
    if better or state.best is None:
        before.unlink()
    else:
        before.replace(database)
        state.pairs = usual_pairs


def _report(state: _Climb) -> PoseReport:
    links = matching.connections(state.database)
    posed, model = _posed(state.best), state.best
    names = short_names([photo.path for photo in state.job.photos])
    apart = [group for group in groups(state.total, links) if not posed & set(group)]
    return PoseReport(
        found_by=state.found_by,
        tried=tuple(dict.fromkeys(state.tried)),
        photos_posed=len(posed),
        models=state.models,
        pairs_compared=len(state.pairs),
        pairs_connected=len(links),
        points=0 if model is None else len(model.points3D),
        observations=0 if model is None else int(model.compute_num_observations()),
        track_length=0.0 if model is None else float(model.compute_mean_track_length()),
        reprojection_error=0.0 if model is None else float(model.compute_mean_reprojection_error()),
        apart=tuple(tuple(names[i] for i in group) for group in apart),
        agreement=None if model is None else agreement(model, state.database),
    )


def _posed(model: Model | None) -> set[int]:
    """Places in the capture of the photos that the model poses."""
    return set() if model is None else {copy_index(model.image(i).name) for i in model.reg_image_ids()}
